//! What Kubernetes does with Jobs: the facts that our way of creating, cancelling and adopting them rests upon.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::support::{Ending, Node, TestCluster, until};

#[tokio::test]
async fn a_job_completes_when_its_pod_ends_well() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    create_job(&cluster, "well").await;
    node.end("well", Ending::Succeeds).await;
    assert_eq!(node.verdict("well").await, ("Complete".to_owned(), "CompletionsReached".to_owned()));
}

#[tokio::test]
async fn a_job_fails_with_its_only_pod_and_keeps_its_last_words() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    create_job(&cluster, "ill").await;
    node.end("ill", Ending::Fails { code: 255, message: "cspi x not in 3.6.0 version" }).await;
    assert_eq!(node.verdict("ill").await, ("Failed".to_owned(), "BackoffLimitExceeded".to_owned()));
    let pods = node.pods_of("ill").await;
    let ended = pods[0].status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].state.as_ref().unwrap();
    let ended = ended.terminated.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.message.as_deref()), (255, Some("cspi x not in 3.6.0 version")));
}

#[tokio::test]
async fn a_suspended_job_loses_its_pod_and_keeps_its_name() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    create_job(&cluster, "stopped").await;
    node.running_pod("stopped").await;
    let jobs: Api<Job> = cluster.api();
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    jobs.patch("stopped", &PatchParams::default(), &suspend).await.unwrap();
    until("the Pod is gone", || async { node.pods_of("stopped").await.is_empty().then_some(()) }).await;
    until("the Job says Suspended", || async {
        let conditions = jobs.get("stopped").await.unwrap().status?.conditions?;
        conditions.iter().any(|one| one.type_ == "Suspended" && one.status == "True").then_some(())
    })
    .await;
    let again = jobs.create(&PostParams::default(), &job("stopped")).await;
    assert!(matches!(again, Err(kube::Error::Api(status)) if status.code == 409));
}

#[tokio::test]
async fn a_pod_whose_kubelet_is_cut_off_outlives_its_suspension() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    create_job(&cluster, "held").await;
    node.running_pod("held").await;
    node.keep_from_leaving("held");
    let jobs: Api<Job> = cluster.api();
    jobs.patch("held", &PatchParams::default(), &Patch::Merge(json!({"spec": {"suspend": true}}))).await.unwrap();
    until("the Pod is being deleted", || async {
        node.pods_of("held").await.first().and_then(|pod| pod.metadata.deletion_timestamp.clone())
    })
    .await;
    assert_eq!(node.pods_of("held").await.len(), 1);
    node.behave();
    until("the Pod is gone", || async { node.pods_of("held").await.is_empty().then_some(()) }).await;
}

/// Why the hub suspends and never deletes: deleting a Job over the API leaves its Pod running.
#[tokio::test]
async fn deleting_a_job_by_default_orphans_its_running_pod() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    create_job(&cluster, "deleted").await;
    let pod = node.running_pod("deleted").await;
    let jobs: Api<Job> = cluster.api();
    jobs.delete("deleted", &DeleteParams::default()).await.unwrap();
    until("the Job is gone", || async { jobs.get_opt("deleted").await.unwrap().is_none().then_some(()) }).await;
    assert_eq!(node.running_pod("deleted").await, pod);
}

async fn create_job(cluster: &TestCluster, name: &str) {
    cluster.api::<Job>().create(&PostParams::default(), &job(name)).await.unwrap();
}

/// A Job as the official instructions write it.
pub fn job(name: &str) -> Job {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": {
        "restartPolicy": "Never", "serviceAccountName": "openebs-cstor-operator",
        "containers": [{"name": "upgrade", "image": "openebs/upgrade:3.6.0"}]}}}}))
    .unwrap()
}
