//! Targets: started, given to daemons, worked on step by step, and ended.

use std::time::Duration;

use super::attempts;
use super::budgets;
use super::failure::{conflict, exactly_one};
use super::inventories;
use super::leases::{self, any_expired};
use super::session::{Columns, Dialect, Session, Value, statements};
use super::writer::Change;
use super::{Claimed, Fence, Lease, StartTarget, StoreError, TargetCommit};
use crate::domain::event::Event;
use crate::domain::target::{Target, TargetState, Task};
use crate::domain::{RolloutId, TargetId, Timestamp};

/// A target that was given out is not given out again before this has passed, or its step was committed: longer than
/// any step takes, since each of its calls has a deadline; a step that was lost is made up for then.
const HOLD: Duration = Duration::from_mins(2);

macro_rules! target_columns {
    () => {
        "targets.id, targets.rollout, targets.cluster, targets.wave, targets.position, targets.state_body, \
         targets.first_started_at_us, targets.version"
    };
}
pub(super) use target_columns;

macro_rules! task_columns {
    () => {
        "tasks.id, tasks.target, tasks.position, tasks.state_body, tasks.attempts, tasks.attempts_allowed, \
         tasks.open_attempt"
    };
}
pub(super) use task_columns;

statements! {
    OF_ROLLOUT = concat!(
        "select ", target_columns!(), " from targets where rollout = $1 order by wave, position");
    CHANGED = concat!(
        "select ", target_columns!(), " from targets where rollout = $1
            and cluster in (select cluster from events where rollout = $1 and seq > $2) order by wave, position");
    TASKS = concat!("select ", task_columns!(), " from tasks where target = $1 order by position");
    // Only what waits, as it was read, of a rollout that starts targets: a pause that came in between wins.
    START = "
        update targets set state = $3, state_body = $4, first_started_at_us = coalesce(first_started_at_us, $5),
            owner = $6, owner_epoch = $7, due_at_us = $5, held = 0, version = version + 1
        where id = $1 and version = $2 and state in ('pending', 'deferred')
            and exists (select 1 from rollouts where rollouts.id = targets.rollout and rollouts.state = 'running')";
    DUE = "
        select id, version from targets
        where state = 'running' and due_at_us <= $1 and (owner = $2 or owner is null)
        order by due_at_us, id limit $3";
    // The fence: this owner under this lease, and nothing happened since it read. What somebody asked for during the
    // step comes right after it. Without a time, the step goes on: it stays held, and is given out to nobody.
    STAY = "
        update targets set state = $5, state_body = $6, version = version + 1,
            held = case when cast($7 as bigint) is null then held else 0 end,
            due_at_us = case when cast($7 as bigint) is null then due_at_us
                when woken_at_us < $7 then woken_at_us else $7 end,
            woken_at_us = case when cast($7 as bigint) is null then woken_at_us end
        where id = $1 and owner = $2 and owner_epoch = $3 and version = $4 and state = 'running'";
    STAY_AS_IT_IS = "
        update targets set version = version + 1,
            held = case when cast($5 as bigint) is null then held else 0 end,
            due_at_us = case when cast($5 as bigint) is null then due_at_us
                when woken_at_us < $5 then woken_at_us else $5 end,
            woken_at_us = case when cast($5 as bigint) is null then woken_at_us end
        where id = $1 and owner = $2 and owner_epoch = $3 and version = $4 and state = 'running'";
    LEAVE = "
        update targets set state = $5, state_body = $6, owner = null, owner_epoch = null, due_at_us = null, held = 0,
            woken_at_us = null, version = version + 1
        where id = $1 and owner = $2 and owner_epoch = $3 and version = $4 and state = 'running'";
    SET_TASK = "update tasks set state = $3, state_body = $4 where id = $1 and target = $2";
    // A step that is under way is not disturbed, but followed by another one.
    WAKE = "
        update targets set woken_at_us = case when held = 1 then $3 else null end,
            due_at_us = case when held = 1 then due_at_us else $3 end
        where rollout = $1 and state = 'running' and (cast($2 as text) is null or id = $2) and due_at_us > $3";
}

/// `$1` is the daemon, `$2` the present.
macro_rules! any_due {
    ($clock:ident) => {
        concat!(
            "select cast(case when exists (
                select 1 from targets where state = 'running' and due_at_us <= $2 and (owner = $1 or owner is null)
            ) or ",
            any_expired!($clock),
            " then 1 else 0 end as bigint)"
        )
    };
}

/// `$1` is the daemon; 0 when there is something to inherit.
macro_rules! next_due {
    ($clock:ident) => {
        concat!(
            "select case when ",
            any_expired!($clock),
            " then 0 else (
                select min(due_at_us) from targets where state = 'running' and (owner = $1 or owner is null)
            ) end"
        )
    };
}

/// The version stays: a step that is under way for the same daemon goes on. Another owner's was fenced out when its
/// lease ended.
const CLAIM: &str = "with claimed (id, version, owner, owner_epoch, due_at_us) as (values";

const CLAIM_TAIL: &str = ")
    update targets set owner = claimed.owner, owner_epoch = claimed.owner_epoch, due_at_us = claimed.due_at_us,
        held = 1, woken_at_us = null
    from claimed where targets.id = claimed.id and targets.version = claimed.version";

/// Starts a target: its slots, its state, its owner.
pub(super) async fn start(change: &mut Change<'_>, start: StartTarget, events: Vec<Event>) -> Result<(), StoreError> {
    let StartTarget { target, version, state, at, lease, claims } = start;
    if !matches!(state, TargetState::Running { .. }) {
        return Err(conflict(format!("target {target}: started means running")));
    }
    leases::check(change, &lease).await?;
    budgets::take(change, target, &claims).await?;
    let values = vec![
        Value::text(target),
        version.into(),
        state.name().into(),
        Value::json(&state)?,
        at.into(),
        Value::text(lease.daemon),
        lease.epoch.into(),
    ];
    exactly_one(change.session.run(START, values).await?, || format!("target {target}"))?;
    change.tell(events);
    Ok(())
}

/// Whether [`claim`] would find anything: asked outside the writer, so that idle daemons write nothing.
pub(super) async fn any_due(session: &mut Session<'_>, lease: &Lease, now: Timestamp) -> Result<bool, StoreError> {
    let sql = match session.dialect() {
        Dialect::Sqlite => any_due!(sqlite_clock),
        Dialect::Postgres => any_due!(postgres_clock),
    };
    let row = session.row(sql, vec![Value::text(lease.daemon), now.into()]).await?;
    row.map_or(Ok(false), |row| Ok(row.columns().int()? == 1))
}

/// Gives running targets that are due to the holder of `lease`.
pub(super) async fn claim(
    change: &mut Change<'_>,
    lease: Lease,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Claimed>, StoreError> {
    leases::check(change, &lease).await?;
    leases::end_expired(change, &lease, now).await?;
    let rows = change.session.rows(DUE, vec![now.into(), Value::text(lease.daemon), limit.into()]).await?;
    let mut claimed = Vec::with_capacity(rows.len());
    let mut updates = Vec::with_capacity(rows.len());
    for row in rows {
        let mut columns = row.columns();
        let (target, version): (TargetId, i64) = (columns.id()?, columns.int()?);
        let owner = Value::text(lease.daemon);
        updates.push(vec![Value::text(target), version.into(), owner, lease.epoch.into(), (now + HOLD).into()]);
        claimed.push(Claimed { target, fence: Fence { lease, version } });
    }
    let taken = change.session.run_many(CLAIM, updates, CLAIM_TAIL).await?;
    if taken == claimed.len() as u64 { Ok(claimed) } else { Err(conflict("a target that is due")) }
}

/// When the next one is due; at once, when another daemon's lease ran out.
pub(super) async fn next_due(session: &mut Session<'_>, lease: &Lease) -> Result<Option<Timestamp>, StoreError> {
    let sql = match session.dialect() {
        Dialect::Sqlite => next_due!(sqlite_clock),
        Dialect::Postgres => next_due!(postgres_clock),
    };
    let row = session.row(sql, vec![Value::text(lease.daemon)]).await?;
    row.map_or(Ok(None), |row| row.columns().time_if_any())
}

/// One step of a running target.
pub(super) async fn commit(
    change: &mut Change<'_>,
    commit: TargetCommit,
    events: Vec<Event>,
) -> Result<(), StoreError> {
    let TargetCommit { target, fence, state, tasks, attempt, at, due_at } = commit;
    let mut values =
        vec![Value::text(target), Value::text(fence.lease.daemon), fence.lease.epoch.into(), fence.version.into()];
    let session = &mut change.session;
    let fenced = match &state {
        None => {
            values.push(due_at.into());
            session.run(STAY_AS_IT_IS, values).await?
        }
        Some(state) => {
            values.extend([state.name().into(), Value::json(state)?]);
            if matches!(state, TargetState::Running { .. }) {
                values.push(due_at.into());
                session.run(STAY, values).await?
            } else {
                session.run(LEAVE, values).await?
            }
        }
    };
    exactly_one(fenced, || format!("target {target}"))?;
    if let Some(state) = state.filter(|state| !matches!(state, TargetState::Running { .. })) {
        budgets::give_back(change, target).await?;
        inventories::overtake(change, target, !matches!(state, TargetState::Deferred { .. }), at).await?;
    }
    for (task, state) in &tasks {
        let values = vec![Value::text(task), Value::text(target), state.name().into(), Value::json(state)?];
        exactly_one(change.session.run(SET_TASK, values).await?, || format!("task {task}"))?;
    }
    if let Some(attempt) = &attempt {
        attempts::save(change, target, attempt).await?;
    }
    change.tell(events);
    Ok(())
}

/// Makes running targets due.
pub(super) async fn wake(
    change: &mut Change<'_>,
    rollout: RolloutId,
    target: Option<TargetId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let values = vec![Value::text(rollout), Value::text_if_any(target), now.into()];
    change.session.run(WAKE, values).await.map(drop)
}

/// The targets of a rollout, by wave and position.
pub(super) async fn of_rollout(session: &mut Session<'_>, rollout: RolloutId) -> Result<Vec<Target>, StoreError> {
    let rows = session.rows(OF_ROLLOUT, vec![Value::text(rollout)]).await?;
    rows.iter().map(|row| target(&mut row.columns())).collect()
}

/// Those targets of a rollout that something happened to after that event, by wave and position.
pub(super) async fn changed(
    session: &mut Session<'_>,
    rollout: RolloutId,
    after: i64,
) -> Result<Vec<Target>, StoreError> {
    let rows = session.rows(CHANGED, vec![Value::text(rollout), after.into()]).await?;
    rows.iter().map(|row| target(&mut row.columns())).collect()
}

/// The tasks of a target, in order.
pub(super) async fn tasks(session: &mut Session<'_>, target: TargetId) -> Result<Vec<Task>, StoreError> {
    let rows = session.rows(TASKS, vec![Value::text(target)]).await?;
    rows.iter().map(|row| task(&mut row.columns())).collect()
}

pub(super) fn target(columns: &mut Columns<'_>) -> Result<Target, StoreError> {
    Ok(Target {
        id: columns.id()?,
        rollout: columns.id()?,
        cluster: columns.id()?,
        wave: columns.count()?,
        position: columns.count()?,
        state: columns.json()?,
        first_started_at: columns.time_if_any()?,
        version: columns.int()?,
    })
}

pub(super) fn task(columns: &mut Columns<'_>) -> Result<Task, StoreError> {
    Ok(Task {
        id: columns.id()?,
        target: columns.id()?,
        position: columns.count()?,
        state: columns.json()?,
        attempts: columns.count()?,
        attempts_allowed: columns.count()?,
        open_attempt: columns.id_if_any()?,
    })
}

pub(super) fn task_row(task: &Task) -> Result<Vec<Value>, StoreError> {
    let Task { id, target, position, state, attempts, attempts_allowed, open_attempt } = task;
    Ok(vec![
        Value::text(id),
        Value::text(target),
        (*position).into(),
        state.name().into(),
        Value::json(state)?,
        (*attempts).into(),
        (*attempts_allowed).into(),
        Value::text_if_any(*open_attempt),
    ])
}
