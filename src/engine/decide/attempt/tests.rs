use super::judge::CONNECTS_WITHIN;
use super::*;
use crate::domain::inventory::{Condition, SeenVersion};
use crate::domain::observation::{ResourceSeen, ResourceState};
use crate::domain::{AttemptId, TaskId};
use crate::engine::decide::tests::{Zeros, at, strategy};
use crate::openebs::termination::Termination;
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
        held_up: None,
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
    Observation { at: at(10), job, upgrade_task: UpgradeTaskSeen::Absent, pods: vec![], no_pod: None, resource: None }
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
        half_done: None,
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
    let again = |attempt: &Attempt, since, unseen| in_sight_again(attempt, since, unseen, &rules(), at(5_000) + hour);
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
fn an_executor_that_waited_for_ever_is_told_of_by_its_last_step_and_by_what_it_left() {
    let mut saw =
        seen(JobSeen::Failed { uid: UID.into(), reason: "DeadlineExceeded".into(), message: "too long".into() });
    let ResourceSeen::Found(mut left) = resource("3.5.0") else { unreachable!("it is there") };
    left.half_done = Some("JivaVolume/pvc-1 wants 3.6.0 and is at 3.5.0 (invalid current version)".into());
    saw.resource = Some(ResourceSeen::Found(left));
    let waiting = StepStatus { step: "TARGET_UPGRADE".into(), phase: "Waiting".into(), ..StepStatus::default() };
    let status = UpgradeTaskStatus { upgrade_detailed_statuses: vec![waiting], ..UpgradeTaskStatus::default() };
    saw.upgrade_task = UpgradeTaskSeen::Ours { uid: "u".into(), status };
    let (class, reason) = reason_of(step(&attempt(Some(UID)), &saw));
    assert_eq!(class, FailureClass::Deadline);
    assert_eq!(
        reason,
        "the Job failed: DeadlineExceeded: too long; last: TARGET_UPGRADE is under way; left half-done: \
         JivaVolume/pvc-1 wants 3.6.0 and is at 3.5.0 (invalid current version)"
    );
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
    let late = |attempt: &Attempt, saw: &Observation| next_step(attempt, (&FROM, &TO), None, saw, &rules(), at(1000));
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

#[test]
fn what_kept_a_pod_is_told_on_while_nothing_newer_is_known_and_with_the_verdict() {
    let mut saw = seen(JobSeen::Active { uid: UID.into() });
    saw.pods = vec![PodSeen { waiting: Some("ImagePullBackOff".into()), ..pod("Pending", None) }];
    let told = |attempt: &Attempt, saw: &Observation| match step(attempt, saw) {
        Step::Wait { doing, .. } => doing,
        other => unreachable!("its Job runs, got {other:?}"),
    };
    let held = held_up_anew(&attempt(Some(UID)), &saw).unwrap();
    assert_eq!(held_up_anew(&held, &saw), None, "it is no news");
    assert_eq!(told(&held, &saw), "Pod fl-x-1 waits: ImagePullBackOff");
    saw.pods = vec![PodSeen { waiting: Some("ContainerCreating".into()), ..pod("Pending", Some(at(9))) }];
    assert_eq!(held_up_anew(&held, &saw), None, "it is told to leave");
    assert_eq!(told(&held, &saw), "Pod fl-x-1 waits: ImagePullBackOff");
    saw.pods.clear();
    assert_eq!(told(&held, &saw), "Pod fl-x-1 waits: ImagePullBackOff", "its Pod has gone, and nothing else is known");
    let forbidden = Observation { no_pod: Some("FailedCreate: quota".into()), ..saw.clone() };
    assert_eq!(told(&held, &forbidden), "Job fl-x has no Pod: FailedCreate: quota", "there is something newer");
    let runs = Observation { pods: vec![pod("Running", None)], ..saw.clone() };
    assert_eq!(told(&held, &runs), "Job fl-x runs");
    saw.job = JobSeen::Failed { uid: UID.into(), reason: "DeadlineExceeded".into(), message: "too long".into() };
    saw.resource = Some(resource("3.5.0"));
    let (class, reason) = reason_of(step(&held, &saw));
    assert_eq!(class, FailureClass::Deadline);
    assert!(reason.ends_with("; seen last: Pod fl-x-1 waits: ImagePullBackOff"), "{reason}");
    saw.upgrade_task = errored();
    let (_, reason) = reason_of(step(&held, &saw));
    assert!(!reason.contains("seen last"), "an executor worked: {reason}");
}
