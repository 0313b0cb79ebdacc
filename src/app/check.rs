//! The preflight of a cluster, and what it runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, Principal, Refusal, When};
use crate::cluster::check::{self, Finding, Level};
use crate::connections::Purpose;
use crate::domain::cluster::{Cluster, Reach};
use crate::domain::{Inventory, Timestamp};
use crate::store::StoredInventory;

/// What a preflight found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// The cluster's name.
    pub cluster: String,
    /// The worst finding: `ok`, `warn` or `fail`.
    pub level: String,
    /// Everything that was looked at, in order.
    pub findings: Vec<FindingView>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// `ok`, `warn` or `fail`.
    pub level: String,
    /// What was looked at.
    pub what: String,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// What a cluster runs, as read last.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesView {
    /// The cluster's name.
    pub cluster: String,
    /// When it was read.
    pub taken_at: When,
    /// How long ago that was, in seconds.
    pub age_seconds: u64,
    /// Everything that was read.
    #[schema(value_type = Object)]
    pub inventory: Inventory,
}

impl App {
    /// Looks at everything that an upgrade of this cluster needs, and keeps the inventory that was read on the way.
    pub async fn check_cluster(&self, by: &Principal, name: &str) -> Result<CheckReport, Refusal> {
        let cluster = self.store.cluster_named(name).await?;
        by.must_reach(name, &cluster.labels)?;
        let edge = self
            .connections
            .to(&cluster, Purpose::Check)
            .await
            .map_err(|error| Refusal::Edge { cluster: name.to_owned(), reason: error.to_string() })?;
        let checked = check::check(&edge, cluster.credential_expires_at).await;
        let level = checked.level();
        if let Some(inventory) = &checked.inventory {
            self.keep(&cluster, inventory).await?;
        }
        Ok(CheckReport {
            cluster: cluster.name,
            level: level_name(level).to_owned(),
            findings: checked.findings.into_iter().map(FindingView::from).collect(),
        })
    }

    /// What a cluster runs, as read last, with its age.
    pub async fn resources(&self, name: &str) -> Result<ResourcesView, Refusal> {
        let cluster = self.store.cluster_named(name).await?;
        let Some(stored) = self.store.inventory(cluster.id).await? else {
            let why = match &cluster.reach.failing {
                Some(failing) => format!("it does not answer since {} ({})", failing.since, failing.error),
                None => format!("the hub reads it in the background; `fleetlift cluster check {name}` does it now"),
            };
            return Err(Refusal::Conflict(format!("what {name} runs was not read yet: {why}")));
        };
        let inventory = inventory(&cluster, &stored)?;
        Ok(ResourcesView {
            cluster: cluster.name,
            taken_at: When(stored.taken_at),
            age_seconds: self.clock.now().since(stored.taken_at).as_secs(),
            inventory,
        })
    }

    async fn keep(&self, cluster: &Cluster, inventory: &Inventory) -> Result<(), Refusal> {
        let now = self.clock.now();
        let body = serde_json::to_string(inventory).unwrap_or_default();
        let stored = StoredInventory { taken_at: inventory.taken_at, digest: inventory.digest(), body };
        self.store.save_inventory(cluster.id, stored).await?;
        self.store.record_reach(cluster.id, &Reach { seen_at: Some(now), failing: None }).await?;
        Ok(())
    }
}

/// The inventory in a row.
pub(super) fn inventory(cluster: &Cluster, stored: &StoredInventory) -> Result<Inventory, Refusal> {
    let mut inventory: Inventory = serde_json::from_str(&stored.body).map_err(|error| {
        Refusal::Conflict(format!(
            "the stored inventory of {} can't be read ({error}); check the cluster",
            cluster.name
        ))
    })?;
    // The row is written anew when a reading saw the same: its time is the true one.
    inventory.taken_at = Timestamp::max(inventory.taken_at, stored.taken_at);
    Ok(inventory)
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "fail",
    }
}

impl From<Finding> for FindingView {
    fn from(Finding { level, what, seen, remedy }: Finding) -> Self {
        Self { level: level_name(level).to_owned(), what: what.to_owned(), seen, remedy }
    }
}
