//! How rollouts end, and that each end is what happened.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;

use crate::hub::Hub;
use crate::site::Site;
use crate::support::crew::Play;
use crate::support::{Ending, until};

const QUICK: &str = "waves: [{name: all}], retries: {attempts: 2, backoff: {first: 1s, longest: 1s}}, \
    deadlines: {task: 1m}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_upgraded_in_openebs_order_one_after_the_other() {
    let site = Site::with_everything("pvc-hub-all-c", "pvc-hub-all-j").await;
    let hub = Hub::new().await;
    hub.apply(QUICK).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    let seen = hub.finished(&rollout).await;
    assert_eq!((seen.state.as_str(), seen.verdict.as_deref()), ("finished", Some("succeeded")), "{seen:#?}");
    for (resource, outcome) in hub.outcomes(&rollout).await {
        assert_eq!(outcome, ("succeeded".to_owned(), 1), "{resource}");
    }
    let done = site.crew.done();
    assert_eq!(done.len(), 5, "{done:?}");
    assert_eq!(done[..2].iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(["cspc-n1", "cspc-n2"]));
    assert_eq!(done[2], "cspc", "the pool cluster's own version is raised when its pools are done");
    site.witness.assert_never_two_at_once();
    hub.look_at("berlin").await;
    assert_eq!(hub.plan().await.tasks, 0, "there is nothing left to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_attempt_is_tried_again_under_another_name() {
    let site = Site::with_volumes(&["pvc-hub-again"]).await;
    site.crew.plan("pvc-hub-again", &[Play::Fails("no such replica")]);
    let hub = Hub::new().await;
    hub.apply(QUICK).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    let seen = hub.finished(&rollout).await;
    assert_eq!(seen.verdict.as_deref(), Some("succeeded"), "{seen:#?}");
    assert_eq!(hub.outcomes(&rollout).await["jivaVolume/pvc-hub-again"], ("succeeded".to_owned(), 2));
    let account = &site.witness.accounts()["jivaVolume/pvc-hub-again"];
    assert_eq!((account.jobs.len(), account.jobs_at_once, account.pods_at_once), (2, 1, 1), "{account:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_lies_is_found_out() {
    let site = Site::with_volumes(&["pvc-hub-lies"]).await;
    site.crew.plan("pvc-hub-lies", &[Play::Lies, Play::Lies]);
    let hub = Hub::new().await;
    hub.apply(QUICK).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    let seen = hub.finished(&rollout).await;
    assert_eq!(seen.verdict.as_deref(), Some("failed"), "{seen:#?}");
    let result = &hub.results(&rollout).await[0];
    assert_eq!((result.outcome.as_str(), result.attempts), ("failed", 2));
    assert!(result.reason.contains("3.5.0") && result.reason.contains("completed"), "{}", result.reason);
    assert!(result.evidence.is_some());
}

/// The first failed task of a cluster stops it: what comes after it may rest on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_the_rest_of_the_cluster_is_left_alone() {
    let site = Site::with_everything("pvc-hub-stop-c", "pvc-hub-stop-j").await;
    site.crew.plan("cspc-n1", &[Play::Fails("webhook refused"), Play::FailsAtTheEnd]);
    let hub = Hub::new().await;
    hub.apply(QUICK).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    let seen = hub.finished(&rollout).await;
    assert_eq!(seen.verdict.as_deref(), Some("failed"), "{seen:#?}");
    let outcomes = hub.outcomes(&rollout).await;
    assert_eq!(outcomes["cstorPoolInstance/cspc-n1"], ("failed".to_owned(), 2));
    let jobs = site.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(jobs.len(), 2, "no other task was begun");
    for other in ["cstorPoolInstance/cspc-n2", "cstorPoolCluster/cspc", "cstorVolume/pvc-hub-stop-c"] {
        assert_eq!(outcomes[other].1, 0, "{other}: {outcomes:?}");
    }
    let why = hub.why(&rollout, "berlin").await;
    assert!(why.contains("cspc-n1"), "{why}");
}

/// At the target, and yet not done: the attempt that brought it there failed, so its last steps are unproven.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_fails_at_the_end_gets_another_attempt_though_the_version_is_reached() {
    let site = Site::with_volumes(&["pvc-hub-nearly"]).await;
    site.crew.plan("pvc-hub-nearly", &[Play::FailsAtTheEnd, Play::Upgrades]);
    let hub = Hub::new().await;
    hub.apply(QUICK).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    let seen = hub.finished(&rollout).await;
    assert_eq!(seen.verdict.as_deref(), Some("succeeded"), "{seen:#?}");
    assert_eq!(hub.outcomes(&rollout).await["jivaVolume/pvc-hub-nearly"], ("succeeded".to_owned(), 2));
    site.witness.assert_never_two_at_once();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_its_node_evicts_costs_an_attempt_and_is_explained() {
    let site = Site::with_volumes(&["pvc-hub-evicted"]).await;
    site.crew.plan("pvc-hub-evicted", &[Play::Hangs, Play::Hangs]);
    let hub = Hub::new().await;
    hub.apply(QUICK).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    for number in 1..=2 {
        let job = until("its Job runs", || async {
            let account = site.witness.accounts().remove("jivaVolume/pvc-hub-evicted")?;
            let jobs = site.cluster.api::<Job>().list(&ListParams::default()).await.ok()?.items;
            let unfinished = jobs.into_iter().find(|job| job.status.as_ref().is_some_and(|one| one.active == Some(1)));
            unfinished.filter(|_| account.jobs.len() == number).and_then(|job| job.metadata.name)
        })
        .await;
        let pod = site.node.running_pod(&job).await;
        site.node.end_pod(&pod, Ending::Evicted).await;
    }
    assert_eq!(hub.finished(&rollout).await.verdict.as_deref(), Some("failed"));
    let result = &hub.results(&rollout).await[0];
    assert_eq!((result.outcome.as_str(), result.attempts), ("failed", 2));
    assert!(result.reason.contains("Evicted: The node was low on resource: memory."), "{}", result.reason);
    site.witness.assert_never_two_at_once();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_executor_is_stopped_at_its_deadline_and_its_pod_is_gone() {
    let site = Site::with_volumes(&["pvc-hub-hangs"]).await;
    site.crew.plan("pvc-hub-hangs", &[Play::Hangs]);
    let hub = Hub::new().await;
    hub.apply("waves: [{name: all}], retries: {attempts: 1}, deadlines: {task: 30s}").await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    let seen = hub.finished(&rollout).await;
    assert_eq!(seen.verdict.as_deref(), Some("failed"), "{seen:#?}");
    let result = &hub.results(&rollout).await[0];
    assert_eq!((result.outcome.as_str(), result.attempts), ("failed", 1));
    assert!(
        site.node
            .pods_of(&result.job.as_ref().unwrap().name)
            .await
            .iter()
            .all(|pod| { matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Failed")) })
    );
    site.witness.assert_never_two_at_once();
}
