//! What to do next about one running target that has no attempt under way: a pure function of its tasks, a fresh
//! reading of the cluster, and the time.

use std::time::Duration;

use crate::domain::attempt::{FailureClass, Outcome};
use crate::domain::inventory::{Condition, SeenVersion};
use crate::domain::observation::{ResourceSeen, ResourceState, Standing};
use crate::domain::plan::PlannedTask;
use crate::domain::rollout::{RolloutState, Verdict};
use crate::domain::target::{Deferral, SkipReason, Task, TaskState, backoff};
use crate::domain::window::{self, Window, WindowState};
use crate::domain::{ResourceKind, Timestamp, Version, Zone};

use super::Rules;

/// How often a cluster is looked at while it settles: replicas rebuild for minutes, and each look reads every replica.
pub const LOOK_WHILE_SETTLING: Duration = Duration::from_secs(3);

/// What a target needs before anything is read from its cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<'a> {
    /// This task is due: read what [`before_task`] wants to know.
    Consider(&'a Task),
    /// The next task waits for its backoff.
    WaitUntil {
        /// Until when.
        at: Timestamp,
        /// Which attempt of which task, in a sentence.
        doing: String,
    },
    /// Every task is settled, or none may start any more.
    Finish(Finish),
}

/// How a target ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// All its tasks succeeded or were not needed.
    Succeeded,
    /// A task failed, or the target's deadline passed.
    Failed {
        /// Why, in a sentence.
        reason: String,
        /// What the tasks that did not start are blocked by.
        blocked_by: String,
    },
    /// The rollout was aborted; what was done is done.
    Aborted,
    /// The rollout's deadline passed: no further task begins, and what is left is owed.
    Owed {
        /// Why, in a sentence.
        reason: String,
    },
}

/// What a fresh reading says before a task starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Whether the control-plane components that the task needs are at the target.
    pub control_plane: Condition,
    /// Who works on the resource, if anybody.
    pub busy: Option<String>,
    /// Whether nobody uses what the task stops; holds unasked unless the strategy refuses volumes in use.
    pub unused: Condition,
    /// The resource.
    pub resource: ResourceSeen,
}

/// What to do about a task, after reading.
#[derive(Debug, Clone, PartialEq)]
pub enum BeforeTask {
    /// Start an attempt.
    Attempt,
    /// It is done already.
    Skip(SkipReason),
    /// It fails without an attempt.
    Fail(String),
    /// Look again: replicas settle.
    Wait {
        /// How long.
        time: Duration,
        /// What is waited for, in a sentence.
        doing: String,
    },
    /// Give the slots back and try later.
    Defer(Deferral),
}

/// What a running target without an attempt under way needs next.
pub fn next<'a>(
    rollout: &RolloutState,
    tasks: &'a [Task],
    planned: &[PlannedTask],
    running_since: Timestamp,
    rules: &Rules,
    now: Timestamp,
) -> Next<'a> {
    let failed = tasks.iter().zip(planned).find_map(|(task, plan)| match &task.state {
        TaskState::Failed { reason, .. } => Some((plan.resource.to_string(), reason.clone())),
        _ => None,
    });
    if let Some((resource, reason)) = failed {
        return Next::Finish(Finish::Failed { reason: format!("{resource}: {reason}"), blocked_by: resource });
    }
    let Some(task) = tasks.iter().find(|task| !task.state.is_settled()) else {
        return Next::Finish(Finish::Succeeded);
    };
    match rollout.verdict() {
        Some(Verdict::Aborted { .. }) => return Next::Finish(Finish::Aborted),
        // A task that was begun is brought to its end, by further attempts too: half an upgrade is worse than debt.
        Some(Verdict::Failed { reason }) if task.attempts == 0 => {
            return Next::Finish(Finish::Owed { reason: reason.clone() });
        }
        Some(Verdict::Succeeded { .. } | Verdict::Failed { .. }) | None => {}
    }
    let deadline = running_since + rules.cluster_deadline;
    if now >= deadline {
        let reason = format!("the cluster's deadline passed at {deadline}");
        return Next::Finish(Finish::Failed { reason, blocked_by: "the cluster's deadline".to_owned() });
    }
    match task.state {
        TaskState::Pending { not_before: Some(at) } if now < at => Next::WaitUntil {
            at: at.min(deadline),
            doing: format!("attempt {} of {} at {at}", task.attempts + 1, task.attempts_allowed),
        },
        _ => Next::Consider(task),
    }
}

/// Why no attempt begins although a task is left: the target's window has closed since it started. A Job under way is
/// let finish; what comes after it waits, without a slot.
pub fn outside_window(next: &Next<'_>, windows: &[Window], zone: &Zone, now: Timestamp) -> Option<Deferral> {
    match next {
        Next::Finish(_) => None,
        Next::Consider(_) | Next::WaitUntil { .. } => match window::state(windows, now, zone) {
            WindowState::Open { .. } => None,
            WindowState::Closed { opens_at, reason: _ } => Some(Deferral::OutsideWindow { opens_at }),
        },
    }
}

/// When the cluster was last disturbed by us: replicas settle from then on. That it was deferred in between gives them
/// no more time with slots held.
pub fn disturbed_at(tasks: &[Task], first_started: Timestamp) -> Timestamp {
    let ends = tasks.iter().filter_map(|task| match task.state {
        TaskState::Succeeded { at } | TaskState::Failed { at, .. } => Some(at),
        // After a failed attempt: the end of its backoff, before which nothing is asked.
        TaskState::Pending { not_before } => not_before,
        TaskState::Running { .. } | TaskState::Skipped { .. } | TaskState::NotStarted { .. } => None,
    });
    ends.chain([first_started]).max().unwrap_or(first_started)
}

/// What to do about `task`, which is `planned`, given a fresh reading. `settling_since` is when the cluster was last
/// disturbed ([`disturbed_at`]).
pub fn before_task(
    task: &Task,
    planned: &PlannedTask,
    reading: &Reading,
    settling_since: Timestamp,
    rules: &Rules,
    now: Timestamp,
) -> BeforeTask {
    let state = match &reading.resource {
        // Volumes come and go, and what is not there any more needs no upgrade: the rest of the cluster does.
        ResourceSeen::Gone if task.attempts == 0 => return BeforeTask::Skip(SkipReason::Removed),
        ResourceSeen::Gone => return BeforeTask::Fail("it vanished while we worked on it".to_owned()),
        ResourceSeen::Found(state) => state,
    };
    if let Some(by) = &reading.busy {
        return BeforeTask::Defer(Deferral::Busy { by: by.clone() });
    }
    let standing = state.standing(&planned.from, &planned.to);
    match &standing {
        Standing::Drifted(why) => return BeforeTask::Fail(format!("it drifted from the plan: {why}")),
        // After an attempt of ours that failed, the version proves nothing: steps after the version's may be missing.
        Standing::AtTarget if task.attempts == 0 && state.rolled_out.holds() => {
            return BeforeTask::Skip(SkipReason::AlreadyThere);
        }
        Standing::AtTarget | Standing::Before => {}
    }
    if let Some(found) = reading.control_plane.why_not() {
        return BeforeTask::Defer(Deferral::ControlPlane { found: found.to_owned() });
    }
    if let Some(why) = reading.unused.why_not() {
        return BeforeTask::Defer(Deferral::InUse { why: why.to_owned() });
    }
    let until = settling_since + rules.settle_deadline;
    let unsettled = |what: &str| match now < until {
        true => BeforeTask::Wait {
            time: LOOK_WHILE_SETTLING.min(until.since(now)),
            doing: format!("waiting until {what} is over (at most until {until})"),
        },
        false => BeforeTask::Defer(Deferral::Unsettled { what: what.to_owned() }),
    };
    if let Some(what) = state.settled.why_not() {
        return unsettled(what);
    }
    // A half-done upgrade, by other hands or by an attempt of ours, is repaired by finishing it: waiting for its own
    // health could last for ever. Fleetlift's own executor looks at that before each restart; others get the time in
    // which replicas settle.
    let half_done = planned.repair || task.attempts > 0 || standing == Standing::AtTarget;
    let repaired_now = half_done && (planned.repair || planned.own_executor || now >= until);
    let healthy = if tells_of_the_past(planned, state) { Condition::Holds } else { state.healthy.clone() };
    if let Some(what) = healthy.and(state.rolled_out.clone()).and(state.load.clone()).why_not()
        && !repaired_now
    {
        return unsettled(what);
    }
    BeforeTask::Attempt
}

/// Whether the resource's own status has stopped: jiva-operator leaves a volume alone that is not at its own version, so
/// with the operator at the target a volume that was last seen syncing would be so for ever. Fleetlift's own executor
/// asks the volume's controller instead; others don't look, and keep this gate.
fn tells_of_the_past(planned: &PlannedTask, state: &ResourceState) -> bool {
    let behind = |seen: &SeenVersion| {
        seen.field == "versionDetails.status.current"
            && seen.version.parse::<Version>().is_ok_and(|version| !version.same_release(&planned.to))
    };
    planned.own_executor && planned.resource.kind == ResourceKind::JivaVolume && state.versions.iter().any(behind)
}

/// The state of a task after one of its attempts ended.
pub fn after_attempt(task: &Task, outcome: &Outcome, rules: &Rules, now: Timestamp) -> TaskState {
    match outcome {
        Outcome::Succeeded { .. } => TaskState::Succeeded { at: now },
        Outcome::NotBegun { .. } => TaskState::Pending { not_before: None },
        Outcome::Failed { class, reason } if class.may_be_retried() && task.attempts < task.attempts_allowed => {
            let failed = rules.attempts.saturating_sub(task.attempts_allowed - task.attempts);
            let wait = backoff(rules.backoff_first, rules.backoff_longest, failed);
            tracing::debug!(reason, "an attempt failed; the next one in {wait:?}");
            TaskState::Pending { not_before: Some(now + wait) }
        }
        Outcome::Failed { reason, class: FailureClass::Cancelled } => {
            TaskState::Failed { at: now, reason: reason.clone() }
        }
        Outcome::Failed { reason, .. } if task.attempts > 1 => TaskState::Failed {
            at: now,
            reason: format!("{reason} (attempt {} of {})", task.attempts, task.attempts_allowed),
        },
        Outcome::Failed { reason, .. } => TaskState::Failed { at: now, reason: reason.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Zeros, at, strategy};
    use super::*;
    use crate::domain::window::{Days, Hours, Rule};
    use crate::domain::{ResourceRef, TargetId, TaskId};

    const FROM: Version = Version::new(3, 5, 0);
    const TO: Version = Version::new(3, 6, 0);

    fn task(attempts: u32) -> Task {
        Task {
            id: TaskId::new(at(0), &Zeros),
            target: TargetId::new(at(0), &Zeros),
            position: 0,
            state: TaskState::Pending { not_before: None },
            attempts,
            attempts_allowed: 3,
            open_attempt: None,
        }
    }

    fn planned() -> PlannedTask {
        PlannedTask {
            resource: ResourceRef { kind: ResourceKind::JivaVolume, name: "pvc-1".into() },
            resource_namespace: "openebs".into(),
            namespace: "openebs".into(),
            from: FROM,
            to: TO,
            image: "registry.test/upgrade:3.6.0".into(),
            pull_secrets: vec![],
            own_executor: true,
            service_account: "fleetlift-executor".into(),
            image_prefix: String::new(),
            image_tag: String::new(),
            pools: vec![],
            workloads: vec![],
            repair: false,
            expected_seconds: 60,
        }
    }

    fn state(version: &Version) -> ResourceState {
        let object = "JivaVolume/pvc-1".to_owned();
        let field = "versionDetails.status.current".to_owned();
        ResourceState {
            versions: vec![SeenVersion { object, field, version: version.to_string() }],
            rolled_out: Condition::Holds,
            healthy: Condition::Holds,
            load: Condition::Holds,
            half_done: None,
            settled: Condition::Holds,
        }
    }

    fn reading(state: ResourceState) -> Reading {
        let resource = ResourceSeen::Found(state);
        Reading { control_plane: Condition::Holds, busy: None, unused: Condition::Holds, resource }
    }

    fn decided(task: &Task, planned: &PlannedTask, reading: &Reading) -> BeforeTask {
        before_task(task, planned, reading, at(0), &Rules::of(&strategy()), at(10))
    }

    #[test]
    fn what_is_at_the_target_already_is_skipped_unless_an_attempt_of_ours_brought_it_there_and_failed() {
        let there = reading(state(&TO));
        assert_eq!(decided(&task(0), &planned(), &there), BeforeTask::Skip(SkipReason::AlreadyThere));
        assert_eq!(decided(&task(1), &planned(), &there), BeforeTask::Attempt);
        let rolling = reading(ResourceState { rolled_out: Condition::Fails("0 of 1".into()), ..state(&TO) });
        assert_eq!(decided(&task(0), &planned(), &rolling), BeforeTask::Attempt);
    }

    #[test]
    fn a_jiva_volume_that_its_operator_has_left_behind_is_not_waited_for_by_the_executor_that_asks_its_controller() {
        let syncing = Condition::Fails("volume pvc-1 is Syncing (RO)".into());
        let frozen = reading(ResourceState { healthy: syncing.clone(), ..state(&FROM) });
        assert_eq!(decided(&task(0), &planned(), &frozen), BeforeTask::Attempt);
        let official = PlannedTask { own_executor: false, ..planned() };
        assert!(matches!(decided(&task(0), &official, &frozen), BeforeTask::Wait { .. }));
        let missing = Condition::Fails("2 of 3 Pods ready".into());
        let away = reading(ResourceState { healthy: syncing, rolled_out: missing, ..state(&FROM) });
        assert!(matches!(decided(&task(0), &planned(), &away), BeforeTask::Wait { .. }));
    }

    #[test]
    fn its_own_health_is_asked_before_the_first_attempt_only_and_its_neighbours_always() {
        let late = at(0) + Rules::of(&strategy()).settle_deadline;
        let lately = |task: &Task, planned: &PlannedTask, reading: &Reading| {
            before_task(task, planned, reading, at(0), &Rules::of(&strategy()), late)
        };
        let ill = reading(ResourceState { healthy: Condition::Fails("it is off line".into()), ..state(&FROM) });
        let stuck = reading(ResourceState { rolled_out: Condition::Fails("0 of 1".into()), ..state(&FROM) });
        let resource = ResourceRef { kind: ResourceKind::CstorVolume, name: "pvc-1".into() };
        let planned = || PlannedTask { resource: resource.clone(), ..planned() };
        let official = PlannedTask { own_executor: false, ..planned() };
        let beneath =
            reading(ResourceState { load: Condition::Fails("the replica on it is off line".into()), ..state(&FROM) });
        for own in [&ill, &stuck, &beneath] {
            assert!(matches!(decided(&task(0), &planned(), own), BeforeTask::Wait { .. }));
            assert!(matches!(lately(&task(0), &planned(), own), BeforeTask::Defer(Deferral::Unsettled { .. })));
            assert_eq!(decided(&task(1), &planned(), own), BeforeTask::Attempt);
            assert!(matches!(decided(&task(1), &official, own), BeforeTask::Wait { .. }), "it does not look by itself");
            assert_eq!(lately(&task(1), &official, own), BeforeTask::Attempt);
        }
        assert_eq!(decided(&task(0), &PlannedTask { repair: true, ..planned() }, &ill), BeforeTask::Attempt);
        let rebuilding = Condition::Fails("a replica rebuilds".into());
        let beside = reading(ResourceState { settled: rebuilding, ..state(&FROM) });
        for attempts in [0, 1] {
            assert!(matches!(decided(&task(attempts), &planned(), &beside), BeforeTask::Wait { .. }));
        }
        let decided = lately(&task(1), &planned(), &beside);
        assert_eq!(decided, BeforeTask::Defer(Deferral::Unsettled { what: "a replica rebuilds".into() }));
    }

    #[test]
    fn what_came_into_use_since_it_was_planned_is_deferred_and_stays_owed() {
        for unused in [Condition::Fails("in use by Pod a/b".into()), Condition::Unknown("a right is missing".into())] {
            let why = unused.why_not().unwrap().to_owned();
            let in_use = Reading { unused, ..reading(state(&FROM)) };
            for attempts in [0, 1] {
                let deferred = BeforeTask::Defer(Deferral::InUse { why: why.clone() });
                assert_eq!(decided(&task(attempts), &planned(), &in_use), deferred);
            }
            let there = Reading { resource: ResourceSeen::Found(state(&TO)), ..in_use };
            assert_eq!(decided(&task(0), &planned(), &there), BeforeTask::Skip(SkipReason::AlreadyThere));
        }
    }

    #[test]
    fn nothing_starts_beside_somebody_else_or_behind_the_control_plane_or_on_what_drifted() {
        let busy = Reading { busy: Some("Job/theirs".into()), ..reading(state(&FROM)) };
        assert_eq!(decided(&task(0), &planned(), &busy), BeforeTask::Defer(Deferral::Busy { by: "Job/theirs".into() }));
        let behind =
            Reading { control_plane: Condition::Fails("jiva-operator is at 3.5.0".into()), ..reading(state(&FROM)) };
        let found = "jiva-operator is at 3.5.0".into();
        assert_eq!(decided(&task(0), &planned(), &behind), BeforeTask::Defer(Deferral::ControlPlane { found }));
        let drifted = reading(state(&Version::new(3, 4, 0)));
        assert!(matches!(decided(&task(0), &planned(), &drifted), BeforeTask::Fail(_)));
    }

    #[test]
    fn what_was_removed_before_its_job_was_created_is_skipped_and_afterwards_has_vanished() {
        let gone = Reading { resource: ResourceSeen::Gone, ..reading(state(&FROM)) };
        assert_eq!(decided(&task(0), &planned(), &gone), BeforeTask::Skip(SkipReason::Removed));
        assert!(matches!(decided(&task(1), &planned(), &gone), BeforeTask::Fail(_)));
    }

    #[test]
    fn replicas_settle_from_the_last_end_of_ours_and_a_restart_of_the_target_is_none() {
        let ended = |state| Task { state, ..task(1) };
        assert_eq!(disturbed_at(&[task(0)], at(5)), at(5));
        let failed_once = ended(TaskState::Pending { not_before: Some(at(90)) });
        assert_eq!(disturbed_at(&[ended(TaskState::Succeeded { at: at(50) }), failed_once], at(5)), at(90));
        assert_eq!(disturbed_at(&[ended(TaskState::Succeeded { at: at(50) }), task(0)], at(5)), at(50));
    }

    #[test]
    fn past_the_rollouts_deadline_what_was_begun_ends_and_nothing_else_begins() {
        let reason = "the rollout's deadline passed".to_owned();
        let stopping =
            RolloutState::Stopping { verdict: Verdict::Failed { reason: reason.clone() }, accepted_failures: 0 };
        let rules = Rules::of(&strategy());
        let next = |task: &Task| match next(&stopping, std::slice::from_ref(task), &[planned()], at(0), &rules, at(10))
        {
            Next::Finish(finish) => Some(finish),
            Next::Consider(_) | Next::WaitUntil { .. } => None,
        };
        assert_eq!(next(&task(0)), Some(Finish::Owed { reason }));
        assert_eq!(next(&task(1)), None);
        let done = Task { state: TaskState::Succeeded { at: at(5) }, ..task(1) };
        assert_eq!(next(&done), Some(Finish::Succeeded));
    }

    #[test]
    fn a_window_that_closed_holds_the_next_attempt_back_until_it_opens_but_not_the_end_of_what_is_done() {
        let hours = Hours { from: 22 * 60, to: 5 * 60 };
        let rule = Rule { days: Days::ALL, dates: None, hours: Some(hours), reason: None };
        let nights = [Window { name: "nights".into(), allow: vec![rule], deny: vec![] }];
        let hour = |hour: i64| at(hour * 3_600);
        let shut = |next: &Next<'_>, now| outside_window(next, &nights, &Zone::utc(), now);
        let task = task(0);
        let backing_off = Next::WaitUntil { at: hour(9), doing: String::new() };
        for next in [&Next::Consider(&task), &backing_off] {
            assert_eq!(shut(next, hour(4)), None);
            assert_eq!(shut(next, hour(5)), Some(Deferral::OutsideWindow { opens_at: Some(hour(22)) }));
        }
        assert_eq!(shut(&Next::Finish(Finish::Succeeded), hour(5)), None);
        assert_eq!(outside_window(&Next::Consider(&task), &[], &Zone::utc(), hour(5)), None);
    }
}
