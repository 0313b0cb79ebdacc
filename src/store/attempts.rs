//! Attempts: written before anything is created in a cluster, closed once, never changed afterwards.

use super::StoreError;
use super::failure::exactly_one;
use super::session::{Columns, Session, Value, statements};
use super::writer::Change;
use crate::domain::attempt::{AttemptEnd, Outcome};
use crate::domain::{Attempt, TargetId, TaskId};

macro_rules! attempt_columns {
    () => {
        "attempts.id, attempts.task, attempts.number, attempts.job_name, attempts.upgrade_task_name, \
         attempts.spec_hash, attempts.intended_at_us, attempts.deadline_us, attempts.job_uid, \
         attempts.upgrade_task_uid, attempts.cancelled, attempts.completed_seen_at_us, attempts.held_up, \
         attempts.resource_before, attempts.ended"
    };
}
pub(super) use attempt_columns;

statements! {
    OF_TASK = concat!("select ", attempt_columns!(), " from attempts where task = $1 order by number");
    OPEN_OF_TARGET = concat!("
        select ", attempt_columns!(), " from attempts join tasks on tasks.open_attempt = attempts.id
        where tasks.target = $1 order by tasks.position limit 1");
    // The guard of the whole promise: the next number, while none is open and more are allowed; or the open one.
    HOLD_OPEN = "
        update tasks set attempts = $3, open_attempt = $4
        where id = $1 and target = $2 and (open_attempt = $4
            or (open_attempt is null and attempts = $3 - 1 and attempts < attempts_allowed))";
    CLOSE = "
        update tasks set attempts = $3, open_attempt = null
        where id = $1 and target = $2 and (open_attempt = $4
            or (open_attempt is null and attempts = $3 - 1 and attempts < attempts_allowed))";
    // What was not begun costs no attempt, though its number and the names made from it are used up.
    GRANT_ANOTHER = "update tasks set attempts_allowed = attempts_allowed + 1 where id = $1 and target = $2";
    // What was intended stays as it was committed, but for the deadline, which counts from the Job's creation; what is
    // found out is added; what ended is not touched.
    SAVE = "
        insert into attempts (id, task, number, job_name, upgrade_task_name, spec_hash, intended_at_us, deadline_us,
            job_uid, upgrade_task_uid, cancelled, completed_seen_at_us, held_up, resource_before, ended_at_us, ended)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        on conflict (id) do update set deadline_us = excluded.deadline_us, job_uid = excluded.job_uid,
            upgrade_task_uid = excluded.upgrade_task_uid, cancelled = excluded.cancelled,
            completed_seen_at_us = excluded.completed_seen_at_us, held_up = excluded.held_up,
            ended_at_us = excluded.ended_at_us, ended = excluded.ended
            where attempts.ended_at_us is null and attempts.task = excluded.task
                and attempts.number = excluded.number and attempts.job_name = excluded.job_name
                and attempts.spec_hash = excluded.spec_hash";
}

/// Writes an attempt that is new or changed, and what its task says of it.
pub(super) async fn save(change: &mut Change<'_>, target: TargetId, attempt: &Attempt) -> Result<(), StoreError> {
    let Attempt {
        id,
        task,
        number,
        job_name,
        upgrade_task_name,
        spec_hash,
        intended_at,
        deadline,
        job_uid,
        upgrade_task_uid,
        cancelled,
        completed_seen_at,
        held_up,
        resource_before,
        end,
    } = attempt;
    let guard = if end.is_none() { HOLD_OPEN } else { CLOSE };
    let values = vec![Value::text(task), Value::text(target), (*number).into(), Value::text(id)];
    exactly_one(change.session.run(guard, values).await?, || format!("attempt {number} of task {task}"))?;
    if matches!(end, Some(AttemptEnd { outcome: Outcome::NotBegun { .. }, .. })) {
        let values = vec![Value::text(task), Value::text(target)];
        exactly_one(change.session.run(GRANT_ANOTHER, values).await?, || format!("task {task}"))?;
    }
    let values = vec![
        Value::text(id),
        Value::text(task),
        (*number).into(),
        job_name.as_str().into(),
        upgrade_task_name.as_str().into(),
        spec_hash.as_str().into(),
        (*intended_at).into(),
        (*deadline).into(),
        job_uid.clone().into(),
        upgrade_task_uid.clone().into(),
        cancelled.as_ref().map_or(Ok(Value::Text(None)), Value::json)?,
        (*completed_seen_at).into(),
        held_up.clone().into(),
        resource_before.as_ref().map_or(Ok(Value::Text(None)), Value::json)?,
        end.as_ref().map(|end| end.at).into(),
        end.as_ref().map_or(Ok(Value::Text(None)), Value::json)?,
    ];
    exactly_one(change.session.run(SAVE, values).await?, || format!("attempt {number} of task {task}"))
}

/// Every attempt of a task, oldest first.
pub(super) async fn of_task(session: &mut Session<'_>, task: TaskId) -> Result<Vec<Attempt>, StoreError> {
    let rows = session.rows(OF_TASK, vec![Value::text(task)]).await?;
    rows.iter().map(|row| attempt(&mut row.columns())).collect()
}

/// The attempt of a target that has not ended.
pub(super) async fn open(session: &mut Session<'_>, target: TargetId) -> Result<Option<Attempt>, StoreError> {
    let row = session.row(OPEN_OF_TARGET, vec![Value::text(target)]).await?;
    row.map(|row| attempt(&mut row.columns())).transpose()
}

pub(super) fn attempt(columns: &mut Columns<'_>) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        id: columns.id()?,
        task: columns.id()?,
        number: columns.count()?,
        job_name: columns.text()?,
        upgrade_task_name: columns.text()?,
        spec_hash: columns.text()?,
        intended_at: columns.time()?,
        deadline: columns.time()?,
        job_uid: columns.text_if_any()?,
        upgrade_task_uid: columns.text_if_any()?,
        cancelled: columns.json_if_any()?,
        completed_seen_at: columns.time_if_any()?,
        held_up: columns.text_if_any()?,
        resource_before: columns.json_if_any()?,
        end: columns.json_if_any::<AttemptEnd>()?,
    })
}
