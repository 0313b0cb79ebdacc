//! Lost at any request, before the API server has it or before its answer is heard: whoever comes next carries on, until
//! the upgrade is done. Until then the record says that it is under way, and nothing is half patched.
//!
//! `FLEETLIFT_KILLS=23` kills so often for each kind (about 200 in all), each time at a request that is drawn from all
//! those of an undisturbed run; `FLEETLIFT_SEED` repeats a run.

use std::collections::BTreeSet;

use fleetlift::domain::ResourceKind;
use serde_json::{Value, json};

use crate::arrange::{Home, Site, text};
use crate::split::{self, Folders};
use crate::support::seed::{Seed, rounds};
use crate::wire::{Cut, Wire};

/// Kills of each kind unless more are asked for: seconds, and over many runs of the tests every request.
const KILLS: u64 = 2;
/// Kills in a row on one resource. The first is anywhere; the later, the nearer to the end.
const IN_A_ROW: usize = 4;

#[derive(Debug, Clone, Copy)]
enum Scene {
    Kind(ResourceKind),
    Split(Home),
}

impl Scene {
    async fn site(self) -> Site {
        match self {
            Self::Kind(kind) => Site::with(kind).await,
            Self::Split(home) => Site::to_split(home).await,
        }
    }
}

async fn survives_kills(scene: Scene) {
    let kills = usize::try_from(rounds("FLEETLIFT_KILLS", KILLS)).unwrap();
    let mut seed = Seed::or(u64::from(std::process::id()));
    let requests = undisturbed(scene).await;
    let (mut done, mut resources) = (0, 0);
    while done < kills {
        done += killed_in_a_row(scene, requests, (kills - done).min(IN_A_ROW), &mut seed).await;
        resources += 1;
    }
    println!("{scene:?}: {done} kills at {requests} requests, {resources} resources");
}

/// How many requests a run has that nobody disturbs.
async fn undisturbed(scene: Scene) -> usize {
    let site = scene.site().await;
    let wire = Wire::new(Cut::Never);
    let client = wire.client(&site.cluster.executor_kubeconfig().await).await;
    let ended = site.execute_through(client, &site.command(), std::future::pending()).await;
    ended.unwrap_or_else(|failure| panic!("{scene:?}: {failure:?}"));
    is_done(scene, &site).await;
    wire.requests()
}

/// Kills the upgrade of one resource up to that often, lets it end, and says how often it was killed.
async fn killed_in_a_row(scene: Scene, requests: usize, most: usize, seed: &mut Seed) -> usize {
    let site = scene.site().await;
    let folders = matches!(scene, Scene::Split(_)).then(|| Folders::watch(&site));
    let kubeconfig = site.cluster.executor_kubeconfig().await;
    let (before, command) = (split::parts(&site).await, site.command());
    let mut kills = 0;
    while kills < most {
        let at = usize::try_from(seed.between(0, requests as u64 - 1)).unwrap();
        let cut = if seed.between(0, 1) == 0 { Cut::Before(at) } else { Cut::After(at) };
        let wire = Wire::new(cut);
        let client = wire.client(&kubeconfig).await;
        let ended = tokio::select! {
            biased;
            () = wire.lost() => None,
            ended = site.execute_through(client, &command, std::future::pending()) => Some(ended),
        };
        if let Some(ended) = ended {
            // There was less to do than that: it is done.
            ended.unwrap_or_else(|failure| panic!("{scene:?} after {kills} kills: {failure:?}"));
            break;
        }
        kills += 1;
        is_told(&site, &before, cut).await;
        assert_eq!(half_patched(&site).await, Vec::<String>::new(), "{scene:?}, {cut:?}");
    }
    site.upgrade().await.unwrap_or_else(|failure| panic!("{scene:?} after {kills} kills: {failure:?}"));
    is_done(scene, &site).await;
    if let Some(folders) = folders {
        folders.never_shared();
    }
    kills
}

/// Touched: whoever reads the record knows that it is under way, or that all is done.
async fn is_told(site: &Site, before: &BTreeSet<String>, cut: Cut) {
    let status = site.upgrade_task().await.map(|task| task["status"].clone()).unwrap_or_default();
    let touched = site.touched().await;
    let same = touched.is_empty() && split::parts(site).await == *before;
    let told = match status["phase"].as_str() {
        Some("Success") => site.left_behind().await.is_empty(),
        phase => same || phase == Some("Started"),
    };
    assert!(told, "{cut:?}: {status}, {touched:?}");
}

/// Workloads whose label says another version than one of their images.
async fn half_patched(site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    for kind in ["Deployment", "StatefulSet"] {
        let example = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"namespace": site.cluster.namespace}});
        for workload in site.cluster.like(&example).list(&kube::api::ListParams::default()).await.unwrap() {
            let labels = workload.metadata.labels.unwrap_or_default();
            let label = labels.get("openebs.io/version").cloned().unwrap_or_default();
            let containers = workload.data["spec"]["template"]["spec"]["containers"].as_array().cloned();
            let of_pods = text(&workload.data["spec"]["template"]["metadata"]["labels"]["openebs.io/version"]);
            let images: Vec<String> = containers.iter().flatten().map(|container| text(&container["image"])).collect();
            if of_pods != label || images.iter().any(|image| !image.ends_with(&format!(":{label}"))) {
                found.push(format!("{kind}/{}", workload.metadata.name.unwrap_or_default()));
            }
        }
    }
    found
}

async fn is_done(scene: Scene, site: &Site) {
    assert_eq!(site.left_behind().await, vec![]);
    let status: Value = site.upgrade_task().await.unwrap()["status"].clone();
    assert_eq!(status["phase"], "Success", "{status}");
    if matches!(scene, Scene::Split(_)) {
        split::is_split(site).await;
    }
}

macro_rules! survives {
    ($($test:ident: $scene:expr;)*) => {$(
        #[tokio::test]
        async fn $test() {
            survives_kills($scene).await;
        }
    )*};
}

survives! {
    a_jiva_volume_survives_lost_executors: Scene::Kind(ResourceKind::JivaVolume);
    a_pool_instance_survives_lost_executors: Scene::Kind(ResourceKind::CstorPoolInstance);
    a_pool_cluster_survives_lost_executors: Scene::Kind(ResourceKind::CstorPoolCluster);
    a_cstor_volume_survives_lost_executors: Scene::Kind(ResourceKind::CstorVolume);
    a_legacy_pool_survives_lost_executors: Scene::Kind(ResourceKind::CstorPool);
    a_storage_pool_claim_survives_lost_executors: Scene::Kind(ResourceKind::StoragePoolClaim);
    a_legacy_cstor_volume_survives_lost_executors: Scene::Kind(ResourceKind::LegacyCstorVolume);
    a_legacy_jiva_volume_survives_lost_executors: Scene::Kind(ResourceKind::LegacyJivaVolume);
    a_jiva_volume_that_is_split_and_moves_survives_lost_executors: Scene::Split(Home::Claim);
    a_jiva_volume_that_is_split_survives_lost_executors: Scene::Split(Home::OpenEbs);
}
