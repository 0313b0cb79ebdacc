//! What happens to real Pods: they are deleted, suspended, cannot be pulled; kubelets crash; operators refuse.

use std::time::Duration;

use fleetlift::domain::ResourceKind;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::attempt::{Attempt, IMAGE};
use crate::operators::Answer;
use crate::real_node::RealNode;
use crate::support::until;
use crate::upgrades::waiting;

const DEADLINE: Duration = Duration::from_mins(5);

#[tokio::test]
#[ignore = "needs a real node: tests/node/run"]
async fn a_suspended_jobs_executor_says_that_it_was_stopped_and_the_next_one_finishes() {
    let site = waiting(ResourceKind::JivaVolume).await;
    site.operators.answer(Answer::Silence);
    let first = Attempt::begin(&site, 1, IMAGE, DEADLINE).await;
    first.comes_to("TARGET_UPGRADE").await;
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    first.jobs().patch(first.job(), &PatchParams::default(), &suspend).await.unwrap();
    until("its Pod is gone", || async { first.pods().await.is_empty().then_some(()) }).await;
    let status = first.task().await.status;
    assert_eq!(status.phase, "Error");
    let step = status.upgrade_detailed_statuses.last().unwrap();
    assert_eq!((step.step.as_str(), step.phase.as_str()), ("TARGET_UPGRADE", "Errored"));
    assert!(step.reason.contains("SIGTERM"), "{step:?}");

    site.operators.answer(Answer::Reconcile);
    let second = Attempt::begin(&site, 2, IMAGE, DEADLINE).await;
    assert_eq!(second.verdict().await.0, "Complete");
    assert_eq!(site.left_behind().await, vec![]);
}

#[tokio::test]
#[ignore = "needs a real node: tests/node/run"]
async fn a_pod_deleted_without_mercy_leaves_a_started_task_and_the_next_one_finishes() {
    let site = waiting(ResourceKind::CstorPoolInstance).await;
    site.operators.answer(Answer::Silence);
    let first = Attempt::begin(&site, 1, IMAGE, DEADLINE).await;
    first.comes_to("POOL_INSTANCE_UPGRADE").await;
    let pod = first.pods().await.remove(0).metadata.name.unwrap();
    let at_once = DeleteParams::default().grace_period(0);
    site.cluster.api::<Pod>().delete(&pod, &at_once).await.unwrap();
    assert_eq!(first.verdict().await.0, "Failed");
    // Whether it could still say so or not: nothing claims success.
    assert_ne!(first.task().await.status.phase, "Success");

    site.operators.answer(Answer::Reconcile);
    let second = Attempt::begin(&site, 2, IMAGE, DEADLINE).await;
    assert_eq!(second.verdict().await.0, "Complete");
    assert_eq!(site.left_behind().await, vec![]);
}

#[tokio::test]
#[ignore = "needs a real node: tests/node/run"]
async fn a_refusal_reaches_the_termination_message() {
    let site = waiting(ResourceKind::JivaVolume).await;
    // The control plane is not there yet.
    crate::support::openebs::on(&site.cluster).csi_operators("3.5.0").await;
    let attempt = Attempt::begin(&site, 1, IMAGE, DEADLINE).await;
    assert_eq!(attempt.verdict().await, ("Failed".to_owned(), "BackoffLimitExceeded".to_owned()));
    let (code, words) = attempt.last_words().await;
    assert_eq!((code, words.step.as_str(), words.object.as_str()), (1, "PRE_UPGRADE", "jiva-operator"));
    assert!(words.remedy.contains("control plane first"), "{words:?}");
}

#[tokio::test]
#[ignore = "needs a real node: tests/node/run"]
async fn an_image_that_cannot_be_pulled_touches_nothing() {
    let site = waiting(ResourceKind::JivaVolume).await;
    let attempt = Attempt::begin(&site, 1, "fleetlift.test/executor:missing", Duration::from_secs(30)).await;
    until("the Pod says why", || async {
        let status = attempt.pods().await.into_iter().next()?.status?;
        let waiting = status.container_statuses?.into_iter().next()?.state?.waiting?;
        matches!(waiting.reason.as_deref(), Some("ErrImagePull" | "ImagePullBackOff")).then_some(())
    })
    .await;
    assert_eq!(attempt.verdict().await, ("Failed".to_owned(), "DeadlineExceeded".to_owned()));
    assert_eq!(attempt.task().await.status.phase, "");
    assert!(site.versions().await.iter().any(|(_, version)| version == "3.5.0"));
}

#[tokio::test]
#[ignore = "needs a real node: tests/node/run"]
async fn a_kubelet_that_crashes_in_the_middle_costs_time_and_nothing_else() {
    let site = waiting(ResourceKind::CstorVolume).await;
    let node = RealNode::shared().await;
    let attempt = Attempt::begin(&site, 1, IMAGE, DEADLINE).await;
    attempt.comes_to("TARGET_UPGRADE").await;
    node.kill_kubelet();
    node.start_kubelet();
    assert_eq!(attempt.verdict().await.0, "Complete");
    assert_eq!(attempt.pods().await.len(), 1);
    assert_eq!(site.left_behind().await, vec![]);
}
