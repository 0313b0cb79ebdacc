//! Custom kinds as different releases of OpenEBS defined them: schemas that prune what they don't know, and the versions
//! in which they are served.

use fleetlift::domain::ResourceKind;
use fleetlift::executor::problem::Cause;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::arrange::Site;
use crate::support::crds::UpgradeTaskSchema;
use crate::support::{ControlPlane, TestCluster, crds, until};

/// Brings a definition to serve exactly these versions, the last one being stored; all with that schema.
async fn serve(cluster: &TestCluster, definition: &str, versions: &[(&str, bool)], schema: &Value) {
    let last = versions.len() - 1;
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(number, (name, served))| {
            json!({"name": name, "served": served, "storage": number == last, "schema": {"openAPIV3Schema": schema}})
        })
        .collect();
    let definitions =
        cluster.like(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}));
    let patch = Patch::Merge(json!({"spec": {"versions": versions}}));
    definitions.patch(definition, &PatchParams::default(), &patch).await.unwrap();
}

async fn is_served(cluster: &TestCluster, path: &str) -> bool {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    cluster.client.request::<Value>(request).await.is_ok()
}

async fn jiva_volumes_are_served_as(cluster: &TestCluster, version: &str, schema: &Value) {
    let versions: &[(&str, bool)] = match version {
        "v1alpha1" => &[("v1", false), ("v1alpha1", true)],
        _ => &[("v1", false), ("v1alpha1", false), ("v2", true)],
    };
    serve(cluster, "jivavolumes.openebs.io", versions, schema).await;
    until("the API server serves what is defined", || async {
        let path = |version: &str| format!("/apis/openebs.io/{version}/namespaces/{}/jivavolumes", cluster.namespace);
        let settled = is_served(cluster, &path(version)).await && !is_served(cluster, &path("v1")).await;
        settled.then_some(())
    })
    .await;
}

/// What the structural definitions of all releases have in common: the contract of `versionDetails`, spelled out.
fn structural() -> Value {
    let (text, open) =
        (json!({"type": "string"}), json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    let status = json!({"type": "object", "properties": {
        "current": text, "state": text, "message": text, "reason": text, "dependentsUpgraded": {"type": "boolean"},
        "lastUpdateTime": {"type": "string", "format": "date-time", "nullable": true}}});
    json!({"type": "object", "required": ["spec"], "properties": {
        "apiVersion": text, "kind": text, "metadata": {"type": "object"}, "spec": open, "status": open,
        "versionDetails": {"type": "object", "properties": {
            "autoUpgrade": {"type": "boolean"}, "desired": text, "status": status}}}})
}

#[tokio::test]
async fn a_jiva_volume_that_is_served_as_v1alpha1_alone_is_upgraded() {
    let site = Site::on(TestCluster::alone(UpgradeTaskSchema::Structural).await, ResourceKind::JivaVolume).await;
    jiva_volumes_are_served_as(&site.cluster, "v1alpha1", &structural()).await;
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(site.left_behind().await, vec![]);
    let volume = site.cluster.get("openebs.io/v1alpha1", "JivaVolume", &site.resource.name).await.unwrap();
    assert_eq!(volume["versionDetails"]["status"]["current"], "3.6.0");
}

#[tokio::test]
async fn a_jiva_volume_that_is_served_as_nothing_known_is_refused_by_the_version() {
    let site = Site::on(TestCluster::alone(UpgradeTaskSchema::Structural).await, ResourceKind::JivaVolume).await;
    jiva_volumes_are_served_as(&site.cluster, "v2", &structural()).await;
    let problem = site.upgrade().await.unwrap_err().problem;
    assert_eq!(problem.cause, Cause::Refused);
    assert_eq!(problem.seen, "the API server has jivavolumes.openebs.io only as v2, where we cannot read it");
    assert_eq!(problem.expected, "served as v1 or v1alpha1");
}

#[tokio::test]
async fn definitions_that_prune_lose_nothing_of_what_is_asked_for() {
    let plane = ControlPlane::start().await;
    crds::install(&plane.admin(), UpgradeTaskSchema::Structural).await;
    let cluster = TestCluster::on(plane.clone()).await;
    let pools = ["cstorpoolclusters", "cstorpoolinstances"];
    for plural in pools.into_iter().chain(["cstorvolumes", "cstorvolumeconfigs", "cstorvolumereplicas"]) {
        serve(&cluster, &format!("{plural}.cstor.openebs.io"), &[("v1", true)], &structural()).await;
    }
    for plural in ["cstorpools", "storagepoolclaims", "cstorvolumes", "cstorvolumereplicas"] {
        serve(&cluster, &format!("{plural}.openebs.io"), &[("v1alpha1", true)], &structural()).await;
    }
    let probe = json!({"apiVersion": "openebs.io/v1alpha1", "kind": "CStorVolumeReplica", "spec": {},
        "metadata": {"name": "probe", "namespace": cluster.namespace}});
    cluster.apply(&probe).await;
    let unknown = Patch::Merge(json!({"unknown": {"a": 1}}));
    until("the last one prunes", || async {
        let stored = cluster.like(&probe).patch("probe", &PatchParams::default(), &unknown).await.ok()?;
        stored.data.get("unknown").is_none().then_some(())
    })
    .await;
    for kind in [
        ResourceKind::CstorPoolCluster,
        ResourceKind::CstorVolume,
        ResourceKind::StoragePoolClaim,
        ResourceKind::LegacyCstorVolume,
    ] {
        let site = Site::on(TestCluster::on(plane.clone()).await, kind).await;
        site.upgrade().await.unwrap_or_else(|failure| panic!("{kind}: {failure:?}"));
        assert_eq!(site.left_behind().await, vec![], "{kind}");
    }
}
