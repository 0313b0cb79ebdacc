-- The first layout. Times are Unix microseconds (`_us`), ids UUIDv7 text, hashes lowercase hexadecimal, bodies JSON
-- text that is never rewritten. `state` is the name of the state that `state_body` holds in full.

create table clusters (
    id text collate "C" primary key,
    name text collate "C" not null,
    labels text not null,
    time_zone text collate "C",
    namespace text collate "C" not null,
    egress text collate "C",
    server text collate "C" not null,
    identity text collate "C",
    credential_expires_at_us bigint,
    state text collate "C" not null check (state in ('active', 'quarantined', 'removed')),
    state_body text not null,
    reach text not null,
    registered_at_us bigint not null,
    inventory_tried_at_us bigint,
    version bigint not null
);
comment on table clusters is 'Registered clusters; a removed one keeps its row for the history.';
comment on column clusters.id is 'the cluster''s id, never reused';
comment on column clusters.name is 'its name, unique among the clusters that are not removed';
comment on column clusters.labels is 'its labels, a JSON object of texts';
comment on column clusters.time_zone is 'its IANA time zone, where it differs from the fleet''s';
comment on column clusters.namespace is 'the namespace in which OpenEBS runs';
comment on column clusters.egress is 'the name of the egress that its connections take';
comment on column clusters.server is 'the API server''s URL';
comment on column clusters.identity is 'the UID of its namespace kube-system';
comment on column clusters.credential_expires_at_us is 'when its credential ends, where that can be told';
comment on column clusters.state is 'active, quarantined or removed';
comment on column clusters.state_body is 'the state with its data, JSON';
comment on column clusters.reach is 'when it last answered and what happened since, JSON';
comment on column clusters.registered_at_us is 'when it was registered';
comment on column clusters.inventory_tried_at_us is 'when a daemon last set out to read its inventory';
comment on column clusters.version is 'raised by each change';

create unique index clusters_by_name on clusters (name) where state <> 'removed';

create table credentials (
    cluster text collate "C" primary key references clusters (id),
    version bigint not null,
    envelope bytea not null,
    ca_pem text not null,
    tls_server_name text collate "C"
);
comment on table credentials is 'Sealed credentials; a removed cluster has none.';
comment on column credentials.cluster is 'whose';
comment on column credentials.version is 'raised by each replacement; bound into the envelope';
comment on column credentials.envelope is 'the envelope: never anything in clear';
comment on column credentials.ca_pem is 'the CA certificates, PEM; their hash is bound into the envelope';
comment on column credentials.tls_server_name is
    'the name in the server''s certificate, where it differs from the host of the URL';

create table inventories (
    cluster text collate "C" primary key references clusters (id),
    taken_at_us bigint not null,
    digest text collate "C" not null,
    body text not null
);
comment on table inventories is 'The last inventory of each cluster.';
comment on column inventories.cluster is 'whose';
comment on column inventories.taken_at_us is 'when it was read';
comment on column inventories.digest is 'the name of its content';
comment on column inventories.body is 'the inventory, JSON';

create table fleets (
    revision text collate "C" primary key,
    body text not null,
    applied_at_us bigint not null,
    applied_by text collate "C" not null
);
comment on table fleets is 'Every fleet configuration that was ever applied.';
comment on column fleets.revision is 'the name of its content';
comment on column fleets.body is 'the fleet, JSON';
comment on column fleets.applied_at_us is 'when it was last applied';
comment on column fleets.applied_by is 'by whom';

create table hub (
    one bigint primary key check (one = 1),
    id text collate "C" not null,
    created_at_us bigint not null,
    sealing_check text collate "C",
    revision text collate "C" references fleets (revision)
);
comment on table hub is 'This installation: one row.';
comment on column hub.one is 'always 1: there is one hub in a store';
comment on column hub.id is 'the hub''s id, made once; on every object that the hub creates in a cluster';
comment on column hub.created_at_us is 'when the store was made';
comment on column hub.sealing_check is 'the check value of the sealing key, once one was used';
comment on column hub.revision is 'the fleet configuration that is the current one';

create table plans (
    digest text collate "C" primary key,
    revision text collate "C" not null references fleets (revision),
    group_name text collate "C" not null,
    body text not null,
    report text not null,
    made_at_us bigint not null,
    oldest_inventory_at_us bigint not null,
    made_by text collate "C" not null
);
comment on table plans is 'Plans, kept by the hub.';
comment on column plans.digest is 'the name of its content';
comment on column plans.revision is 'the fleet configuration that it was made from';
comment on column plans.group_name is 'the group that it is for';
comment on column plans.body is 'the plan, canonical JSON: the bytes that the digest names';
comment on column plans.report is 'the planner''s report, JSON';
comment on column plans.made_at_us is 'when it was made';
comment on column plans.oldest_inventory_at_us is 'the time of the oldest inventory that it rests on';
comment on column plans.made_by is 'by whom';

create index plans_by_time on plans (made_at_us);

create table rollouts (
    id text collate "C" primary key,
    plan text collate "C" not null references plans (digest),
    fleet text collate "C" not null,
    group_name text collate "C" not null,
    revision text collate "C" not null,
    state text collate "C" not null check (state in ('running', 'paused', 'stopping', 'finished')),
    state_body text not null,
    started_at_us bigint not null,
    started_by text collate "C" not null,
    deadline_us bigint not null,
    finished_at_us bigint,
    version bigint not null,
    check ((state = 'finished') = (finished_at_us is not null))
);
comment on table rollouts is 'Plans being carried out.';
comment on column rollouts.id is 'the rollout''s id';
comment on column rollouts.plan is 'the plan that it carries out';
comment on column rollouts.fleet is 'the fleet''s name';
comment on column rollouts.group_name is 'the group''s name';
comment on column rollouts.revision is 'the fleet configuration that the plan was made from';
comment on column rollouts.state is 'running, paused, stopping or finished';
comment on column rollouts.state_body is 'the state with its data, JSON';
comment on column rollouts.started_at_us is 'when it was started';
comment on column rollouts.started_by is 'who started it';
comment on column rollouts.deadline_us is 'when what is not done becomes debt';
comment on column rollouts.finished_at_us is 'when it finished';
comment on column rollouts.version is 'raised by each change';

create index rollouts_unfinished on rollouts (id) where state <> 'finished';

create table waves (
    rollout text collate "C" not null references rollouts (id),
    position bigint not null,
    name text collate "C" not null,
    opened_at_us bigint,
    settled_at_us bigint,
    passed_at_us bigint,
    approval text,
    primary key (rollout, position)
);
comment on table waves is 'The facts of each wave; its status is derived from them.';
comment on column waves.rollout is 'the rollout that it is part of';
comment on column waves.position is 'its place in the plan, from 0';
comment on column waves.name is 'its name';
comment on column waves.opened_at_us is 'when it opened';
comment on column waves.settled_at_us is 'when its last target ended';
comment on column waves.passed_at_us is 'when what follows it could open';
comment on column waves.approval is 'who approved it, when and why, JSON';

create table targets (
    id text collate "C" primary key,
    rollout text collate "C" not null references rollouts (id),
    cluster text collate "C" not null references clusters (id),
    wave bigint not null,
    position bigint not null,
    state text collate "C" not null check (state in ('pending', 'running', 'deferred', 'succeeded', 'failed', 'skipped')),
    state_body text not null,
    first_started_at_us bigint,
    version bigint not null,
    owner text collate "C",
    owner_epoch bigint,
    due_at_us bigint,
    held bigint not null default 0 check (held in (0, 1)),
    woken_at_us bigint,
    foreign key (rollout, wave) references waves (rollout, position),
    check ((state = 'running') = (due_at_us is not null)),
    check (state = 'running' or (owner is null and held = 0 and woken_at_us is null)),
    check ((owner is null) = (owner_epoch is null))
);
comment on table targets is 'One cluster''s part in one rollout.';
comment on column targets.id is 'the target''s id';
comment on column targets.rollout is 'the rollout that it belongs to';
comment on column targets.cluster is 'the cluster';
comment on column targets.wave is 'the wave, from 0';
comment on column targets.position is 'its place inside the wave, from 0';
comment on column targets.state is 'pending, running, deferred, succeeded, failed or skipped';
comment on column targets.state_body is 'the state with its data, JSON';
comment on column targets.first_started_at_us is 'when it first started';
comment on column targets.version is 'raised by each change and when its owner loses it: the fence';
comment on column targets.owner is 'while running: the daemon that works on it; null when its daemon''s lease ended';
comment on column targets.owner_epoch is 'while owned: the epoch of the owner''s lease';
comment on column targets.due_at_us is 'while running: when it is looked at next';
comment on column targets.held is '1 while a step is under way';
comment on column targets.woken_at_us is 'while a step is under way: when somebody asked for another one right after it';

create unique index targets_in_order on targets (rollout, wave, position);
create unique index targets_by_cluster on targets (rollout, cluster);
-- one rollout at a time works on a cluster
create unique index targets_running on targets (cluster) where state = 'running';
create index targets_due on targets (owner, due_at_us) where state = 'running';

create table tasks (
    id text collate "C" primary key,
    target text collate "C" not null references targets (id),
    position bigint not null,
    state text collate "C" not null
        check (state in ('pending', 'running', 'succeeded', 'failed', 'skipped', 'not_started')),
    state_body text not null,
    attempts bigint not null check (attempts between 0 and attempts_allowed),
    attempts_allowed bigint not null,
    open_attempt text collate "C"
);
comment on table tasks is 'Resources to upgrade inside a target, in order.';
comment on column tasks.id is 'the task''s id';
comment on column tasks.target is 'the target that it belongs to';
comment on column tasks.position is 'its place in the target, from 0';
comment on column tasks.state is 'pending, running, succeeded, failed, skipped or not_started';
comment on column tasks.state_body is 'the state with its data, JSON';
comment on column tasks.attempts is 'attempts made so far';
comment on column tasks.attempts_allowed is 'attempts that may be made';
comment on column tasks.open_attempt is 'the attempt that has not ended';

create unique index tasks_in_order on tasks (target, position);

create table attempts (
    id text collate "C" primary key,
    task text collate "C" not null references tasks (id),
    number bigint not null check (number > 0),
    job_name text collate "C" not null,
    upgrade_task_name text collate "C" not null,
    spec_hash text collate "C" not null,
    intended_at_us bigint not null,
    deadline_us bigint not null,
    job_uid text collate "C",
    upgrade_task_uid text collate "C",
    cancelled text,
    ended_at_us bigint,
    ended text,
    check ((ended is null) = (ended_at_us is null))
);
comment on table attempts is 'Tries at a task: written before anything is created in the cluster, closed once, never changed afterwards.';
comment on column attempts.id is 'the attempt''s id';
comment on column attempts.task is 'the task that it tries';
comment on column attempts.number is 'the how-manieth try, from 1';
comment on column attempts.job_name is 'the Job''s name';
comment on column attempts.upgrade_task_name is 'the UpgradeTask''s name';
comment on column attempts.spec_hash is 'the hash over the Job and UpgradeTask as sent';
comment on column attempts.intended_at_us is 'when the intent was committed';
comment on column attempts.deadline_us is 'when its Job must have ended by itself';
comment on column attempts.job_uid is 'the Job''s UID, once it is known';
comment on column attempts.upgrade_task_uid is 'the UpgradeTask''s UID, once it is known';
comment on column attempts.cancelled is 'why the hub suspends the Job, JSON';
comment on column attempts.ended_at_us is 'when it was judged';
comment on column attempts.ended is 'how it ended: verdict and evidence, JSON';

create unique index attempts_in_order on attempts (task, number);
-- at most one attempt of a task is open
create unique index attempts_open on attempts (task) where ended_at_us is null;

create table budgets (
    key text collate "C" primary key,
    scope text not null,
    in_use bigint not null check (in_use >= 0),
    asked_limit bigint not null
);
comment on table budgets is 'How many targets run, by scope: taken and given back in the transactions that start and end targets.';
comment on column budgets.key is 'the scope''s key';
comment on column budgets.scope is 'the scope, JSON';
comment on column budgets.in_use is 'slots taken';
comment on column budgets.asked_limit is 'the limit that was last asked with';

create table slots (
    target text collate "C" not null references targets (id),
    budget text collate "C" not null references budgets (key),
    primary key (target, budget)
);
comment on table slots is 'The slots that each running target holds: what it gives back when it ends.';
comment on column slots.target is 'who holds it';
comment on column slots.budget is 'of which budget';

create table leases (
    daemon text collate "C" primary key,
    epoch bigint not null,
    expires_at_us bigint not null,
    ended bigint not null check (ended in (0, 1))
);
comment on table leases is 'Which daemons are alive, by the database''s clock.';
comment on column leases.daemon is 'whose';
comment on column leases.epoch is 'raised whenever the lease ends: what was written under an older one is refused';
comment on column leases.expires_at_us is 'when it ends unless it is renewed';
comment on column leases.ended is '1 once it ended and what it owned was freed';

create table events (
    seq bigint primary key,
    schema bigint not null,
    type text collate "C" not null,
    rollout text collate "C",
    cluster text collate "C",
    at_us bigint not null,
    body text not null,
    previous text collate "C" not null,
    hash text collate "C" not null
);
comment on table events is 'Audit events, hash-chained; append-only.';
comment on column events.seq is 'the place in the chain, from 1 without gaps';
comment on column events.schema is 'the layout of the body';
comment on column events.type is 'what happened: a noun and a past participle';
comment on column events.rollout is 'the rollout that it is about';
comment on column events.cluster is 'the cluster that it is about';
comment on column events.at_us is 'when it happened';
comment on column events.body is 'the exact text that was hashed, JSON';
comment on column events.previous is 'the hash of the event before it; zeros for the first';
comment on column events.hash is 'its own hash';

create index events_by_rollout on events (rollout, seq) where rollout is not null;

create function events_are_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'audit events are neither changed nor deleted';
end
$$;

create trigger events_are_append_only before update or delete or truncate on events
execute function events_are_append_only();

create table audit_head (
    one bigint primary key check (one = 1),
    seq bigint not null,
    hash text collate "C" not null
);
comment on table audit_head is 'The end of the chain: one row, locked by whoever writes.';
comment on column audit_head.one is 'always 1';
comment on column audit_head.seq is 'the place of the last event; 0 while there is none';
comment on column audit_head.hash is 'its hash; zeros while there is none';

insert into audit_head (one, seq, hash)
values (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

create table tokens (
    id text collate "C" primary key,
    name text collate "C" not null,
    hash text collate "C" not null,
    role text collate "C" not null,
    selector text collate "C",
    created_at_us bigint not null,
    expires_at_us bigint,
    revoked_at_us bigint
);
comment on table tokens is 'API tokens without their secrets.';
comment on column tokens.id is 'the token''s id';
comment on column tokens.name is 'its name: the actor in audit events';
comment on column tokens.hash is 'the hash of its secret';
comment on column tokens.role is 'viewer, operator, admin or auditor';
comment on column tokens.selector is 'the clusters that an operator may touch, a label selector';
comment on column tokens.created_at_us is 'when it was made';
comment on column tokens.expires_at_us is 'when it ends';
comment on column tokens.revoked_at_us is 'when it was revoked';

create unique index tokens_by_name on tokens (name) where revoked_at_us is null;
create unique index tokens_by_hash on tokens (hash);

create table answers (
    principal text collate "C" not null,
    key text collate "C" not null,
    answer text not null,
    kept_at_us bigint not null,
    primary key (principal, key)
);
comment on table answers is 'Answers kept for idempotency keys.';
comment on column answers.principal is 'who asked';
comment on column answers.key is 'with which key';
comment on column answers.answer is 'what was answered';
comment on column answers.kept_at_us is 'when';

create index answers_by_time on answers (kept_at_us);
