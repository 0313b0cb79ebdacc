//! An attempt is under way: look at it, decide, act, and look again until there is something to wait for.

use std::time::Duration;

use super::{Broken, Follow, Left, Scene, task};
use crate::cluster::{Created, Edge, EdgeError, inventory, observe};
use crate::domain::Timestamp;
use crate::domain::attempt::{Attempt, AttemptEnd, CancelCause, FailureClass, Outcome};
use crate::domain::event::EventType;
use crate::domain::observation::{JobSeen, Look, Observation, UpgradeTaskSeen};
use crate::domain::plan::PlannedTask;
use crate::domain::rollout::Verdict;
use crate::domain::target::{TargetState, TaskState};
use crate::engine::decide::Rules;
use crate::engine::decide::attempt::{Action, LOOK_AGAIN, Step, next_step, nobody_worked};
use crate::engine::decide::target::after_attempt;
use crate::openebs::job::{AttemptObjects, AttemptOrder, build};
use crate::openebs::upgrade_task::UpgradeTaskStatus;

/// More actions than the longest way from a stale UpgradeTask to a judged Job: a cluster that contradicts itself at
/// every look gets its turn later.
const ACTIONS_MAX: usize = 12;

/// How long after its own deadline a Job is given to have ended by itself, before the hub suspends it.
const GRACE: Duration = Duration::from_secs(30);

/// When a Job that is created at `now` must have ended by itself.
pub(super) fn deadline(now: Timestamp, rules: &Rules) -> Timestamp {
    now + rules.task_deadline + GRACE
}

/// Takes the open attempt as far as it goes now.
pub(super) async fn further(scene: &mut Scene<'_>, edge: &Edge) -> Result<Left, Broken> {
    // What our own request has just made is known, and need not be asked for.
    let mut made = None;
    for _ in 0..ACTIONS_MAX {
        let Some(attempt) = scene.draft.work.open_attempt.clone() else {
            return Box::pin(task::next_task(scene, edge)).await;
        };
        let what = planned_task(scene, &attempt);
        let objects = build(&order(scene, &attempt, &what)).ok();
        let seen = match made.take() {
            Some(seen) => seen,
            None => {
                let resource_namespace = &what.resource_namespace;
                observe(edge, &Look { attempt: &attempt, resource: &what.resource, resource_namespace }).await?
            }
        };
        let now = scene.now();
        scene.draft.tick(now);
        let wanted_off = wanted_off(scene);
        match next_step(&attempt, (&what.from, &what.to), wanted_off.as_ref(), &seen, now) {
            Step::Wait { time, doing } => {
                scene.draft.runs(format!("{}: {doing}", what.resource), now + time);
                scene.commit().await?;
                return Ok(follow(scene, edge, &attempt, &seen));
            }
            Step::End(outcome) => {
                let outcome = with_what_was_seen_last(outcome, &seen, &scene.draft.work.target.state);
                end(scene, attempt, &what, outcome, seen, now);
                scene.commit().await?;
            }
            Step::Act(action) => {
                let Some(objects) = objects else {
                    let reason = "its Job cannot be built from the plan".to_owned();
                    let outcome = Outcome::Failed { reason, class: FailureClass::Conflict };
                    end(scene, attempt, &what, outcome, seen, now);
                    scene.commit().await?;
                    continue;
                };
                match act(scene, edge, attempt, &what, &objects, seen, action).await? {
                    Acted::Look => {}
                    Acted::Made(seen) => made = Some(*seen),
                    Acted::Not { busy } => {
                        let doing = format!("{}: waiting, {busy} is working on it", what.resource);
                        scene.draft.runs(doing, now + LOOK_AGAIN);
                        scene.commit().await?;
                        return Ok(Left::Running);
                    }
                }
            }
        }
    }
    let due = scene.now() + LOOK_AGAIN;
    scene.draft.runs("the cluster answers differently at every look".to_owned(), due);
    scene.commit().await?;
    Ok(Left::Running)
}

/// What became of an action.
enum Acted {
    /// It was carried out; only a look tells how things are now.
    Look,
    /// It was carried out, and this is how things are now.
    Made(Box<Observation>),
    /// It was not: somebody is busy with the resource.
    Not {
        /// Who.
        busy: String,
    },
}

/// Carries one action out.
async fn act(
    scene: &mut Scene<'_>,
    edge: &Edge,
    mut attempt: Attempt,
    what: &PlannedTask,
    objects: &AttemptObjects,
    mut seen: Observation,
    action: Action,
) -> Result<Acted, Broken> {
    let namespace = edge.namespace().to_owned();
    scene.still_ours()?;
    match action {
        Action::DeleteUpgradeTask { uid, whose } => {
            if let Some(busy) = inventory::around(edge, &what.resource).await?.busy {
                return Ok(Acted::Not { busy });
            }
            // What it said is evidence of somebody's work: stored before it goes.
            let said = match &seen.upgrade_task {
                UpgradeTaskSeen::Other { status, .. } | UpgradeTaskSeen::Ours { status, .. } => {
                    serde_json::to_value(status).unwrap_or_default()
                }
                UpgradeTaskSeen::Absent => serde_json::Value::Null,
            };
            let name = attempt.upgrade_task_name.clone();
            scene.draft.event(EventType::UpgradeTaskDeleted, |event| {
                event
                    .because(format!("left by {whose}"))
                    .with("name", name)
                    .with("uid", uid.as_str())
                    .with("said", said)
            });
            scene.commit().await?;
            scene.still_ours()?;
            edge.delete_upgrade_task(&namespace, &attempt.upgrade_task_name, &uid).await?;
        }
        Action::CreateUpgradeTask => match edge.create_upgrade_task(&objects.upgrade_task).await {
            Ok(created) => {
                attempt.upgrade_task_uid = Some(created.uid().to_owned());
                let name = attempt.upgrade_task_name.clone();
                scene.draft.attempt(attempt);
                scene
                    .draft
                    .event(EventType::UpgradeTaskCreated, |event| event.with("name", name).with("uid", created.uid()));
                if let Created::New { uid } = created {
                    seen.upgrade_task = UpgradeTaskSeen::Ours { uid, status: UpgradeTaskStatus::default() };
                    return Ok(Acted::Made(Box::new(seen)));
                }
            }
            Err(error) => {
                refused(scene, attempt, what, seen, error)?;
                scene.commit().await?;
            }
        },
        Action::CreateJob => {
            if let Some(busy) = inventory::around(edge, &what.resource).await?.busy {
                return Ok(Acted::Not { busy });
            }
            scene.still_ours()?;
            match edge.create_job(&objects.job).await {
                Ok(created) => {
                    record_job(scene, attempt, &created);
                    scene.commit().await?;
                    if let Created::New { uid } = created {
                        seen.job = JobSeen::Active { uid };
                        return Ok(Acted::Made(Box::new(seen)));
                    }
                }
                Err(error) => {
                    refused(scene, attempt, what, seen, error)?;
                    scene.commit().await?;
                }
            }
        }
        Action::FenceJob => match edge.fence_job(&objects.fence()).await {
            Ok(created) => {
                record_job(scene, attempt, &created);
                scene.commit().await?;
            }
            Err(error) => {
                refused(scene, attempt, what, seen, error)?;
                scene.commit().await?;
            }
        },
        Action::Adopt { job_uid } => {
            record_job(scene, attempt, &Created::Adopted { uid: job_uid });
            scene.commit().await?;
        }
        Action::Cancel(cause) => {
            let why = match &cause {
                CancelCause::Deadline => format!("its deadline passed at {}", attempt.deadline),
                CancelCause::Operator { by } => format!("cancelled by {by}"),
            };
            attempt.cancelled = Some(cause);
            let job = attempt.job_name.clone();
            scene.draft.attempt(attempt);
            scene.draft.event(EventType::JobSuspended, |event| event.because(why).with("job", job));
            scene.commit().await?;
        }
        Action::SuspendJob { uid } => edge.suspend_job(&namespace, &attempt.job_name, &uid).await?,
    }
    Ok(Acted::Look)
}

fn record_job(scene: &mut Scene<'_>, mut attempt: Attempt, created: &Created) {
    let kind = match created {
        Created::New { .. } => EventType::JobCreated,
        Created::Adopted { .. } => EventType::JobAdopted,
    };
    attempt.job_uid = Some(created.uid().to_owned());
    // The Job's own deadline counts from its start, which is now or was before now.
    attempt.deadline = deadline(scene.now(), &scene.rules);
    let job = attempt.job_name.clone();
    scene.draft.attempt(attempt);
    scene.draft.event(kind, |event| event.with("job", job).with("uid", created.uid()));
}

/// An API server that has just come back forbids everything until it has read its rules, and knows no custom resource
/// until it has read their definitions: for so long after an attempt was intended, that is no refusal.
const COMING_BACK: Duration = Duration::from_mins(1);

/// A creation that was surely refused ends the attempt, if nothing else was created under its name; anything else is
/// the cluster's trouble, and looked at again.
fn refused(
    scene: &mut Scene<'_>,
    attempt: Attempt,
    what: &PlannedTask,
    seen: Observation,
    error: EdgeError,
) -> Result<(), Broken> {
    let coming_back = scene.now().since(attempt.intended_at) < COMING_BACK;
    let class = match &error {
        EdgeError::Conflict { exists: true, .. } => FailureClass::Conflict,
        EdgeError::Forbidden { .. } | EdgeError::NoSuchApi { .. } if coming_back => return Err(error.into()),
        EdgeError::Forbidden { .. } | EdgeError::Refused { .. } | EdgeError::NoSuchApi { .. } => FailureClass::Refused,
        _ => return Err(error.into()),
    };
    let now = scene.now();
    let reason = format!("the cluster did not take its objects: {error}");
    end(scene, attempt, what, Outcome::Failed { reason, class }, seen, now);
    Ok(())
}

/// A Job that its deadline ended takes its Pod along, and with it the reason why that never ran: what was told about it
/// meanwhile is all that is left.
fn with_what_was_seen_last(outcome: Outcome, seen: &Observation, state: &TargetState) -> Outcome {
    match (outcome, state) {
        (Outcome::Failed { reason, class: FailureClass::Deadline }, TargetState::Running { doing, .. })
            if nobody_worked(seen) =>
        {
            Outcome::Failed { reason: format!("{reason}; seen last: {doing}"), class: FailureClass::Deadline }
        }
        (outcome, _) => outcome,
    }
}

/// Closes the attempt with its evidence, and settles its task or sets the time of the next attempt.
fn end(
    scene: &mut Scene<'_>,
    mut attempt: Attempt,
    what: &PlannedTask,
    outcome: Outcome,
    seen: Observation,
    now: Timestamp,
) {
    let Some(task) = scene.draft.tasks().iter().find(|task| task.id == attempt.task).cloned() else { return };
    let (name, reason) = match &outcome {
        Outcome::Succeeded { warning } => ("succeeded", warning.clone().unwrap_or_default()),
        Outcome::Failed { reason, .. } => ("failed", reason.clone()),
    };
    if let (Some(recorded), Some(uid)) = (&attempt.job_uid, seen.job.uid())
        && recorded != uid
    {
        let data = (recorded.clone(), uid.to_owned());
        scene.draft.event(EventType::JobReplaced, |event| event.with("recorded", data.0).with("seen", data.1));
    }
    scene.engine.metrics.attempt_judged(what.resource.kind.name(), name, now.since(attempt.intended_at));
    let state = after_attempt(&task, &outcome, &scene.rules, now);
    let number = attempt.number;
    attempt.end = Some(AttemptEnd { at: now, outcome, evidence: seen });
    scene.draft.attempt(attempt);
    let next = match &state {
        TaskState::Pending { not_before: Some(at) } => format!("attempt {} at {at}", number + 1),
        other => other.name().to_owned(),
    };
    scene.draft.event(EventType::AttemptJudged, |event| {
        event.because(reason).with("outcome", name).with("resource", what.resource.to_string()).with("then", next)
    });
    scene.draft.task(task.id, state);
    scene.draft.does(format!("{}: attempt {number} {name}", what.resource));
}

/// Who wants the Jobs of this rollout gone.
fn wanted_off(scene: &Scene<'_>) -> Option<CancelCause> {
    match scene.draft.work.rollout.state.verdict() {
        Some(Verdict::Aborted { by, cancel_jobs: true, .. }) => Some(CancelCause::Operator { by: by.clone() }),
        _ => None,
    }
}

fn follow(scene: &Scene<'_>, edge: &Edge, attempt: &Attempt, seen: &Observation) -> Left {
    match seen.job {
        JobSeen::Active { .. } | JobSeen::Suspended { .. } => Left::Following(Box::new(Follow {
            target: scene.draft.work.target.id,
            edge: edge.clone(),
            namespace: edge.namespace().to_owned(),
            job: attempt.job_name.clone(),
        })),
        JobSeen::Absent | JobSeen::Complete { .. } | JobSeen::Failed { .. } | JobSeen::Foreign { .. } => Left::Running,
    }
}

fn planned_task(scene: &Scene<'_>, attempt: &Attempt) -> PlannedTask {
    let position = scene.draft.tasks().iter().find(|task| task.id == attempt.task).map_or(0, |task| task.position);
    scene.planned().tasks[position as usize].clone()
}

fn order<'a>(scene: &Scene<'_>, attempt: &Attempt, planned: &'a PlannedTask) -> AttemptOrder<'a> {
    AttemptOrder {
        hub: scene.engine.hub,
        rollout: scene.draft.work.rollout.id,
        task: attempt.task,
        attempt: attempt.id,
        number: attempt.number,
        epoch: scene.draft.epoch(),
        deadline: scene.rules.task_deadline,
        planned,
    }
}
