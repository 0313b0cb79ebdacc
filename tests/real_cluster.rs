//! On a real API server with real controllers: what the rest of the tests build upon, and that it behaves as we say.

mod support;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use fleetlift::domain::{ResourceKind, ResourceRef};
use support::openebs::{self, bring_to};
use support::{Ending, Node, TestCluster, until};

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

#[tokio::test]
async fn openebs_objects_roll_out_and_are_upgraded() {
    let cluster = TestCluster::new().await;
    let _node = Node::join(&cluster).await;
    let openebs = openebs::on(&cluster);
    openebs.csi_operators("3.6.0").await;
    openebs.pool_cluster("cspc-a", "3.5.0", &["n1", "n2"]).await;
    openebs.cstor_volume("pvc-rolls-c", "3.5.0", "cspc-a", &["cspc-a-n1", "cspc-a-n2"]).await;
    openebs.jiva_volume("pvc-rolls-j", "3.5.0", 3).await;
    rolled_out(&cluster, "pvc-rolls-c-target").await;
    for (kind, name) in [
        (ResourceKind::CstorPoolInstance, "cspc-a-n1"),
        (ResourceKind::CstorPoolCluster, "cspc-a"),
        (ResourceKind::CstorVolume, "pvc-rolls-c"),
        (ResourceKind::JivaVolume, "pvc-rolls-j"),
    ] {
        bring_to(&cluster, &ResourceRef { kind, name: name.into() }, "3.6.0").await;
    }
    for deployment in ["cspc-a-n1", "pvc-rolls-c-target", "pvc-rolls-j-jiva-ctrl"] {
        assert_eq!(rolled_out(&cluster, deployment).await, "3.6.0");
    }
    let other = cluster.get("cstor.openebs.io/v1", "CStorPoolInstance", "cspc-a-n2").await.unwrap();
    assert_eq!(other["versionDetails"]["status"]["current"], "3.5.0");
}

#[tokio::test]
async fn the_hubs_account_may_do_its_work_and_nothing_else() {
    let cluster = TestCluster::new().await;
    let hub = client_of(&cluster.hub_kubeconfig().await).await;
    let jobs: Api<Job> = Api::namespaced(hub.clone(), &cluster.namespace);
    jobs.create(&PostParams::default(), &job("allowed")).await.unwrap();
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    jobs.patch("allowed", &PatchParams::default(), &suspend).await.unwrap();
    Api::<Namespace>::all(hub.clone()).get("kube-system").await.unwrap();

    forbidden(Api::<Secret>::namespaced(hub.clone(), &cluster.namespace).list(&ListParams::default()).await);
    forbidden(Api::<Namespace>::all(hub.clone()).list(&ListParams::default()).await);
    forbidden(Api::<Job>::namespaced(hub.clone(), "default").create(&PostParams::default(), &job("elsewhere")).await);
    let deployments: Api<Deployment> = Api::namespaced(hub, &cluster.namespace);
    forbidden(deployments.patch("any", &PatchParams::default(), &Patch::Merge(json!({}))).await);
}

fn forbidden<T: std::fmt::Debug>(answer: kube::Result<T>) {
    assert!(matches!(&answer, Err(kube::Error::Api(status)) if status.code == 403), "{answer:?}");
}

async fn client_of(kubeconfig: &str) -> kube::Client {
    let read = kube::config::Kubeconfig::from_yaml(kubeconfig).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the kubeconfig is our own")]
    let config = kube::Config::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

/// Waits until the Deployment is rolled out, and gives its version.
async fn rolled_out(cluster: &TestCluster, name: &str) -> String {
    let deployments: Api<Deployment> = cluster.api();
    until(&format!("{name} is rolled out"), || async {
        let seen = deployments.get(name).await.unwrap();
        let status = seen.status?;
        let done = status.observed_generation == seen.metadata.generation
            && status.updated_replicas == Some(1)
            && status.replicas == Some(1)
            && status.available_replicas == Some(1);
        done.then(|| seen.metadata.labels.unwrap_or_default().remove(openebs::VERSION).unwrap_or_default())
    })
    .await
}

async fn create_job(cluster: &TestCluster, name: &str) {
    cluster.api::<Job>().create(&PostParams::default(), &job(name)).await.unwrap();
}

fn job(name: &str) -> Job {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": {
        "restartPolicy": "Never", "serviceAccountName": "openebs-cstor-operator",
        "containers": [{"name": "upgrade", "image": "openebs/upgrade:3.6.0"}]}}}}))
    .unwrap()
}
