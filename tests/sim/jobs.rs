//! Jobs and their Pods, from creation to the end of every kind.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use serde_json::json;

use crate::arrange::{admin, behaving, cluster, code, ended, hub, jiva, jobs, sleeper, start};
use crate::until::until;
use fleetlift::sim::Behaviour;

async fn pods_of(client: &Client, job: &str) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "openebs");
    pods.list(&ListParams::default().labels(&format!("job-name={job}"))).await.unwrap().items
}

async fn running_pod(client: &Client, job: &str) -> Pod {
    until(&format!("the Pod of {job} runs"), || async {
        let running = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        pods_of(client, job).await.into_iter().find(running)
    })
    .await
}

async fn create(client: &Client, job: &Job) -> Job {
    jobs(client).create(&PostParams::default(), job).await.unwrap()
}

fn suspension(suspend: bool) -> Patch<serde_json::Value> {
    Patch::Merge(json!({"spec": {"suspend": suspend}}))
}

#[tokio::test]
async fn a_job_makes_one_pod_that_carries_its_uid_and_completes_with_it() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    let made = create(&client, &sleeper("well", "0")).await;
    let uid = made.metadata.uid.clone().unwrap();
    assert_eq!(ended(&client, "well").await, ("Complete".into(), "CompletionsReached".into()));
    let pod = pods_of(&client, "well").await.remove(0);
    let labels = pod.metadata.labels.unwrap();
    for label in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
        assert_eq!(labels[label], uid);
    }
    assert_eq!(pod.metadata.owner_references.unwrap()[0].uid, uid);
    assert_eq!(pod.metadata.finalizers, None, "it is counted, so nothing holds it any more");
    let status = jobs(&client).get("well").await.unwrap().status.unwrap();
    assert_eq!((status.succeeded, status.active, status.failed), (Some(1), None, None));
    let conditions: Vec<String> = status.conditions.unwrap().into_iter().map(|one| one.type_).collect();
    assert_eq!(conditions, ["SuccessCriteriaMet", "Complete"]);
}

#[tokio::test]
async fn a_suspended_job_loses_its_pod_keeps_its_name_and_can_be_resumed() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    create(&client, &sleeper("held", "3600")).await;
    let first = running_pod(&client, "held").await;
    jobs(&client).patch("held", &PatchParams::default(), &suspension(true)).await.unwrap();
    until("the Pod is gone", || async { pods_of(&client, "held").await.is_empty().then_some(()) }).await;
    let status = jobs(&client).get("held").await.unwrap().status.unwrap();
    let condition = status.conditions.unwrap().remove(0);
    assert_eq!((condition.type_.as_str(), condition.status.as_str()), ("Suspended", "True"));
    assert_eq!(status.failed, None, "suspending fails nobody");
    let again = jobs(&client).create(&PostParams::default(), &sleeper("held", "1")).await.unwrap_err();
    assert_eq!(code(&again), 409);
    jobs(&client).patch("held", &PatchParams::default(), &suspension(false)).await.unwrap();
    assert_ne!(running_pod(&client, "held").await.metadata.uid, first.metadata.uid);
}

#[tokio::test]
async fn a_job_that_is_created_suspended_makes_no_pod() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    let mut fence = sleeper("fence", "1");
    fence.spec.as_mut().unwrap().suspend = Some(true);
    create(&client, &fence).await;
    until("it says so", || async { jobs(&client).get("fence").await.unwrap().status?.conditions }).await;
    assert_eq!(pods_of(&client, "fence").await.len(), 0);
}

#[tokio::test]
async fn a_deadline_ends_a_job_and_its_pod() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    let mut job = sleeper("late", "3600");
    job.spec.as_mut().unwrap().active_deadline_seconds = Some(1);
    create(&client, &job).await;
    assert_eq!(ended(&client, "late").await, ("Failed".into(), "DeadlineExceeded".into()));
    let status = jobs(&client).get("late").await.unwrap().status.unwrap();
    let conditions: Vec<String> = status.conditions.unwrap().into_iter().map(|one| one.type_).collect();
    assert_eq!(conditions, ["FailureTarget", "Failed"]);
    assert_eq!(pods_of(&client, "late").await.len(), 0);
}

#[tokio::test]
async fn a_finished_job_goes_when_its_time_is_over() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    let mut job = sleeper("brief", "0");
    job.spec.as_mut().unwrap().ttl_seconds_after_finished = Some(0);
    create(&client, &job).await;
    until("it is gone", || async { jobs(&client).get_opt("brief").await.unwrap().is_none().then_some(()) }).await;
    until("its Pod, too", || async { pods_of(&client, "brief").await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn a_job_is_deleted_only_if_it_is_the_one_that_is_meant() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    let uid = create(&client, &sleeper("meant", "3600")).await.metadata.uid;
    let delete = |uid: Option<String>| DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    };
    let other = jobs(&client).delete("meant", &delete(Some("other".into()))).await.unwrap_err();
    assert_eq!(code(&other), 409);
    running_pod(&client, "meant").await;
    jobs(&client).delete("meant", &delete(uid)).await.unwrap();
    until("it is gone", || async { jobs(&client).get_opt("meant").await.unwrap().is_none().then_some(()) }).await;
    assert_eq!(pods_of(&client, "meant").await.len(), 0, "with Foreground its Pods go first");
}

#[tokio::test]
async fn a_job_that_is_deleted_without_a_word_leaves_its_pod_running() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    create(&client, &sleeper("left", "3600")).await;
    let pod = running_pod(&client, "left").await;
    jobs(&client).delete("left", &DeleteParams::default()).await.unwrap();
    until("it is gone", || async { jobs(&client).get_opt("left").await.unwrap().is_none().then_some(()) }).await;
    let orphan = running_pod(&client, "left").await;
    assert_eq!(orphan.metadata.uid, pod.metadata.uid);
    assert_eq!(orphan.metadata.owner_references, None);
}

#[tokio::test]
async fn a_pod_whose_kubelet_does_not_answer_outlives_its_suspension() {
    let fleet = behaving(Behaviour { lingering_ms: 1_500, ..Behaviour::default() });
    let client = hub(&fleet).await;
    create(&client, &sleeper("lingers", "3600")).await;
    running_pod(&client, "lingers").await;
    jobs(&client).patch("lingers", &PatchParams::default(), &suspension(true)).await.unwrap();
    until("it is being deleted", || async {
        pods_of(&client, "lingers").await.first()?.metadata.deletion_timestamp.clone()
    })
    .await;
    until("it is gone", || async { pods_of(&client, "lingers").await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn what_runs_in_a_job_cannot_be_changed() {
    let fleet = start(cluster(jiva()));
    let client = admin(&fleet).await;
    create(&client, &sleeper("fixed", "3600")).await;
    let patch = Patch::Merge(json!({"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}}));
    let refused = jobs(&client).patch("fixed", &PatchParams::default(), &patch).await.unwrap_err();
    assert_eq!(code(&refused), 422);
    let other = Patch::Merge(json!({"metadata": {"uid": "other"}, "spec": {"suspend": true}}));
    let refused = jobs(&client).patch("fixed", &PatchParams::default(), &other).await.unwrap_err();
    assert!(refused.to_string().contains("uid"), "{refused}");
}
