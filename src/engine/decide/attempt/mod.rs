//! What to do next about one attempt: a pure function of the stored attempt, what is seen now, and the time.
//!
//! Level-triggered: the answer never depends on what we remember having done, so a restarted daemon simply carries on.
//! How it ended, once its Job is over, is judged in `judge`: the rows of the outcome table in the reliability promises.

mod judge;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::judge::{failed, judge_complete, judge_failed, judge_lost, judge_suspended, nobody_worked};
use super::Rules;
use crate::domain::attempt::{CancelCause, FailureClass, Outcome};
use crate::domain::observation::{JobSeen, Observation, PodSeen, UpgradeTaskSeen};
use crate::domain::{Attempt, Timestamp, Version};
use crate::openebs::outcome;

/// How often an attempt is looked at when no watch tells of a change: the floor under the watch.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How soon an attempt is looked at again when something is expected within moments: a Pod that ends after its Job was
/// suspended, a Job that a moment ago did not exist.
pub const LOOK_AGAIN_SOON: Duration = Duration::from_millis(500);

/// How often a Pod is looked at that should have left long ago: only a person who knows its node can help.
const LOOK_AT_THE_STUCK: Duration = Duration::from_mins(1);

/// How long after its own deadline a Job is given to have ended by itself, before the hub suspends it.
const GRACE: Duration = Duration::from_secs(30);

/// When a Job that is created at `now` must have ended by itself.
pub fn deadline(now: Timestamp, rules: &Rules) -> Timestamp {
    now + rules.task_deadline + GRACE
}

/// What an attempt needs now.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Do this, then look again at once.
    Act(Action),
    /// Nothing can be done before then.
    Wait {
        /// How long.
        time: Duration,
        /// What is waited for, in a sentence.
        doing: String,
    },
    /// It ended.
    End(Outcome),
}

/// One request to the cluster, or one fact to be stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Delete the UpgradeTask of our name that another attempt or somebody else left, by its UID.
    DeleteUpgradeTask {
        /// The UID that was seen.
        uid: String,
        /// Whose it seems to be.
        whose: String,
    },
    /// Create the UpgradeTask.
    CreateUpgradeTask,
    /// Create the Job.
    CreateJob,
    /// Store the UID of a Job that is ours, but whose creation was never answered.
    Adopt {
        /// The UID that was seen.
        job_uid: String,
    },
    /// Store why the Job is cancelled, before it is.
    Cancel(CancelCause),
    /// Suspend the Job: kills its Pod and keeps its name.
    SuspendJob {
        /// The UID that was seen.
        uid: String,
    },
    /// Take the Job's name with a suspended Job, so that a creation still on its way finds it taken.
    FenceJob,
    /// Store since when the Job is known to have completed: what it left may take a while to settle.
    AwaitSettling,
}

/// The attempt as it is now that its cluster answers, if that differs: time in which nobody could look counts against
/// nothing that only our own sight can tell. A Job that was recorded is bound by its cluster's clock, which went on.
/// `running_since` is when the target was started last: what was deferred with its attempt open begins its time anew.
pub fn in_sight_again(
    attempt: &Attempt,
    running_since: Timestamp,
    unseen_since: Option<Timestamp>,
    rules: &Rules,
    now: Timestamp,
) -> Option<Attempt> {
    let silence = unseen_since.map_or(Duration::ZERO, |since| now.since(since));
    let mut again = attempt.clone();
    if attempt.job_uid.is_none() && attempt.cancelled.is_none() {
        again.deadline = (attempt.deadline + silence).max(deadline(running_since, rules));
    }
    again.completed_seen_at = attempt.completed_seen_at.map(|at| (at + silence).max(running_since));
    (again != *attempt).then_some(again)
}

/// What an attempt needs now. `wanted_off` is set when the rollout wants its Jobs gone.
pub fn next_step(
    attempt: &Attempt,
    (from, to): (&Version, &Version),
    wanted_off: Option<&CancelCause>,
    seen: &Observation,
    rules: &Rules,
    now: Timestamp,
) -> Step {
    if let (Some(recorded), Some(uid)) = (attempt.job_uid.as_deref(), seen.job.uid())
        && recorded != uid
    {
        return judge_lost(attempt, (from, to), seen, &format!("its Job was replaced by one with UID {uid}"), now);
    }
    match (&seen.job, attempt.job_uid.as_deref()) {
        (JobSeen::Unseen, _) => Step::Wait { time: LOOK_AGAIN, doing: "its Job is not seen".to_owned() },
        (JobSeen::Foreign { why, .. }, _) => {
            failed(FailureClass::Conflict, format!("Job {} is not ours: {why}", attempt.job_name))
        }
        (JobSeen::Active { uid } | JobSeen::Suspended { uid, .. }, None) => {
            Step::Act(Action::Adopt { job_uid: uid.clone() })
        }
        (JobSeen::Complete { uid } | JobSeen::Failed { uid, .. }, None) => {
            Step::Act(Action::Adopt { job_uid: uid.clone() })
        }
        (JobSeen::Absent, None) => before_the_job(attempt, wanted_off, seen, now),
        (JobSeen::Absent, Some(_)) => judge_lost(attempt, (from, to), seen, "its Job is gone", now),
        (JobSeen::Active { uid }, Some(_)) => while_it_runs(attempt, wanted_off, uid, seen, now),
        (JobSeen::Suspended { pods_left: 0, .. }, Some(_)) => judge_suspended(attempt, from, to, seen),
        (JobSeen::Suspended { pods_left, .. }, Some(_)) => {
            let what = format!("Job {} is suspended, {pods_left} Pod still ends", attempt.job_name);
            pod_ends(&what, seen.pods.iter().find(|pod| !pod.has_ended()), now)
        }
        (JobSeen::Complete { .. }, Some(_)) => judge_complete(attempt, from, to, seen, rules, now),
        (JobSeen::Failed { reason, message, .. }, Some(_)) => {
            judge_failed(attempt, (from, to), seen, (reason, message), now)
        }
    }
}

/// A Pod that was told to leave is gone within moments, or with its node: as long again as it is overdue.
fn pod_ends(what: &str, pod: Option<&PodSeen>, now: Timestamp) -> Step {
    let Some((pod, leaves_at)) = pod.and_then(|pod| Some((pod, pod.leaves_at?))) else {
        return Step::Wait { time: LOOK_AGAIN, doing: what.to_owned() };
    };
    let overdue = now.since(leaves_at);
    let doing = if overdue < LOOK_AT_THE_STUCK {
        what.to_owned()
    } else {
        let name = &pod.name;
        format!(
            "{what}: it should have left by {leaves_at}; if its node is gone for good, delete it by force \
             (kubectl delete pod {name} --force)"
        )
    };
    Step::Wait { time: overdue.clamp(LOOK_AGAIN_SOON, LOOK_AT_THE_STUCK), doing }
}

/// No Job of ours was ever seen: it may have been asked for, so its name is the only thing that may be relied on.
fn before_the_job(attempt: &Attempt, wanted_off: Option<&CancelCause>, seen: &Observation, now: Timestamp) -> Step {
    if attempt.cancelled.is_some() {
        return Step::Act(Action::FenceJob);
    }
    if let Some(cause) = wanted_off {
        return Step::Act(Action::Cancel(cause.clone()));
    }
    if now >= attempt.deadline {
        return Step::Act(Action::Cancel(CancelCause::Deadline));
    }
    match &seen.upgrade_task {
        UpgradeTaskSeen::Absent => Step::Act(Action::CreateUpgradeTask),
        UpgradeTaskSeen::Other { uid, whose, .. } => {
            Step::Act(Action::DeleteUpgradeTask { uid: uid.clone(), whose: whose.clone() })
        }
        UpgradeTaskSeen::Ours { .. } => Step::Act(Action::CreateJob),
    }
}

/// Neither `Success` nor `Error` in the UpgradeTask is final while the Job runs.
fn while_it_runs(
    attempt: &Attempt,
    wanted_off: Option<&CancelCause>,
    uid: &str,
    seen: &Observation,
    now: Timestamp,
) -> Step {
    if attempt.cancelled.is_some() {
        return Step::Act(Action::SuspendJob { uid: uid.to_owned() });
    }
    if let Some(cause) = wanted_off {
        return Step::Act(Action::Cancel(cause.clone()));
    }
    if now >= attempt.deadline {
        return Step::Act(Action::Cancel(CancelCause::Deadline));
    }
    let time = LOOK_AGAIN.min(attempt.deadline.since(now));
    Step::Wait { time, doing: doing(attempt, seen) }
}

/// What keeps its Pod from running, if anything is seen to; else what the executor says it does.
fn doing(attempt: &Attempt, seen: &Observation) -> String {
    let held_up = held_up(attempt, seen).or_else(|| {
        // A Job that its deadline ends loses its Pod a moment before it says so: nothing newer is known then.
        let gone = seen.pods.iter().all(|pod| pod.has_ended() || pod.leaves_at.is_some()) && nobody_worked(seen);
        attempt.held_up.clone().filter(|_| gone)
    });
    held_up.or_else(|| executor_says(seen)).unwrap_or_else(|| format!("Job {} runs", attempt.job_name))
}

/// What the executor says that it does.
fn executor_says(seen: &Observation) -> Option<String> {
    match &seen.upgrade_task {
        UpgradeTaskSeen::Ours { status, .. } => outcome::doing(status),
        UpgradeTaskSeen::Absent | UpgradeTaskSeen::Other { .. } => None,
    }
}

/// What keeps the Job's Pod from running now. Of a Pod that was told to leave, the kubelet says that its container is
/// being created, whatever kept it from that before.
fn held_up(attempt: &Attempt, seen: &Observation) -> Option<String> {
    let mut staying = seen.pods.iter().filter(|pod| pod.leaves_at.is_none());
    let waiting = staying.find_map(|pod| Some((pod, pod.waiting.as_deref()?)));
    if let Some((pod, why)) = waiting {
        return Some(format!("Pod {} waits: {why}", pod.name));
    }
    seen.no_pod.as_ref().map(|why| format!("Job {} has no Pod: {why}", attempt.job_name))
}

/// The attempt with what keeps its Pod from running now, if that is news.
pub fn held_up_anew(attempt: &Attempt, seen: &Observation) -> Option<Attempt> {
    let active = matches!(seen.job, JobSeen::Active { .. });
    let held_up = held_up(attempt, seen).filter(|why| active && attempt.held_up.as_ref() != Some(why))?;
    Some(Attempt { held_up: Some(held_up), ..attempt.clone() })
}
