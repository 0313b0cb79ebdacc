//! The UpgradeTasks of one run: found or created under the names that upstream computes, begun, and closed.

use std::sync::Arc;

use super::api::{Refusal, explain};
use super::journal::{Journal, Step};
use super::object::{Object, Place, UPGRADE_TASKS};
use super::order::{Order, same_order};
use super::problem::{Cause, Problem};
use super::task::{Run, Task};
use crate::domain::ResourceRef;
use crate::openebs::{UpgradeTask, names};

/// Begins the upgrade that the UpgradeTask `found` asks for.
pub async fn begin(run: &Arc<Run>, found: &Object, order: Order, resource: ResourceRef) -> Result<Task, Problem> {
    let journal = Arc::new(Journal::begin(&run.api, &run.clock, found, &resource.to_string()).await?);
    run.remember(&journal);
    Ok(Task::new(run, resource, order, journal))
}

/// Begins the upgrade of `resource` under its computed name: as upstream, an UpgradeTask that exists is used, one that
/// does not is created. One that asks for something else is an error.
pub async fn begin_named(run: &Arc<Run>, order: Order, resource: ResourceRef) -> Result<Task, Problem> {
    let place = UPGRADE_TASKS.named(&run.namespace, &names::upgrade_task(&resource));
    let found = if let Some(found) = run.api.find(&place).await? {
        found
    } else {
        create(run, &place, &order, &resource).await?
    };
    let task: UpgradeTask = serde_json::from_value(found.body.clone())
        .map_err(|error| Problem::refused(&place, format!("it cannot be read: {error}"), "an UpgradeTask"))?;
    same_order(&task, &order, &resource)?;
    let step_timeout = Order::read(&task.spec)?.step_timeout.or(order.step_timeout);
    begin(run, &found, Order { step_timeout, ..order }, resource).await
}

/// Looks whether `resources` of the parent have records of other upgrades, which would stop it half-way; names all.
pub async fn check_children(parent: &Task, resources: &[ResourceRef]) -> Result<(), Problem> {
    let mut refused: Vec<Problem> = Vec::new();
    for resource in resources {
        let place = UPGRADE_TASKS.named(parent.namespace(), &names::upgrade_task(resource));
        let Some(found) = parent.api().find(&place).await? else { continue };
        let read: Result<UpgradeTask, _> = serde_json::from_value(found.body);
        let checked = match read {
            Ok(task) => same_order(&task, &parent.order, resource),
            Err(error) => Err(Problem::refused(&place, format!("it cannot be read: {error}"), "an UpgradeTask")),
        };
        if let Err(problem) = checked {
            refused.push(problem);
        }
    }
    let Some((last, others)) = refused.split_last() else { return Ok(()) };
    if others.is_empty() {
        return Err(last.clone());
    }
    let told: Vec<String> = refused.iter().map(|one| format!("{}: {}", one.object, one.seen)).collect();
    let names: Vec<&str> = refused.iter().filter_map(|one| one.object.split_once('/')).map(|(_, name)| name).collect();
    Err(Problem::refused(&parent.resource, told.join("; "), "UpgradeTasks of this upgrade, or none").remedy(format!(
        "`kubectl delete upgradetask {}` once nobody needs their records, then run the upgrade again",
        names.join(" ")
    )))
}

async fn create(run: &Run, place: &Place, order: &Order, resource: &ResourceRef) -> Result<Object, Problem> {
    let task = UpgradeTask::named(&run.namespace, &place.name, order.spec(resource));
    let mut body = serde_json::to_value(task).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        members.remove("status");
    }
    match run.api.create(place, &body).await {
        Ok(created) => Ok(created),
        Err(Refusal::Exists) => run.api.get(place).await,
        Err(refusal) => Err(explain(refusal, place)),
    }
}

/// Begins the upgrade of one pool of a parent that is being upgraded.
pub async fn begin_child(parent: &Task, resource: ResourceRef) -> Result<Task, Problem> {
    begin_named(&parent.run, parent.order.clone(), resource).await
}

/// Closes the record: `Success`, or the step `Errored` and `Error`. The upgrade's own problem is answered, also when it
/// could not be written.
pub async fn close(task: &Task, result: Result<(), Problem>) -> Result<(), Problem> {
    let problem = match result {
        Ok(()) => return task.journal.succeeded().await,
        Err(problem) => problem,
    };
    if let Err(unwritten) = task.journal.failed(&problem).await {
        tracing::error!(upgrade = %task.resource, "the failure could not be recorded: {unwritten}");
    }
    // What was touched is no longer a mere refusal.
    let cause = if problem.cause == Cause::Refused { Cause::Failed } else { problem.cause };
    Err(problem.because(cause))
}

/// Writes on an UpgradeTask that cannot be carried out why it cannot; best effort, the run has failed anyway.
pub async fn refuse(run: &Arc<Run>, found: &Object, problem: &Problem) {
    let written = async {
        let journal = Journal::begin(&run.api, &run.clock, found, &found.place.to_string()).await?;
        journal.waiting(Step::PreUpgrade).await?;
        journal.failed(problem).await
    };
    if let Err(unwritten) = written.await {
        tracing::error!("the refusal could not be recorded: {unwritten}");
    }
}
