//! What is read of targets as a whole: everything that a step needs, and the table of results.

use super::attempts::{self, attempt, attempt_columns};
use super::rollouts::{rollout, rollout_columns};
use super::session::{Row, Session, Value, statements};
use super::targets::{self, target, target_columns, task, task_columns};
use super::{Lease, ResultQuery, ResultRow, StoreError, TargetWork};
use crate::domain::{ClusterId, TargetId};

macro_rules! result_rows {
    ($more:literal) => {
        concat!(
            "select clusters.id, clusters.name, ",
            target_columns!(),
            ", ",
            task_columns!(),
            ", ",
            attempt_columns!(),
            "
            from targets
                join clusters on clusters.id = targets.cluster
                join tasks on tasks.target = targets.id
                left join attempts on attempts.task = tasks.id and attempts.number = tasks.attempts
            where targets.rollout = $1 and (cast($2 as text) is null or targets.cluster = $2)
            ",
            $more,
            "
            order by targets.wave, targets.position, tasks.position limit $3"
        )
    };
}

statements! {
    TARGET = concat!("
        select ", target_columns!(), ", ", rollout_columns!(), ", targets.owner, targets.owner_epoch
        from targets join rollouts on rollouts.id = targets.rollout where targets.id = $1");
    RESULTS = result_rows!("");
    // The first condition says less than the second, but an index can begin with it.
    RESULTS_AFTER = result_rows!("
        and (targets.wave, targets.position) >= (
            select t.wave, t.position from tasks k join targets t on t.id = k.target where k.id = $4)
        and (targets.wave, targets.position, tasks.position) > (
            select t.wave, t.position, k.position from tasks k join targets t on t.id = k.target where k.id = $4)");
}

/// Everything about one target that a step needs.
pub(super) async fn of_target(session: &mut Session<'_>, id: TargetId) -> Result<TargetWork, StoreError> {
    let row = session.row(TARGET, vec![Value::text(id)]).await?;
    let row = row.ok_or_else(|| StoreError::NotFound { what: "target", name: id.to_string() })?;
    let mut columns = row.columns();
    let (target, rollout) = (target(&mut columns)?, rollout(&mut columns)?);
    let (daemon, epoch) = (columns.id_if_any()?, columns.int_if_any()?);
    let owner = daemon.zip(epoch).map(|(daemon, epoch)| Lease { daemon, epoch });
    let tasks = targets::tasks(session, id).await?;
    // An open attempt is named by its task: mostly there is none, and then none is looked for.
    let open_attempt =
        if tasks.iter().any(|task| task.open_attempt.is_some()) { attempts::open(session, id).await? } else { None };
    Ok(TargetWork { target, tasks, open_attempt, rollout, owner })
}

/// One row a task, in the plan's order.
pub(super) async fn results(session: &mut Session<'_>, query: ResultQuery) -> Result<Vec<ResultRow>, StoreError> {
    let ResultQuery { rollout, cluster, after, limit } = query;
    let mut values = vec![Value::text(rollout), Value::text_if_any(cluster), limit.into()];
    let sql = match after {
        None => RESULTS,
        Some(task) => {
            values.push(Value::text(task));
            RESULTS_AFTER
        }
    };
    session.rows(sql, values).await?.iter().map(result).collect()
}

fn result(row: &Row) -> Result<ResultRow, StoreError> {
    let mut columns = row.columns();
    let (cluster, cluster_name): (ClusterId, String) = (columns.id()?, columns.text()?);
    let target = target(&mut columns)?;
    let task = task(&mut columns)?;
    let last_attempt = if columns.is_null()? { None } else { Some(attempt(&mut columns)?) };
    Ok(ResultRow { cluster, cluster_name, target, task, last_attempt })
}
