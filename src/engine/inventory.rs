//! Keeps what is known of each cluster fresh, at a bounded rate, so that plans rest on what is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Engine, every::every, renewal, step, sweep};
use crate::cluster::{EdgeError, inventory};
use crate::connections::{NotConnectable, Purpose};
use crate::domain::ClusterId;
use crate::store::{StoreError, StoredInventory};

/// How often clusters are looked for whose inventory is old.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Commits come by the hundred a second, few of them make a cluster due, and each look goes over all clusters.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(250);

/// A cluster that did not answer is not asked again before this.
const TRIED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// How soon there may be room again, when as many are being read as may be.
const ROOM_AFTER: Duration = Duration::from_millis(50);

/// Reads inventories until `stop` is cancelled, and then until those under way are read. A cluster that does not answer
/// holds one place, not up the others.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let mut hint = engine.store.committed();
    let room = Arc::new(Semaphore::new(engine.bounds.inventories_at_once as usize));
    let reads = TaskTracker::new();
    every(&stop, &mut hint, LOOK_AT_MOST_EVERY, || async {
        match begin_due(&engine, &room, &reads).await {
            Ok(()) if room.available_permits() == 0 => ROOM_AFTER,
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

/// Begins to read what is due, as far as there is room.
async fn begin_due(engine: &Arc<Engine>, room: &Arc<Semaphore>, reads: &TaskTracker) -> Result<(), StoreError> {
    engine.connections.let_unused_go();
    let at_once = u32::try_from(room.available_permits()).unwrap_or(u32::MAX);
    if at_once == 0 {
        return Ok(());
    }
    let now = engine.clock.now();
    let (before, tried_before) = (now - engine.bounds.inventory_every, now - TRIED_AGAIN_AFTER);
    for cluster in engine.store.claim_inventories(before, tried_before, now, at_once).await? {
        // Nobody else takes from it, and it is never closed.
        let permit = Arc::clone(room).try_acquire_owned();
        let engine = Arc::clone(engine);
        reads.spawn(async move {
            let _permit = permit;
            if let Err(error) = read_one(&engine, cluster).await {
                tracing::info!(%cluster, %error, "an inventory could not be read");
            }
        });
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
    Store(#[from] StoreError),
}

async fn read_one(engine: &Engine, id: ClusterId) -> Result<(), Unread> {
    let cluster = engine.store.cluster(id).await?;
    let edge = engine.connections.to(&cluster, Purpose::Inventory).await?;
    match inventory::read(&edge).await {
        Ok(read) => {
            step::reached(engine, &cluster, engine.clock.now()).await?;
            engine.store.save_inventory(id, StoredInventory::from(&read)).await?;
            if let Err(error) = sweep::sweep(engine, &cluster, &edge).await {
                tracing::info!(cluster.name = %cluster.name, %error, "old suspended Jobs stay for now");
            }
            if let Err(error) = renewal::renew_if_due(engine, &cluster, &edge).await {
                // There is a third of its life left to try again in; `cluster check` warns before the end.
                tracing::warn!(cluster.name = %cluster.name, %error, "the cluster's token could not be renewed yet");
            }
            // Most are read when a rollout is done with the cluster: its connection, some 60 KiB, would be idle from now
            // on. Whoever does work there holds it, and connects anew the next time.
            engine.connections.forget(id);
            Ok(())
        }
        Err(error) => {
            step::note_silence(engine, &cluster, &error, engine.clock.now()).await?;
            Err(error.into())
        }
    }
}
