//! What the hub reads of a cluster, on a real API server, with no rights but those of the edge manifest.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, PostParams};
use serde_json::json;

use fleetlift::cluster::check::{self, Level};
use fleetlift::cluster::{Edge, EdgeError, inventory};
use fleetlift::domain::inventory::{Condition, Replicas, Workload};
use fleetlift::domain::observation::{ResourceSeen, ResourceState, Standing};
use fleetlift::domain::{Inventory, ResourceKind as K, ResourceRef, Version};

use crate::hand::{edge as edge_of, edge_with};
use crate::support::crds::UpgradeTaskSchema;
use crate::support::openebs::{self, bring_to};
use crate::support::{Ending, Node, TestCluster, until};

const V350: Version = Version::new(3, 5, 0);
const V360: Version = Version::new(3, 6, 0);

fn resource(kind: K, name: &str) -> ResourceRef {
    ResourceRef { kind, name: name.into() }
}

async fn state(edge: &Edge, id: &ResourceRef) -> ResourceState {
    match inventory::read_resource(edge, id, edge.namespace()).await.unwrap() {
        ResourceSeen::Found(state) => state,
        ResourceSeen::Gone => panic!("{id} is gone"),
    }
}

/// Waits until everything of these is rolled out, healthy and settled.
async fn well(edge: &Edge, ids: &[ResourceRef]) {
    for id in ids {
        until(&format!("{id} is well"), || async {
            let state = state(edge, id).await;
            (state.rolled_out.holds() && state.healthy.holds() && state.settled.holds()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn pools_and_volumes_of_the_csi_engines_are_read_with_all_that_matters() {
    let cluster = TestCluster::new().await;
    let _node = Node::join(&cluster).await;
    let openebs = openebs::on(&cluster);
    openebs.csi_operators("3.6.0").await;
    openebs.pool_cluster("cspc-r", "3.5.0", &["n1", "n2"]).await;
    openebs.cstor_volume("pvc-read-c", "3.5.0", "cspc-r", &["cspc-r-n1", "cspc-r-n2"]).await;
    openebs.jiva_volume("pvc-read-j", "3.5.0", 3).await;
    let edge = edge_of(&cluster).await;
    let all = [
        resource(K::CstorPoolInstance, "cspc-r-n1"),
        resource(K::CstorPoolInstance, "cspc-r-n2"),
        resource(K::CstorPoolCluster, "cspc-r"),
        resource(K::CstorVolume, "pvc-read-c"),
        resource(K::JivaVolume, "pvc-read-j"),
    ];
    well(&edge, &all).await;
    let seen = operators_at(&edge, "3.6.0").await;

    let ids: Vec<&ResourceRef> = seen.resources.iter().map(|one| &one.id).filter(|id| !is_cluster_wide(id)).collect();
    assert_eq!(ids, all.iter().collect::<Vec<_>>());
    for one in seen.resources.iter().filter(|one| !is_cluster_wide(&one.id)) {
        assert_eq!((one.version.as_ref(), one.half_done.as_ref()), (Some(&V350), None), "{:?}", one.versions);
        assert_eq!(one.health, Condition::Holds, "{}", one.id);
    }
    let volume = seen.resource(&all[3]).unwrap();
    assert_eq!(volume.pools, ["cspc-r-n1", "cspc-r-n2"]);
    assert_eq!(volume.replicas, Some(Replicas { wanted: 2, healthy: 2 }));
    assert_eq!(seen.resource(&all[4]).unwrap().replicas, Some(Replicas { wanted: 3, healthy: 3 }));
    assert_eq!(seen.resource(&all[0]).unwrap().parent.as_ref(), Some(&all[2]));
    let accounts: Vec<(&str, &str)> =
        seen.control_plane.iter().map(|one| (one.name.as_str(), one.service_account.as_str())).collect();
    let expected = [
        ("cspc-operator", "openebs-cstor-operator"),
        ("cvc-operator", "openebs-cstor-operator"),
        ("jiva-operator", "jiva-operator"),
    ];
    assert_eq!(accounts, expected);
}

/// SPCs and CSPs of other tests on the same API server are seen, too: they have no namespace.
fn is_cluster_wide(id: &ResourceRef) -> bool {
    matches!(id.kind, K::CstorPool | K::StoragePoolClaim)
}

async fn operators_at(edge: &Edge, version: &str) -> Inventory {
    until(&format!("the operators are at {version}"), || async {
        let seen = inventory::read(edge).await.unwrap();
        let all = seen.control_plane.iter().all(|one| one.versions == [version]);
        (seen.control_plane.len() == 3 && all).then_some(seen)
    })
    .await
}

#[tokio::test]
async fn one_resource_is_followed_from_one_version_to_the_next() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    let openebs = openebs::on(&cluster);
    openebs.pool_cluster("cspc-f", "3.5.0", &["n1", "n2"]).await;
    openebs.cstor_volume("pvc-follow-c", "3.5.0", "cspc-f", &["cspc-f-n1", "cspc-f-n2"]).await;
    let edge = edge_of(&cluster).await;
    let (pool, other) = (resource(K::CstorPoolInstance, "cspc-f-n1"), resource(K::CstorPoolInstance, "cspc-f-n2"));
    well(&edge, &[pool.clone(), other.clone(), resource(K::CstorVolume, "pvc-follow-c")]).await;
    assert_eq!(state(&edge, &pool).await.standing(&V350, &V360), Standing::Before);

    // Its version is there at once, its Pod is not.
    node.keep_from_ready("cspc-f-n1");
    bring_to(&cluster, &pool, "3.6.0").await;
    let during = state(&edge, &pool).await;
    assert_eq!(during.standing(&V350, &V360), Standing::AtTarget);
    assert!(!during.rolled_out.holds());
    assert!(!state(&edge, &other).await.settled.holds(), "the next pool must wait for this one");
    node.behave();
    well(&edge, &[pool.clone(), other.clone()]).await;

    // A replica rebuilds: the pool itself is well, but nothing near it may be touched.
    let rebuilding = json!({"status": {"phase": "Rebuilding"}});
    cluster.merge("cstor.openebs.io/v1", "CStorVolumeReplica", "pvc-follow-c-cspc-f-n2", &rebuilding).await;
    let beside = state(&edge, &pool).await;
    assert_eq!((beside.healthy, beside.rolled_out), (Condition::Holds, Condition::Holds));
    let Condition::Fails(why) = beside.settled else { panic!("{:?}", beside.settled) };
    assert!(why.contains("pvc-follow-c-cspc-f-n2 rebuilds"), "{why}");

    let seen = inventory::read(&edge).await.unwrap();
    let parent = seen.resource(&resource(K::CstorPoolCluster, "cspc-f")).unwrap();
    assert!(parent.half_done.as_ref().unwrap().starts_with("mixed versions"), "{:?}", parent.half_done);
}

#[tokio::test]
async fn legacy_pools_and_volumes_are_read_with_an_api_server_of_their_own() {
    let cluster = TestCluster::alone(UpgradeTaskSchema::Open).await;
    let _node = Node::join(&cluster).await;
    let openebs = openebs::on(&cluster);
    openebs.maya_apiserver("2.12.2").await;
    openebs.storage_pool_claim("spc-l", "2.11.0", &["n1", "n2"]).await;
    openebs.legacy_cstor_volume("pvc-legacy-c", "2.11.0", &["spc-l-n1", "spc-l-n2"]).await;
    openebs.legacy_jiva_volume("pvc-legacy-j", "2.11.0", 2).await;
    let edge = edge_of(&cluster).await;
    let all = [
        resource(K::CstorPool, "spc-l-n1"),
        resource(K::CstorPool, "spc-l-n2"),
        resource(K::StoragePoolClaim, "spc-l"),
        resource(K::LegacyCstorVolume, "pvc-legacy-c"),
        resource(K::LegacyJivaVolume, "pvc-legacy-j"),
    ];
    well(&edge, &all).await;
    let seen = inventory::read(&edge).await.unwrap();
    assert_eq!(seen.resources.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), all);
    assert!(seen.resources.iter().all(|one| one.version == Some(Version::new(2, 11, 0))));
    let (from, to) = (Version::new(2, 11, 0), Version::new(2, 12, 2));
    for id in &all {
        bring_to(&cluster, id, "2.12.2").await;
        assert_eq!(state(&edge, id).await.standing(&from, &to), Standing::AtTarget, "{id}");
    }
    well(&edge, &all).await;
}

#[tokio::test]
async fn what_does_not_exist_is_gone_and_what_may_not_be_read_is_an_error() {
    let cluster = TestCluster::new().await;
    let edge = edge_of(&cluster).await;
    for kind in K::ALL {
        let gone = inventory::read_resource(&edge, &resource(kind, "never-was"), edge.namespace()).await;
        assert_eq!(gone.unwrap(), ResourceSeen::Gone, "{kind}");
    }
    // The hub has no rights in the namespaces of claims: what may live there is not taken for gone.
    let hidden = inventory::read_resource(&edge, &resource(K::LegacyJivaVolume, "pvc-x"), "default").await;
    assert!(matches!(hidden, Err(EdgeError::Forbidden { .. })), "{hidden:?}");
    let stranger = edge_with(&cluster, &cluster.plane.token_kubeconfig("not-a-token"));
    let refused = inventory::read_resource(&stranger, &resource(K::JivaVolume, "x"), edge.namespace()).await;
    assert_eq!(refused.unwrap_err(), EdgeError::Unauthorized);
}

#[tokio::test]
async fn others_at_work_on_a_pool_keep_its_whole_pool_cluster_busy() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    let openebs = openebs::on(&cluster);
    openebs.pool_cluster("cspc-b", "3.5.0", &["n1"]).await;
    openebs.pool_cluster("cspc-free", "3.5.0", &["n1"]).await;
    let edge = edge_of(&cluster).await;
    let (pool, parent) = (resource(K::CstorPoolInstance, "cspc-b-n1"), resource(K::CstorPoolCluster, "cspc-b"));
    assert_eq!(inventory::around(&edge, &pool).await.unwrap().busy, None);

    let jobs: Api<Job> = cluster.api();
    let by_hand: Job = serde_json::from_value(json!({"metadata": {"name": "cstor-cspc-upgrade"},
        "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "upgrade",
            "image": "openebs/upgrade:3.6.0",
            "args": ["cstor-cspc", "--from-version=3.5.0", "--to-version=3.6.0", "cspc-b", "--v=4"]}]}}}}))
    .unwrap();
    jobs.create(&PostParams::default(), &by_hand).await.unwrap();
    let busy = Some("Job/cstor-cspc-upgrade".to_owned());
    assert_eq!(inventory::around(&edge, &pool).await.unwrap().busy, busy);
    assert_eq!(inventory::around(&edge, &parent).await.unwrap().busy, busy);
    assert_eq!(inventory::around(&edge, &resource(K::CstorPoolInstance, "cspc-free-n1")).await.unwrap().busy, None);
    let seen = inventory::read(&edge).await.unwrap();
    assert_eq!(seen.under_way.len(), 1);
    assert_eq!(seen.under_way[0].resources, [pool.clone(), parent]);

    // The Pod has ended first, the Job's verdict follows.
    node.end("cstor-cspc-upgrade", Ending::Fails { code: 255, message: "cspc-b not found" }).await;
    until("nobody works on it any more", || async {
        inventory::around(&edge, &pool).await.unwrap().busy.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_uses_a_volume_is_known_where_the_right_was_granted_and_told_where_not() {
    let cluster = TestCluster::new().await;
    let openebs = openebs::on(&cluster);
    openebs.jiva_volume("pvc-used", "3.5.0", 1).await;
    let hub = edge_of(&cluster).await;
    let volume = resource(K::JivaVolume, "pvc-used");
    let seen = inventory::read(&hub).await.unwrap();
    let missing = format!("the right to list pods in namespace {}", cluster.claims_namespace);
    assert!(seen.problems.iter().any(|problem| problem.contains(&missing)), "{:?}", seen.problems);
    let used = seen.resource(&volume).unwrap();
    assert_eq!(used.workloads, []);
    assert!(matches!(used.unused(), Condition::Unknown(why) if why.contains(&missing)), "{used:?}");
    let unused = inventory::unused(&hub, &volume).await.unwrap();
    assert!(matches!(&unused, Condition::Unknown(why) if why.contains(&missing)), "{unused:?}");

    let shop = &cluster.claims_namespace;
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "till", "namespace": shop}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "till-0", "namespace": shop},
            "spec": {"serviceAccountName": "till", "nodeName": "n7", "containers": [{"name": "db", "image": "db:1"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "claim-of-pvc-used"}}]}}),
    ] {
        cluster.apply(&object).await;
    }
    cluster.let_the_hub_see_claims().await;
    let seen = inventory::read(&hub).await.unwrap();
    assert_eq!(seen.problems, Vec::<String>::new());
    let in_use = Condition::Fails(format!("in use by Pod {shop}/till-0"));
    assert_eq!(inventory::unused(&hub, &volume).await.unwrap(), in_use);
    let volume = seen.resource(&volume).unwrap();
    assert_eq!(volume.unused(), in_use);
    assert_eq!(volume.workloads, [Workload { namespace: shop.clone(), pod: "till-0".into() }]);
    assert_eq!(volume.attached_to.as_deref(), Some("n7"));
}

#[tokio::test]
async fn a_pool_is_in_use_while_somebody_uses_a_volume_with_no_replica_elsewhere() {
    let cluster = TestCluster::new().await;
    let openebs = openebs::on(&cluster);
    openebs.pool_cluster("cspc-u", "3.5.0", &["n1", "n2"]).await;
    openebs.cstor_volume("pvc-alone", "3.5.0", "cspc-u", &["cspc-u-n1"]).await;
    openebs.cstor_volume("pvc-twice", "3.5.0", "cspc-u", &["cspc-u-n1", "cspc-u-n2"]).await;
    cluster.let_the_hub_see_claims().await;
    let hub = edge_of(&cluster).await;
    let unused = async |kind, name: &str| inventory::unused(&hub, &resource(kind, name)).await.unwrap();
    until("the right is in force", || async { unused(K::CstorPoolInstance, "cspc-u-n1").await.holds().then_some(()) })
        .await;

    let shop = &cluster.claims_namespace;
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "till", "namespace": shop}}))
        .await;
    for volume in ["pvc-alone", "pvc-twice"] {
        cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("of-{volume}"), "namespace": shop},
                "spec": {"serviceAccountName": "till", "nodeName": "n7", "containers": [{"name": "db", "image": "db:1"}],
                    "volumes": [{"name": "data",
                        "persistentVolumeClaim": {"claimName": format!("claim-of-{volume}")}}]}}))
            .await;
    }
    let told = format!("cstorVolume/pvc-alone, whose only replica is on it: in use by Pod {shop}/of-pvc-alone");
    assert_eq!(unused(K::CstorPoolInstance, "cspc-u-n1").await, Condition::Fails(told));
    assert_eq!(unused(K::CstorPoolInstance, "cspc-u-n2").await, Condition::Holds, "the other replica serves");
    assert_eq!(unused(K::CstorPoolCluster, "cspc-u").await, Condition::Holds, "closing restarts nothing");
    assert!(!unused(K::CstorVolume, "pvc-twice").await.holds());
}

#[tokio::test]
async fn the_preflight_is_content_with_the_edge_manifest_and_says_what_is_wrong_otherwise() {
    let cluster = TestCluster::new().await;
    let _node = Node::join(&cluster).await;
    openebs::on(&cluster).csi_operators("3.6.0").await;
    let edge = edge_of(&cluster).await;
    operators_at(&edge, "3.6.0").await;
    let checked = check::check(&edge, None).await;
    assert_eq!(checked.level(), Level::Ok, "{:#?}", checked.findings);
    assert!(checked.inventory.is_some());

    let admin = check::check(&edge_with(&cluster, &cluster.admin_kubeconfig()), None).await;
    let needless = admin.findings.iter().find(|finding| finding.level == Level::Warn).unwrap();
    assert!(needless.seen.contains("more than it needs"), "{needless:?}");

    let executor = check::check(&edge_with(&cluster, &cluster.executor_kubeconfig().await), None).await;
    let told: Vec<&str> = executor.findings.iter().filter(|one| one.level == Level::Fail).map(|one| one.what).collect();
    assert!(!told.is_empty(), "{:#?}", executor.findings);

    let expired = check::check(&edge_with(&cluster, &cluster.plane.token_kubeconfig("not-a-token")), None).await;
    assert_eq!(expired.level(), Level::Fail);
    assert!(expired.inventory.is_none());
    assert!(expired.findings.last().unwrap().remedy.contains("rotate"), "{:?}", expired.findings);
}
