//! Every kind is upgraded, under exactly the rights of `deploy/edge/executor.yaml`, with steps as upstream writes them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleetlift::domain::ResourceKind;
use fleetlift::openebs::kinds;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::arrange::{Site, Waiting, text};
use crate::support::crds::UpgradeTaskSchema;
use crate::support::{Node, TestCluster, openebs, until};

async fn is_upgraded(site: &Site) {
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(site.left_behind().await, vec![]);
    is_recorded(site).await;
    // Once more: nothing is left to do, and it says so.
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    is_recorded(site).await;
}

async fn is_recorded(site: &Site) {
    let task = site.upgrade_task().await.expect("there is an UpgradeTask");
    let status = &task["status"];
    assert_eq!(status["phase"], "Success", "{status}");
    assert!(status["completedTime"].is_string() && status["startTime"].is_string(), "{status}");
    let steps = site.steps().await;
    assert!(steps.iter().all(|(_, phase)| phase == "Completed"), "{steps:?}");
    let upstream = kinds::of(site.resource.kind).steps;
    if !upstream.is_empty() {
        assert_eq!(steps.iter().map(|(step, _)| step.as_str()).collect::<Vec<_>>(), upstream);
    }
    for step in status["upgradeDetailedStatuses"].as_array().unwrap() {
        assert!(!text(&step["message"]).is_empty() && step["startTime"].is_string(), "{step}");
    }
}

macro_rules! upgraded {
    ($($test:ident: $kind:ident;)*) => {$(
        #[tokio::test]
        async fn $test() {
            is_upgraded(&Site::with(ResourceKind::$kind).await).await;
        }
    )*};
}

upgraded! {
    a_jiva_volume_of_the_csi_engine_is_upgraded: JivaVolume;
    one_pool_instance_is_upgraded: CstorPoolInstance;
    a_pool_cluster_is_upgraded_with_all_its_instances: CstorPoolCluster;
    a_cstor_volume_of_the_csi_engine_is_upgraded: CstorVolume;
    one_legacy_pool_is_upgraded: CstorPool;
    a_storage_pool_claim_is_upgraded_with_all_its_pools: StoragePoolClaim;
    a_legacy_cstor_volume_is_upgraded: LegacyCstorVolume;
    a_legacy_jiva_volume_is_upgraded: LegacyJivaVolume;
}

#[tokio::test]
async fn a_legacy_cstor_volume_is_upgraded_where_its_claim_is() {
    let site = Site::with_claim().await;
    is_upgraded(&site).await;
    for (api_version, kind, name) in [
        ("apps/v1", "Deployment", format!("{}-target", site.resource.name)),
        ("v1", "Service", site.resource.name.clone()),
        ("openebs.io/v1alpha1", "CStorVolume", site.resource.name.clone()),
    ] {
        let metadata = json!({"namespace": site.cluster.claims_namespace});
        let example = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
        let seen = site.cluster.like(&example).get(&name).await.unwrap();
        assert_eq!(seen.metadata.labels.unwrap()["openebs.io/version"], "2.12.2", "{kind}");
    }
}

#[tokio::test]
async fn one_pool_instance_leaves_the_others_and_the_cluster_alone() {
    let site = Site::with(ResourceKind::CstorPoolInstance).await;
    site.upgrade().await.unwrap();
    let still_old = site.versions().await;
    for object in ["CStorPoolInstance/cspc-a-n2", "Deployment/cspc-a-n2", "CStorPoolCluster/cspc-a"] {
        assert!(still_old.iter().any(|(name, version)| name == object && version == "3.5.0"), "{still_old:?}");
    }
}

#[tokio::test]
async fn the_parents_run_skips_a_finished_pool_and_leaves_its_record() {
    let site = Site::with(ResourceKind::CstorPoolCluster).await;
    let one = ["cstor-pool-instance", "--from-version=3.5.0", "--to-version=3.6.0", "cspc-a-n1"].map(str::to_owned);
    site.execute(&one).await.unwrap();
    let record = || site.cluster.get("openebs.io/v1alpha1", "UpgradeTask", "upgrade-cstor-cspi-cspc-a-n1");
    let before = record().await.unwrap();
    site.upgrade().await.unwrap();
    assert_eq!(record().await.unwrap(), before);
    assert_eq!(site.left_behind().await, vec![]);
}

#[tokio::test]
async fn resource_mode_writes_on_the_task_that_its_label_selects() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    site.cluster
        .apply(&json!({
            "apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask",
            "metadata": {"name": "of-my-own", "namespace": site.cluster.namespace, "labels": {"resource": "x"}},
            "spec": {"fromVersion": "3.5.0", "toVersion": "3.6.0", "jivaVolume": {"pvName": site.resource.name}},
        }))
        .await;
    site.execute(&["resource".to_owned(), "--upgrade-task-label=resource=x".to_owned()]).await.unwrap();
    let task = site.cluster.get("openebs.io/v1alpha1", "UpgradeTask", "of-my-own").await.unwrap();
    assert_eq!(task["status"]["phase"], "Success");
    assert_eq!(task["status"]["upgradeDetailedStatuses"].as_array().unwrap().len(), 3);
    assert_eq!(site.left_behind().await, vec![]);
    assert_eq!(site.upgrade_task().await, None);
}

#[tokio::test]
async fn a_private_registry_with_a_port_and_a_tag_are_taken() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    let mut command = site.command();
    command.push("--to-version-image-prefix=registry.local:5000/mirror/".to_owned());
    command.push("--to-version-image-tag=3.6.0-1".to_owned());
    site.execute(&command).await.unwrap();
    let name = format!("{}-jiva-ctrl", site.resource.name);
    let controller = site.cluster.get("apps/v1", "Deployment", &name).await.unwrap();
    let images = controller.pointer("/spec/template/spec/containers").unwrap().as_array().unwrap();
    let images: Vec<String> = images.iter().map(|container| text(&container["image"])).collect();
    assert_eq!(images, ["registry.local:5000/mirror/jiva:3.6.0-1", "registry.local:5000/mirror/m-exporter:3.6.0-1"]);
    assert_eq!(controller.pointer("/metadata/labels/openebs.io~1version").unwrap(), "3.6.0");
}

#[tokio::test]
async fn the_shipped_schemas_lose_nothing_of_what_is_written() {
    for schema in [UpgradeTaskSchema::Structural, UpgradeTaskSchema::Open] {
        let site = Site::on(TestCluster::alone(schema).await, ResourceKind::JivaVolume).await;
        is_upgraded(&site).await;
    }
}

#[tokio::test]
async fn while_replicas_rebuild_no_second_pool_is_touched() {
    let site = Site::with(ResourceKind::CstorPoolCluster).await;
    site.operators.rebuild_for(20);
    site.upgrade().await.unwrap();
    assert_eq!(site.operators.worst(), 1, "one replica of a volume at a time may be away");
    assert_eq!(site.left_behind().await, vec![]);
}

#[tokio::test]
async fn backups_kept_by_older_releases_move_to_the_new_group() {
    let site = Site::with(ResourceKind::CstorPoolInstance).await;
    openebs::on(&site.cluster).old_backups(&site.resource.name, "nightly", "pvc-1").await;
    site.upgrade().await.unwrap();
    let left = |kind| site.cluster.get("openebs.io/v1alpha1", kind, "nightly-pvc-1");
    for kind in ["CStorBackup", "CStorRestore", "CStorCompletedBackup"] {
        assert_eq!(left(kind).await, None);
    }
    let moved = async |kind| site.cluster.get("cstor.openebs.io/v1", kind, "nightly-pvc-1").await.unwrap();
    let backup = moved("CStorBackup").await;
    assert_eq!((&backup["spec"]["snapName"], &backup["status"]), (&json!("nightly-3"), &json!("Done")));
    assert_eq!(moved("CStorRestore").await["spec"]["restoreSrc"], "10.0.0.9:9000");
    let completed = moved("CStorCompletedBackup").await["spec"].clone();
    assert_eq!(
        (&completed["lastSnapName"], &completed["secondLastSnapName"]),
        (&json!("nightly-3"), &json!("nightly-2"))
    );
}

/// As after the upgrade of jiva-operator, which leaves volumes of another version alone: the JivaVolume tells of the past.
async fn left_alone_by_its_operator(status: Value) -> Site {
    let site = Site::with(ResourceKind::JivaVolume).await;
    let volumes = site.cluster.kind("openebs.io/v1", "JivaVolume");
    let status = Patch::Merge(json!({"status": status}));
    volumes.patch(&site.resource.name, &PatchParams::default(), &status).await.unwrap();
    site
}

#[tokio::test]
async fn a_jiva_volume_of_which_its_operator_stopped_telling_is_judged_by_its_controller() {
    let site = left_alone_by_its_operator(json!({"phase": "Unknown", "replicaCount": 0, "replicaStatus": []})).await;
    site.replicas_are(&["RW", "RW", "RW"]);
    let volumes = site.cluster.kind("openebs.io/v1", "JivaVolume");
    let told_again = async {
        until("the volume is at its operator's version", || async {
            let seen = volumes.get(&site.resource.name).await.ok()?;
            (seen.data["versionDetails"]["status"]["current"] == "3.6.0").then_some(())
        })
        .await;
        let status = json!({"status": {"phase": "Ready", "status": "RW", "replicaCount": 3,
            "replicaStatus": [{"mode": "RW"}, {"mode": "RW"}, {"mode": "RW"}]}});
        volumes.patch(&site.resource.name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    };
    let (upgraded, ()) = tokio::join!(site.upgrade(), told_again);
    upgraded.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(site.left_behind().await, vec![]);
}

#[tokio::test]
async fn a_jiva_volume_is_not_touched_while_its_controller_misses_a_replica_whatever_was_told_before() {
    let replicas = json!([{"mode": "RW"}, {"mode": "RW"}, {"mode": "RW"}]);
    let ready = json!({"phase": "Ready", "status": "RW", "replicaCount": 3, "replicaStatus": replicas});
    let site = left_alone_by_its_operator(ready).await;
    site.replicas_are(&["RW", "WO", "RW"]);
    waits_before_touching_anything(&site, "2 of 3 replicas are RW").await;
}

/// Runs the executor until it says so of what it waits for, and shows that nothing was changed.
async fn waits_before_touching_anything(site: &Site, words: &str) {
    let stop = until("the executor says what it waits for", || async {
        let task = site.upgrade_task().await?;
        let told = text(&task["status"]["upgradeDetailedStatuses"][0]["message"]);
        told.contains(words).then_some("SIGTERM")
    });
    site.execute_until(&site.command(), stop).await.unwrap_err();
    assert_eq!(site.touched().await, vec![]);
}

#[tokio::test]
async fn a_jiva_volume_with_a_replica_on_a_dead_node_is_not_touched() {
    let ready = json!({"phase": "Ready", "status": "RW"});
    let site = left_alone_by_its_operator(ready).await;
    let replica = format!("{}-jiva-rep-1", site.resource.name);
    site.node.keep_from_ready(&replica);
    site.cluster.api::<Pod>().delete(&replica, &kube::api::DeleteParams::default()).await.unwrap();
    let set = format!("{}-jiva-rep", site.resource.name);
    until("the set misses a Pod", || async {
        let seen = site.cluster.get("apps/v1", "StatefulSet", &set).await?;
        (seen["status"]["readyReplicas"] == 2).then_some(())
    })
    .await;
    site.replicas_are(&["RW", "RW"]);
    waits_before_touching_anything(&site, "2 of 3 replicas are RW").await;
}

#[tokio::test]
async fn a_jiva_volume_whose_controller_does_not_answer_is_not_touched_whatever_was_told_before() {
    let replicas = json!([{"mode": "RW"}, {"mode": "RW"}, {"mode": "RW"}]);
    let ready = json!({"phase": "Ready", "status": "RW", "replicaCount": 3, "replicaStatus": replicas});
    let site = left_alone_by_its_operator(ready).await;
    site.replicas_are(&[]);
    waits_before_touching_anything(&site, "cannot be told: its controller, Pod ").await;
}

#[tokio::test]
async fn a_jiva_volume_whose_controller_surely_has_no_api_is_believed_by_its_status() {
    let replicas = |modes: [&str; 3]| json!(modes.map(|mode| json!({"mode": mode})));
    let status = |modes| json!({"phase": "Ready", "status": "RW", "replicaCount": 3, "replicaStatus": replicas(modes)});
    let mut site = left_alone_by_its_operator(status(["RW", "RW", "WO"])).await;
    site.nobody_listens_at_the_controller();
    waits_before_touching_anything(&site, "2 of 3 replicas are RW").await;
    let behind = json!({"status": status(["RW", "RW", "RW"])});
    site.cluster.merge("openebs.io/v1", "JivaVolume", &site.resource.name, &behind).await;
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
}

/// Plays a Jiva controller whose replicas catch up for a while after each restart; ends never, and keeps in `worst` how
/// many were away or behind at once, and in `restarted` how often any was restarted.
async fn replicas_catch_up(site: &Site, worst: &AtomicUsize, restarted: &AtomicUsize) {
    let selected = ListParams::default().labels("openebs.io/component=jiva-replica");
    let pods = site.cluster.api::<Pod>();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut behind: BTreeMap<String, u32> = BTreeMap::new();
    loop {
        let there = pods.list(&selected).await.map(|list| list.items).unwrap_or_default();
        let mut modes = Vec::new();
        for pod in there.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            let (name, uid) = (pod.metadata.name.clone().unwrap(), pod.metadata.uid.clone().unwrap());
            if known.insert(name.clone(), uid.clone()).is_some_and(|before| before != uid) {
                restarted.fetch_add(1, Ordering::SeqCst);
                behind.insert(name.clone(), 20);
            }
            let rounds = behind.entry(name).or_default();
            modes.push(if *rounds > 0 { "WO" } else { "RW" });
            *rounds = rounds.saturating_sub(1);
        }
        let in_sync = modes.iter().filter(|mode| **mode == "RW").count();
        worst.fetch_max(3 - in_sync, Ordering::SeqCst);
        site.replicas_are(if modes.is_empty() { &["WO"] } else { &modes });
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test]
async fn while_one_jiva_replica_catches_up_no_other_is_restarted() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    let set = format!("{}-jiva-rep", site.resource.name);
    let kept = Patch::Merge(json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}));
    site.cluster.kind("apps/v1", "StatefulSet").patch(&set, &PatchParams::default(), &kept).await.unwrap();
    let (worst, restarted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    tokio::select! {
        () = replicas_catch_up(&site, &worst, &restarted) => {}
        ended = site.upgrade() => ended.unwrap_or_else(|failure| panic!("{failure:?}")),
    }
    assert_eq!(worst.into_inner(), 1, "one replica at a time may be behind");
    assert_eq!(restarted.into_inner(), 3);
    assert_eq!(site.left_behind().await, vec![]);
    let seen = site.cluster.get("apps/v1", "StatefulSet", &set).await.unwrap();
    assert_eq!(seen["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 1, "as it was before");
    assert_eq!(seen["metadata"]["annotations"].get("fleetlift.io/partition-before"), None);
}

/// Volumes of releases before 1.0 were selected by their version, too; no API server lets a selector change.
#[tokio::test]
async fn a_legacy_jiva_volume_whose_workloads_select_by_their_version_is_upgraded() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    let waiting = Waiting::on(cluster, ResourceKind::LegacyJivaVolume, 2).await;
    let deployments = waiting.cluster.kind("apps/v1", "Deployment");
    for name in ["ctrl", "rep-1", "rep-2"].map(|part| format!("{}-{part}", waiting.resource.name)) {
        let seen = deployments.get(&name).await.unwrap();
        deployments.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
        let labels = seen.metadata.labels.clone().unwrap();
        let mut spec = seen.data["spec"].clone();
        spec["selector"]["matchLabels"]["openebs.io/version"] = waiting.from.into();
        let metadata = json!({"name": name, "namespace": waiting.cluster.namespace, "labels": labels});
        until("the old one is gone", || async { deployments.get(&name).await.is_err().then_some(()) }).await;
        let again = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec});
        waiting.cluster.apply(&again).await;
    }
    let site = Site::of(waiting, node, None).await;
    is_upgraded(&site).await;
}
