//! A simulated cluster and clients for it.

use std::sync::Arc;
use std::time::Duration;

use fleetlift::sim::{Behaviour, ClusterSpec, Contents, Fleet, FleetSpec, Item, ItemKind, Oracle, Pace};
use fleetlift::system::SystemClock;
use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};

/// The name of the only cluster of most tests.
pub const ONE: &str = "one";

/// As fast as it can be told apart.
pub fn quick() -> Pace {
    Pace {
        upgrade_min: Duration::from_millis(60),
        upgrade_max: Duration::from_millis(90),
        pod_start: Duration::from_millis(10),
        pod_stop: Duration::from_millis(10),
        rollout: Duration::from_millis(10),
        reconcile: Duration::from_millis(10),
    }
}

pub fn cluster(items: Vec<Item>) -> ClusterSpec {
    ClusterSpec {
        name: ONE.into(),
        labels: [("site".to_owned(), "berlin".to_owned())].into(),
        kubernetes: "v1.34.1".into(),
        contents: Contents { csi_operators: Some("3.6.0".into()), maya: Some("2.12.2".into()), items },
        behaviour: Behaviour::default(),
        runs_pods: true,
    }
}

pub fn jiva() -> Vec<Item> {
    vec![Item::new(ItemKind::JivaVolume, "pvc-j", "3.5.0").wide(3).used()]
}

pub fn start(spec: ClusterSpec) -> Fleet {
    let fleet = FleetSpec { clusters: vec![spec], pace: quick() };
    Fleet::start(fleet, Arc::new(SystemClock), Oracle::in_memory(), 1).unwrap()
}

pub fn behaving(behaviour: Behaviour) -> Fleet {
    start(ClusterSpec { behaviour, ..cluster(jiva()) })
}

/// With the least rights.
pub async fn hub(fleet: &Fleet) -> Client {
    client(&fleet.kubeconfigs()[0].kubeconfig).await
}

/// With all rights.
pub async fn admin(fleet: &Fleet) -> Client {
    client(&fleet.admin_kubeconfig(ONE).unwrap()).await
}

pub async fn client(kubeconfig: &str) -> Client {
    let read = kube::config::Kubeconfig::from_yaml(kubeconfig).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the kubeconfig is our own")]
    let mut config =
        kube::Config::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

pub fn jobs(client: &Client) -> Api<Job> {
    Api::namespaced(client.clone(), "openebs")
}

pub fn kind(client: &Client, api_version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    Api::namespaced_with(client.clone(), "openebs", &resource)
}

pub fn upgrade_tasks(client: &Client) -> Api<DynamicObject> {
    kind(client, "openebs.io/v1alpha1", "UpgradeTask", "upgradetasks")
}

/// A Job whose Pod sleeps that long, or for ever.
pub fn sleeper(name: &str, seconds: &str) -> Job {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox", "command": ["sleep", seconds]}]}}}}))
    .unwrap()
}

/// The UpgradeTask and the Job of one attempt, as Fleetlift makes them.
pub async fn attempt(client: &Client, name: &str, image: &str, member: Value) {
    let annotations = json!({});
    attempt_annotated(client, name, image, member, annotations, "3.5.0", "3.6.0").await;
}

pub async fn attempt_annotated(
    client: &Client,
    name: &str,
    image: &str,
    member: Value,
    annotations: Value,
    from: &str,
    to: &str,
) {
    let labels = json!({"fleetlift.io/attempt": name});
    let mut spec = json!({"fromVersion": from, "toVersion": to});
    spec.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
    let task = json!({"apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask",
        "metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": spec});
    upgrade_tasks(client).create(&PostParams::default(), &serde_json::from_value(task).unwrap()).await.unwrap();
    let selector = format!("fleetlift.io/attempt={name}");
    let job = json!({"metadata": {"name": name, "labels": labels}, "spec": {
        "backoffLimit": 0, "activeDeadlineSeconds": 60, "podReplacementPolicy": "Failed", "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "upgrade", "image": image, "args": ["resource", "--v=4"],
                "env": [{"name": "UPGRADE_TASK_LABEL", "value": selector}]}]}}}});
    jobs(client).create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
}

/// Waits until the Job has ended: the condition's type and reason.
pub async fn ended(client: &Client, name: &str) -> (String, String) {
    crate::until::until(&format!("Job {name} has ended"), || async {
        let conditions = jobs(client).get(name).await.unwrap().status?.conditions?;
        let last = conditions.into_iter().find(|one| matches!(one.type_.as_str(), "Complete" | "Failed"))?;
        Some((last.type_, last.reason.unwrap_or_default()))
    })
    .await
}

pub async fn status_of(client: &Client, task: &str) -> Value {
    upgrade_tasks(client).get(task).await.unwrap().data["status"].clone()
}

pub fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}
