//! What the hub knows of its clusters; what is about to be read is waited for a moment.

use std::time::Duration;

use tokio::time::Instant;

use super::{App, Refusal};
use crate::domain::cluster::{Cluster, ClusterState};
use crate::domain::{Inventory, Timestamp};
use crate::store::{StoreError, StoredInventory};

/// A cluster and what it runs.
pub(super) struct Known {
    pub(super) cluster: Cluster,
    pub(super) inventory: Option<Inventory>,
    /// Whether a rollout was done with the cluster since the inventory was read.
    pub(super) overtaken: bool,
    /// Why the inventory that is stored cannot be used, where that is so: another version wrote it.
    pub(super) unreadable: Option<String>,
}

/// Clusters are read from the store this many at a time.
const PAGE: u32 = 1_000;

/// The inventory loop writes no event that one could wait for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl App {
    /// Every cluster with what it runs. Inventories that the engine is about to read, because there is none yet or
    /// because a rollout was just done with the cluster, are waited for, all together at most
    /// [`App::inventory_patience`].
    pub(super) async fn known(&self) -> Result<Vec<Known>, Refusal> {
        let patience = Instant::now() + self.inventory_patience;
        let mut known = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let clusters = self.store.clusters(after.as_deref(), PAGE).await?;
            let Some(last) = clusters.last() else { return Ok(known) };
            after = Some(last.name.clone());
            for cluster in clusters {
                let (cluster, stored) = self.awaited_inventory(cluster, patience).await?;
                let overtaken = stored.as_ref().is_some_and(|stored| stored.overtaken);
                // One that cannot be read is its own cluster's misfortune, and no other's.
                let (inventory, unreadable) = match stored.map(|stored| understood(&stored)).transpose() {
                    Ok(inventory) => (inventory, None),
                    Err(error) => (None, Some(error.to_string())),
                };
                known.push(Known { cluster, inventory, overtaken, unreadable });
            }
        }
    }

    /// The last inventory of one cluster, waited for like those of all.
    pub(super) async fn known_inventory(
        &self,
        cluster: Cluster,
    ) -> Result<(Cluster, Option<StoredInventory>), Refusal> {
        Ok(self.awaited_inventory(cluster, Instant::now() + self.inventory_patience).await?)
    }

    async fn awaited_inventory(
        &self,
        mut cluster: Cluster,
        patience: Instant,
    ) -> Result<(Cluster, Option<StoredInventory>), StoreError> {
        loop {
            let stored = self.store.inventory(cluster.id).await?;
            let is_current = stored.as_ref().is_some_and(|stored| !stored.overtaken);
            let is_coming = matches!(cluster.state, ClusterState::Active) && cluster.reach.failing.is_none();
            if is_current || !is_coming || Instant::now() >= patience {
                return Ok((cluster, stored));
            }
            tokio::time::sleep(LOOK_EVERY).await;
            // By now it may be known not to answer, or be gone.
            cluster = self.store.cluster(cluster.id).await?;
        }
    }
}

/// The stored inventory does not say what this version understands.
#[derive(Debug, thiserror::Error)]
#[error("what the hub kept of what it runs cannot be read ({0})")]
pub(super) struct NotUnderstood(#[from] serde_json::Error);

/// The inventory in a row.
pub(super) fn understood(stored: &StoredInventory) -> Result<Inventory, NotUnderstood> {
    let mut inventory: Inventory = serde_json::from_str(&stored.body)?;
    // The row is written anew when a reading saw the same: its time is the true one.
    inventory.taken_at = Timestamp::max(inventory.taken_at, stored.taken_at);
    Ok(inventory)
}
