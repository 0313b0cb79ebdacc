//! Plays the executors: for each Job of the hub whose Pod runs, upgrades what its UpgradeTask names, tells so, and ends
//! the Pod. A test says beforehand which ones go wrong, and how.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fleetlift::domain::{ResourceKind, ResourceRef};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use tokio::task::JoinHandle;

use super::openebs::bring_to;
use super::openebs::upgrade_task::{Told, tell};
use super::{Ending, Node, TestCluster};

/// How often the crew looks for Pods to work in.
const ROUND: Duration = Duration::from_millis(100);

/// How one executor behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Play {
    /// Does its work, says so, ends well.
    Upgrades,
    /// Ends with an error before it changed anything.
    Fails(&'static str),
    /// Does nothing, says that it did, ends well.
    Lies,
    /// Does its work, then ends with an error.
    FailsAtTheEnd,
    /// Does nothing and does not end, until the Pod is killed.
    Hangs,
}

/// A crew at work; it stops with this value.
pub struct Crew {
    plays: Arc<Mutex<BTreeMap<String, VecDeque<Play>>>>,
    done: Arc<Mutex<Vec<String>>>,
    work: JoinHandle<()>,
}

impl Crew {
    /// Works in `cluster`'s Pods, which `node` runs.
    pub fn on(cluster: Arc<TestCluster>, node: Arc<Node>) -> Self {
        let plays = Arc::new(Mutex::new(BTreeMap::new()));
        let done = Arc::new(Mutex::new(Vec::new()));
        let worker = Worker {
            pods: cluster.api(),
            cluster,
            node,
            plays: Arc::clone(&plays),
            done: Arc::clone(&done),
            begun: BTreeSet::new(),
        };
        Self { plays, done, work: tokio::spawn(worker.work()) }
    }

    /// The next Jobs for the resource of that name go so, one after the other; later ones upgrade.
    pub fn plan(&self, resource: &str, plays: &[Play]) {
        lock(&self.plays).insert(resource.to_owned(), plays.iter().copied().collect());
    }

    /// The resources whose executors ended, in that order, once for each Job.
    pub fn done(&self) -> Vec<String> {
        lock(&self.done).clone()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.work.abort();
    }
}

struct Worker {
    cluster: Arc<TestCluster>,
    node: Arc<Node>,
    pods: Api<Pod>,
    plays: Arc<Mutex<BTreeMap<String, VecDeque<Play>>>>,
    done: Arc<Mutex<Vec<String>>>,
    begun: BTreeSet<String>,
}

impl Worker {
    async fn work(mut self) {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=fleetlift");
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            // The API server may be gone for a while: tests do that to it.
            let Ok(pods) = self.pods.list(&ours).await else { continue };
            for pod in pods.items {
                let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
                if running && pod.metadata.deletion_timestamp.is_none() && self.begun.insert(pod.name_any()) {
                    self.play(&pod).await;
                }
            }
        }
    }

    async fn play(&self, pod: &Pod) {
        let resource = resource_of(pod);
        let attempt = pod.labels().get("fleetlift.io/attempt").cloned().unwrap_or_default();
        let play = lock(&self.plays).get_mut(&resource.name).and_then(VecDeque::pop_front).unwrap_or(Play::Upgrades);
        let (task, to) = self.order(&attempt).await;
        let name = pod.name_any();
        let failed = Ending::Fails { code: 255, message: "the executor failed" };
        match play {
            Play::Hangs => return tell(&self.cluster, &task, resource.kind, Told::InProgress).await,
            Play::Fails(why) => {
                tell(&self.cluster, &task, resource.kind, Told::StepFailed(why)).await;
                self.node.end_pod_if_there(&name, failed).await;
            }
            Play::Lies => {
                tell(&self.cluster, &task, resource.kind, Told::Success).await;
                self.node.end_pod_if_there(&name, Ending::Succeeds).await;
            }
            Play::Upgrades | Play::FailsAtTheEnd => {
                tell(&self.cluster, &task, resource.kind, Told::InProgress).await;
                bring_to(&self.cluster, &resource, &to).await;
                super::openebs::all_rolled_out(&self.cluster).await;
                tell(&self.cluster, &task, resource.kind, Told::Success).await;
                let ending = if play == Play::Upgrades { Ending::Succeeds } else { failed };
                self.node.end_pod_if_there(&name, ending).await;
            }
        }
        lock(&self.done).push(resource.name);
    }

    /// The name of the UpgradeTask that carries the attempt, and the version that it asks for.
    async fn order(&self, attempt: &str) -> (String, String) {
        let tasks = self.cluster.kind("openebs.io/v1alpha1", "UpgradeTask");
        let own = ListParams::default().labels(&format!("fleetlift.io/attempt={attempt}"));
        // An API server that has just come back answers 503 until it knows its custom kinds.
        let listed = super::until::until("UpgradeTasks can be listed", || async { tasks.list(&own).await.ok() });
        let mut found = listed.await.items;
        assert_eq!(found.len(), 1, "an attempt has exactly one UpgradeTask while its Pod runs");
        let task = found.remove(0);
        let to = task.data["spec"]["toVersion"].as_str().expect("it says to which version").to_owned();
        (task.name_any(), to)
    }
}

/// What the annotation `fleetlift.io/resource` names, as `kind/name`.
fn resource_of(pod: &Pod) -> ResourceRef {
    let named = pod.annotations().get("fleetlift.io/resource").expect("the hub's Pods name their resource");
    let (kind, name) = named.split_once('/').expect("as kind/name");
    let kind = ResourceKind::ALL.into_iter().find(|known| known.name() == kind).expect("of a known kind");
    ResourceRef { kind, name: name.to_owned() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}
