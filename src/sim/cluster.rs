//! One simulated cluster. Until somebody asks it something it is little more than its name: its objects are made, and its
//! controllers started, with the first request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behaviour::Behaviour;
use super::contents::{self, Contents};
use super::controllers;
use super::oracle::Oracle;
use super::records;
use super::rights::Caller;
use super::seed::Seed;
use super::store::{Event, Store};
use super::trouble::Troubles;
use crate::domain::{Clock, Timestamp};

/// Tokens that were made on request and are still known.
const TOKENS_MAX: usize = 16;
/// Bytes of one container's log.
const LOG_BYTES_MAX: usize = 64 * 1024;

/// What is asked for: one cluster of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Its name; a DNS label.
    pub name: String,
    /// The labels that it is to be registered with.
    pub labels: BTreeMap<String, String>,
    /// What `/version` says, for example `v1.33.4`.
    pub kubernetes: String,
    /// What it runs.
    pub contents: Contents,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// Whether the simulator runs Pods. Without it somebody else plays the kubelet, through the API.
    pub runs_pods: bool,
}

/// How fast everything goes in a cluster that behaves. Each is multiplied by the cluster's slowness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The shortest upgrade of one resource.
    pub upgrade_min: Duration,
    /// The longest.
    pub upgrade_max: Duration,
    /// From a Pod's creation until it runs.
    pub pod_start: Duration,
    /// From a Pod's deletion until it is gone.
    pub pod_stop: Duration,
    /// The rollout of a Deployment or StatefulSet.
    pub rollout: Duration,
    /// An operator's way from the desired version to the current one.
    pub reconcile: Duration,
}

impl Default for Pace {
    /// An upgrade takes one to three seconds.
    fn default() -> Self {
        Self {
            upgrade_min: Duration::from_secs(1),
            upgrade_max: Duration::from_secs(3),
            pod_start: Duration::from_millis(40),
            pod_stop: Duration::from_millis(40),
            rollout: Duration::from_millis(120),
            reconcile: Duration::from_millis(60),
        }
    }
}

/// What all clusters of a fleet share.
pub(super) struct World {
    pub clock: Arc<dyn Clock>,
    pub oracle: Oracle,
    pub pace: Pace,
    pub seed: Seed,
    pub tasks: TaskTracker,
    pub stopped: CancellationToken,
}

/// A cluster.
pub(super) struct Cluster {
    pub spec: ClusterSpec,
    pub world: Arc<World>,
    /// The UID of namespace kube-system: its identity.
    pub identity: String,
    /// Of the hub's account.
    pub token: String,
    /// May do everything.
    pub admin_token: String,
    pub troubles: Troubles,
    behaviour: RwLock<Arc<Behaviour>>,
    made_tokens: Mutex<Vec<String>>,
    live: OnceLock<Live>,
}

/// What exists once somebody has asked.
struct Live {
    state: Mutex<State>,
    wake: Notify,
    /// By Pod UID: its container's log, and the way to kill it.
    processes: Mutex<BTreeMap<String, Process>>,
}

struct State {
    store: Store,
    /// What the controllers have not looked at yet.
    unseen: Vec<Event>,
}

#[derive(Default)]
struct Process {
    log: String,
    killed: CancellationToken,
}

impl Cluster {
    pub fn new(spec: ClusterSpec, world: Arc<World>) -> Self {
        let mut seed = world.seed.branch(&spec.name);
        let behaviour = Arc::new(spec.behaviour.clone());
        Self {
            identity: seed.uuid(),
            token: format!("sim-{:016x}{:016x}", seed.next(), seed.next()),
            admin_token: format!("sim-admin-{:016x}{:016x}", seed.next(), seed.next()),
            troubles: Troubles::new(seed.branch("troubles")),
            behaviour: RwLock::new(behaviour),
            made_tokens: Mutex::default(),
            live: OnceLock::new(),
            spec,
            world,
        }
    }

    /// The name of OpenEBS's namespace.
    pub fn openebs(&self) -> &'static str {
        contents::NAMESPACE
    }

    /// How it behaves now.
    pub fn behaviour(&self) -> Arc<Behaviour> {
        Arc::clone(&self.behaviour.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Behaves like this from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(behaviour);
        self.troubles.begin_anew();
    }

    /// `normal`, as long as it takes here.
    pub fn paced(&self, normal: Duration) -> Duration {
        normal * self.behaviour().slowness.max(1)
    }

    /// Whose token that is.
    pub fn caller(&self, token: &str) -> Option<Caller> {
        if token == self.token || lock(&self.made_tokens).iter().any(|made| made == token) {
            return Some(Caller::Hub);
        }
        (token == self.admin_token).then_some(Caller::Admin)
    }

    /// A new token of the hub's account; the oldest made so is forgotten when there are many.
    pub fn make_token(&self) -> String {
        let mut made = lock(&self.made_tokens);
        let number = made.len() as u64;
        let mut seed = self.world.seed.branch(&format!("{}/{}/{number}", self.spec.name, self.world.clock.now()));
        if made.len() == TOKENS_MAX {
            made.remove(0);
        }
        made.push(format!("sim-{:016x}{:016x}", seed.next(), seed.next()));
        made[made.len() - 1].clone()
    }

    /// Reads or changes the objects; what changed is logged and handed to the controllers. `by_client` tells whose doing
    /// it is. Nothing may wait in `act`.
    pub fn with<R>(self: &Arc<Self>, by_client: bool, act: impl FnOnce(&mut Store, Timestamp) -> R) -> R {
        let live = self.live();
        let mut state = lock(&live.state);
        // Within the lock: what is logged later happened later.
        let now = self.world.clock.now();
        let result = act(&mut state.store, now);
        let events = state.store.take_untold();
        if !events.is_empty() {
            let records = records::of(&state.store, &self.spec.name, &events, by_client, now);
            self.world.oracle.note(records);
            state.unseen.extend(events);
            drop(state);
            live.wake.notify_one();
        }
        result
    }

    /// What the controllers have not looked at yet.
    pub fn take_unseen(&self) -> Vec<Event> {
        self.live.get().map(|live| std::mem::take(&mut lock(&live.state).unseen)).unwrap_or_default()
    }

    /// Waits until there is something for the controllers to look at.
    pub async fn changed(&self) {
        match self.live.get() {
            Some(live) => live.wake.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The container of that Pod begins; the token tells when it is killed.
    pub fn begin_process(self: &Arc<Self>, pod_uid: &str) -> CancellationToken {
        let mut processes = lock(&self.live().processes);
        processes.entry(pod_uid.to_owned()).or_default().killed.clone()
    }

    /// The container of that Pod is killed.
    pub fn kill_process(self: &Arc<Self>, pod_uid: &str) {
        if let Some(process) = lock(&self.live().processes).get(pod_uid) {
            process.killed.cancel();
        }
    }

    /// That Pod is gone, and its log with it.
    pub fn forget_process(self: &Arc<Self>, pod_uid: &str) {
        if let Some(process) = lock(&self.live().processes).remove(pod_uid) {
            process.killed.cancel();
        }
    }

    /// Adds a line to the log of that Pod's container.
    pub fn log_line(self: &Arc<Self>, pod_uid: &str, line: &str) {
        if let Some(process) = lock(&self.live().processes).get_mut(pod_uid)
            && process.log.len() + line.len() < LOG_BYTES_MAX
        {
            process.log.push_str(line);
            process.log.push('\n');
        }
    }

    /// The log of that Pod's container.
    pub fn log(self: &Arc<Self>, pod_uid: &str) -> String {
        lock(&self.live().processes).get(pod_uid).map(|process| process.log.clone()).unwrap_or_default()
    }

    fn live(self: &Arc<Self>) -> &Live {
        let mut made = false;
        let live = self.live.get_or_init(|| {
            made = true;
            self.furnish()
        });
        if made {
            self.world.tasks.spawn(controllers::work(Arc::clone(self)));
        }
        live
    }

    fn furnish(&self) -> Live {
        let mut store = Store::new(self.world.seed.branch(&self.spec.name).branch("uids"));
        let seed = self.world.seed.branch(&self.spec.name).branch("contents");
        contents::furnish(&mut store, &self.spec, &self.identity, seed, self.world.clock.now());
        // What was there at the beginning is nobody's doing, and no watch begins before it.
        drop(store.take_untold());
        store.compact();
        Live {
            state: Mutex::new(State { store, unseen: Vec::new() }),
            wake: Notify::new(),
            processes: Mutex::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
