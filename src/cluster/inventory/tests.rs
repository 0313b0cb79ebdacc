//! Golden objects of every kind, as clusters show them, and what is understood of them.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::evidence::{Around, Evidence};
use super::index::Index;
use super::listing::Listing;
use super::settled::around;
use super::snapshot::{Snapshot, Surroundings};
use super::{claims_namespaces, understand};
use crate::domain::inventory::{Condition, Replicas};
use crate::domain::observation::Standing;
use crate::domain::{ResourceKind as K, ResourceRef, Version};

fn listed<T: DeserializeOwned>(items: Value) -> Listing<T> {
    Listing { items: serde_json::from_value(items).unwrap(), ..Listing::default() }
}

fn versions(current: &str, desired: &str) -> Value {
    json!({"autoUpgrade": false, "desired": desired, "status": {"current": current, "dependentsUpgraded": true,
        "lastUpdateTime": null, "state": "Reconciled", "message": "", "reason": ""}})
}

#[expect(clippy::needless_pass_by_value, reason = "as above")]
fn workload(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "openebs", "generation": 1, "labels": labels},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
                   "availableReplicas": 1}})
}

fn instance(name: &str, version: &str, phase: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "openebs", "labels": {"openebs.io/cstor-pool-cluster": "cspc",
            "openebs.io/version": version, "kubernetes.io/hostname": "node-1"}},
        "spec": {"hostName": "node-1"}, "status": {"phase": phase, "readOnly": false},
        "versionDetails": versions(version, version)})
}

fn instance_deployment(name: &str, version: &str) -> Value {
    workload(name, json!({"openebs.io/cstor-pool-instance": name, "openebs.io/version": version}))
}

fn replica(volume: &str, pool: &str, version: &str, phase: &str) -> Value {
    json!({"metadata": {"name": format!("{volume}-{pool}"), "namespace": "openebs",
            "labels": {"openebs.io/persistent-volume": volume, "cstorpoolinstance.openebs.io/name": pool,
                       "openebs.io/version": version}},
        "status": {"phase": phase}, "versionDetails": versions(version, version)})
}

fn volume(name: &str, version: &str, phase: &str) -> Value {
    // The label stays at the release that made it: nobody updates it.
    json!({"metadata": {"name": name, "namespace": "openebs", "labels": {"openebs.io/persistent-volume": name,
            "openebs.io/version": "2.0.0"}},
        "spec": {"desiredReplicationFactor": 2, "replicationFactor": 2}, "status": {"phase": phase},
        "versionDetails": versions(version, version)})
}

fn target(name: &str, version: &str) -> Value {
    workload(
        &format!("{name}-target"),
        json!({"openebs.io/persistent-volume": name,
        "openebs.io/target": "cstor-target", "openebs.io/version": version}),
    )
}

/// A pool cluster of two instances with one volume of two replicas, all at 3.5.0 and well.
fn cstor() -> Snapshot {
    Snapshot {
        namespace: "openebs".into(),
        pool_clusters: listed(json!([{"metadata": {"name": "cspc", "namespace": "openebs"},
            "spec": {"pools": [{}, {}]}, "versionDetails": versions("3.5.0", "3.5.0")}])),
        instances: listed(json!([instance("cspc-a", "3.5.0", "ONLINE"), instance("cspc-b", "3.5.0", "ONLINE")])),
        replicas: listed(json!([
            replica("pvc-1", "cspc-a", "3.5.0", "Healthy"),
            replica("pvc-1", "cspc-b", "3.5.0", "Healthy")
        ])),
        volumes: listed(json!([volume("pvc-1", "3.5.0", "Healthy")])),
        volume_configs: listed(json!([{"metadata": {"name": "pvc-1", "namespace": "openebs"},
            "status": {"phase": "Bound"}, "versionDetails": versions("3.5.0", "3.5.0")}])),
        deployments: listed(json!([
            instance_deployment("cspc-a", "3.5.0"),
            instance_deployment("cspc-b", "3.5.0"),
            target("pvc-1", "3.5.0")
        ])),
        services: listed(json!([{"metadata": {"name": "pvc-1", "namespace": "openebs", "labels": {
            "openebs.io/persistent-volume": "pvc-1", "openebs.io/target-service": "cstor-target-svc",
            "openebs.io/version": "3.5.0"}}}])),
        ..Snapshot::default()
    }
}

fn find(seen: &Snapshot, kind: K, name: &str) -> Evidence {
    let wanted = ResourceRef { kind, name: name.into() };
    understand(&Index::of(seen)).into_iter().find(|evidence| evidence.id == wanted).unwrap()
}

const V350: Version = Version::new(3, 5, 0);
const V360: Version = Version::new(3, 6, 0);

#[test]
fn a_pool_cluster_that_is_well_is_understood_as_such() {
    let seen = cstor();
    let pool = find(&seen, K::CstorPoolInstance, "cspc-a");
    assert_eq!(pool.release(), Some(V350));
    assert_eq!(pool.parent, Some(ResourceRef { kind: K::CstorPoolCluster, name: "cspc".into() }));
    assert_eq!((pool.half_done(), &pool.healthy, &pool.rolled_out), (None, &Condition::Holds, &Condition::Holds));
    let cluster = find(&seen, K::CstorPoolCluster, "cspc");
    assert_eq!(cluster.replicas, Some(Replicas { wanted: 2, healthy: 2 }));
    assert_eq!(cluster.pools, ["cspc-a", "cspc-b"]);
    assert!(around(&Index::of(&seen), &cluster).settled.holds() && around(&Index::of(&seen), &pool).settled.holds());
    assert_eq!(
        pool.into_state(Around { load: Condition::Holds, settled: Condition::Holds }).standing(&V350, &V360),
        Standing::Before
    );
}

#[test]
fn a_volume_is_at_its_version_whatever_its_oldest_label_says() {
    let seen = cstor();
    let volume = find(&seen, K::CstorVolume, "pvc-1");
    assert_eq!(volume.release(), Some(V350), "{:?}", volume.versions);
    assert_eq!(volume.pools, ["cspc-a", "cspc-b"]);
    assert_eq!(volume.replicas, Some(Replicas { wanted: 2, healthy: 2 }));
    assert!(volume.healthy.holds() && volume.rolled_out.holds());
    assert!(around(&Index::of(&seen), &volume).settled.holds());
}

#[test]
fn a_replica_that_rebuilds_unsettles_every_pool_of_its_pool_cluster() {
    let mut seen = cstor();
    seen.replicas.items[1].status.phase = "Rebuilding".into();
    // It lies on cspc-b; restarting cspc-a now would leave the volume without a replica in sync.
    let other = find(&seen, K::CstorPoolInstance, "cspc-a");
    assert!(other.healthy.holds());
    let Condition::Fails(why) = around(&Index::of(&seen), &other).settled else { unreachable!("taken for settled") };
    assert!(why.contains("pvc-1-cspc-b rebuilds"), "{why}");
    assert!(!find(&seen, K::CstorVolume, "pvc-1").healthy.holds());
}

#[test]
fn what_a_stuck_pool_ails_from_unsettles_its_neighbours_and_not_itself() {
    let mut seen = cstor();
    seen.instances.items[0].status.phase = "OFFLINE".into();
    seen.deployments.items[0].status.available_replicas = 0;
    seen.replicas.items[0].status.phase = "Offline".into();
    seen.volumes.items[0].status.phase = "Degraded".into();
    let stuck = find(&seen, K::CstorPoolInstance, "cspc-a");
    assert!(!stuck.healthy.holds() && !stuck.rolled_out.holds(), "its own evidence says so");
    let itself = around(&Index::of(&seen), &stuck);
    assert!(itself.settled.holds(), "an attempt to repair it need not wait: {:?}", itself.settled);
    assert!(itself.load.why_not().is_some_and(|why| why.contains("pvc-1-cspc-a")), "{:?}", itself.load);
    for (kind, name) in [(K::CstorPoolInstance, "cspc-b"), (K::CstorVolume, "pvc-1"), (K::CstorPoolCluster, "cspc")] {
        let neighbour = around(&Index::of(&seen), &find(&seen, kind, name));
        assert!(!neighbour.settled.holds(), "{name} waits for it");
    }
    // But where a replica elsewhere is away, too, another restart could cost the last one.
    seen.replicas.items[1].status.phase = "Offline".into();
    assert!(!around(&Index::of(&seen), &stuck).settled.holds());
}

#[test]
fn a_pool_that_is_read_only_or_offline_is_not_healthy() {
    let mut seen = cstor();
    seen.instances.items[0].status.read_only = true;
    seen.instances.items[1].status.phase = "OFFLINE".into();
    assert_eq!(find(&seen, K::CstorPoolInstance, "cspc-a").healthy.why_not(), Some("pool cspc-a is read-only"));
    assert_eq!(find(&seen, K::CstorPoolInstance, "cspc-b").healthy.why_not(), Some("pool cspc-b is OFFLINE"));
    assert_eq!(find(&seen, K::CstorPoolCluster, "cspc").replicas, Some(Replicas { wanted: 2, healthy: 0 }));
}

#[test]
fn an_upgrade_that_stopped_half_way_shows() {
    // The executor patched the Deployment, then died.
    let mut seen = cstor();
    seen.deployments.items[0].metadata.labels.insert("openebs.io/version".into(), "3.6.0".into());
    let pool = find(&seen, K::CstorPoolInstance, "cspc-a");
    assert_eq!(pool.release(), None);
    assert!(pool.half_done().unwrap().starts_with("mixed versions"), "{:?}", pool.half_done());

    // The operator refuses the version that was asked for.
    let mut seen = cstor();
    let details = &mut seen.instances.items[0].version_details;
    details.desired = "3.6.0".into();
    details.status.message = "Failed to reconcile cspi version".into();
    details.status.reason = "invalid desired version 3.6.0".into();
    let told = find(&seen, K::CstorPoolInstance, "cspc-a").half_done().unwrap();
    assert!(told.contains("wants 3.6.0 and is at 3.5.0") && told.contains("invalid desired version"), "{told}");

    // One instance is done, the other is not; and: both are, their parent is not.
    let mut seen = cstor();
    let done = |name| serde_json::from_value(instance(name, "3.6.0", "ONLINE")).unwrap();
    seen.instances.items[0] = done("cspc-a");
    assert!(find(&seen, K::CstorPoolCluster, "cspc").half_done().unwrap().starts_with("mixed versions"));
    seen.instances.items[1] = done("cspc-b");
    let told = find(&seen, K::CstorPoolCluster, "cspc").half_done().unwrap();
    assert!(told.starts_with("its pools are at 3.6.0"), "{told}");
}

#[test]
fn what_may_not_be_read_leaves_a_doubt_and_never_looks_well() {
    let mut seen = cstor();
    let gap = "the right to list cstorvolumereplicas.cstor.openebs.io in namespace openebs is missing";
    seen.replicas = Listing { gap: Some(gap.into()), ..Listing::default() };
    let volume = find(&seen, K::CstorVolume, "pvc-1");
    assert!(!volume.healthy.holds());
    assert_eq!(
        around(&Index::of(&seen), &find(&seen, K::CstorPoolInstance, "cspc-a")).settled,
        Condition::Unknown(gap.into())
    );
}

#[test]
fn a_pool_cluster_that_lacks_an_instance_is_not_healthy() {
    let mut seen = cstor();
    seen.instances.items.pop();
    assert_eq!(find(&seen, K::CstorPoolCluster, "cspc").healthy.why_not(), Some("1 of 2 pools exist"));
}

fn jiva(modes: &[&str], current: &str) -> Snapshot {
    let replicas: Vec<Value> =
        modes.iter().map(|mode| json!({"address": "tcp://10.1.1.1:9502", "mode": mode})).collect();
    let labels = |component: &str| json!({"openebs.io/persistent-volume": "pvc-2", "openebs.io/component": component, "openebs.io/version": current});
    let mut set = workload("pvc-2-jiva-rep", labels("jiva-replica"));
    set["spec"]["replicas"] = json!(modes.len());
    set["status"]["readyReplicas"] = json!(modes.len());
    Snapshot {
        namespace: "openebs".into(),
        jivas: listed(json!([{"metadata": {"name": "pvc-2", "namespace": "openebs"},
            "spec": {"pv": "pvc-2", "policy": {"target": {"replicationFactor": modes.len()}}},
            "status": {"phase": "Ready", "status": "RW", "replicaCount": modes.len(), "replicaStatus": replicas},
            "versionDetails": versions(current, current)}])),
        deployments: listed(json!([workload("pvc-2-jiva-ctrl", labels("jiva-controller"))])),
        stateful_sets: listed(json!([set])),
        services: listed(json!([{"metadata": {"name": "pvc-2-jiva-ctrl-svc", "namespace": "openebs",
            "labels": labels("jiva-controller-service")}}])),
        ..Snapshot::default()
    }
}

#[test]
fn a_jiva_volume_is_healthy_when_all_its_replicas_can_be_read_and_written() {
    let seen = jiva(&["RW", "RW", "RW"], "3.5.0");
    let volume = find(&seen, K::JivaVolume, "pvc-2");
    assert_eq!(volume.replicas, Some(Replicas { wanted: 3, healthy: 3 }));
    assert_eq!(volume.release(), Some(V350));
    assert!(around(&Index::of(&seen), &volume).settled.holds());
    // 2 current and desired, Deployment, StatefulSet, Service.
    assert_eq!(volume.versions.len(), 5);

    let catching_up = jiva(&["RW", "WO", "RW"], "3.5.0");
    let volume = find(&catching_up, K::JivaVolume, "pvc-2");
    assert_eq!(volume.healthy.why_not(), Some("replica tcp://10.1.1.1:9502 of volume pvc-2 is WO"));
    assert!(
        !volume.healthy.holds() && around(&Index::of(&catching_up), &volume).settled.holds(),
        "its own replicas, nobody else's"
    );
}

#[test]
fn a_jiva_volume_that_shall_have_more_replicas_one_day_is_judged_by_those_that_it_has() {
    let mut seen = jiva(&["RW"], "3.5.0");
    seen.jivas.items[0].spec.desired_replication_factor = 3;
    let volume = find(&seen, K::JivaVolume, "pvc-2");
    assert_eq!((volume.replicas, volume.healthy), (Some(Replicas { wanted: 1, healthy: 1 }), Condition::Holds));
}

#[test]
fn a_jiva_volume_whose_operator_has_just_begun_is_read_with_all_that_may_be_null() {
    let mut seen = jiva(&["RW"], "3.5.0");
    seen.jivas = listed(json!([{"metadata": {"name": "pvc-2", "namespace": "openebs", "annotations": null,
            "labels": {"nodeID": "node-1", "openebs.io/component": "jiva-volume", "openebs.io/persistent-volume": "pvc-2"}},
        "spec": {"pv": "pvc-2", "accessType": "mount", "capacity": "5Gi", "iscsiSpec": null, "mountInfo": null,
            "policy": null},
        "status": {"phase": "Unknown", "replicaStatus": null},
        "versionDetails": {"desired": "3.5.0", "status": {"current": "3.5.0", "lastUpdateTime": null}}}]));
    let volume = find(&seen, K::JivaVolume, "pvc-2");
    assert_eq!(volume.release(), Some(V350));
    assert_eq!(volume.replicas, Some(Replicas { wanted: 1, healthy: 0 }));
    assert_eq!(volume.healthy.why_not(), Some("volume pvc-2 is Unknown (not set)"));
}

#[test]
fn legacy_pools_and_volumes_are_told_from_those_of_the_newer_engine() {
    let pool_labels = json!({"openebs.io/storage-pool-claim": "spc", "openebs.io/version": "2.11.0",
        "kubernetes.io/hostname": "node-3"});
    let seen = Snapshot {
        namespace: "openebs".into(),
        pool_claims: listed(json!([{"metadata": {"name": "spc"}, "versionDetails": versions("2.11.0", "2.11.0")}])),
        pools: listed(json!([{"metadata": {"name": "spc-x", "labels": pool_labels},
            "status": {"phase": "Healthy", "readOnly": false}, "versionDetails": versions("2.11.0", "2.11.0")}])),
        legacy_volumes: listed(json!([{"metadata": {"name": "pvc-3", "namespace": "shop"},
            "spec": {"replicationFactor": 1}, "status": {"phase": "Healthy"},
            "versionDetails": versions("2.11.0", "2.11.0")}])),
        legacy_replicas: listed(json!([{"metadata": {"name": "pvc-3-spc-x", "namespace": "openebs", "labels": {
                "openebs.io/persistent-volume": "pvc-3", "cstorpool.openebs.io/name": "spc-x",
                "openebs.io/version": "2.11.0"}},
            "status": {"phase": "Healthy"}, "versionDetails": versions("2.11.0", "2.11.0")}])),
        deployments: listed(json!([
            workload("spc-x", json!({"openebs.io/cstor-pool": "spc-x", "openebs.io/version": "2.11.0"})),
            in_namespace("shop", target("pvc-3", "2.11.0")),
            workload(
                "pvc-4-ctrl",
                json!({"openebs.io/persistent-volume": "pvc-4",
                "openebs.io/controller": "jiva-controller", "openebs.io/version": "2.11.0"})
            ),
            workload(
                "pvc-4-rep-1",
                json!({"openebs.io/persistent-volume": "pvc-4",
                "openebs.io/replica": "jiva-replica", "openebs.io/version": "2.11.0"})
            ),
        ])),
        ..Snapshot::default()
    };
    let ids: Vec<String> = understand(&Index::of(&seen)).into_iter().map(|evidence| evidence.id.to_string()).collect();
    assert_eq!(ids, ["cstorPool/spc-x", "storagePoolClaim/spc", "legacyCstorVolume/pvc-3", "legacyJivaVolume/pvc-4"]);
    for evidence in understand(&Index::of(&seen)) {
        assert_eq!(evidence.release(), Some(Version::new(2, 11, 0)), "{}", evidence.id);
        let shown = (&evidence.healthy, &evidence.rolled_out, around(&Index::of(&seen), &evidence).settled);
        assert_eq!(shown, (&Condition::Holds, &Condition::Holds, Condition::Holds), "{}", evidence.id);
    }
    let volume = find(&seen, K::LegacyCstorVolume, "pvc-3");
    assert_eq!((volume.namespace.as_str(), volume.pools.as_slice()), ("shop", ["spc-x".to_owned()].as_slice()));
}

fn in_namespace(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

#[test]
fn before_version_details_the_label_tells_the_version() {
    let seen = Snapshot {
        namespace: "openebs".into(),
        legacy_volumes: listed(json!([{"metadata": {"name": "pvc-5", "namespace": "openebs",
                "labels": {"openebs.io/version": "1.0.0"}},
            "spec": {"replicationFactor": 1}, "status": {"phase": "Healthy"}}])),
        deployments: listed(json!([target("pvc-5", "1.0.0")])),
        ..Snapshot::default()
    };
    assert_eq!(find(&seen, K::LegacyCstorVolume, "pvc-5").release(), Some(Version::new(1, 0, 0)));
}

#[test]
fn hostile_versions_are_cut_and_never_parsed_as_something_else() {
    let mut seen = cstor();
    seen.instances.items[0].version_details.status.current = format!("3.5.0\u{1b}[2J{}", "9".repeat(100_000));
    let pool = find(&seen, K::CstorPoolInstance, "cspc-a");
    assert_eq!(pool.release(), None);
    assert!(pool.versions.iter().all(|seen| seen.version.chars().count() <= 65 && !seen.version.contains('\u{1b}')));
}

#[test]
fn legacy_volumes_that_are_not_here_are_looked_for_where_their_claims_are() {
    let seen = Snapshot {
        namespace: "openebs".into(),
        deployments: listed(json!([target("pvc-here", "2.11.0")])),
        ..Snapshot::default()
    };
    let volume = |name: &str, place: &str, rest: Value| {
        let mut spec = json!({"claimRef": {"namespace": place, "name": "data"}});
        spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({"metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": "openebs.io/provisioner-iscsi"}},
            "spec": spec})
    };
    let around = Surroundings {
        volumes: listed(json!([
            volume("pvc-here", "billing", json!({"iscsi": {}})),
            volume("pvc-there", "shop", json!({"iscsi": {}})),
            volume("pvc-odd", "a/../kube-system", json!({"iscsi": {}})),
            volume("pvc-csi", "mail", json!({"csi": {"driver": "jiva.csi.openebs.io"}})),
        ])),
        ..Surroundings::default()
    };
    assert_eq!(claims_namespaces(&seen, &around).into_iter().collect::<Vec<_>>(), ["shop"]);
}
