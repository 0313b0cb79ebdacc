//! What to do next about one attempt: a pure function of the stored attempt, what is seen now, and the time.
//!
//! Level-triggered: the answer never depends on what we remember having done, so a restarted daemon simply carries on.
//! The rows of the outcome table in the reliability promises are the arms below, in its order.

use std::time::Duration;

use crate::domain::attempt::{CancelCause, FailureClass, Outcome};
use crate::domain::inventory::Condition;
use crate::domain::observation::{JobSeen, Observation, PodSeen, ResourceSeen, Standing, UpgradeTaskSeen};
use crate::domain::{Attempt, Timestamp, Version};
use crate::openebs::outcome;
use crate::openebs::termination::Termination;

use super::Rules;

/// How often an attempt is looked at when no watch tells of a change: the floor under the watch.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How soon an attempt is looked at again when something is expected within moments: a Pod that ends after its Job was
/// suspended, a Job that a moment ago did not exist.
pub const LOOK_AGAIN_SOON: Duration = Duration::from_millis(500);

/// How often a Pod is looked at that should have left long ago: only a person who knows its node can help.
const LOOK_AT_THE_STUCK: Duration = Duration::from_mins(1);

/// How long after its own deadline a Job is given to have ended by itself, before the hub suspends it.
const GRACE: Duration = Duration::from_secs(30);

/// How long what a completed Job left may be on its way: targets and replicas that have just restarted connect anew within
/// seconds, and an attempt more costs more than this.
const CONNECTS_WITHIN: Duration = Duration::from_secs(30);

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

/// The Job is over, and a Pod of it is not: it may still be at work, and nothing else may start. That is no failure before
/// the Job's own deadline; afterwards its Pod counts as somebody who is busy with the resource, and holds no slot.
fn while_a_pod_lives(attempt: &Attempt, what: &str, seen: &Observation, now: Timestamp) -> Option<Step> {
    if now >= attempt.deadline {
        return None;
    }
    let pod = seen.pods.iter().find(|pod| !pod.has_ended())?;
    Some(pod_ends(&format!("{what}, and Pod {} of it still runs", pod.name), Some(pod), now))
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

/// What the executor says it does, else what its Pod waits for.
fn doing(attempt: &Attempt, seen: &Observation) -> String {
    let waiting = seen.pods.iter().find_map(|pod| Some((pod, pod.waiting.as_deref()?)));
    if let Some((pod, why)) = waiting {
        return format!("Pod {} waits: {why}", pod.name);
    }
    if let Some(why) = &seen.no_pod {
        return format!("Job {} has no Pod: {why}", attempt.job_name);
    }
    match &seen.upgrade_task {
        UpgradeTaskSeen::Ours { status, .. } => outcome::doing(status),
        UpgradeTaskSeen::Absent | UpgradeTaskSeen::Other { .. } => None,
    }
    .unwrap_or_else(|| format!("Job {} runs", attempt.job_name))
}

/// A version does not change by itself any more; replicas and targets connect anew for a while, and an API server that
/// comes back forbids for a while.
fn judge_complete(
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

fn judge_failed(
    attempt: &Attempt,
    (from, to): (&Version, &Version),
    seen: &Observation,
    (reason, message): (&str, &str),
    now: Timestamp,
) -> Step {
    if let Some(wait) = while_a_pod_lives(attempt, "the Job failed", seen, now) {
        return wait;
    }
    let Some(resource) = &seen.resource else { return read_the_resource() };
    let said =
        last_words(seen).or_else(|| complaint(&seen.upgrade_task)).or_else(|| seen.pods.iter().find_map(pod_end));
    let told: Vec<String> = said.into_iter().chain(seen.pods.iter().find_map(ended_by_its_node)).collect();
    let why = if told.is_empty() { format!("the Job failed: {reason}: {message}") } else { told.join("; ") };
    let class = if reason == "DeadlineExceeded" { FailureClass::Deadline } else { FailureClass::Job };
    after_the_fact(class, from, to, resource, why)
}

fn judge_suspended(attempt: &Attempt, from: &Version, to: &Version, seen: &Observation) -> Step {
    if let Some(CancelCause::Busy { by }) = &attempt.cancelled {
        return Step::End(Outcome::NotBegun { reason: format!("{by} is working on it") });
    }
    let Some(resource) = &seen.resource else { return read_the_resource() };
    let (class, why) = match &attempt.cancelled {
        Some(CancelCause::Deadline) => {
            let last = last_words(seen).or_else(|| complaint(&seen.upgrade_task));
            let last = last.map_or(String::new(), |last| format!("; last: {last}"));
            (FailureClass::Deadline, format!("it had not ended at {}{last}", attempt.deadline))
        }
        Some(CancelCause::Operator { by }) => (FailureClass::Cancelled, format!("cancelled by {by}")),
        Some(CancelCause::Busy { .. }) | None => {
            (FailureClass::Cancelled, format!("somebody suspended Job {}", attempt.job_name))
        }
    };
    after_the_fact(class, from, to, resource, why)
}

fn judge_lost(
    attempt: &Attempt,
    (from, to): (&Version, &Version),
    seen: &Observation,
    why: &str,
    now: Timestamp,
) -> Step {
    if let Some(wait) = while_a_pod_lives(attempt, why, seen, now) {
        return wait;
    }
    let Some(resource) = &seen.resource else { return read_the_resource() };
    after_the_fact(FailureClass::Lost, from, to, resource, why.to_owned())
}

/// A Job that did not complete proves nothing, even where the resource is at the target: steps after the version's
/// may be missing. Another attempt is quick then, and finishes what was left.
fn after_the_fact(class: FailureClass, from: &Version, to: &Version, resource: &ResourceSeen, why: String) -> Step {
    match resource {
        ResourceSeen::Gone => failed(FailureClass::Vanished, format!("{why}; the resource is gone")),
        ResourceSeen::Found(state) => match state.standing(from, to) {
            Standing::AtTarget => failed(class, format!("{why}; at target, last steps not proven")),
            Standing::Before | Standing::Drifted(_) => failed(class, why),
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

/// Whether no executor ever said a word: its UpgradeTask is as it was created, and no Pod of it ended.
pub fn nobody_worked(seen: &Observation) -> bool {
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

fn failed(class: FailureClass, reason: String) -> Step {
    Step::End(Outcome::Failed { reason, class })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Zeros, at, strategy};
    use super::*;
    use crate::domain::inventory::SeenVersion;
    use crate::domain::observation::ResourceState;
    use crate::domain::{AttemptId, TaskId};
    use crate::openebs::upgrade_task::{StepStatus, UpgradeTaskStatus};

    const FROM: Version = Version::new(3, 5, 0);
    const TO: Version = Version::new(3, 6, 0);
    const UID: &str = "11111111-aaaa";

    fn attempt(job_uid: Option<&str>) -> Attempt {
        Attempt {
            id: AttemptId::new(at(0), &Zeros),
            task: TaskId::new(at(0), &Zeros),
            number: 1,
            job_name: "fl-x".into(),
            upgrade_task_name: "upgrade-jiva-csi-volume-pvc-1".into(),
            spec_hash: "h".into(),
            intended_at: at(0),
            deadline: at(1000),
            job_uid: job_uid.map(str::to_owned),
            upgrade_task_uid: None,
            cancelled: None,
            completed_seen_at: None,
            resource_before: None,
            end: None,
        }
    }

    fn rules() -> Rules {
        Rules::of(&strategy())
    }

    fn pod(phase: &str, leaves_at: Option<Timestamp>) -> PodSeen {
        PodSeen {
            name: "fl-x-1".into(),
            phase: phase.into(),
            waiting: None,
            exit_code: None,
            leaves_at,
            termination: None,
            log_tail: None,
        }
    }

    fn seen(job: JobSeen) -> Observation {
        Observation {
            at: at(10),
            job,
            upgrade_task: UpgradeTaskSeen::Absent,
            pods: vec![],
            no_pod: None,
            resource: None,
        }
    }

    fn resource(version: &str) -> ResourceSeen {
        ResourceSeen::Found(ResourceState {
            versions: vec![SeenVersion {
                object: "JivaVolume/pvc-1".into(),
                field: "versionDetails.status.current".into(),
                version: version.into(),
            }],
            rolled_out: Condition::Holds,
            healthy: Condition::Holds,
            load: Condition::Holds,
            settled: Condition::Holds,
        })
    }

    fn errored() -> UpgradeTaskSeen {
        UpgradeTaskSeen::Ours {
            uid: "u".into(),
            status: UpgradeTaskStatus {
                phase: "Error".into(),
                upgrade_detailed_statuses: vec![StepStatus {
                    step: "REPLICA_UPGRADE".into(),
                    phase: "Errored".into(),
                    message: "failed to patch replica sts".into(),
                    reason: "no such image".into(),
                    ..StepStatus::default()
                }],
                ..UpgradeTaskStatus::default()
            },
        }
    }

    fn step(attempt: &Attempt, seen: &Observation) -> Step {
        next_step(attempt, (&FROM, &TO), None, seen, &rules(), at(10))
    }

    fn complete() -> JobSeen {
        JobSeen::Complete { uid: UID.into() }
    }

    fn failed_job() -> JobSeen {
        JobSeen::Failed { uid: UID.into(), reason: "BackoffLimitExceeded".into(), message: "one Pod failed".into() }
    }

    fn reason_of(step: Step) -> (FailureClass, String) {
        match step {
            Step::End(Outcome::Failed { reason, class }) => (class, reason),
            other => unreachable!("expected a failure, got {other:?}"),
        }
    }

    #[test]
    fn a_complete_job_with_the_resource_at_target_succeeds_and_an_error_beside_it_is_a_warning() {
        let mut saw = seen(complete());
        saw.resource = Some(resource("3.6.0"));
        assert_eq!(step(&attempt(Some(UID)), &saw), Step::End(Outcome::Succeeded { warning: None }));
        saw.upgrade_task = errored();
        let Step::End(Outcome::Succeeded { warning: Some(warning) }) = step(&attempt(Some(UID)), &saw) else {
            unreachable!("not a success with a warning")
        };
        assert!(warning.contains("REPLICA_UPGRADE") && warning.contains("no such image"), "{warning}");
    }

    #[test]
    fn a_complete_job_is_not_judged_before_the_resource_was_read_after_it() {
        assert!(matches!(step(&attempt(Some(UID)), &seen(complete())), Step::Wait { .. }));
    }

    #[test]
    fn a_complete_job_with_the_resource_elsewhere_is_a_contradiction_that_shows_both() {
        let mut saw = seen(complete());
        saw.resource = Some(resource("3.5.0"));
        let (class, reason) = reason_of(step(&attempt(Some(UID)), &saw));
        assert_eq!(class, FailureClass::Contradiction);
        assert!(reason.starts_with("the Job completed, but ") && reason.contains("3.5.0"), "{reason}");
    }

    #[test]
    fn what_a_complete_job_left_may_settle_for_a_while_from_when_that_was_first_seen() {
        let ill = Condition::Fails("1 of 3 replicas are in sync".into());
        let hidden = Condition::Unknown("the right to list statefulsets.apps is missing".into());
        let patience = rules().settle_deadline;
        for (condition, word, patience) in [(ill, "in sync", CONNECTS_WITHIN), (hidden, "statefulsets", patience)] {
            let mut saw = seen(complete());
            saw.resource = Some(resource("3.6.0"));
            if let Some(ResourceSeen::Found(state)) = &mut saw.resource {
                state.healthy = condition;
            }
            let mut attempt = attempt(Some(UID));
            let at_time = |attempt: &Attempt, now| next_step(attempt, (&FROM, &TO), None, &saw, &rules(), now);
            let first_seen = attempt.deadline + Duration::from_hours(1);
            assert_eq!(at_time(&attempt, first_seen), Step::Act(Action::AwaitSettling), "not judged unseen");
            attempt.completed_seen_at = Some(first_seen);
            let Step::Wait { doing, .. } = at_time(&attempt, first_seen) else { unreachable!("it was judged") };
            assert!(doing.contains(word), "{doing}");
            let (class, reason) = reason_of(at_time(&attempt, first_seen + patience));
            assert_eq!(class, FailureClass::Contradiction);
            assert!(reason.contains(word), "{reason}");
        }
    }

    #[test]
    fn time_in_which_nobody_could_look_counts_against_nothing_that_had_not_begun_or_settles() {
        let hour = Duration::from_hours(1);
        let again =
            |attempt: &Attempt, since, unseen| in_sight_again(attempt, since, unseen, &rules(), at(5_000) + hour);
        let waiting = attempt(None);
        assert_eq!(again(&waiting, at(0), None), None);
        let later = again(&waiting, at(0), Some(at(5_000))).unwrap();
        assert_eq!(later.deadline, waiting.deadline + hour);
        let deferred = again(&waiting, at(4_000), None).unwrap();
        assert_eq!(deferred.deadline, deadline(at(4_000), &rules()), "it was deferred meanwhile");
        assert_eq!(again(&attempt(Some(UID)), at(4_000), Some(at(5_000))), None, "its Job's time went on");
        let settling = Attempt { completed_seen_at: Some(at(900)), ..attempt(Some(UID)) };
        assert_eq!(again(&settling, at(0), Some(at(5_000))).unwrap().completed_seen_at, Some(at(900) + hour));
    }

    #[test]
    fn an_attempt_whose_job_nobody_saw_fails_only_by_a_deadline_that_passed_in_sight() {
        let attempt = attempt(None);
        let saw = seen(JobSeen::Absent);
        let late = next_step(&attempt, (&FROM, &TO), None, &saw, &rules(), attempt.deadline);
        assert_eq!(late, Step::Act(Action::Cancel(CancelCause::Deadline)));
        let again = in_sight_again(&attempt, at(0), Some(at(20)), &rules(), attempt.deadline).unwrap();
        let returned = next_step(&again, (&FROM, &TO), None, &saw, &rules(), attempt.deadline);
        assert_eq!(returned, Step::Act(Action::CreateUpgradeTask), "nothing happened yet");
    }

    #[test]
    fn nothing_is_judged_while_a_pod_of_a_job_that_is_over_lives() {
        for job in [JobSeen::Absent, JobSeen::Complete { uid: "another".into() }, failed_job()] {
            let mut saw = seen(job);
            saw.pods = vec![pod("Running", None)];
            let Step::Wait { doing, .. } = step(&attempt(Some(UID)), &saw) else { unreachable!("it was judged") };
            assert!(doing.contains("Pod fl-x-1 of it still runs"), "{doing}");
            saw.resource = Some(resource("3.5.0"));
            let attempt = attempt(Some(UID));
            // What may never leave (its node is gone) is from then on somebody who is busy with the resource.
            reason_of(next_step(&attempt, (&FROM, &TO), None, &saw, &rules(), attempt.deadline));
            saw.pods = vec![pod("Failed", None)];
            reason_of(step(&attempt, &saw));
        }
    }

    #[test]
    fn a_pod_that_does_not_leave_is_looked_at_less_and_less_often_and_its_remedy_is_named() {
        let mut saw = seen(JobSeen::Suspended { uid: UID.into(), pods_left: 1 });
        saw.pods = vec![pod("Running", Some(at(100)))];
        let waits = |second| match next_step(&attempt(Some(UID)), (&FROM, &TO), None, &saw, &rules(), at(second)) {
            Step::Wait { time, doing } => (time, doing.contains("kubectl delete pod fl-x-1 --force")),
            other => unreachable!("it still ends, got {other:?}"),
        };
        assert_eq!(waits(90), (LOOK_AGAIN_SOON, false), "it has its time to leave");
        assert_eq!(waits(110), (Duration::from_secs(10), false));
        assert_eq!(waits(100_000), (LOOK_AT_THE_STUCK, true));
    }

    #[test]
    fn an_attempt_that_found_the_resource_busy_takes_the_name_and_counts_for_nothing() {
        let mut attempt = attempt(None);
        attempt.cancelled = Some(CancelCause::Busy { by: "Job/theirs".into() });
        assert_eq!(step(&attempt, &seen(JobSeen::Absent)), Step::Act(Action::FenceJob));
        attempt.job_uid = Some(UID.into());
        let fenced = step(&attempt, &seen(JobSeen::Suspended { uid: UID.into(), pods_left: 0 }));
        assert_eq!(fenced, Step::End(Outcome::NotBegun { reason: "Job/theirs is working on it".into() }));
    }

    #[test]
    fn a_failed_job_fails_with_the_last_step_else_the_pods_end_else_the_condition() {
        let mut saw = seen(failed_job());
        saw.resource = Some(resource("3.5.0"));
        assert!(reason_of(step(&attempt(Some(UID)), &saw)).1.contains("BackoffLimitExceeded"));
        saw.pods = vec![PodSeen { exit_code: Some(255), termination: Some("boom".into()), ..pod("Failed", None) }];
        assert!(reason_of(step(&attempt(Some(UID)), &saw)).1.contains("exit code 255: boom"));
        let evicted = PodSeen {
            waiting: Some("Evicted: The node was low on resource: memory.".into()),
            exit_code: None,
            termination: None,
            ..saw.pods[0].clone()
        };
        let ended = std::mem::replace(&mut saw.pods, vec![evicted]);
        let said = reason_of(step(&attempt(Some(UID)), &saw)).1;
        assert_eq!(said, "Pod fl-x-1 was ended by its node: Evicted: The node was low on resource: memory.");
        saw.pods = ended;
        saw.upgrade_task = errored();
        assert!(reason_of(step(&attempt(Some(UID)), &saw)).1.contains("no such image"));
        let words = Termination {
            phase: "Error".into(),
            step: "REPLICA_UPGRADE".into(),
            object: "StatefulSet/pvc-1-rep".into(),
            remedy: "look at the Pod's events".into(),
            ..Termination::default()
        };
        saw.pods[0].termination = Some(words.to_message());
        let said = reason_of(step(&attempt(Some(UID)), &saw)).1;
        assert_eq!(said, "REPLICA_UPGRADE on StatefulSet/pvc-1-rep; look at the Pod's events");
    }

    #[test]
    fn a_failed_job_with_the_resource_at_target_is_still_failed() {
        let mut saw = seen(failed_job());
        saw.resource = Some(resource("3.6.0"));
        let (class, reason) = reason_of(step(&attempt(Some(UID)), &saw));
        assert_eq!(class, FailureClass::Job);
        assert!(reason.ends_with("at target, last steps not proven"), "{reason}");
    }

    #[test]
    fn a_job_that_was_recorded_and_is_gone_or_replaced_is_lost() {
        for job in [JobSeen::Absent, JobSeen::Complete { uid: "another".into() }] {
            let mut saw = seen(job);
            saw.resource = Some(resource("3.6.0"));
            assert_eq!(reason_of(step(&attempt(Some(UID)), &saw)).0, FailureClass::Lost);
        }
    }

    #[test]
    fn without_a_recorded_uid_nothing_happened_yet_and_the_upgrade_task_comes_first() {
        assert_eq!(step(&attempt(None), &seen(JobSeen::Absent)), Step::Act(Action::CreateUpgradeTask));
        let mut saw = seen(JobSeen::Absent);
        saw.upgrade_task = UpgradeTaskSeen::Ours { uid: "u".into(), status: UpgradeTaskStatus::default() };
        assert_eq!(step(&attempt(None), &saw), Step::Act(Action::CreateJob));
        saw.upgrade_task = UpgradeTaskSeen::Other {
            uid: "old".into(),
            whose: "another attempt".into(),
            status: UpgradeTaskStatus::default(),
        };
        assert!(matches!(step(&attempt(None), &saw), Step::Act(Action::DeleteUpgradeTask { .. })));
    }

    #[test]
    fn a_job_of_ours_whose_creation_was_never_answered_is_adopted_before_it_is_judged() {
        for job in [JobSeen::Active { uid: UID.into() }, complete(), failed_job()] {
            assert_eq!(step(&attempt(None), &seen(job)), Step::Act(Action::Adopt { job_uid: UID.into() }));
        }
    }

    #[test]
    fn a_running_job_waits_whatever_its_upgrade_task_says() {
        let mut saw = seen(JobSeen::Active { uid: UID.into() });
        saw.upgrade_task = errored();
        assert!(matches!(step(&attempt(Some(UID)), &saw), Step::Wait { .. }));
    }

    #[test]
    fn past_its_deadline_the_cause_is_stored_then_the_job_suspended_then_its_pods_awaited() {
        let saw = seen(JobSeen::Active { uid: UID.into() });
        let late =
            |attempt: &Attempt, saw: &Observation| next_step(attempt, (&FROM, &TO), None, saw, &rules(), at(1000));
        let mut attempt = attempt(Some(UID));
        assert_eq!(late(&attempt, &saw), Step::Act(Action::Cancel(CancelCause::Deadline)));
        attempt.cancelled = Some(CancelCause::Deadline);
        assert_eq!(late(&attempt, &saw), Step::Act(Action::SuspendJob { uid: UID.into() }));
        let mut suspended = seen(JobSeen::Suspended { uid: UID.into(), pods_left: 1 });
        assert!(matches!(late(&attempt, &suspended), Step::Wait { .. }));
        suspended.job = JobSeen::Suspended { uid: UID.into(), pods_left: 0 };
        suspended.resource = Some(resource("3.5.0"));
        assert_eq!(reason_of(late(&attempt, &suspended)).0, FailureClass::Deadline);
    }

    #[test]
    fn a_cancelled_attempt_whose_job_may_be_on_its_way_takes_the_name_first() {
        let mut attempt = attempt(None);
        let by = CancelCause::Operator { by: "ada".into() };
        assert_eq!(
            next_step(&attempt, (&FROM, &TO), Some(&by), &seen(JobSeen::Absent), &rules(), at(10)),
            Step::Act(Action::Cancel(by.clone()))
        );
        attempt.cancelled = Some(by);
        assert_eq!(step(&attempt, &seen(JobSeen::Absent)), Step::Act(Action::FenceJob));
    }

    #[test]
    fn a_foreign_job_of_our_name_is_a_conflict_for_a_person() {
        let saw = seen(JobSeen::Foreign { uid: "x".into(), why: "no label fleetlift.io/hub".into() });
        let (class, _) = reason_of(step(&attempt(None), &saw));
        assert!(!class.may_be_retried());
    }

    #[test]
    fn a_resource_that_is_gone_is_never_success() {
        for job in [complete(), failed_job(), JobSeen::Suspended { uid: UID.into(), pods_left: 0 }] {
            let mut saw = seen(job);
            saw.resource = Some(ResourceSeen::Gone);
            assert_eq!(reason_of(step(&attempt(Some(UID)), &saw)).0, FailureClass::Vanished);
        }
    }
}
