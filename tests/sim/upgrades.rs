//! Upgrades: an UpgradeTask and a Job bring a resource to its target, or say why not.

use fleetlift::sim::oracle::{self, Limits};
use fleetlift::sim::{Behaviour, Item, ItemKind, UpgradeFault, UpgradeTrouble};
use kube::api::Api;
use serde_json::json;

use crate::arrange::{
    admin, attempt, attempt_annotated, behaving, cluster, ended, hub, jiva, jobs, kind, sleeper, start, status_of,
};
use crate::until::until;

const OWN: &str = "registry.example.com/fleetlift-executor:1";
const CSTOR: &str = "cstor.openebs.io/v1";

#[tokio::test]
async fn a_jiva_volume_is_upgraded_by_an_upgrade_task_and_a_job() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    attempt(&client, "t1", OWN, json!({"jivaVolume": {"pvName": "pvc-j"}})).await;
    assert_eq!(ended(&client, "t1").await, ("Complete".into(), "CompletionsReached".into()));
    let status = status_of(&client, "t1").await;
    assert_eq!(status["phase"], "Success");
    let steps: Vec<&str> =
        status["upgradeDetailedStatuses"].as_array().unwrap().iter().map(|one| one["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["PRE_UPGRADE", "REPLICA_UPGRADE", "TARGET_UPGRADE"]);
    let volume = kind(&client, "openebs.io/v1", "JivaVolume", "jivavolumes").get("pvc-j").await.unwrap();
    assert_eq!(volume.data["versionDetails"]["status"]["current"], "3.6.0");
    let sets: Api<k8s_openapi::api::apps::v1::StatefulSet> = Api::namespaced(client.clone(), "openebs");
    let set = sets.get("pvc-j-jiva-rep").await.unwrap();
    assert_eq!(set.metadata.labels.unwrap()["openebs.io/version"], "3.6.0");
    assert_eq!(set.metadata.generation, set.status.as_ref().unwrap().observed_generation);
    assert_eq!(set.spec.unwrap().template.spec.unwrap().containers[0].image.as_deref(), Some("openebs/jiva:3.6.0"));
    let records = fleet.oracle().records();
    assert_eq!(oracle::verify(&records, &Limits { running: Some(1), attempts: Some(1), ..Limits::default() }), []);
    let summary = oracle::summary(&records);
    assert_eq!((summary.jobs, summary.complete, summary.peak, summary.requests), (1, 1, 1, 2));
    fleet.stop().await;
}

#[tokio::test]
async fn every_kind_reaches_its_target() {
    let fleet = start(cluster(vec![
        Item::new(ItemKind::PoolCluster, "cspc-a", "3.5.0").wide(2),
        Item::new(ItemKind::CstorVolume, "pvc-c", "3.5.0").wide(2).on("cspc-a"),
        Item::new(ItemKind::PoolClaim, "spc-a", "2.11.0").wide(2),
        Item::new(ItemKind::LegacyCstorVolume, "pvc-lc", "2.11.0").wide(2).on("spc-a"),
        Item::new(ItemKind::LegacyJivaVolume, "pvc-lj", "2.11.0").wide(2),
    ]));
    let client = hub(&fleet).await;
    for (name, kind, member, from, to) in [
        (
            "a",
            "cstorPoolInstance/cspc-a-node-1",
            json!({"cstorPoolInstance": {"cspiName": "cspc-a-node-1"}}),
            "3.5.0",
            "3.6.0",
        ),
        ("b", "cstorPoolCluster/cspc-a", json!({"cstorPoolCluster": {"cspcName": "cspc-a"}}), "3.5.0", "3.6.0"),
        ("c", "cstorVolume/pvc-c", json!({"cstorVolume": {"pvName": "pvc-c"}}), "3.5.0", "3.6.0"),
        ("d", "cstorPool/spc-a-node-1", json!({"cstorPool": {"poolName": "spc-a-node-1"}}), "2.11.0", "2.12.2"),
        ("e", "storagePoolClaim/spc-a", json!({"storagePoolClaim": {"spcName": "spc-a"}}), "2.11.0", "2.12.2"),
        ("f", "legacyCstorVolume/pvc-lc", json!({"cstorVolume": {"pvName": "pvc-lc"}}), "2.11.0", "2.12.2"),
        ("g", "legacyJivaVolume/pvc-lj", json!({"jivaVolume": {"pvName": "pvc-lj"}}), "2.11.0", "2.12.2"),
    ] {
        let annotations = json!({"fleetlift.io/resource": kind});
        attempt_annotated(&client, name, OWN, member, annotations, from, to).await;
        let end = ended(&client, name).await;
        assert_eq!(end.0, "Complete", "{kind}: {}", status_of(&client, name).await);
    }
    for (api_version, object, plural, name, version) in [
        (CSTOR, "CStorPoolInstance", "cstorpoolinstances", "cspc-a-node-2", "3.6.0"),
        (CSTOR, "CStorPoolCluster", "cstorpoolclusters", "cspc-a", "3.6.0"),
        (CSTOR, "CStorVolume", "cstorvolumes", "pvc-c", "3.6.0"),
        (CSTOR, "CStorVolumeConfig", "cstorvolumeconfigs", "pvc-c", "3.6.0"),
        (CSTOR, "CStorVolumeReplica", "cstorvolumereplicas", "pvc-c-cspc-a-node-2", "3.6.0"),
        ("openebs.io/v1alpha1", "CStorVolume", "cstorvolumes", "pvc-lc", "2.12.2"),
    ] {
        let object = kind(&client, api_version, object, plural).get(name).await.unwrap();
        assert_eq!(object.data["versionDetails"]["status"]["current"], version, "{name}");
    }
    assert_eq!(oracle::verify(&fleet.oracle().records(), &Limits { running: Some(1), ..Limits::default() }), []);
}

#[tokio::test]
async fn a_volume_before_its_pools_is_refused_as_upstream_does() {
    let fleet = start(cluster(vec![
        Item::new(ItemKind::PoolCluster, "cspc-a", "3.5.0"),
        Item::new(ItemKind::CstorVolume, "pvc-c", "3.5.0").on("cspc-a"),
    ]));
    let client = hub(&fleet).await;
    attempt(
        &client,
        "upgrade-cstor-csi-volume-pvc-c",
        "openebs/upgrade:3.6.0",
        json!({"cstorVolume": {"pvName": "pvc-c"}}),
    )
    .await;
    assert_eq!(
        ended(&client, "upgrade-cstor-csi-volume-pvc-c").await,
        ("Failed".into(), "BackoffLimitExceeded".into())
    );
    let status = status_of(&client, "upgrade-cstor-csi-volume-pvc-c").await;
    assert_eq!(status["phase"], "Started", "the official executor never gives up with a limit of 0");
    assert_eq!(status["upgradeDetailedStatuses"][1]["phase"], "Errored");
    assert_eq!(status["upgradeDetailedStatuses"][1]["reason"], "cspi cspc-a-node-1 not in 3.6.0 version");
}

#[tokio::test]
async fn the_official_arguments_work_and_leave_the_phase_at_started() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    let mut job = sleeper("jiva-volume-upgrade", "1");
    let container = &mut job.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0];
    container.image = Some("openebs/upgrade:3.6.0".into());
    container.command = None;
    let args = ["jiva-volume", "--from-version=3.5.0", "--to-version=3.6.0", "pvc-j", "--v=4"];
    container.args = Some(args.map(str::to_owned).to_vec());
    jobs(&client).create(&kube::api::PostParams::default(), &job).await.unwrap();
    assert_eq!(ended(&client, "jiva-volume-upgrade").await.0, "Complete");
    let status = status_of(&client, "upgrade-jiva-csi-volume-pvc-j").await;
    assert_eq!(status["phase"], "Started");
    assert_eq!(status["upgradeDetailedStatuses"][2]["phase"], "Completed");
}

#[tokio::test]
async fn an_upgrade_that_shall_fail_fails_with_its_reason_and_its_last_words() {
    let fault = UpgradeFault {
        kind: Some("jivaVolume".into()),
        name: None,
        times: Some(1),
        what: UpgradeTrouble::Fails("replica 2 did not come back".into()),
    };
    let fleet = behaving(Behaviour { upgrades: vec![fault], ..Behaviour::default() });
    let client = hub(&fleet).await;
    attempt(&client, "t1", OWN, json!({"jivaVolume": {"pvName": "pvc-j"}})).await;
    assert_eq!(ended(&client, "t1").await, ("Failed".into(), "BackoffLimitExceeded".into()));
    let status = status_of(&client, "t1").await;
    assert_eq!(status["phase"], "Error");
    assert_eq!(status["upgradeDetailedStatuses"][2]["reason"], "replica 2 did not come back");
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), "openebs");
    let own = kube::api::ListParams::default().labels("job-name=t1");
    let pod = pods.list(&own).await.unwrap().items.remove(0);
    let ended_with = pod.status.unwrap().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!(ended_with.exit_code, 1);
    assert!(ended_with.message.unwrap().contains("replica 2 did not come back"));
    let log = pods.logs(&pod.metadata.name.unwrap(), &kube::api::LogParams::default()).await.unwrap();
    assert!(log.contains("TARGET_UPGRADE"), "{log}");
    // The fault strikes once.
    attempt(&client, "t2", OWN, json!({"jivaVolume": {"pvName": "pvc-j"}})).await;
    assert_eq!(ended(&client, "t2").await.0, "Complete");
}

#[tokio::test]
async fn an_operator_that_refuses_makes_the_executor_wait() {
    let fault = UpgradeFault { kind: None, name: None, times: None, what: UpgradeTrouble::Refused };
    let fleet = behaving(Behaviour { upgrades: vec![fault], ..Behaviour::default() });
    let client = admin(&fleet).await;
    attempt(&client, "t1", OWN, json!({"jivaVolume": {"pvName": "pvc-j"}})).await;
    let volumes = kind(&client, "openebs.io/v1", "JivaVolume", "jivavolumes");
    until("the operator says no", || async {
        let volume = volumes.get("pvc-j").await.unwrap();
        (volume.data["versionDetails"]["status"]["reason"] == "invalid current version 3.5.0").then_some(())
    })
    .await;
    let job = jobs(&client).get("t1").await.unwrap().status.unwrap();
    assert_eq!((job.active, job.conditions), (Some(1), None));
}
