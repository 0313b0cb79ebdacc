//! Rollouts with their waves, and the targets that change with them.

use super::events;
use super::failure::{conflict, exactly_one};
use super::session::{Columns, Dialect, Session, Value, statements};
use super::targets::{self, task_row};
use super::writer::Change;
use super::{NewRollout, Retry, RolloutChange, Snapshot, StoreError};
use crate::domain::event::Event;
use crate::domain::rollout::{Rollout, RolloutState, Wave};
use crate::domain::target::{Target, TargetState, Task};
use crate::domain::{PlanDigest, RolloutId};

macro_rules! rollout_columns {
    () => {
        "rollouts.id, rollouts.plan, rollouts.fleet, rollouts.group_name, rollouts.revision, rollouts.state_body, \
         rollouts.started_at_us, rollouts.started_by, rollouts.deadline_us, rollouts.finished_at_us, rollouts.version"
    };
}
pub(super) use rollout_columns;

statements! {
    BY_ID = concat!("select ", rollout_columns!(), " from rollouts where id = $1");
    PAGE = concat!("select ", rollout_columns!(), " from rollouts where id < $1 order by id desc limit $2");
    UNFINISHED = "select id from rollouts where state <> 'finished' order by id";
    PLAN_OF = "select plan from rollouts where id = $1";
    OTHER_OF_PLAN = "
        select id from rollouts where plan = $1 and id <> $2 and state <> 'finished' limit 1";
    INSERT = "
        insert into rollouts (id, plan, fleet, group_name, revision, state, state_body, started_at_us, started_by,
            deadline_us, finished_at_us, version)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    // A rollout that is finished stays as it is, unless failed targets of it are tried again.
    CHANGE_STATE = "
        update rollouts set state = $3, state_body = $4, finished_at_us = $5, version = version + 1
        where id = $1 and version = $2 and state <> 'finished'";
    REOPEN = "
        update rollouts set state = $3, state_body = $4, finished_at_us = null, version = version + 1
        where id = $1 and version = $2 and state = 'finished'";
    RAISE_VERSION = "
        update rollouts set version = version + 1 where id = $1 and version = $2 and state <> 'finished'";
    WAVES = "
        select position, name, opened_at_us, settled_at_us, passed_at_us, approval
        from waves where rollout = $1 order by position";
    CHANGE_WAVE = "
        update waves set opened_at_us = $3, settled_at_us = $4, passed_at_us = $5, approval = $6
        where rollout = $1 and position = $2";
}

const INSERT_WAVES: &str =
    "insert into waves (rollout, position, name, opened_at_us, settled_at_us, passed_at_us, approval) values";

const INSERT_TARGETS: &str = "
    insert into targets (id, rollout, cluster, wave, position, state, state_body, first_started_at_us, version) values";

const INSERT_TASKS: &str = "
    insert into tasks (id, target, position, state, state_body, attempts, attempts_allowed, open_attempt) values";

const CHANGE_TARGETS: &str = "with changed (id, version, state, state_body) as (values";

/// Each where its version is still the one that was read, none that runs, none that would.
const CHANGE_TARGETS_TAIL: &str = ")
    update targets set state = changed.state, state_body = changed.state_body, version = targets.version + 1
    from changed
    where targets.id = changed.id and targets.version = changed.version and targets.state <> 'running'";

const CHANGE_TASKS: &str = "with changed (id, target, attempts, state, state_body, attempts_allowed) as (values";

/// Each where nothing was tried since it was read.
const CHANGE_TASKS_TAIL: &str = ")
    update tasks set state = changed.state, state_body = changed.state_body,
        attempts_allowed = changed.attempts_allowed
    from changed
    where tasks.id = changed.id and tasks.target = changed.target and tasks.attempts = changed.attempts";

/// After the newest: a page that begins there begins with the first rollout.
const AFTER_ALL: &str = "g";

/// On Postgres several daemons write at once: whoever starts a rollout of that plan does so behind this lock.
const LOCK_PLAN: &str = "select digest from plans where digest = $1 for update";

/// Stores a rollout with its waves, targets and tasks. One plan has one unfinished rollout.
pub(super) async fn start(change: &mut Change<'_>, new: NewRollout, events: Vec<Event>) -> Result<(), StoreError> {
    let NewRollout { rollout, waves, targets } = new;
    let Rollout { id, plan, fleet, group, revision, state, started_at, started_by, deadline, finished_at, version } =
        rollout;
    only_one_of(change, &plan, id).await?;
    let values = vec![
        Value::text(id),
        plan.as_str().into(),
        fleet.into(),
        group.into(),
        revision.as_str().into(),
        state.name().into(),
        Value::json(&state)?,
        started_at.into(),
        started_by.into(),
        deadline.into(),
        finished_at.into(),
        version.into(),
    ];
    change.session.run(INSERT, values).await?;
    let waves = waves.iter().map(|wave| wave_row(id, wave)).collect::<Result<_, _>>()?;
    change.session.run_many(INSERT_WAVES, waves, "").await?;
    let mut rows = Vec::with_capacity(targets.len());
    let mut task_rows = Vec::new();
    for (target, tasks) in &targets {
        if matches!(target.state, TargetState::Running { .. }) {
            return Err(conflict(format!("target {}: a new one does not run", target.id)));
        }
        rows.push(target_row(target)?);
        for task in tasks {
            task_rows.push(task_row(task)?);
        }
    }
    change.session.run_many(INSERT_TARGETS, rows, "").await?;
    change.session.run_many(INSERT_TASKS, task_rows, "").await?;
    change.tell(events);
    Ok(())
}

/// Refuses when a rollout of this plan other than `one` is not finished.
async fn only_one_of(change: &mut Change<'_>, plan: &PlanDigest, one: RolloutId) -> Result<(), StoreError> {
    if change.session.dialect() == Dialect::Postgres {
        change.session.row(LOCK_PLAN, vec![plan.as_str().into()]).await?;
    }
    let values = vec![plan.as_str().into(), Value::text(one)];
    let Some(other) = change.session.row(OTHER_OF_PLAN, values).await? else { return Ok(()) };
    let name = format!("{} of this plan", other.columns().text()?);
    Err(StoreError::Exists { what: "rollout", name })
}

/// Rollouts, newest first, older than `before`.
pub(super) async fn page(
    session: &mut Session<'_>,
    before: Option<RolloutId>,
    limit: u32,
) -> Result<Vec<Rollout>, StoreError> {
    let before = before.map_or_else(|| AFTER_ALL.into(), Value::text);
    let rows = session.rows(PAGE, vec![before, limit.into()]).await?;
    rows.iter().map(|row| rollout(&mut row.columns())).collect()
}

pub(super) async fn unfinished(session: &mut Session<'_>) -> Result<Vec<RolloutId>, StoreError> {
    session.rows(UNFINISHED, vec![]).await?.iter().map(|row| row.columns().id()).collect()
}

/// One rollout with everything that decides about it.
pub(super) async fn snapshot(
    session: &mut Session<'_>,
    id: RolloutId,
    after: Option<i64>,
) -> Result<Snapshot, StoreError> {
    let end = events::head(session).await?.seq;
    let row = session.row(BY_ID, vec![Value::text(id)]).await?;
    let row = row.ok_or_else(|| StoreError::NotFound { what: "rollout", name: id.to_string() })?;
    let rows = session.rows(WAVES, vec![Value::text(id)]).await?;
    let waves = rows.iter().map(|row| wave(&mut row.columns())).collect::<Result<_, _>>()?;
    let targets = match after {
        None => targets::of_rollout(session, id).await?,
        Some(after) => targets::changed(session, id, after).await?,
    };
    Ok(Snapshot { end, rollout: rollout(&mut row.columns())?, waves, targets })
}

/// Changes a rollout's state and waves, and targets that do not run, as one.
pub(super) async fn change(
    change: &mut Change<'_>,
    wanted: RolloutChange,
    events: Vec<Event>,
) -> Result<(), StoreError> {
    let RolloutChange { rollout, version, state, finished_at, waves, targets } = wanted;
    let changed = match state {
        None => change.session.run(RAISE_VERSION, vec![Value::text(rollout), version.into()]).await?,
        Some(state) => {
            let finished_at = matches!(state, RolloutState::Finished { .. }).then_some(finished_at).flatten();
            let values = vec![
                Value::text(rollout),
                version.into(),
                state.name().into(),
                Value::json(&state)?,
                finished_at.into(),
            ];
            change.session.run(CHANGE_STATE, values).await?
        }
    };
    exactly_one(changed, || format!("rollout {rollout}"))?;
    change_waves(change, rollout, &waves).await?;
    change_targets(change, rollout, &targets).await?;
    change.tell(events);
    Ok(())
}

/// Takes targets of a rollout up again, with their tasks; a finished one runs again.
pub(super) async fn retry(change: &mut Change<'_>, wanted: Retry, events: Vec<Event>) -> Result<(), StoreError> {
    let Retry { rollout, version, reopened, waves, targets, tasks } = wanted;
    let changed = match &reopened {
        None => change.session.run(RAISE_VERSION, vec![Value::text(rollout), version.into()]).await?,
        Some(state) => {
            let row = change.session.row(PLAN_OF, vec![Value::text(rollout)]).await?;
            let row = row.ok_or_else(|| StoreError::NotFound { what: "rollout", name: rollout.to_string() })?;
            only_one_of(change, &row.columns().id()?, rollout).await?;
            let values = vec![Value::text(rollout), version.into(), state.name().into(), Value::json(state)?];
            change.session.run(REOPEN, values).await?
        }
    };
    exactly_one(changed, || format!("rollout {rollout}"))?;
    change_waves(change, rollout, &waves).await?;
    change_targets(change, rollout, &targets).await?;
    change_tasks(change, rollout, &tasks).await?;
    change.tell(events);
    Ok(())
}

async fn change_waves(change: &mut Change<'_>, rollout: RolloutId, waves: &[Wave]) -> Result<(), StoreError> {
    for wave in waves {
        let Wave { position, name, opened_at, settled_at, passed_at, approval } = wave;
        let values = vec![
            Value::text(rollout),
            (*position).into(),
            (*opened_at).into(),
            (*settled_at).into(),
            (*passed_at).into(),
            approval.as_ref().map_or(Ok(Value::Text(None)), Value::json)?,
        ];
        let changed = change.session.run(CHANGE_WAVE, values).await?;
        exactly_one(changed, || format!("wave {name} of rollout {rollout}"))?;
    }
    Ok(())
}

async fn change_targets(change: &mut Change<'_>, rollout: RolloutId, targets: &[Target]) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(targets.len());
    for target in targets {
        if target.rollout != rollout || matches!(target.state, TargetState::Running { .. }) {
            return Err(conflict(format!("target {}", target.id)));
        }
        rows.push(vec![
            Value::text(target.id),
            target.version.into(),
            target.state.name().into(),
            Value::json(&target.state)?,
        ]);
    }
    let changed = change.session.run_many(CHANGE_TARGETS, rows, CHANGE_TARGETS_TAIL).await?;
    if changed == targets.len() as u64 { Ok(()) } else { Err(conflict(format!("a target of rollout {rollout}"))) }
}

async fn change_tasks(change: &mut Change<'_>, rollout: RolloutId, tasks: &[Task]) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(tasks.len());
    for task in tasks {
        rows.push(vec![
            Value::text(task.id),
            Value::text(task.target),
            task.attempts.into(),
            task.state.name().into(),
            Value::json(&task.state)?,
            task.attempts_allowed.into(),
        ]);
    }
    let changed = change.session.run_many(CHANGE_TASKS, rows, CHANGE_TASKS_TAIL).await?;
    if changed == tasks.len() as u64 { Ok(()) } else { Err(conflict(format!("a task of rollout {rollout}"))) }
}

fn wave_row(rollout: RolloutId, wave: &Wave) -> Result<Vec<Value>, StoreError> {
    let Wave { position, name, opened_at, settled_at, passed_at, approval } = wave;
    Ok(vec![
        Value::text(rollout),
        (*position).into(),
        name.as_str().into(),
        (*opened_at).into(),
        (*settled_at).into(),
        (*passed_at).into(),
        approval.as_ref().map_or(Ok(Value::Text(None)), Value::json)?,
    ])
}

fn target_row(target: &Target) -> Result<Vec<Value>, StoreError> {
    let Target { id, rollout, cluster, wave, position, state, first_started_at, version } = target;
    Ok(vec![
        Value::text(id),
        Value::text(rollout),
        Value::text(cluster),
        (*wave).into(),
        (*position).into(),
        state.name().into(),
        Value::json(state)?,
        (*first_started_at).into(),
        (*version).into(),
    ])
}

pub(super) fn rollout(columns: &mut Columns<'_>) -> Result<Rollout, StoreError> {
    Ok(Rollout {
        id: columns.id()?,
        plan: columns.id()?,
        fleet: columns.text()?,
        group: columns.text()?,
        revision: columns.id()?,
        state: columns.json()?,
        started_at: columns.time()?,
        started_by: columns.text()?,
        deadline: columns.time()?,
        finished_at: columns.time_if_any()?,
        version: columns.int()?,
    })
}

fn wave(columns: &mut Columns<'_>) -> Result<Wave, StoreError> {
    Ok(Wave {
        position: columns.count()?,
        name: columns.text()?,
        opened_at: columns.time_if_any()?,
        settled_at: columns.time_if_any()?,
        passed_at: columns.time_if_any()?,
        approval: columns.json_if_any()?,
    })
}
