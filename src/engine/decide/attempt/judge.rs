//! The verdict on an attempt whose Job is over: the rows of the outcome table in the reliability promises. A Job proves
//! nothing by itself; what the resource shows, read afterwards, does.

use std::time::Duration;

use super::{Action, LOOK_AGAIN, Step, executor_says, pod_ends};
use crate::domain::attempt::{CancelCause, FailureClass, Outcome};
use crate::domain::inventory::Condition;
use crate::domain::observation::{Observation, PodSeen, ResourceSeen, Standing, UpgradeTaskSeen};
use crate::domain::{Attempt, Timestamp, Version};
use crate::engine::decide::Rules;
use crate::openebs::outcome;
use crate::openebs::termination::Termination;

/// How long what a completed Job left may be on its way: targets and replicas that have just restarted connect anew within
/// seconds, and an attempt more costs more than this.
pub(super) const CONNECTS_WITHIN: Duration = Duration::from_secs(30);

/// A version does not change by itself any more; replicas and targets connect anew for a while, and an API server that
/// comes back forbids for a while.
pub(super) fn judge_complete(
    attempt: &Attempt,
    from: &Version,
    to: &Version,
    seen: &Observation,
    rules: &Rules,
    now: Timestamp,
) -> Step {
    let Some(resource) = &seen.resource else { return read_the_resource() };
    let (what, patience) = match shortfall(from, to, resource) {
        None => return Step::End(Outcome::Succeeded { warning: complaint(&seen.upgrade_task) }),
        Some(Shortfall::Gone) => return failed(FailureClass::Vanished, "the resource is gone".to_owned()),
        Some(Shortfall::Is(what)) => {
            return failed(FailureClass::Contradiction, format!("the Job completed, but {what}"));
        }
        Some(Shortfall::MaySettle(what)) => (what, rules.settle_deadline.min(CONNECTS_WITHIN)),
        Some(Shortfall::Untold(what)) => (what, rules.settle_deadline),
    };
    let Some(completed) = attempt.completed_seen_at else { return Step::Act(Action::AwaitSettling) };
    let until = completed + patience;
    if now >= until {
        return failed(FailureClass::Contradiction, format!("the Job completed, but still at {until} {what}"));
    }
    let doing = format!("the Job completed, but {what} (waiting until {until} at most)");
    Step::Wait { time: LOOK_AGAIN.min(until.since(now)), doing }
}

pub(super) fn judge_failed(
    attempt: &Attempt,
    (from, to): (&Version, &Version),
    seen: &Observation,
    (reason, message): (&str, &str),
    now: Timestamp,
) -> Step {
    if let Some(wait) = while_a_pod_lives(attempt, "the Job failed", seen, now) {
        return wait;
    }
    let said =
        last_words(seen).or_else(|| complaint(&seen.upgrade_task)).or_else(|| seen.pods.iter().find_map(pod_end));
    let told: Vec<String> = said.into_iter().chain(seen.pods.iter().find_map(ended_by_its_node)).collect();
    let why = if told.is_empty() {
        let last = executor_says(seen).map_or(String::new(), |doing| format!("; last: {doing}"));
        format!("the Job failed: {reason}: {message}{last}")
    } else {
        told.join("; ")
    };
    if reason == "DeadlineExceeded" {
        let why = why + &held_up_last(attempt, seen);
        return after_the_fact(FailureClass::Deadline, from, to, seen, why);
    }
    after_the_fact(FailureClass::Job, from, to, seen, why)
}

pub(super) fn judge_suspended(attempt: &Attempt, from: &Version, to: &Version, seen: &Observation) -> Step {
    if let Some(CancelCause::Busy { by }) = &attempt.cancelled {
        return Step::End(Outcome::NotBegun { reason: format!("{by} is working on it") });
    }
    let (class, why) = match &attempt.cancelled {
        Some(CancelCause::Deadline) => {
            let last = last_words(seen).or_else(|| complaint(&seen.upgrade_task));
            let last = last.map_or(String::new(), |last| format!("; last: {last}"));
            let held_up = held_up_last(attempt, seen);
            (FailureClass::Deadline, format!("it had not ended at {}{last}{held_up}", attempt.deadline))
        }
        Some(CancelCause::Operator { by }) => (FailureClass::Cancelled, format!("cancelled by {by}")),
        Some(CancelCause::Busy { .. }) | None => {
            (FailureClass::Cancelled, format!("somebody suspended Job {}", attempt.job_name))
        }
    };
    after_the_fact(class, from, to, seen, why)
}

pub(super) fn judge_lost(
    attempt: &Attempt,
    (from, to): (&Version, &Version),
    seen: &Observation,
    why: &str,
    now: Timestamp,
) -> Step {
    if let Some(wait) = while_a_pod_lives(attempt, why, seen, now) {
        return wait;
    }
    after_the_fact(FailureClass::Lost, from, to, seen, why.to_owned())
}

/// The Job is over, and a Pod of it is not: it may still be at work, and nothing else may start. That is no failure before
/// the Job's own deadline; afterwards its Pod counts as somebody who is busy with the resource, and holds no slot.
fn while_a_pod_lives(attempt: &Attempt, what: &str, seen: &Observation, now: Timestamp) -> Option<Step> {
    if now >= attempt.deadline {
        return None;
    }
    let pod = seen.pods.iter().find(|pod| !pod.has_ended())?;
    Some(pod_ends(&format!("{what}, and Pod {} of it still runs", pod.name), Some(pod), now))
}

/// A Job that did not complete proves nothing, even where the resource is at the target: steps after the version's
/// may be missing. Another attempt is quick then, and finishes what was left. What was left half-done is told where no
/// executor of our own told it.
fn after_the_fact(class: FailureClass, from: &Version, to: &Version, seen: &Observation, why: String) -> Step {
    match &seen.resource {
        None => read_the_resource(),
        Some(ResourceSeen::Gone) => failed(FailureClass::Vanished, format!("{why}; the resource is gone")),
        Some(ResourceSeen::Found(state)) => match (state.standing(from, to), &state.half_done) {
            (Standing::AtTarget, _) => failed(class, format!("{why}; at target, last steps not proven")),
            (_, Some(left)) if last_words(seen).is_none() => failed(class, format!("{why}; left half-done: {left}")),
            (Standing::Before | Standing::Drifted(_), _) => failed(class, why),
        },
    }
}

/// What is missing for success.
enum Shortfall {
    /// The resource is gone.
    Gone,
    /// This, for good.
    Is(String),
    /// This, which may pass within moments.
    MaySettle(String),
    /// It could not be told.
    Untold(String),
}

/// What is missing for success, if anything.
fn shortfall(from: &Version, to: &Version, resource: &ResourceSeen) -> Option<Shortfall> {
    let state = match resource {
        ResourceSeen::Gone => return Some(Shortfall::Gone),
        ResourceSeen::Found(state) => state,
    };
    let lacks = |condition: &Condition, what: &str| match condition {
        Condition::Holds => None,
        Condition::Fails(why) => Some(Shortfall::MaySettle(format!("it is not {what}: {why}"))),
        Condition::Unknown(why) => Some(Shortfall::Untold(format!("it cannot be told whether it is {what}: {why}"))),
    };
    let what = match state.standing(from, to) {
        Standing::AtTarget => {
            return lacks(&state.rolled_out, "rolled out").or_else(|| lacks(&state.healthy, "healthy"));
        }
        Standing::Before => {
            let behind = state
                .versions
                .iter()
                .find(|seen| seen.version.parse::<Version>().map_or(true, |version| !version.same_release(to)));
            Some(behind.map_or_else(
                || format!("it is not at {to}"),
                |seen| format!("{} has {} {:?} instead of {to}", seen.object, seen.field, seen.version),
            ))
        }
        Standing::Drifted(why) => Some(why),
    };
    what.map(Shortfall::Is)
}

/// What the UpgradeTask of this attempt says against success.
fn complaint(task: &UpgradeTaskSeen) -> Option<String> {
    match task {
        UpgradeTaskSeen::Ours { status, .. } => outcome::complaint(status),
        UpgradeTaskSeen::Absent | UpgradeTaskSeen::Other { .. } => None,
    }
}

/// What kept its Pod from running all the time that its Job had, to be said after what is seen now.
fn held_up_last(attempt: &Attempt, seen: &Observation) -> String {
    let held_up = attempt.held_up.as_ref().filter(|_| nobody_worked(seen));
    held_up.map_or(String::new(), |why| format!("; seen last: {why}"))
}

/// Whether no executor ever said a word: its UpgradeTask is as it was created, and no Pod of it ended.
pub(super) fn nobody_worked(seen: &Observation) -> bool {
    let silent = match &seen.upgrade_task {
        UpgradeTaskSeen::Ours { status, .. } => status.upgrade_detailed_statuses.is_empty() && status.phase.is_empty(),
        UpgradeTaskSeen::Absent | UpgradeTaskSeen::Other { .. } => true,
    };
    silent && seen.pods.iter().all(|pod| pod.exit_code.is_none())
}

/// What an executor of our own said when it ended: the step, the object, what was seen there, and what to do.
fn last_words(seen: &Observation) -> Option<String> {
    let said = seen.pods.iter().filter_map(|pod| Termination::read(pod.termination.as_deref()?));
    said.filter(|said| said.phase == "Error").map(|said| said.sentence()).find(|sentence| !sentence.is_empty())
}

fn pod_end(pod: &PodSeen) -> Option<String> {
    let code = pod.exit_code.filter(|&code| code != 0)?;
    let said = pod.termination.as_deref().filter(|said| !said.is_empty());
    Some(match said {
        Some(said) => format!("Pod {} ended with exit code {code}: {said}", pod.name),
        None => format!("Pod {} ended with exit code {code}", pod.name),
    })
}

/// A Pod that its node evicted or lost may have had no last word.
fn ended_by_its_node(pod: &PodSeen) -> Option<String> {
    let why = pod.waiting.as_deref().filter(|_| pod.phase == "Failed")?;
    Some(format!("Pod {} was ended by its node: {why}", pod.name))
}

/// The Job has ended, and the resource was not read after it: look again.
fn read_the_resource() -> Step {
    Step::Wait { time: Duration::ZERO, doing: "the Job ended; the resource is read next".to_owned() }
}

pub(super) fn failed(class: FailureClass, reason: String) -> Step {
    Step::End(Outcome::Failed { reason, class })
}
