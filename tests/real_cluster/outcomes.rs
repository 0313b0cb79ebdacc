//! Every row of the outcome table (reliability promises), on a real API server.
//!
//! The Job controller is the real one, and so are the Deployments; how the executor's Pod ends and what it wrote is the
//! test's to say. None of this may turn unknown into success.

use std::time::Duration;

use fleetlift::domain::attempt::{CancelCause, FailureClass, Outcome};
use fleetlift::domain::observation::ResourceSeen;
use fleetlift::domain::{ResourceKind, ResourceRef};
use fleetlift::engine::decide::attempt::{Action, Step};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::json;

use crate::hand::Hand;
use crate::support::openebs::upgrade_task::{Told, tell};
use crate::support::openebs::{self, bring_to};
use crate::support::{Ending, Node, TestCluster, until};

const KIND: ResourceKind = ResourceKind::CstorPoolInstance;
const POOL: &str = "cspc-n1";

#[tokio::test]
async fn complete_and_at_target_succeeds() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.tell(&hand, Told::Success).await;
    world.upgraded().await;
    world.node.end(&hand.attempt.job_name, Ending::Succeeds).await;
    assert_eq!(hand.end().await.0, Outcome::Succeeded { warning: None });
}

/// What argument mode leaves behind: `Started`, for ever.
#[tokio::test]
async fn complete_and_at_target_succeeds_although_the_upgrade_task_never_says_so() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.tell(&hand, Told::DoneWithoutSaying).await;
    world.upgraded().await;
    world.node.end(&hand.attempt.job_name, Ending::Succeeds).await;
    assert_eq!(hand.end().await.0, Outcome::Succeeded { warning: None });
}

#[tokio::test]
async fn complete_and_at_target_beside_an_error_succeeds_with_a_warning() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.tell(&hand, Told::GaveUp("webhook refused the patch")).await;
    world.upgraded().await;
    world.node.end(&hand.attempt.job_name, Ending::Succeeds).await;
    let Outcome::Succeeded { warning: Some(warning) } = hand.end().await.0 else { panic!("it succeeds, warned") };
    assert!(warning.contains("webhook refused the patch"), "{warning}");
}

#[tokio::test]
async fn complete_but_not_at_target_is_a_contradiction_that_shows_both() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.tell(&hand, Told::Success).await;
    world.node.end(&hand.attempt.job_name, Ending::Succeeds).await;
    let (class, reason) = hand.failure().await;
    assert_eq!(class, FailureClass::Contradiction);
    assert!(reason.contains("completed") && reason.contains("3.5.0") && reason.contains("3.6.0"), "{reason}");
}

#[tokio::test]
async fn complete_but_not_rolled_out_is_a_contradiction_once_it_had_time_to_settle() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.node.keep_from_ready(POOL);
    bring_to(&world.cluster, &pool(), "3.6.0").await;
    world.node.end(&hand.attempt.job_name, Ending::Succeeds).await;
    world.node.verdict(&hand.attempt.job_name).await;
    let waits = hand.until_waiting().await;
    assert!(waits.contains("rolled out"), "{waits}");
    hand.clock.forward(Duration::from_mins(31));
    let (class, reason) = hand.failure().await;
    assert_eq!(class, FailureClass::Contradiction);
    assert!(reason.contains("rolled out"), "{reason}");
}

#[tokio::test]
async fn complete_but_unhealthy_is_a_contradiction_once_it_had_time_to_settle() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.upgraded().await;
    let offline = json!({"status": {"phase": "OFFLINE"}});
    world.cluster.merge("cstor.openebs.io/v1", "CStorPoolInstance", POOL, &offline).await;
    world.node.end(&hand.attempt.job_name, Ending::Succeeds).await;
    world.node.verdict(&hand.attempt.job_name).await;
    let waits = hand.until_waiting().await;
    assert!(waits.contains("OFFLINE"), "{waits}");
    hand.clock.forward(Duration::from_mins(31));
    let (class, reason) = hand.failure().await;
    assert_eq!(class, FailureClass::Contradiction);
    assert!(reason.contains("OFFLINE"), "{reason}");
}

#[tokio::test]
async fn a_failed_job_fails_for_the_reason_of_its_last_step() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.tell(&hand, Told::StepFailed("invalid current version 1.12.0")).await;
    world.node.end(&hand.attempt.job_name, Ending::Fails { code: 255, message: "exit" }).await;
    let (class, reason) = hand.failure().await;
    assert_eq!(class, FailureClass::Job);
    assert!(reason.contains("POOL_INSTANCE_UPGRADE") && reason.contains("invalid current version 1.12.0"), "{reason}");
}

#[tokio::test]
async fn a_failed_job_whose_executor_wrote_nothing_fails_for_its_pods_end() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.node.end(&hand.attempt.job_name, Ending::Fails { code: 137, message: "OOM" }).await;
    let (class, reason) = hand.failure().await;
    assert_eq!(class, FailureClass::Job);
    assert!(reason.contains("137") && reason.contains("OOM"), "{reason}");
}

#[tokio::test]
async fn a_failed_job_at_target_all_the_same_is_no_success() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.upgraded().await;
    world.node.end(&hand.attempt.job_name, Ending::Fails { code: 1, message: "" }).await;
    let (class, reason) = hand.failure().await;
    assert_eq!(class, FailureClass::Job);
    assert!(reason.contains("at target, last steps not proven"), "{reason}");
}

/// A Pod that ends between two looks, with `Success` left from an earlier upgrade: stale words prove nothing.
#[tokio::test]
async fn a_failed_job_beside_a_stale_success_fails() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.tell(&hand, Told::RunningAgain).await;
    world.node.end(&hand.attempt.job_name, Ending::Fails { code: 1, message: "" }).await;
    assert_eq!(hand.failure().await.0, FailureClass::Job);
}

#[tokio::test]
async fn a_job_that_was_deleted_is_lost() {
    let world = World::new().await;
    let mut hand = world.running().await;
    let jobs: Api<Job> = world.cluster.api();
    jobs.delete(&hand.attempt.job_name, &DeleteParams::foreground()).await.unwrap();
    until("it is gone", || async { jobs.get_opt(&hand.attempt.job_name).await.unwrap().is_none().then_some(()) }).await;
    let (class, reason) = hand.failure().await;
    assert_eq!(class, FailureClass::Lost);
    assert!(reason.contains("gone"), "{reason}");
}

/// Deleting a Job over the API orphans its Pod by default: it works on, and nothing else may start.
#[tokio::test]
async fn a_job_that_was_deleted_without_its_pod_is_not_judged_before_that_has_ended() {
    let world = World::new().await;
    let mut hand = world.running().await;
    let jobs: Api<Job> = world.cluster.api();
    let name = hand.attempt.job_name.clone();
    let pod = world.node.running_pod(&name).await;
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    jobs.delete(&name, &orphan).await.unwrap();
    until("it is gone", || async { jobs.get_opt(&name).await.unwrap().is_none().then_some(()) }).await;
    let waits = hand.until_waiting().await;
    assert!(waits.contains(&format!("Pod {pod} of it still runs")), "{waits}");
    world.node.end_pod(&pod, Ending::Succeeds).await;
    assert_eq!(hand.failure().await.0, FailureClass::Lost);
}

#[tokio::test]
async fn a_job_of_ours_that_somebody_stripped_of_its_labels_is_still_ours() {
    let world = World::new().await;
    let mut hand = world.running().await;
    let strip = Patch::Merge(json!({"metadata": {"labels": null, "annotations": null}}));
    let jobs: Api<Job> = world.cluster.api();
    jobs.patch(&hand.attempt.job_name, &PatchParams::default(), &strip).await.unwrap();
    assert!(matches!(hand.step().await.0, Step::Wait { .. }));
    hand.clock.forward(Duration::from_mins(31));
    assert_eq!(hand.failure().await.0, FailureClass::Deadline);
}

#[tokio::test]
async fn a_job_that_was_replaced_under_our_name_is_lost() {
    let world = World::new().await;
    let mut hand = world.running().await;
    let jobs: Api<Job> = world.cluster.api();
    let name = hand.attempt.job_name.clone();
    jobs.delete(&name, &DeleteParams::foreground()).await.unwrap();
    until("its name is free", || async { jobs.get_opt(&name).await.unwrap().is_none().then_some(()) }).await;
    let again = jobs.create(&PostParams::default(), &hand.objects.job).await.unwrap();
    let (class, reason) = hand.failure().await;
    assert_eq!(class, FailureClass::Lost);
    assert!(reason.contains(&again.metadata.uid.unwrap()), "{reason}");
}

#[tokio::test]
async fn without_a_job_nothing_happened_yet() {
    let world = World::new().await;
    let mut hand = world.intended().await;
    let steps = [hand.step().await.0, hand.step().await.0];
    assert_eq!(steps, [Step::Act(Action::CreateUpgradeTask), Step::Act(Action::CreateJob)]);
    assert!(matches!(hand.step().await.0, Step::Wait { .. }));
}

#[tokio::test]
async fn a_job_whose_creation_was_never_answered_is_adopted() {
    let world = World::new().await;
    let mut hand = world.running().await;
    let uid = hand.attempt.job_uid.take().unwrap();
    assert_eq!(hand.step().await.0, Step::Act(Action::Adopt { job_uid: uid.clone() }));
    assert_eq!(hand.attempt.job_uid.as_deref(), Some(uid.as_str()));
}

/// The same request again, as after a crash between sending and recording: one Job, not two.
#[tokio::test]
async fn creating_the_job_twice_gives_one_job() {
    let world = World::new().await;
    let hand = world.running().await;
    let created = hand.edge.create_job(&hand.objects.job).await.unwrap();
    assert_eq!(Some(created.uid()), hand.attempt.job_uid.as_deref());
    assert_eq!(world.node.pods_of(&hand.attempt.job_name).await.len(), 1);
}

#[tokio::test]
async fn an_object_of_somebody_elses_under_our_name_is_a_conflict() {
    let world = World::new().await;
    let mut hand = world.intended().await;
    let mut theirs = crate::jobs::job(&hand.attempt.job_name);
    theirs.metadata.labels = None;
    world.cluster.api::<Job>().create(&PostParams::default(), &theirs).await.unwrap();
    assert_eq!(hand.failure().await.0, FailureClass::Conflict);
}

#[tokio::test]
async fn a_left_over_upgrade_task_is_deleted_before_the_attempt() {
    let world = World::new().await;
    let mut hand = world.intended().await;
    let mut theirs = hand.objects.upgrade_task.clone();
    theirs.metadata.labels = None;
    theirs.spec.from_version = "3.3.0".into();
    world.cluster.apply(&serde_json::to_value(&theirs).unwrap()).await;
    world.tell(&hand, Told::Success).await;
    hand.until_waiting().await;
    let name = &hand.attempt.upgrade_task_name;
    let task = world.cluster.get("openebs.io/v1alpha1", "UpgradeTask", name).await.unwrap();
    assert_eq!(task["spec"]["fromVersion"], "3.5.0");
    assert_eq!(task["metadata"]["uid"].as_str(), hand.attempt.upgrade_task_uid.as_deref());
}

#[tokio::test]
async fn while_the_job_runs_neither_success_nor_error_is_final() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.upgraded().await;
    for told in [Told::InProgress, Told::Success, Told::GaveUp("no"), Told::StepFailed("still polled")] {
        world.tell(&hand, told).await;
        let (step, seen) = hand.step().await;
        assert!(matches!(step, Step::Wait { .. }), "{told:?}: {step:?}");
        assert_eq!(seen.resource, None, "the resource is not even read");
    }
}

#[tokio::test]
async fn past_its_deadline_a_job_is_suspended_and_fails_when_its_pod_is_gone() {
    let world = World::new().await;
    let mut hand = world.running().await;
    let job = hand.attempt.job_name.clone();
    world.node.keep_from_leaving(&job);
    hand.clock.forward(Duration::from_mins(31));
    let waits = hand.until_waiting().await;
    assert!(waits.contains("1 Pod still ends"), "{waits}");
    world.node.behave();
    assert_eq!(hand.failure().await.0, FailureClass::Deadline);
    assert!(world.node.pods_of(&job).await.is_empty());
    let tombstone = world.cluster.api::<Job>().get(&job).await.unwrap();
    assert_eq!(tombstone.spec.unwrap().suspend, Some(true));
}

#[tokio::test]
async fn a_cancelled_attempt_fails_by_name_and_at_target_all_the_same_is_no_success() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.upgraded().await;
    hand.wanted_off = Some(CancelCause::Operator { by: "anna".into() });
    let (class, reason) = hand.failure().await;
    assert_eq!(class, FailureClass::Cancelled);
    assert!(reason.contains("anna") && reason.contains("at target, last steps not proven"), "{reason}");
}

/// The request to create may still be on its way: its name is taken first, by a Job that never runs.
#[tokio::test]
async fn an_attempt_that_is_cancelled_before_its_job_was_seen_fences_its_name() {
    let world = World::new().await;
    let mut hand = world.intended().await;
    hand.step().await;
    hand.wanted_off = Some(CancelCause::Operator { by: "anna".into() });
    assert_eq!(hand.failure().await.0, FailureClass::Cancelled);
    let late = world.cluster.api::<Job>().create(&PostParams::default(), &hand.objects.job).await;
    assert!(matches!(late, Err(kube::Error::Api(status)) if status.code == 409));
    assert!(world.node.pods_of(&hand.attempt.job_name).await.is_empty());
}

#[tokio::test]
async fn a_job_that_somebody_suspended_is_no_success() {
    let world = World::new().await;
    let mut hand = world.running().await;
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    let jobs: Api<Job> = world.cluster.api();
    jobs.patch(&hand.attempt.job_name, &PatchParams::default(), &suspend).await.unwrap();
    assert_eq!(hand.failure().await.0, FailureClass::Cancelled);
}

/// `activeDeadlineSeconds`: ends the Job even when the hub is cut off.
#[tokio::test]
async fn a_job_that_its_cluster_ended_for_its_deadline_fails_as_such() {
    let world = World::new().await;
    let mut hand = world.intended().await;
    // By the hub's clock, the shortest that a Job may be given; by the cluster's, one that a test can wait for.
    hand.objects.job.spec.as_mut().unwrap().active_deadline_seconds = Some(1);
    hand.until_waiting().await;
    assert_eq!(world.node.verdict(&hand.attempt.job_name).await, ("Failed".into(), "DeadlineExceeded".into()));
    assert_eq!(hand.failure().await.0, FailureClass::Deadline);
}

#[tokio::test]
async fn a_resource_that_vanished_while_we_worked_on_it_fails() {
    let world = World::new().await;
    let mut hand = world.running().await;
    let pools = world.cluster.kind("cstor.openebs.io/v1", "CStorPoolInstance");
    pools.delete(POOL, &DeleteParams::default()).await.unwrap();
    world.node.end(&hand.attempt.job_name, Ending::Succeeds).await;
    let (outcome, seen) = hand.end().await;
    assert!(matches!(outcome, Outcome::Failed { class: FailureClass::Vanished, .. }), "{outcome:?}");
    assert_eq!(seen.resource, Some(ResourceSeen::Gone));
}

#[tokio::test]
async fn what_is_kept_as_evidence_tells_what_happened() {
    let world = World::new().await;
    let mut hand = world.running().await;
    world.tell(&hand, Told::StepFailed("no such pool")).await;
    world.node.end(&hand.attempt.job_name, Ending::Fails { code: 255, message: "no such pool" }).await;
    let (_, seen) = hand.end().await;
    assert_eq!(seen.job.uid(), hand.attempt.job_uid.as_deref());
    let pod = &seen.pods[0];
    assert_eq!(
        (pod.phase.as_str(), pod.exit_code, pod.termination.as_deref()),
        ("Failed", Some(255), Some("no such pool"))
    );
    assert!(matches!(seen.resource, Some(ResourceSeen::Found(_))));
}

struct World {
    cluster: TestCluster,
    node: Node,
}

impl World {
    /// A pool instance at 3.5.0 that waits to be upgraded to 3.6.0.
    async fn new() -> Self {
        let cluster = TestCluster::new().await;
        let node = Node::join(&cluster).await;
        openebs::on(&cluster).pool_cluster("cspc", "3.5.0", &["n1"]).await;
        openebs::all_rolled_out(&cluster).await;
        Self { cluster, node }
    }

    async fn intended(&self) -> Hand {
        Hand::on(&self.cluster, KIND, POOL).await
    }

    /// An attempt whose executor's Pod runs.
    async fn running(&self) -> Hand {
        let mut hand = self.intended().await;
        hand.until_waiting().await;
        self.node.running_pod(&hand.attempt.job_name).await;
        hand
    }

    async fn tell(&self, hand: &Hand, told: Told) {
        tell(&self.cluster, &hand.attempt.upgrade_task_name, KIND, told).await;
    }

    /// The pool reaches the target and its Deployment rolls out.
    async fn upgraded(&self) {
        bring_to(&self.cluster, &pool(), "3.6.0").await;
        openebs::all_rolled_out(&self.cluster).await;
    }
}

fn pool() -> ResourceRef {
    ResourceRef { kind: KIND, name: POOL.into() }
}
