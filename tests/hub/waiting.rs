//! What the hub does not do, and that it says why.

use std::time::Duration;

use fleetlift::domain::budget::{Claim, Scope};
use fleetlift::domain::target::{Deferral, TargetState};
use fleetlift::domain::{Clock as _, DaemonId, RolloutId};
use fleetlift::store::StartTarget;
use fleetlift::system::{SystemClock, SystemEntropy};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::hub::Hub;
use crate::site::Site;
use crate::support::{Ending, openebs, until};

const EAGER: &str = "waves: [{name: all}], unreachable: {retryEvery: 2s}, deadlines: {task: 1m}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_somebody_else_works_on_is_waited_for() {
    let site = Site::with_volumes(&["pvc-hub-busy"]).await;
    let hub = Hub::new().await;
    hub.apply(EAGER).await;
    hub.register(&site.cluster, "berlin").await;
    let theirs: Job = serde_json::from_value(json!({"metadata": {"name": "by-hand"}, "spec": {"backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never", "serviceAccountName": "jiva-operator", "containers": [
            {"name": "upgrade", "image": "openebs/upgrade:3.6.0", "args": ["jiva-volume", "--from-version=3.5.0",
                "--to-version=3.6.0", "pvc-hub-busy"]}]}}}}))
    .unwrap();
    let rollout = {
        let plan = hub.plan().await.digest;
        site.cluster.api::<Job>().create(&PostParams::default(), &theirs).await.unwrap();
        hub.app.start_rollout(&hub.by, fleetlift::app::StartRollout { plan }).await.unwrap().id
    };
    let why = until("the hub says who is at work", || async {
        let why = hub.why(&rollout, "berlin").await;
        why.contains("by-hand").then_some(why)
    })
    .await;
    assert_eq!(site.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items.len(), 1, "{why}");
    site.node.end("by-hand", Ending::Fails { code: 1, message: "gave up" }).await;
    assert_eq!(hub.finished(&rollout).await.verdict.as_deref(), Some("succeeded"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_that_were_rolled_back_defer_the_cluster() {
    let site = Site::with_volumes(&["pvc-hub-ops"]).await;
    let hub = Hub::new().await;
    hub.apply(EAGER).await;
    hub.register(&site.cluster, "berlin").await;
    let plan = hub.plan().await.digest;
    openebs::on(&site.cluster).csi_operators("3.5.0").await;
    openebs::all_rolled_out(&site.cluster).await;
    let rollout = hub.app.start_rollout(&hub.by, fleetlift::app::StartRollout { plan }).await.unwrap().id;
    until("the hub says which operator is behind", || async {
        let why = hub.why(&rollout, "berlin").await;
        (why.contains("jiva-operator") && why.contains("3.5.0")).then_some(why)
    })
    .await;
    assert!(site.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items.is_empty());
    openebs::on(&site.cluster).csi_operators("3.6.0").await;
    assert_eq!(hub.finished(&rollout).await.verdict.as_deref(), Some("succeeded"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_somebody_upgraded_meanwhile_is_skipped_without_a_job() {
    let site = Site::with_volumes(&["pvc-hub-there"]).await;
    let hub = Hub::new().await;
    hub.apply(EAGER).await;
    hub.register(&site.cluster, "berlin").await;
    let plan = hub.plan().await.digest;
    let volume = fleetlift::domain::ResourceRef {
        kind: fleetlift::domain::ResourceKind::JivaVolume,
        name: "pvc-hub-there".to_owned(),
    };
    openebs::bring_to(&site.cluster, &volume, "3.6.0").await;
    openebs::all_rolled_out(&site.cluster).await;
    let rollout = hub.app.start_rollout(&hub.by, fleetlift::app::StartRollout { plan }).await.unwrap().id;
    hub.finished(&rollout).await;
    let result = &hub.results(&rollout).await[0];
    assert_eq!((result.outcome.as_str(), result.attempts), ("skipped", 0), "{result:?}");
    assert!(site.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_drifted_elsewhere_is_not_touched() {
    let site = Site::with_volumes(&["pvc-hub-drift"]).await;
    let hub = Hub::new().await;
    hub.apply(EAGER).await;
    hub.register(&site.cluster, "berlin").await;
    let plan = hub.plan().await.digest;
    let volume = fleetlift::domain::ResourceRef {
        kind: fleetlift::domain::ResourceKind::JivaVolume,
        name: "pvc-hub-drift".to_owned(),
    };
    openebs::bring_to(&site.cluster, &volume, "3.3.0").await;
    openebs::all_rolled_out(&site.cluster).await;
    let rollout = hub.app.start_rollout(&hub.by, fleetlift::app::StartRollout { plan }).await.unwrap().id;
    assert_eq!(hub.finished(&rollout).await.verdict.as_deref(), Some("failed"));
    let result = &hub.results(&rollout).await[0];
    assert_eq!((result.outcome.as_str(), result.attempts), ("failed", 0), "{result:?}");
    assert!(result.reason.contains("3.3.0"), "{}", result.reason);
    assert!(site.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items.is_empty());
}

/// A strategy, and after it a window that never opens.
const SHUT: &str = "waves: [{name: all}], windows: [shut]}\n  windows:\n    \
                    - {name: shut, deny: [{dates: 2020-01-01..2199-12-31, reason: stock-taking}]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_window_closes_before_its_next_task_waits_for_it_without_a_slot() {
    let site = Site::with_volumes(&["pvc-hub-shut"]).await;
    let hub = Hub::new().await;
    hub.apply(SHUT).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    let id: RolloutId = rollout.parse().unwrap();
    let store = &hub.app.store;
    let snapshot = until("its wave is open", || async {
        let snapshot = store.snapshot(id).await.unwrap();
        snapshot.waves[0].opened_at.is_some().then_some(snapshot)
    })
    .await;
    assert_eq!(hub.why(&rollout, "berlin").await, "waiting: stock-taking; no window opens");
    // It started while the window was open, under a daemon that has gone since.
    let now = SystemClock.now();
    let daemon = DaemonId::new(now, &SystemEntropy);
    let lease = store.renew_lease(daemon, Duration::from_mins(1)).await.unwrap();
    let start = StartTarget {
        target: snapshot.targets[0].id,
        version: snapshot.targets[0].version,
        state: TargetState::Running { since: now, unseen_since: None, doing: "connecting".to_owned() },
        at: now,
        lease,
        claims: vec![Claim { scope: Scope::Hub, limit: 1 }],
    };
    store.start_target(start, vec![]).await.unwrap();
    store.release_lease(&lease).await.unwrap();
    let reason = until("it is deferred", || async {
        let state = store.snapshot(id).await.unwrap().targets.remove(0).state;
        if let TargetState::Deferred { reason, .. } = state { Some(reason) } else { None }
    })
    .await;
    assert_eq!(reason, Deferral::OutsideWindow { opens_at: None });
    assert_eq!(store.usage().await.unwrap(), []);
    assert!(site.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items.is_empty());
}
