//! Executors in real Pods that are killed at any moment, and a real hub that starts the next attempt, until every kind is
//! upgraded.
//!
//! By hand, for it takes long: `FLEETLIFT_KILLS=200 tests/node/run kills::` kills that often, over as many clusters with
//! one resource of each kind as it takes; `FLEETLIFT_SEED` repeats the moments.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetlift::openebs::UpgradeTask;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use tokio::task::JoinHandle;

use crate::attempt::IMAGE;
use crate::each_kind::EachKind;
use crate::hub::ours;
use crate::real_node::RealNode;
use crate::support::TestCluster;
use crate::support::seed::{Seed, rounds};

/// Kills unless more are asked for: one for each kind.
const KILLS: u64 = 8;
/// The most that a fleet's config gives one task.
const ATTEMPTS: u32 = 20;
/// The most kills in one cluster: about as many as there are moments for.
const KILLS_OF_CLUSTER: u64 = 20;
const CLUSTERS_AT_ONCE: usize = 4;
const PATIENCE: Duration = Duration::from_mins(20);
/// The longest that an executor lives before it is killed: half as long as an undisturbed one, so that some have several
/// who follow them.
const LONGEST_MS: u64 = 4_000;

/// Kills the executor in each Pod of the hub's Jobs some moment after it began.
struct Killer {
    kills: Arc<Mutex<BTreeMap<String, u32>>>,
    work: JoinHandle<()>,
}

impl Killer {
    fn at_work(cluster: &TestCluster, at_most: u64, mut seed: Seed) -> Self {
        let kills: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
        let (pods, tasks, counted) = (cluster.api::<Pod>(), cluster.api::<UpgradeTask>(), Arc::clone(&kills));
        let work = tokio::spawn(async move {
            let (mut last, mut left) = (String::new(), at_most);
            while left > 0 {
                let pod = until_one_runs(&pods, &last).await;
                last = pod.name_any();
                tokio::time::sleep(Duration::from_millis(seed.between(0, LONGEST_MS))).await;
                let resource = pod.annotations()["fleetlift.io/resource"].clone();
                // The last attempt of each is left alone.
                let before = counted.lock().unwrap().get(&resource).copied().unwrap_or(0);
                if before + 1 < ATTEMPTS && kill(&pod) {
                    left -= 1;
                    *counted.lock().unwrap().entry(resource).or_default() += 1;
                    is_told(&tasks, &pod).await;
                }
            }
        });
        Self { kills, work }
    }

    /// Ends its work; how often the executor of each resource was killed.
    async fn ends(self) -> BTreeMap<String, u32> {
        self.work.abort();
        if let Err(error) = self.work.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        self.kills.lock().unwrap().clone()
    }
}

/// The Pod of the hub's next Job, once an executor runs in it.
async fn until_one_runs(pods: &Api<Pod>, last: &str) -> Pod {
    loop {
        if let Some(pod) = running(pods, last).await {
            return pod;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The Pod of a Job of the hub in which an executor runs, unless it is the one before.
async fn running(pods: &Api<Pod>, last: &str) -> Option<Pod> {
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=fleetlift");
    let found = pods.list(&ours).await.ok()?.items.into_iter();
    found.filter(|pod| pod.name_any() != last).find(|pod| process(pod).is_some())
}

/// The executor's process: the one with its name in the control group that the kubelet made for the Pod.
fn process(pod: &Pod) -> Option<u32> {
    let uid = pod.uid()?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let of_pod = |folder: &std::path::Path| {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        read("cgroup").contains(&uid) && read("comm").starts_with("fleetlift-execu")
    };
    let mut found = processes.filter(|entry| of_pod(&entry.path()));
    found.next()?.file_name().to_str()?.parse().ok()
}

/// Kills the executor as a lack of memory would; says whether there was one.
fn kill(pod: &Pod) -> bool {
    let Some(pid) = process(pod) else { return false };
    std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().is_ok_and(|status| status.success())
}

/// Whoever reads the record of an executor that was killed reads that it is under way, or that it is done.
async fn is_told(tasks: &Api<UpgradeTask>, pod: &Pod) {
    let attempt = pod.labels()["fleetlift.io/attempt"].clone();
    let own = ListParams::default().labels(&format!("fleetlift.io/attempt={attempt}"));
    for task in tasks.list(&own).await.unwrap() {
        let phase = task.status.phase.as_str();
        assert!(matches!(phase, "" | "Started" | "Success"), "{:?}", task.status);
    }
}

/// One resource of each kind in one cluster, killed up to `at_most` times; says how often each was.
async fn killed(at_most: u64, seed: Seed) -> BTreeMap<String, u32> {
    let EachKind { cluster, hub, plan, .. } = &EachKind::awaits(&ours(IMAGE), ATTEMPTS).await;
    let killer = Killer::at_work(cluster, at_most, seed);
    hub.ok(&["rollout", "start", plan]);
    let status = hub.place.finished_within(PATIENCE);
    assert_eq!(hub.verdict_of(&status).0, "succeeded", "{}", hub.explain());
    let kills = killer.ends().await;
    let results = hub.json(&["result", "list", "latest"]);
    for result in results.as_array().unwrap() {
        assert_eq!(result["outcome"], "succeeded", "{result:#}");
        let resource = &result["resource"];
        let resource = format!("{}/{}", resource["kind"].as_str().unwrap(), resource["name"].as_str().unwrap());
        // One that was killed after it had said its last words cost none.
        let killed = u64::from(kills.get(&resource).copied().unwrap_or(0));
        assert!(result["attempts"].as_u64().unwrap() <= killed + 1, "{resource}: {kills:?}");
    }
    kills
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn each_kind_is_upgraded_however_often_its_executor_is_killed() {
    RealNode::shared().await;
    let mut left = rounds("FLEETLIFT_KILLS", KILLS);
    let mut seed = Seed::or(u64::from(std::process::id()));
    while left > 0 {
        // Each waits in a thread of its own.
        let mut clusters = Vec::new();
        let mut wanted = left;
        while wanted > 0 && clusters.len() < CLUSTERS_AT_ONCE {
            let share = wanted.min(KILLS_OF_CLUSTER);
            clusters.push(tokio::spawn(killed(share, seed.branch())));
            wanted -= share;
        }
        let mut kills = Vec::new();
        for cluster in clusters {
            kills.push(cluster.await.unwrap());
        }
        println!("killed: {kills:?}");
        let hit = kills.into_iter().flat_map(BTreeMap::into_values).map(u64::from).sum::<u64>();
        assert!(hit > 0, "no executor was there to be killed");
        left -= hit;
    }
}
