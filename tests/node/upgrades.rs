//! Every kind is upgraded by a real Pod, and its Pods really run the new images afterwards.

use std::time::Duration;

use fleetlift::domain::ResourceKind;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::json;

use crate::arrange::{Home, Waiting};
use crate::attempt::{Attempt, IMAGE};
use crate::real_node::{NAME, RealNode, follow_controller};
use crate::support::TestCluster;

/// A resource of that kind on the real node, rolled out.
pub async fn waiting(kind: ResourceKind) -> Waiting {
    RealNode::shared().await;
    let site = Waiting::on(TestCluster::new().await, kind, 1).await;
    site.wait_rolled_out().await;
    site
}

async fn is_upgraded_by_a_job(kind: ResourceKind) {
    let site = waiting(kind).await;
    is_upgraded(&site, &site.cluster.namespace).await;
}

/// One Job does it, and nothing of what was before runs on; the resource's parts are in namespace `home`.
async fn is_upgraded(site: &Waiting, home: &str) {
    let Waiting { cluster, resource, .. } = site;
    let routes =
        (resource.kind == ResourceKind::LegacyJivaVolume).then(|| follow_controller(cluster, home, &resource.name));
    let attempt = Attempt::begin(site, 1, IMAGE, Duration::from_mins(5)).await;
    let verdict = attempt.verdict().await;
    let task = attempt.task().await;
    assert_eq!(verdict.0, "Complete", "{:?}: {:?}", attempt.last_words().await, task.status);
    assert_eq!(task.status.phase, "Success");
    let (code, words) = attempt.last_words().await;
    assert_eq!((code, words.phase.as_str()), (0, "Success"));
    assert_eq!(site.left_behind().await, vec![]);
    assert!(old_pods(site).await.is_empty(), "{:?}", old_pods(site).await);
    drop(routes);
}

/// Pods of the resource that still run images of the old version.
async fn old_pods(site: &Waiting) -> Vec<String> {
    let pods = site.cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    let old = pods.items.into_iter().filter(|pod| {
        let containers = pod.spec.as_ref().map(|spec| spec.containers.clone()).unwrap_or_default();
        containers.iter().any(|container| container.image.as_deref().unwrap_or_default().ends_with(site.from))
    });
    let names: Vec<String> = old.filter_map(|pod| pod.metadata.name).collect();
    // Of a pool's neighbours and of the volume on it, nothing was asked.
    let asked = |name: &String| match site.resource.kind {
        ResourceKind::CstorPoolInstance | ResourceKind::CstorPool => {
            name.starts_with(&format!("{}-", site.resource.name))
        }
        ResourceKind::CstorPoolCluster | ResourceKind::StoragePoolClaim => !name.starts_with("pvc-"),
        _ => true,
    };
    names.into_iter().filter(asked).collect()
}

macro_rules! upgraded {
    ($($test:ident: $kind:ident;)*) => {$(
        #[tokio::test]
        #[ignore = "needs a real node: tests/node/run"]
        async fn $test() {
            is_upgraded_by_a_job(ResourceKind::$kind).await;
        }
    )*};
}

upgraded! {
    a_jiva_volume_is_upgraded_by_a_job: JivaVolume;
    one_pool_instance_is_upgraded_by_a_job: CstorPoolInstance;
    a_pool_cluster_is_upgraded_by_a_job: CstorPoolCluster;
    a_cstor_volume_is_upgraded_by_a_job: CstorVolume;
    one_legacy_pool_is_upgraded_by_a_job: CstorPool;
    a_storage_pool_claim_is_upgraded_by_a_job: StoragePoolClaim;
    a_legacy_cstor_volume_is_upgraded_by_a_job: LegacyCstorVolume;
    a_legacy_jiva_volume_is_upgraded_by_a_job: LegacyJivaVolume;
}

/// It was made in its claim's namespace by one of the first releases, and a Pod that uses it says where its target runs.
#[tokio::test]
#[ignore = "needs a real node: tests/node/run"]
async fn a_jiva_volume_from_before_1_9_is_split_and_moved_by_a_job() {
    RealNode::shared().await;
    let site = Waiting::to_split(TestCluster::new().await, Home::Claim, &[NAME]).await;
    let (shop, openebs) = (&site.cluster.claims_namespace, &site.cluster.namespace);
    for namespace in [shop, openebs] {
        let user = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "shop", "namespace": namespace, "labels": {"openebs.io/target-affinity": "shop"}},
            "spec": {"containers": [{"name": "shop", "image": "quay.io/openebs/jiva:2.12.2"}]}});
        site.cluster.apply(&user).await;
    }
    site.wait_rolled_out().await;
    is_upgraded(&site, shop).await;
    let volume = &site.resource.name;
    let deployment = async |name: String| site.cluster.get("apps/v1", "Deployment", &name).await;
    assert!(deployment(format!("{volume}-rep")).await.is_none());
    assert!(deployment(format!("{volume}-rep-1")).await.is_some());
    let moved = site.cluster.get("v1", "Service", &format!("{volume}-ctrl-svc")).await;
    assert!(moved.is_some(), "its Service is in OpenEBS's namespace now");
    // As on any node: made by the kubelet for the replica.
    std::fs::remove_dir(format!("/var/openebs/{volume}")).unwrap();
}
