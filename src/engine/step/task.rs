//! No attempt is under way: which task is next, and may it start?

use super::unseen::defer;
use super::{Broken, Left, Scene, attempt};
use crate::cluster::inventory::{self, Around};
use crate::cluster::{Edge, EdgeError};
use crate::domain::attempt::Attempt;
use crate::domain::event::EventType;
use crate::domain::fleet::Attached;
use crate::domain::inventory::Condition;
use crate::domain::observation::ResourceSeen;
use crate::domain::plan::PlannedTask;
use crate::domain::target::{SkipReason, TargetState, Task, TaskState};
use crate::domain::{AttemptId, ResourceRef, Timestamp};
use crate::engine::decide::attempt::deadline;
use crate::engine::decide::target::{
    BeforeTask, Finish, Next, Reading, before_task, disturbed_at, next, outside_window,
};
use crate::openebs::control_plane;
use crate::openebs::job::{AttemptOrder, build};

/// Considers the next task, until one starts, waits, or none is left. Each turn settles a task or ends the step.
pub(super) async fn next_task(scene: &mut Scene<'_>, edge: &Edge) -> Result<Left, Broken> {
    loop {
        let now = scene.now();
        scene.draft.tick(now);
        let TargetState::Running { since, .. } = scene.draft.work.target.state else { return Ok(Left::Ended) };
        let planned = scene.planned().tasks.clone();
        let rollout = &scene.draft.work.rollout.state;
        let next = next(rollout, scene.draft.tasks(), &planned, since, &scene.rules, now);
        let shut = outside_window(&next, &scene.plan.strategy.windows, &scene.planned().time_zone, now);
        if let Some(reason) = shut {
            return Ok(defer(scene, reason, None).await?);
        }
        let task = match next {
            Next::Finish(finish) => return finish_target(scene, finish, now).await,
            Next::WaitUntil { at, doing } => {
                scene.draft.runs(doing, at);
                scene.commit().await?;
                return Ok(Left::Running);
            }
            Next::Consider(task) => task.clone(),
        };
        let what = &planned[task.position as usize];
        // Questions that do not depend on each other: on a link across the world that is one round trip.
        let (Around { operators, busy }, resource, unused) = tokio::try_join!(
            inventory::around(edge, &what.resource),
            inventory::read_resource(edge, &what.resource, &what.resource_namespace),
            unused(edge, &what.resource, scene.rules.attached),
        )?;
        let control_plane = control_plane::is_at(&operators, what.resource.kind, &what.to);
        let reading = Reading { control_plane, busy, unused, resource };
        let first_started = scene.draft.work.target.first_started_at.unwrap_or(since);
        let settling_since = disturbed_at(scene.draft.tasks(), first_started);
        match before_task(&task, what, &reading, settling_since, &scene.rules, now) {
            BeforeTask::Attempt => {
                if !intend(scene, &task, what, reading.resource, now) {
                    continue;
                }
                scene.commit().await?;
                return Box::pin(attempt::further(scene, edge)).await;
            }
            BeforeTask::Skip(reason) => {
                skip(scene, &task, what, reason, now);
                scene.commit().await?;
            }
            BeforeTask::Fail(reason) => {
                fail(scene, &task, what, reason, now);
                scene.commit().await?;
            }
            BeforeTask::Wait { time, doing } => {
                scene.draft.runs(format!("{}: {doing}", what.resource), now + time);
                scene.commit().await?;
                return Ok(Left::Running);
            }
            BeforeTask::Defer(reason) => return Ok(defer(scene, reason, None).await?),
        }
    }
}

/// Whether nobody uses what the task stops: asked only for strategies that refuse volumes in use, and asked again
/// although the plan did, since Pods come and go.
async fn unused(edge: &Edge, resource: &ResourceRef, attached: Attached) -> Result<Condition, EdgeError> {
    match attached {
        Attached::Refuse => inventory::unused(edge, resource).await,
        Attached::Allow | Attached::Warn => Ok(Condition::Holds),
    }
}

/// The attempt's names, before anything is created; `false` if the task failed instead.
fn intend(scene: &mut Scene<'_>, task: &Task, what: &PlannedTask, before: ResourceSeen, now: Timestamp) -> bool {
    let id = AttemptId::new(now, &*scene.engine.entropy);
    let number = task.attempts + 1;
    let order = AttemptOrder {
        hub: scene.engine.hub,
        rollout: scene.draft.work.rollout.id,
        task: task.id,
        attempt: id,
        number,
        epoch: scene.draft.epoch(),
        deadline: scene.rules.task_deadline,
        planned: what,
    };
    let objects = match build(&order) {
        Ok(objects) => objects,
        Err(error) => {
            fail(scene, task, what, error.to_string(), now);
            return false;
        }
    };
    let attempt = Attempt {
        id,
        task: task.id,
        number,
        job_name: objects.job.metadata.name.unwrap_or_default(),
        upgrade_task_name: objects.upgrade_task.metadata.name.unwrap_or_default(),
        spec_hash: objects.spec_hash,
        intended_at: now,
        deadline: deadline(now, &scene.rules),
        job_uid: None,
        upgrade_task_uid: None,
        cancelled: None,
        completed_seen_at: None,
        held_up: None,
        resource_before: Some(before),
        end: None,
    };
    let job = attempt.job_name.clone();
    scene.draft.does(format!("{}: attempt {number} begins", what.resource));
    scene.draft.task(task.id, TaskState::Running { since: now });
    scene.draft.attempt(attempt);
    scene.draft.event(EventType::AttemptIntended, |event| {
        event.with("resource", what.resource.to_string()).with("number", number).with("job", job)
    });
    true
}

fn skip(scene: &mut Scene<'_>, task: &Task, what: &PlannedTask, reason: SkipReason, now: Timestamp) {
    scene.draft.task_event(EventType::TaskSkipped, task.id, |event| {
        event.because(reason.to_string()).with("resource", what.resource.to_string())
    });
    scene.draft.task(task.id, TaskState::Skipped { at: now, reason });
    scene.draft.does(format!("{} is skipped", what.resource));
}

fn fail(scene: &mut Scene<'_>, task: &Task, what: &PlannedTask, reason: String, now: Timestamp) {
    scene.draft.task_event(EventType::TaskFailed, task.id, |event| {
        event.because(reason.as_str()).with("resource", what.resource.to_string())
    });
    scene.draft.task(task.id, TaskState::Failed { at: now, reason });
    scene.draft.does(format!("{} failed", what.resource));
}

async fn finish_target(scene: &mut Scene<'_>, finish: Finish, at: Timestamp) -> Result<Left, Broken> {
    let open: Vec<_> = scene.draft.tasks().iter().filter(|task| !task.state.is_settled()).map(|task| task.id).collect();
    let state = match finish {
        Finish::Succeeded => {
            scene.draft.event(EventType::TargetSucceeded, |event| event);
            TargetState::Succeeded { at }
        }
        Finish::Failed { reason, blocked_by } => {
            for task in open {
                scene.draft.task(task, TaskState::NotStarted { blocked_by: blocked_by.clone() });
            }
            scene.draft.event(EventType::TargetFailed, |event| event.because(reason.as_str()));
            TargetState::Failed { at, reason }
        }
        Finish::Aborted => {
            for task in open {
                scene.draft.task(task, TaskState::NotStarted { blocked_by: "the rollout was aborted".to_owned() });
            }
            scene.draft.event(EventType::TargetSkipped, |event| event.because(SkipReason::Aborted.to_string()));
            TargetState::Skipped { at, reason: SkipReason::Aborted }
        }
        Finish::Owed { reason } => {
            for task in open {
                scene.draft.task(task, TaskState::NotStarted { blocked_by: "the rollout's deadline".to_owned() });
            }
            let reason = SkipReason::Owed { reason };
            scene.draft.event(EventType::TargetSkipped, |event| event.because(reason.to_string()));
            TargetState::Skipped { at, reason }
        }
    };
    scene.draft.become_now(state);
    scene.commit().await?;
    Ok(Left::Ended)
}
