//! Keeps what is known of each cluster fresh, at a bounded rate, so that plans rest on what is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::renewal::{self, NotRenewed};
use super::{Engine, every::every, sweep};
use crate::cluster::{EdgeError, inventory};
use crate::connections::{NotConnectable, Purpose, Unrecognised};
use crate::domain::ClusterId;
use crate::store::{InventoryTurn, StoreError, StoredInventory};

/// How often clusters are looked for whose inventory is old.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Commits come by the hundred a second, few of them make a cluster due, and each look goes over all clusters.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(250);

/// A cluster that could not be read is not asked again before this; one that stays silent, ever more rarely.
const TRIED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// How soon there may be room again, when as many are being read as may be.
const ROOM_AFTER: Duration = Duration::from_millis(50);

/// One in so many places is for clusters that do not answer: each holds its place for a whole timeout, and with many of
/// them dark there would never be one for those that do.
const SILENT_SHARE: usize = 4;

/// The places of inventories that are being read.
struct Room {
    all: Arc<Semaphore>,
    silent: Arc<Semaphore>,
}

impl Room {
    fn of(places: usize) -> Self {
        let silent = (places / SILENT_SHARE).max(1);
        Self { all: Arc::new(Semaphore::new(places)), silent: Arc::new(Semaphore::new(silent)) }
    }

    /// How many places are free.
    fn free(&self, silent: bool) -> u32 {
        let all = self.all.available_permits();
        let free = if silent { all.min(self.silent.available_permits()) } else { all };
        u32::try_from(free).unwrap_or(u32::MAX)
    }
}

/// Reads inventories until `stop` is cancelled, and then until those under way have ended. A cluster that does not answer
/// holds one place, not up the others.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let mut hint = engine.store.committed();
    let room = Room::of(engine.bounds.inventories_at_once as usize);
    let reads = TaskTracker::new();
    every(&stop, &mut hint, LOOK_AT_MOST_EVERY, || async {
        match begin_due(&engine, &room, &reads, &stop).await {
            Ok(()) if room.all.available_permits() == 0 => ROOM_AFTER,
            Ok(()) => LOOK_EVERY,
            Err(error) => {
                tracing::warn!(%error, "inventories could not be refreshed, trying again");
                LOOK_EVERY
            }
        }
    })
    .await;
    reads.close();
    reads.wait().await;
}

/// Begins to read what is due, as far as there is room: first those that answer.
async fn begin_due(
    engine: &Arc<Engine>,
    room: &Room,
    reads: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    engine.connections.let_unused_go();
    for silent in [false, true] {
        let limit = room.free(silent);
        if limit == 0 {
            continue;
        }
        let now = engine.clock.now();
        let (before, tried_before) = (now - engine.bounds.inventory_every, now - TRIED_AGAIN_AFTER);
        let turn = InventoryTurn { before, tried_before, now, silent, limit };
        for cluster in engine.store.claim_inventories(turn).await? {
            // Nobody else takes from them, and they are never closed.
            let place = Arc::clone(&room.all).try_acquire_owned();
            let silent_place = silent.then(|| Arc::clone(&room.silent).try_acquire_owned());
            let (engine, stop) = (Arc::clone(engine), stop.clone());
            reads.spawn(async move {
                let _places = (place, silent_place);
                if let Err(error) = read_one(&engine, cluster, &stop).await {
                    tracing::info!(%cluster, %error, "an inventory could not be read");
                }
            });
        }
    }
    Ok(())
}

/// Why an inventory was not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Connection(#[from] NotConnectable),
    #[error(transparent)]
    Edge(#[from] EdgeError),
    #[error(transparent)]
    Unrecognised(#[from] Unrecognised),
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn read_one(engine: &Engine, id: ClusterId, stop: &CancellationToken) -> Result<(), Unread> {
    let cluster = engine.store.cluster(id).await?;
    let edge = engine.connections.to(&cluster, Purpose::Inventory).await?;
    let cluster = match engine.connections.recognise(&cluster, &edge).await {
        Ok(cluster) => cluster,
        Err(error) => {
            if let Unrecognised::Edge(error) = &error {
                engine.connections.note_error(&cluster, error).await?;
            }
            return Err(error.into());
        }
    };
    // Before what may fail for other reasons: a token that ends leaves a person to bring the next one.
    if let Err(error) = renewal::renew_if_due(engine, &cluster, &edge).await {
        // There is a third of its life left to try again in; `cluster check` warns before the end.
        tracing::warn!(cluster.name = %cluster.name, %error, "the cluster's token could not be renewed yet");
        if let NotRenewed::Edge(error @ EdgeError::AnotherCluster { .. }) = error {
            engine.connections.note_error(&cluster, &error).await?;
            return Err(error.into());
        }
    }
    // Nothing but questions: a stop need not wait for the answers.
    let Some(read) = stop.run_until_cancelled(inventory::read(&edge)).await else { return Ok(()) };
    match read {
        Ok(read) => {
            engine.connections.note_answer(&cluster).await?;
            engine.store.save_inventory(id, StoredInventory::from(&read)).await?;
            if let Err(error) = sweep::sweep(engine, &cluster, &edge).await {
                tracing::info!(cluster.name = %cluster.name, %error, "old suspended Jobs stay for now");
            }
            // Most are read when a rollout is done with the cluster: its connection, some 60 KiB, would be idle from now
            // on. Whoever does work there holds it, and connects anew the next time.
            engine.connections.forget(id);
            Ok(())
        }
        Err(error) => {
            engine.connections.note_error(&cluster, &error).await?;
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_that_do_not_answer_never_take_every_place() {
        let room = Room::of(16);
        assert_eq!((room.free(false), room.free(true)), (16, 4));
        let _dark: Vec<_> = (0..4)
            .map(|_| (Arc::clone(&room.all).try_acquire_owned(), Arc::clone(&room.silent).try_acquire_owned()))
            .collect();
        assert_eq!((room.free(false), room.free(true)), (12, 0));
        assert_eq!(Room::of(1).free(true), 1);
    }
}
