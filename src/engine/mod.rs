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
mod renewal;
mod scheduler;
mod soaks;
mod step;
mod sweep;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::connections::Connections;
use crate::domain::{Clock, DaemonId, Entropy, HubId};
use crate::metrics::Metrics;
use crate::plans::Plans;
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
    /// The plans being carried out.
    pub plans: Arc<Plans>,
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

/// A loop ended though nobody asked for it. A daemon that went on without it would renew its lease, and nothing that it
/// holds would move: it ends, and another one takes over.
#[derive(Debug, thiserror::Error)]
#[error("the {name} loop ended unexpectedly")]
pub struct LoopEnded {
    name: &'static str,
    source: Option<JoinError>,
}

/// Carries rollouts out until `stop` is cancelled; steps under way are finished, nothing else is begun. If a loop ends
/// before that, `stop` is cancelled for the others, and for whoever shares it.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) -> Result<(), LoopEnded> {
    let (held, lease) = watch::channel::<Option<lease::Held>>(None);
    // The lease outlives the others: it is given back when nothing writes under it any more.
    let lease_stop = CancellationToken::new();
    let mut keeping = Loops::new();
    keeping.spawn("lease", lease::keep(Arc::clone(&engine), held, lease_stop.clone()));
    let mut loops = Loops::new();
    loops.spawn("scheduler", scheduler::run(Arc::clone(&engine), lease.clone(), stop.clone()));
    loops.spawn("worker", worker::run(Arc::clone(&engine), lease, stop.clone()));
    loops.spawn("inventory", inventory::run(engine, stop.clone()));
    let working = async {
        let ended = loops.all_ended(&stop, &stop).await;
        lease_stop.cancel();
        ended
    };
    let (worked, kept) = tokio::join!(working, keeping.all_ended(&lease_stop, &stop));
    worked.and(kept)
}

/// Loops under way, by name.
struct Loops {
    tasks: JoinSet<()>,
    names: HashMap<tokio::task::Id, &'static str>,
}

impl Loops {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new() }
    }

    fn spawn(&mut self, name: &'static str, run: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(run).id();
        self.names.insert(id, name);
    }

    /// Waits until all have ended. One that does so before `asked` was cancelled, or by a panic, ends everybody who
    /// listens to `stop`.
    async fn all_ended(&mut self, asked: &CancellationToken, stop: &CancellationToken) -> Result<(), LoopEnded> {
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let (id, source) = match ended {
                Ok((_, ())) if asked.is_cancelled() => continue,
                Ok((id, ())) => (id, None),
                Err(error) => (error.id(), Some(error)),
            };
            let name = self.names.get(&id).copied().unwrap_or_default();
            tracing::error!("the {name} loop ended unexpectedly: this daemon ends, so that another one takes over");
            first = first.and(Err(LoopEnded { name, source }));
            stop.cancel();
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_ends_by_a_panic_ends_the_others_and_is_named() {
        let stop = CancellationToken::new();
        let mut loops = Loops::new();
        let asked = stop.clone();
        loops.spawn("worker", async move { asked.cancelled().await });
        loops.spawn("scheduler", async { unreachable!("as a bug would") });
        let ended = loops.all_ended(&stop, &stop).await.unwrap_err();
        assert_eq!(ended.to_string(), "the scheduler loop ended unexpectedly");
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn loops_that_were_asked_to_end_end_well() {
        let stop = CancellationToken::new();
        let mut loops = Loops::new();
        let asked = stop.clone();
        loops.spawn("worker", async move { asked.cancelled().await });
        stop.cancel();
        assert!(loops.all_ended(&stop, &stop).await.is_ok());
    }
}
