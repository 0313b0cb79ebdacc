//! The OpenEBS release that each cluster's control plane runs. An inventory is read and understood once: thousands of
//! them at each scrape would take seconds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::{App, Refusal};
use crate::domain::inventory::Component;
use crate::domain::{ClusterId, InventoryDigest};

/// Releases by cluster, with the name of the inventory that they were read from.
#[derive(Debug, Default)]
pub struct Releases(Mutex<HashMap<ClusterId, Known>>);

#[derive(Debug, Clone)]
struct Known {
    inventory: InventoryDigest,
    release: Option<String>,
}

/// What of an inventory tells the release.
#[derive(Deserialize)]
struct ControlPlane {
    control_plane: Vec<Component>,
}

impl App {
    /// The release of each cluster whose control plane agrees on one.
    pub(super) async fn releases(&self) -> Result<HashMap<ClusterId, String>, Refusal> {
        let present = self.store.inventory_digests().await?;
        let kept = self.releases.kept();
        let mut known = HashMap::with_capacity(present.len());
        for (cluster, inventory) in present {
            let now = match kept.get(&cluster) {
                Some(before) if before.inventory == inventory => before.clone(),
                _ => Known { release: self.read_release(cluster).await?, inventory },
            };
            known.insert(cluster, now);
        }
        self.releases.keep(known.clone());
        Ok(known.into_iter().filter_map(|(cluster, known)| Some((cluster, known.release?))).collect())
    }

    async fn read_release(&self, cluster: ClusterId) -> Result<Option<String>, Refusal> {
        let Some(stored) = self.store.inventory(cluster).await? else { return Ok(None) };
        let Ok(ControlPlane { control_plane }) = serde_json::from_str(&stored.body) else { return Ok(None) };
        let mut versions = control_plane.into_iter().flat_map(|component| component.versions);
        let first = versions.next();
        Ok(first.filter(|first| versions.all(|version| version == *first)))
    }
}

impl Releases {
    fn kept(&self) -> HashMap<ClusterId, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, known: HashMap<ClusterId, Known>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}
