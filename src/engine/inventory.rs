//! Keeps what is known of each cluster fresh, at a bounded rate, so that plans rest on what is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Engine, every::every, renewal, step};
use crate::cluster::{EdgeError, inventory};
use crate::connections::{NotConnectable, Purpose};
use crate::domain::{ClusterId, Inventory};
use crate::store::{StoreError, StoredInventory};

/// How often clusters are looked for whose inventory is old.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A cluster that did not answer is not asked again before this.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Reads inventories until `stop` is cancelled.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let mut hint = engine.store.committed();
    every(&stop, &mut hint, || async {
        match refresh(&engine).await {
            // A full batch: there is more.
            Ok(read) if read >= engine.bounds.inventories_at_once => Duration::ZERO,
            Ok(_) => LOOK_EVERY,
            Err(error) => {
                tracing::warn!(%error, "inventories could not be refreshed, trying again");
                LOOK_EVERY
            }
        }
    })
    .await;
}

/// Reads one batch; says how many were due.
async fn refresh(engine: &Arc<Engine>) -> Result<u32, StoreError> {
    let now = engine.clock.now();
    let at_once = engine.bounds.inventories_at_once;
    let (before, tried_before) = (now - engine.bounds.inventory_every, now - TRIED_AGAIN_AFTER);
    let due = engine.store.claim_inventories(before, tried_before, now, at_once).await?;
    let count = u32::try_from(due.len()).unwrap_or(u32::MAX);
    let mut reads = JoinSet::new();
    for cluster in due {
        let engine = Arc::clone(engine);
        reads.spawn(async move {
            if let Err(error) = read_one(&engine, cluster).await {
                tracing::info!(%cluster, %error, "an inventory could not be read");
            }
        });
    }
    while reads.join_next().await.is_some() {}
    Ok(count)
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
            engine.store.save_inventory(id, stored(&read)).await?;
            if let Err(error) = renewal::renew_if_due(engine, &cluster, &edge).await {
                // There is a third of its life left to try again in; `cluster check` warns before the end.
                tracing::warn!(cluster.name = %cluster.name, %error, "the cluster's token could not be renewed yet");
            }
            Ok(())
        }
        Err(error) => {
            step::note_silence(engine, &cluster, &error, engine.clock.now()).await?;
            Err(error.into())
        }
    }
}

/// An inventory as it is kept.
fn stored(inventory: &Inventory) -> StoredInventory {
    StoredInventory {
        taken_at: inventory.taken_at,
        digest: inventory.digest(),
        body: serde_json::to_string(inventory).unwrap_or_default(),
    }
}
