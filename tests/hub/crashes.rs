//! The daemon dies, the API server dies: what was begun is neither lost nor begun twice.

use fleetlift::app::{Abort, Remark};
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;

use crate::hub::Hub;
use crate::site::Site;
use crate::support::crew::Play;
use crate::support::until;

const PATIENT: &str = "waves: [{name: all}], retries: {attempts: 2, backoff: {first: 1s, longest: 1s}}, \
    deadlines: {task: 5m}, limits: {running: 10}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_dies_while_a_job_runs_judges_that_very_job_when_it_is_back() {
    let site = Site::with_volumes(&["pvc-hub-crash"]).await;
    site.crew.plan("pvc-hub-crash", &[Play::Hangs]);
    let hub = Hub::new().await;
    hub.apply(PATIENT).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    let job = running_job(&site).await;
    hub.kill();
    // While nobody looks, the executor gets done.
    let volume = fleetlift::domain::ResourceRef {
        kind: fleetlift::domain::ResourceKind::JivaVolume,
        name: "pvc-hub-crash".to_owned(),
    };
    crate::support::openebs::bring_to(&site.cluster, &volume, "3.6.0").await;
    crate::support::openebs::all_rolled_out(&site.cluster).await;
    site.node.end(&job, crate::support::Ending::Succeeds).await;
    hub.start();
    let seen = hub.finished(&rollout).await;
    assert_eq!(seen.verdict.as_deref(), Some("succeeded"), "{seen:#?}");
    let result = &hub.results(&rollout).await[0];
    assert_eq!((result.attempts, result.job.as_ref().unwrap().name.as_str()), (1, job.as_str()));
    site.witness.assert_never_two_at_once();
}

/// Killed again and again, at whatever it was doing: each resource has one Job at a time and no attempt too many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_dies_again_and_again_neither_doubles_nor_loses_work() {
    let volumes: Vec<String> = (0..6).map(|number| format!("pvc-hub-dies-{number}")).collect();
    let names: Vec<&str> = volumes.iter().map(String::as_str).collect();
    let site = Site::with_volumes(&names).await;
    for volume in &names[..3] {
        site.crew.plan(volume, &[Play::Fails("first try")]);
    }
    let hub = Hub::new().await;
    hub.apply(PATIENT).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    for number in [1, 3, 5] {
        until("it got further", || async { (site.crew.done().len() >= number).then_some(()) }).await;
        hub.kill();
        hub.start();
    }
    let seen = hub.finished(&rollout).await;
    assert_eq!(seen.verdict.as_deref(), Some("succeeded"), "{seen:#?}");
    site.witness.assert_never_two_at_once();
    for (resource, account) in site.witness.accounts() {
        let tried_twice = names[..3].iter().any(|volume| resource.ends_with(volume));
        assert_eq!(account.jobs.len(), if tried_twice { 2 } else { 1 }, "{resource}: {account:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_gone_for_a_while_is_no_failure() {
    let (site, plane) = Site::alone(&["pvc-hub-gone"]).await;
    site.crew.plan("pvc-hub-gone", &[Play::Hangs]);
    let hub = Hub::new().await;
    hub.apply(PATIENT).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    let job = running_job(&site).await;
    plane.kill_api_server();
    until("the hub says that it does not see the cluster", || async {
        let why = hub.why(&rollout, "berlin").await;
        why.contains("unseen").then_some(why)
    })
    .await;
    let seen = hub.app.rollout(&rollout).await.unwrap();
    assert_eq!((seen.targets.running, seen.targets.failed), (1, 0), "it keeps its slot and is no failure");
    plane.start_api_server().await;
    site.node.end(&job, crate::support::Ending::Fails { code: 1, message: "cut off" }).await;
    let seen = hub.finished(&rollout).await;
    assert_eq!(seen.verdict.as_deref(), Some("succeeded"), "the second attempt upgrades: {seen:#?}");
    assert_eq!(hub.outcomes(&rollout).await["jivaVolume/pvc-hub-gone"], ("succeeded".to_owned(), 2));
    site.witness.assert_never_two_at_once();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_rollout_suspends_its_jobs_and_leaves_tombstones() {
    let site = Site::with_volumes(&["pvc-hub-abort-a", "pvc-hub-abort-b"]).await;
    site.crew.plan("pvc-hub-abort-a", &[Play::Hangs]);
    site.crew.plan("pvc-hub-abort-b", &[Play::Hangs]);
    let hub = Hub::new().await;
    hub.apply(PATIENT).await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    running_job(&site).await;
    let wanted = Abort { remark: "wrong version".to_owned(), cancel_jobs: true };
    hub.app.abort(&hub.by, &rollout, wanted, None).await.unwrap();
    let seen = hub.finished(&rollout).await;
    assert_eq!(seen.verdict.as_deref(), Some("aborted"), "{seen:#?}");
    let jobs = site.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items;
    assert!(!jobs.is_empty());
    for job in jobs {
        assert_eq!(job.spec.as_ref().unwrap().suspend, Some(true));
        assert!(site.node.pods_of(job.metadata.name.as_deref().unwrap()).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_rollout_starts_nothing_new_and_goes_on_when_resumed() {
    let site = Site::with_volumes(&["pvc-hub-pause-a", "pvc-hub-pause-b"]).await;
    let hub = Hub::new().await;
    hub.apply("waves: [{name: all, approval: before}]").await;
    hub.register(&site.cluster, "berlin").await;
    let rollout = hub.rollout().await;
    hub.app.pause(&hub.by, &rollout, Remark { remark: "lunch".to_owned() }, None).await.unwrap();
    hub.app.approve(&hub.by, &rollout, fleetlift::app::Approve::default(), None).await.unwrap();
    assert_eq!(hub.app.rollout(&rollout).await.unwrap().state, "paused");
    let why = hub.why(&rollout, "berlin").await;
    assert!(why.contains("paused"), "{why}");
    assert!(site.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items.is_empty());
    hub.app.resume(&hub.by, &rollout, Remark::default(), None).await.unwrap();
    assert_eq!(hub.finished(&rollout).await.verdict.as_deref(), Some("succeeded"));
}

/// Waits until a Job's Pod runs, and gives the Job's name.
async fn running_job(site: &Site) -> String {
    let job = until("a Job was made", || async {
        let jobs = site.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items;
        jobs.into_iter().next().and_then(|job| job.metadata.name)
    })
    .await;
    site.node.running_pod(&job).await;
    job
}
