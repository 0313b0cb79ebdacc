//! An attempt is under way: look at it, decide, act, and look again until there is something to wait for.

use std::time::Duration;

use super::unseen::defer;
use super::{Broken, Follow, Left, Scene, task};
use crate::cluster::{Created, Edge, EdgeError, inventory, observe};
use crate::domain::Timestamp;
use crate::domain::attempt::{Attempt, AttemptEnd, CancelCause, FailureClass, Outcome};
use crate::domain::cluster::Reach;
use crate::domain::event::EventType;
use crate::domain::observation::{JobSeen, Look, Observation, UpgradeTaskSeen};
use crate::domain::plan::PlannedTask;
use crate::domain::rollout::Verdict;
use crate::domain::target::{Deferral, TargetState, TaskState};
use crate::engine::decide::attempt::{Action, LOOK_AGAIN, Step, deadline, held_up_anew, in_sight_again, next_step};
use crate::engine::decide::target::after_attempt;
use crate::openebs::job::{AttemptObjects, AttemptOrder, build};
use crate::openebs::upgrade_task::UpgradeTaskStatus;

/// More actions than the longest way from a stale UpgradeTask to a judged Job: a cluster that contradicts itself at
/// every look gets its turn later.
const ACTIONS_MAX: usize = 12;

/// Takes the open attempt as far as it goes now.
pub(super) async fn further(scene: &mut Scene<'_>, edge: &Edge) -> Result<Left, Broken> {
    // What our own request has just made is known, and need not be asked for.
    let mut made = None;
    for _ in 0..ACTIONS_MAX {
        let Some(mut attempt) = scene.draft.work.open_attempt.clone() else {
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
        if let Some(again) = in_sight(scene, &attempt, now) {
            scene.draft.attempt(again.clone());
            attempt = again;
        }
        if let Some(held_up) = held_up_anew(&attempt, &seen) {
            scene.draft.attempt(held_up.clone());
            attempt = held_up;
        }
        scene.draft.seen();
        let wanted_off = wanted_off(scene);
        match next_step(&attempt, (&what.from, &what.to), wanted_off.as_ref(), &seen, &scene.rules, now) {
            Step::Wait { time, doing } => {
                scene.draft.runs(format!("{}: {doing}", what.resource), now + time);
                scene.commit().await?;
                return Ok(follow(scene, edge, &attempt, &seen));
            }
            Step::End(outcome) => {
                let busy = busy_before(&attempt, &outcome);
                end(scene, attempt, &what, outcome, seen, now);
                if let Some(by) = busy {
                    return Ok(defer(scene, Deferral::Busy { by }, None).await?);
                }
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
            if let Some(by) = inventory::around(edge, &what.resource).await?.busy {
                cancel(scene, attempt, CancelCause::Busy { by }).await?;
                return Ok(Acted::Look);
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
        Action::CreateJob => return create_job(scene, edge, attempt, what, objects, seen).await,
        Action::FenceJob => match edge.fence_job(&objects.fence()).await {
            Ok(Created::New { uid }) => {
                record_job(scene, attempt, EventType::JobFenced, &uid);
                scene.commit().await?;
            }
            // It exists after all: the next look tells whether it runs.
            Ok(Created::Adopted { .. }) => {}
            Err(error) => {
                refused(scene, attempt, what, seen, error)?;
                scene.commit().await?;
            }
        },
        Action::Adopt { job_uid } => {
            // What had been begun before somebody else was seen at work goes on. A Job that is found suspended is the
            // fence, whose answer was lost.
            let fence = matches!(seen.job, JobSeen::Suspended { pods_left: 0, .. });
            if matches!(attempt.cancelled, Some(CancelCause::Busy { .. })) && !fence {
                attempt.cancelled = None;
            }
            record_job(scene, attempt, EventType::JobAdopted, &job_uid);
            scene.commit().await?;
        }
        Action::Cancel(cause) => cancel(scene, attempt, cause).await?,
        Action::SuspendJob { uid } => {
            edge.suspend_job(&namespace, &attempt.job_name, &uid).await?;
            let why = attempt.cancelled.as_ref().map_or_else(String::new, |cause| why_cancelled(&attempt, cause));
            let job = attempt.job_name.clone();
            scene.draft.event(EventType::JobSuspended, |event| event.because(why).with("job", job).with("uid", uid));
            scene.commit().await?;
        }
        Action::AwaitSettling => {
            attempt.completed_seen_at = Some(scene.now());
            scene.draft.attempt(attempt);
            scene.commit().await?;
            return Ok(Acted::Made(Box::new(seen)));
        }
    }
    Ok(Acted::Look)
}

/// Asks for the Job, unless somebody else is at work.
async fn create_job(
    scene: &mut Scene<'_>,
    edge: &Edge,
    mut attempt: Attempt,
    what: &PlannedTask,
    objects: &AttemptObjects,
    mut seen: Observation,
) -> Result<Acted, Broken> {
    if let Some(by) = inventory::around(edge, &what.resource).await?.busy {
        cancel(scene, attempt, CancelCause::Busy { by }).await?;
        return Ok(Acted::Look);
    }
    count_from_now(scene, &mut attempt).await?;
    scene.still_ours()?;
    match edge.create_job(&objects.job).await {
        Ok(created) => {
            let kind = match created {
                Created::New { .. } => EventType::JobCreated,
                Created::Adopted { .. } => EventType::JobAdopted,
            };
            record_job(scene, attempt, kind, created.uid());
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
    Ok(Acted::Look)
}

/// Stores why the attempt's Job shall not run, or not run on, before anything is done about it.
async fn cancel(scene: &mut Scene<'_>, mut attempt: Attempt, cause: CancelCause) -> Result<(), Broken> {
    let why = why_cancelled(&attempt, &cause);
    attempt.cancelled = Some(cause);
    let job = attempt.job_name.clone();
    scene.draft.attempt(attempt);
    scene.draft.event(EventType::AttemptCancelled, |event| event.because(why).with("job", job));
    Ok(scene.commit().await?)
}

fn why_cancelled(attempt: &Attempt, cause: &CancelCause) -> String {
    match cause {
        CancelCause::Deadline => format!("its deadline passed at {}", attempt.deadline),
        CancelCause::Operator { by } => format!("cancelled by {by}"),
        CancelCause::Busy { by } => format!("{by} is working on the resource"),
    }
}

/// How much of its deadline an attempt may have lost before its Job is asked for: while its intent is as good as new, a
/// commit more would buy nothing.
const AS_GOOD_AS_NEW: Duration = Duration::from_secs(10);

/// A Job runs from its creation on, and whether it was created may stay unanswered: until when it may run is stored
/// before it is asked for.
async fn count_from_now(scene: &mut Scene<'_>, attempt: &mut Attempt) -> Result<(), Broken> {
    let fresh = deadline(scene.now(), &scene.rules);
    if fresh.since(attempt.deadline) > AS_GOOD_AS_NEW {
        attempt.deadline = fresh;
        scene.draft.attempt(attempt.clone());
        scene.commit().await?;
    }
    Ok(())
}

fn record_job(scene: &mut Scene<'_>, mut attempt: Attempt, kind: EventType, uid: &str) {
    attempt.job_uid = Some(uid.to_owned());
    // The Job's own deadline counts from its start, which is now or was before now. A fence never starts.
    if kind != EventType::JobFenced {
        attempt.deadline = deadline(scene.now(), &scene.rules);
    }
    let job = attempt.job_name.clone();
    scene.draft.attempt(attempt);
    scene.draft.event(kind, |event| event.with("job", job).with("uid", uid));
}

/// The attempt as it is now that its cluster has answered, if that differs.
fn in_sight(scene: &Scene<'_>, attempt: &Attempt, now: Timestamp) -> Option<Attempt> {
    let TargetState::Running { since, unseen_since, .. } = scene.draft.work.target.state else { return None };
    in_sight_again(attempt, since, unseen_since, &scene.rules, now)
}

/// Who was at work on the resource, so that nothing was begun.
fn busy_before(attempt: &Attempt, outcome: &Outcome) -> Option<String> {
    match (outcome, &attempt.cancelled) {
        (Outcome::NotBegun { .. }, Some(CancelCause::Busy { by })) => Some(by.clone()),
        (Outcome::NotBegun { .. } | Outcome::Succeeded { .. } | Outcome::Failed { .. }, _) => None,
    }
}

/// An API server that has just come back forbids everything until it has read its rules, and knows no custom resource
/// until it has read their definitions: for so long after an attempt was intended, or its cluster was silent, that is
/// no refusal.
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
    let coming_back = is_coming_back(&scene.cluster.reach, attempt.intended_at, scene.now());
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

fn is_coming_back(reach: &Reach, intended_at: Timestamp, now: Timestamp) -> bool {
    let back_at = reach.back_at.map_or(intended_at, |at| at.max(intended_at));
    reach.failing.is_some() || now.since(back_at) < COMING_BACK
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
        Outcome::NotBegun { reason } => ("not_begun", reason.clone()),
        Outcome::Failed { reason, .. } => ("failed", reason.clone()),
    };
    if let (Some(recorded), Some(uid)) = (&attempt.job_uid, seen.job.uid())
        && recorded != uid
    {
        let data = (recorded.clone(), uid.to_owned());
        scene.draft.event(EventType::JobReplaced, |event| event.with("recorded", data.0).with("seen", data.1));
    }
    if let (Some(recorded), UpgradeTaskSeen::Other { uid, .. }) = (&attempt.upgrade_task_uid, &seen.upgrade_task)
        && recorded != uid
    {
        let data = (recorded.clone(), uid.clone());
        scene.draft.event(EventType::UpgradeTaskReplaced, |event| event.with("recorded", data.0).with("seen", data.1));
    }
    scene.engine.metrics.attempt_judged(what.resource.kind.name(), name, now.since(attempt.intended_at));
    let state = after_attempt(&task, &outcome, &scene.rules, now);
    let number = attempt.number;
    attempt.end = Some(AttemptEnd { at: now, outcome, evidence: seen });
    scene.draft.attempt(attempt);
    let next = match &state {
        TaskState::Pending { not_before: Some(at) } => format!("attempt {} at {at}", number + 1),
        TaskState::Pending { not_before: None } => format!("attempt {} later", number + 1),
        other => other.name().to_owned(),
    };
    scene.draft.event(EventType::AttemptJudged, |event| {
        event.because(reason).with("outcome", name).with("resource", what.resource.to_string()).with("then", next)
    });
    scene.draft.task(task.id, state);
    scene.draft.does(format!("{}: attempt {number} {name}", what.resource));
}

/// Closes the open attempt of a cluster that was removed: its Job has surely ended by now, and how will not be known.
pub(super) fn lost_from_sight(scene: &mut Scene<'_>, now: Timestamp) {
    let Some(mut attempt) = scene.draft.work.open_attempt.clone() else { return };
    let reason = "the cluster was removed before its Job was seen to end".to_owned();
    scene.draft.event(EventType::AttemptJudged, |event| {
        event.because(reason.as_str()).with("outcome", "failed").with("then", "skipped")
    });
    let evidence = Observation {
        at: now,
        job: JobSeen::Unseen,
        upgrade_task: UpgradeTaskSeen::Absent,
        pods: Vec::new(),
        no_pod: None,
        resource: None,
    };
    let outcome = Outcome::Failed { reason, class: FailureClass::Lost };
    attempt.end = Some(AttemptEnd { at: now, outcome, evidence });
    scene.draft.attempt(attempt);
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
        JobSeen::Absent
        | JobSeen::Complete { .. }
        | JobSeen::Failed { .. }
        | JobSeen::Foreign { .. }
        | JobSeen::Unseen => Left::Running,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::Failing;
    use crate::engine::decide::tests::at;

    #[test]
    fn an_api_server_that_was_silent_is_given_a_minute_however_old_the_attempt_is() {
        let answered = Reach { seen_at: Some(at(0)), failing: None, back_at: None };
        assert!(is_coming_back(&answered, at(0), at(59)), "its attempt is new");
        assert!(!is_coming_back(&answered, at(0), at(3_600)));
        let failing = Some(Failing { since: at(10), error: "refused".into() });
        let silent = Reach { failing, ..answered };
        assert!(is_coming_back(&silent, at(0), at(3_600)));
        let back = silent.answered(at(3_600));
        assert!(is_coming_back(&back, at(0), at(3_650)));
        assert!(!is_coming_back(&back.answered(at(3_650)), at(0), at(3_700)));
    }
}
