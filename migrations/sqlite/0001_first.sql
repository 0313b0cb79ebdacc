-- The first layout. Times are Unix microseconds (`_us`), ids UUIDv7 text, hashes lowercase hexadecimal, bodies JSON
-- text that is never rewritten. `state` is the name of the state that `state_body` holds in full.

-- Registered clusters; a removed one keeps its row for the history.
create table clusters (
    -- the cluster's id, never reused
    id text primary key,
    -- its name, unique among the clusters that are not removed
    name text not null,
    -- its labels, a JSON object of texts
    labels text not null,
    -- its IANA time zone, where it differs from the fleet's
    time_zone text,
    -- the namespace in which OpenEBS runs
    namespace text not null,
    -- the name of the egress that its connections take
    egress text,
    -- the API server's URL
    server text not null,
    -- the UID of its namespace kube-system
    identity text,
    -- when its credential ends, where that can be told
    credential_expires_at_us integer,
    -- active, quarantined or removed
    state text not null check (state in ('active', 'quarantined', 'removed')),
    -- the state with its data, JSON
    state_body text not null,
    -- when it last answered and what happened since, JSON
    reach text not null,
    -- when it was registered
    registered_at_us integer not null,
    -- when a daemon last set out to read its inventory
    inventory_tried_at_us integer,
    -- raised by each change
    version integer not null
) strict, without rowid;

create unique index clusters_by_name on clusters (name) where state <> 'removed';

-- Sealed credentials; a removed cluster has none.
create table credentials (
    -- whose
    cluster text primary key references clusters (id),
    -- raised by each replacement; bound into the envelope
    version integer not null,
    -- the envelope: never anything in clear
    envelope blob not null,
    -- the CA certificates, PEM; their hash is bound into the envelope
    ca_pem text not null,
    -- the name in the server's certificate, where it differs from the host of the URL
    tls_server_name text
) strict;

-- The last inventory of each cluster.
create table inventories (
    -- whose
    cluster text primary key references clusters (id),
    -- when it was read
    taken_at_us integer not null,
    -- the name of its content
    digest text not null,
    -- the inventory, JSON
    body text not null
) strict;

-- Every fleet configuration that was ever applied.
create table fleets (
    -- the name of its content
    revision text primary key,
    -- the fleet, JSON
    body text not null,
    -- when it was last applied
    applied_at_us integer not null,
    -- by whom
    applied_by text not null
) strict;

-- This installation: one row.
create table hub (
    -- always 1: there is one hub in a store
    one integer primary key check (one = 1),
    -- the hub's id, made once; on every object that the hub creates in a cluster
    id text not null,
    -- when the store was made
    created_at_us integer not null,
    -- the check value of the sealing key, once one was used
    sealing_check text,
    -- the fleet configuration that is the current one
    revision text references fleets (revision)
) strict;

-- Plans, kept by the hub.
create table plans (
    -- the name of its content
    digest text primary key,
    -- the fleet configuration that it was made from
    revision text not null references fleets (revision),
    -- the group that it is for
    group_name text not null,
    -- the plan, canonical JSON: the bytes that the digest names
    body text not null,
    -- the planner's report, JSON
    report text not null,
    -- when it was made
    made_at_us integer not null,
    -- the time of the oldest inventory that it rests on
    oldest_inventory_at_us integer not null,
    -- by whom
    made_by text not null
) strict;

create index plans_by_time on plans (made_at_us);

-- Plans being carried out.
create table rollouts (
    -- the rollout's id
    id text primary key,
    -- the plan that it carries out
    plan text not null references plans (digest),
    -- the fleet's name
    fleet text not null,
    -- the group's name
    group_name text not null,
    -- the fleet configuration that the plan was made from
    revision text not null,
    -- running, paused, stopping or finished
    state text not null check (state in ('running', 'paused', 'stopping', 'finished')),
    -- the state with its data, JSON
    state_body text not null,
    -- when it was started
    started_at_us integer not null,
    -- who started it
    started_by text not null,
    -- when what is not done becomes debt
    deadline_us integer not null,
    -- when it finished
    finished_at_us integer,
    -- raised by each change
    version integer not null,
    check ((state = 'finished') = (finished_at_us is not null))
) strict, without rowid;

create index rollouts_unfinished on rollouts (id) where state <> 'finished';

-- The facts of each wave; its status is derived from them.
create table waves (
    -- the rollout that it is part of
    rollout text not null references rollouts (id),
    -- its place in the plan, from 0
    position integer not null,
    -- its name
    name text not null,
    -- when it opened
    opened_at_us integer,
    -- when its last target ended
    settled_at_us integer,
    -- when what follows it could open
    passed_at_us integer,
    -- who approved it, when and why, JSON
    approval text,
    primary key (rollout, position)
) strict, without rowid;

-- One cluster's part in one rollout.
create table targets (
    -- the target's id
    id text primary key,
    -- the rollout that it belongs to
    rollout text not null references rollouts (id),
    -- the cluster
    cluster text not null references clusters (id),
    -- the wave, from 0
    wave integer not null,
    -- its place inside the wave, from 0
    position integer not null,
    -- pending, running, deferred, succeeded, failed or skipped
    state text not null check (state in ('pending', 'running', 'deferred', 'succeeded', 'failed', 'skipped')),
    -- the state with its data, JSON
    state_body text not null,
    -- when it first started
    first_started_at_us integer,
    -- raised by each change and when its owner loses it: the fence
    version integer not null,
    -- while running: the daemon that works on it; null when its daemon's lease ended
    owner text,
    -- while owned: the epoch of the owner's lease
    owner_epoch integer,
    -- while running: when it is looked at next
    due_at_us integer,
    -- 1 while a step is under way
    held integer not null default 0 check (held in (0, 1)),
    -- while a step is under way: when somebody asked for another one right after it
    woken_at_us integer,
    foreign key (rollout, wave) references waves (rollout, position),
    check ((state = 'running') = (due_at_us is not null)),
    check (state = 'running' or (owner is null and held = 0 and woken_at_us is null)),
    check ((owner is null) = (owner_epoch is null))
) strict, without rowid;

create unique index targets_in_order on targets (rollout, wave, position);
create unique index targets_by_cluster on targets (rollout, cluster);
-- one rollout at a time works on a cluster
create unique index targets_running on targets (cluster) where state = 'running';
create index targets_due on targets (owner, due_at_us) where state = 'running';

-- Resources to upgrade inside a target, in order.
create table tasks (
    -- the task's id
    id text primary key,
    -- the target that it belongs to
    target text not null references targets (id),
    -- its place in the target, from 0
    position integer not null,
    -- pending, running, succeeded, failed, skipped or not_started
    state text not null
        check (state in ('pending', 'running', 'succeeded', 'failed', 'skipped', 'not_started')),
    -- the state with its data, JSON
    state_body text not null,
    -- attempts made so far
    attempts integer not null check (attempts between 0 and attempts_allowed),
    -- attempts that may be made
    attempts_allowed integer not null,
    -- the attempt that has not ended
    open_attempt text
) strict, without rowid;

create unique index tasks_in_order on tasks (target, position);

-- Tries at a task: written before anything is created in the cluster, closed once, never changed afterwards.
create table attempts (
    -- the attempt's id
    id text primary key,
    -- the task that it tries
    task text not null references tasks (id),
    -- the how-manieth try, from 1
    number integer not null check (number > 0),
    -- the Job's name
    job_name text not null,
    -- the UpgradeTask's name
    upgrade_task_name text not null,
    -- the hash over the Job and UpgradeTask as sent
    spec_hash text not null,
    -- when the intent was committed
    intended_at_us integer not null,
    -- when its Job must have ended by itself
    deadline_us integer not null,
    -- the Job's UID, once it is known
    job_uid text,
    -- the UpgradeTask's UID, once it is known
    upgrade_task_uid text,
    -- why the hub suspends the Job, JSON
    cancelled text,
    -- when it was judged
    ended_at_us integer,
    -- how it ended: verdict and evidence, JSON
    ended text,
    check ((ended is null) = (ended_at_us is null))
) strict, without rowid;

create unique index attempts_in_order on attempts (task, number);
-- at most one attempt of a task is open
create unique index attempts_open on attempts (task) where ended_at_us is null;

-- How many targets run, by scope: taken and given back in the transactions that start and end targets.
create table budgets (
    -- the scope's key
    key text primary key,
    -- the scope, JSON
    scope text not null,
    -- slots taken
    in_use integer not null check (in_use >= 0),
    -- the limit that was last asked with
    asked_limit integer not null
) strict, without rowid;

-- The slots that each running target holds: what it gives back when it ends.
create table slots (
    -- who holds it
    target text not null references targets (id),
    -- of which budget
    budget text not null references budgets (key),
    primary key (target, budget)
) strict, without rowid;

-- Which daemons are alive, by the database's clock.
create table leases (
    -- whose
    daemon text primary key,
    -- raised whenever the lease ends: what was written under an older one is refused
    epoch integer not null,
    -- when it ends unless it is renewed
    expires_at_us integer not null,
    -- 1 once it ended and what it owned was freed
    ended integer not null check (ended in (0, 1))
) strict, without rowid;

-- Audit events, hash-chained; append-only.
create table events (
    -- the place in the chain, from 1 without gaps
    seq integer primary key,
    -- the layout of the body
    schema integer not null,
    -- what happened: a noun and a past participle
    type text not null,
    -- the rollout that it is about
    rollout text,
    -- the cluster that it is about
    cluster text,
    -- when it happened
    at_us integer not null,
    -- the exact text that was hashed, JSON
    body text not null,
    -- the hash of the event before it; zeros for the first
    previous text not null,
    -- its own hash
    hash text not null
) strict;

create index events_by_rollout on events (rollout, seq) where rollout is not null;

create trigger events_are_not_changed before update on events
begin
    select raise(abort, 'audit events are not changed');
end;

create trigger events_are_not_deleted before delete on events
begin
    select raise(abort, 'audit events are not deleted');
end;

-- The end of the chain: one row, locked by whoever writes.
create table audit_head (
    -- always 1
    one integer primary key check (one = 1),
    -- the place of the last event; 0 while there is none
    seq integer not null,
    -- its hash; zeros while there is none
    hash text not null
) strict;

insert into audit_head (one, seq, hash)
values (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- API tokens without their secrets.
create table tokens (
    -- the token's id
    id text primary key,
    -- its name: the actor in audit events
    name text not null,
    -- the hash of its secret
    hash text not null,
    -- viewer, operator, admin or auditor
    role text not null,
    -- the clusters that an operator may touch, a label selector
    selector text,
    -- when it was made
    created_at_us integer not null,
    -- when it ends
    expires_at_us integer,
    -- when it was revoked
    revoked_at_us integer
) strict, without rowid;

create unique index tokens_by_name on tokens (name) where revoked_at_us is null;
create unique index tokens_by_hash on tokens (hash);

-- Answers kept for idempotency keys.
create table answers (
    -- who asked
    principal text not null,
    -- with which key
    key text not null,
    -- what was answered
    answer text not null,
    -- when
    kept_at_us integer not null,
    primary key (principal, key)
) strict, without rowid;

create index answers_by_time on answers (kept_at_us);
