//! The loops that carry rollouts out, around pure decisions.
//!
//! The scheduler decides which targets start; the worker takes each running target one step further; the inventory
//! loop keeps what is known of each cluster fresh; the lease loop says that this daemon lives. Each is `wait, then one
//! step`, and nothing is remembered between steps that the store does not hold: whoever restarts simply carries on.

pub mod decide;
mod every;
mod followed;
mod inventory;
mod lease;
mod plans;
mod renewal;
mod scheduler;
mod soaks;
mod step;
mod sweep;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::Connections;
use crate::domain::{Clock, DaemonId, Entropy, HubId};
use crate::metrics::Metrics;
use crate::store::Store;

/// What an engine may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Targets that run at once, over all daemons of this store.
    pub running: u32,
    /// Targets that this daemon steps at the same moment.
    pub steps_at_once: usize,
    /// How old an inventory may become before it is read again.
    pub inventory_every: Duration,
    /// Inventories that this daemon reads at the same moment.
    pub inventories_at_once: u32,
}

/// Everything that the loops share.
pub struct Engine {
    /// What the hub remembers.
    pub store: Arc<dyn Store>,
    /// The ways to the clusters.
    pub connections: Arc<Connections>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids.
    pub entropy: Arc<dyn Entropy>,
    /// What happened, in numbers.
    pub metrics: Arc<Metrics>,
    /// The hub's id, on every object that it creates.
    pub hub: HubId,
    /// This daemon.
    pub daemon: DaemonId,
    /// What may be used at most.
    pub bounds: Bounds,
}

/// Carries rollouts out until `stop` is cancelled; steps under way are finished, nothing else is begun.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let plans = Arc::new(plans::Plans::default());
    let (held, lease) = watch::channel::<Option<lease::Held>>(None);
    let loops = TaskTracker::new();
    // The lease outlives the others: it is given back when nothing writes under it any more.
    let lease_stop = CancellationToken::new();
    let keeping = tokio::spawn(lease::keep(Arc::clone(&engine), held, lease_stop.clone()));
    loops.spawn(scheduler::run(Arc::clone(&engine), Arc::clone(&plans), lease.clone(), stop.clone()));
    loops.spawn(worker::run(Arc::clone(&engine), plans, lease, stop.clone()));
    loops.spawn(inventory::run(engine, stop));
    loops.close();
    loops.wait().await;
    lease_stop.cancel();
    if let Err(error) = keeping.await {
        tracing::error!(%error, "the lease loop ended badly");
    }
}
