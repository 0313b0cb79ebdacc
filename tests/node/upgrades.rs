//! Every kind is upgraded by a real Pod, and its Pods really run the new images afterwards.

use std::time::Duration;

use fleetlift::domain::ResourceKind;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;

use crate::arrange::Waiting;
use crate::attempt::{Attempt, IMAGE};
use crate::real_node::{RealNode, route_to_service};
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
    let routes = (kind == ResourceKind::LegacyJivaVolume).then(|| follow_controller(&site));
    let attempt = Attempt::begin(&site, 1, IMAGE, Duration::from_mins(5)).await;
    let verdict = attempt.verdict().await;
    let task = attempt.task().await;
    assert_eq!(verdict.0, "Complete", "{:?}: {:?}", attempt.last_words().await, task.status);
    assert_eq!(task.status.phase, "Success");
    let (code, words) = attempt.last_words().await;
    assert_eq!((code, words.phase.as_str()), (0, "Success"));
    assert_eq!(site.left_behind().await, vec![]);
    assert!(old_pods(&site).await.is_empty(), "{:?}", old_pods(&site).await);
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

/// What kube-proxy would do: the Service's address leads to the controller's Pod, whichever that is at the time.
fn follow_controller(site: &Waiting) -> tokio::task::JoinHandle<()> {
    let (services, pods) = (site.cluster.api::<Service>(), site.cluster.api::<Pod>());
    let volume = site.resource.name.clone();
    tokio::spawn(async move {
        let service = services.get(&format!("{volume}-ctrl-svc")).await.unwrap();
        let address = service.spec.and_then(|spec| spec.cluster_ip).unwrap();
        let controller = ListParams::default()
            .labels(&format!("openebs.io/controller=jiva-controller,openebs.io/persistent-volume={volume}"));
        let mut led_to = String::new();
        loop {
            let found = pods.list(&controller).await.map(|list| list.items).unwrap_or_default();
            let ip = found.into_iter().filter_map(|pod| pod.status?.pod_ip).next_back().unwrap_or_default();
            if !ip.is_empty() && ip != led_to {
                route_to_service(&address, 9501, &format!("{ip}:9501"));
                led_to = ip;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
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
