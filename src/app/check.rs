//! The preflight of a cluster, and what it runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::known::understood;
use super::results::ResourceName;
use super::{App, Principal, Refusal, When};
use crate::cluster::check::{self, Finding, Level};
use crate::cluster::{Edge, EdgeError, inventory};
use crate::connections::{Purpose, Unrecognised};
use crate::domain::cluster::Cluster;
use crate::domain::{Inventory, ResourceRef};
use crate::planner;
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
    /// Whether a rollout was done with the cluster since, so that versions in it may be gone.
    #[serde(default)]
    pub overtaken: bool,
    /// What the resources need to reach their group's target, where a fleet says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<NeedView>,
    /// Everything that was read.
    #[schema(value_type = Object)]
    pub inventory: Inventory,
}

/// What one resource needs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NeedView {
    /// The resource.
    pub resource: ResourceName,
    /// What it needs, or why nothing is done about it.
    pub need: String,
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
        match &checked.error {
            Some(error) => self.connections.note_error(&cluster, error).await?,
            None => self.connections.note_answer(&cluster).await?,
        }
        if checked.error.as_ref().is_none_or(EdgeError::reached) {
            self.recognised(&cluster, &edge).await?;
        }
        if let Some(inventory) = &checked.inventory {
            self.store.save_inventory(cluster.id, StoredInventory::from(inventory)).await?;
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
        let (cluster, stored) = self.known_inventory(cluster).await?;
        let Some(stored) = stored else {
            let why = match &cluster.reach.failing {
                Some(failing) => format!("it does not answer since {} ({})", failing.since, failing.error),
                None => format!("the hub reads it in the background; `fleetlift cluster check {name}` does it now"),
            };
            return Err(Refusal::Conflict(format!("what {name} runs was not read yet: {why}")));
        };
        let inventory = understood(&stored).map_err(|error| {
            Refusal::Conflict(format!("{name}: {error}; `fleetlift cluster resources {name} --refresh` reads it now"))
        })?;
        let known = planner::Known {
            cluster: &cluster,
            inventory: Some(&inventory),
            overtaken: stored.overtaken,
            unreadable: None,
        };
        let needs = self.current_fleet().await?.map(|fleet| planner::needs(&fleet, known, &inventory));
        let need = |(resource, need): (ResourceRef, String)| NeedView { resource: (&resource).into(), need };
        Ok(ResourcesView {
            needs: needs.unwrap_or_default().into_iter().map(need).collect(),
            cluster: cluster.name,
            taken_at: When(stored.taken_at),
            age_seconds: self.clock.now().since(stored.taken_at).as_secs(),
            overtaken: stored.overtaken,
            inventory,
        })
    }

    /// Reads what a cluster runs now, and keeps it.
    pub async fn read_resources(&self, by: &Principal, name: &str) -> Result<ResourcesView, Refusal> {
        let cluster = self.store.cluster_named(name).await?;
        by.must_reach(name, &cluster.labels)?;
        let refused = |reason: String| Refusal::Edge { cluster: name.to_owned(), reason };
        let edge =
            self.connections.to(&cluster, Purpose::Inventory).await.map_err(|error| refused(error.to_string()))?;
        let cluster = self.recognised(&cluster, &edge).await?;
        match inventory::read(&edge).await {
            Ok(read) => {
                self.connections.note_answer(&cluster).await?;
                self.store.save_inventory(cluster.id, StoredInventory::from(&read)).await?;
                self.resources(name).await
            }
            Err(error) => {
                self.connections.note_error(&cluster, &error).await?;
                Err(refused(error.to_string()))
            }
        }
    }

    async fn recognised(&self, cluster: &Cluster, edge: &Edge) -> Result<Cluster, Refusal> {
        let refused = |reason: String| Refusal::Edge { cluster: cluster.name.clone(), reason };
        match self.connections.recognise(cluster, edge).await {
            Ok(cluster) => Ok(cluster),
            Err(Unrecognised::Store(error)) => Err(error.into()),
            Err(Unrecognised::Connection(error)) => Err(refused(error.to_string())),
            Err(Unrecognised::Edge(error)) => {
                self.connections.note_error(cluster, &error).await?;
                Err(refused(error.to_string()))
            }
        }
    }
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
