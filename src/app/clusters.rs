//! Registered clusters: list, show, change, remove.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, Page, PageRequest, Principal, Refusal, When};
use crate::domain::cluster::{Cluster, ClusterState, Failing};
use crate::domain::event::{EventType, Subject};
use crate::domain::{Selector, Zone, fleet, selector};

/// A registered cluster; no answer ever carries its credential.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// Its id, never reused.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `reachable`, `unreachable`, `quarantined`, or `unknown` before the first look.
    pub state: String,
    /// Why it is in that state, where there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its time zone, where it differs from the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Where OpenEBS runs.
    pub namespace: String,
    /// The hub's egress that its connections take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
    /// The API server.
    pub server: String,
    /// Whether the server must prove itself by a CA: only an administrator may waive that, for one cluster.
    pub tls_verified: bool,
    /// The UID of namespace `kube-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// When its credential ends, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_expires_at: Option<When>,
    /// When it last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<When>,
    /// Since when it does not answer, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<FailingView>,
    /// When it was registered.
    pub registered_at: When,
    /// The version for `If-Match`.
    pub version: i64,
}

/// What happens when a cluster does not answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FailingView {
    /// Since when.
    pub since: When,
    /// What happened last.
    pub error: String,
}

impl From<Cluster> for ClusterView {
    fn from(cluster: Cluster) -> Self {
        let state = standing(&cluster).to_owned();
        let Cluster {
            id,
            name,
            labels,
            time_zone,
            namespace,
            egress,
            server,
            tls_verified,
            identity,
            credential_expires_at,
            state: row_state,
            reach,
            registered_at,
            version,
        } = cluster;
        let why = match row_state {
            ClusterState::Quarantined { why } => Some(why),
            ClusterState::Active | ClusterState::Removed { .. } => None,
        };
        Self {
            id: id.to_string(),
            name,
            state,
            why,
            labels,
            time_zone,
            namespace,
            egress,
            server,
            tls_verified,
            identity,
            credential_expires_at: credential_expires_at.map(When),
            seen_at: reach.seen_at.map(When),
            failing: reach.failing.map(|Failing { since, error }| FailingView { since: When(since), error }),
            registered_at: When(registered_at),
            version,
        }
    }
}

/// How a cluster stands, in one word for tables and metrics.
pub(super) fn standing(cluster: &Cluster) -> &'static str {
    match (&cluster.state, &cluster.reach.failing, cluster.reach.seen_at) {
        (ClusterState::Quarantined { .. }, _, _) => "quarantined",
        (ClusterState::Removed { .. }, _, _) => "removed",
        (ClusterState::Active, Some(_), _) => "unreachable",
        (ClusterState::Active, None, Some(_)) => "reachable",
        (ClusterState::Active, None, None) => "unknown",
    }
}

/// What is to change about a cluster; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ChangeCluster {
    /// Labels to set, or to take away (null).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// Another time zone; empty for the fleet's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Another namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Another egress; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
    /// Lifts a quarantine, after a person looked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub release: bool,
}

/// More labels than this on one cluster are a mistake.
const LABELS_MAX: usize = 64;

impl App {
    /// Clusters by name, those that `selector` matches.
    pub async fn clusters(&self, page: &PageRequest, wanted: Option<&str>) -> Result<Page<ClusterView>, Refusal> {
        let wanted = wanted.map(str::parse::<Selector>).transpose();
        let wanted = wanted.map_err(|error| Refusal::Invalid(format!("`selector`: {error}")))?;
        let (limit, after) = (page.limit(), page.after()?);
        let rows = self.store.clusters(after.as_deref(), limit).await?;
        let mut page = Page::of(rows, limit, |cluster: &Cluster| cluster.name.clone());
        if let Some(selector) = &wanted {
            page.items.retain(|cluster| selector.matches(&cluster.labels));
        }
        Ok(Page { items: page.items.into_iter().map(ClusterView::from).collect(), next: page.next })
    }

    /// One cluster.
    pub async fn cluster(&self, name: &str) -> Result<ClusterView, Refusal> {
        Ok(self.store.cluster_named(name).await?.into())
    }

    /// Changes a cluster, if it is still the version that the caller read.
    pub async fn change_cluster(
        &self,
        by: &Principal,
        name: &str,
        change: ChangeCluster,
        read: Option<i64>,
    ) -> Result<ClusterView, Refusal> {
        let mut cluster = self.store.cluster_named(name).await?;
        as_read(&cluster, read)?;
        let subject = Subject { cluster: Some(cluster.id), ..Subject::default() };
        let mut events = Vec::new();
        if change.release && matches!(cluster.state, ClusterState::Quarantined { .. }) {
            cluster.state = ClusterState::Active;
            events.push(self.event(by, EventType::ClusterReleased, subject).with("name", name));
        }
        let event = self.event(by, EventType::ClusterChanged, subject).with("name", name);
        events.push(event.with("change", serde_json::to_value(&change).unwrap_or_default()));
        let ChangeCluster { labels, time_zone, namespace, egress, release: _ } = change;
        for (key, value) in labels {
            match value {
                Some(value) => cluster.labels.insert(key, value),
                None => cluster.labels.remove(&key),
            };
        }
        check_labels(&cluster.labels)?;
        if let Some(zone) = time_zone {
            cluster.time_zone = checked_zone(&zone)?;
        }
        if let Some(namespace) = namespace {
            fleet::check_object_name(&namespace).map_err(|why| Refusal::Invalid(format!("`namespace`: {why}")))?;
            cluster.namespace = namespace;
        }
        if let Some(egress) = egress {
            cluster.egress = Some(egress).filter(|name| !name.is_empty());
            self.connections
                .egress(cluster.egress.as_deref())
                .map_err(|error| Refusal::Invalid(format!("`egress`: {error}")))?;
        }
        Ok(self.store.change_cluster(&cluster, events).await?.into())
    }

    /// Removes a cluster: its credential is gone at once, its history stays.
    pub async fn remove_cluster(&self, by: &Principal, name: &str, read: Option<i64>) -> Result<(), Refusal> {
        let mut cluster = self.store.cluster_named(name).await?;
        as_read(&cluster, read)?;
        cluster.state = ClusterState::Removed { at: self.clock.now() };
        let subject = Subject { cluster: Some(cluster.id), ..Subject::default() };
        let event = self.event(by, EventType::ClusterRemoved, subject).with("name", name);
        self.store.change_cluster(&cluster, vec![event]).await?;
        self.connections.forget(cluster.id);
        Ok(())
    }
}

/// Refuses when the cluster is not the version any more that the caller read.
pub(super) fn as_read(cluster: &Cluster, read: Option<i64>) -> Result<(), Refusal> {
    match read {
        Some(version) if version != cluster.version => {
            Err(Refusal::Changed { what: format!("cluster {}", cluster.name) })
        }
        _ => Ok(()),
    }
}

/// Labels as Kubernetes takes them.
pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if labels.len() > LABELS_MAX {
        return Err(Refusal::Invalid(format!("`labels`: at most {LABELS_MAX}")));
    }
    for (key, value) in labels {
        selector::check_key(key).map_err(|why| Refusal::Invalid(format!("label `{key}`: {why}")))?;
        selector::check_value(value).map_err(|why| Refusal::Invalid(format!("label `{key}`: {why}")))?;
    }
    Ok(())
}

/// A zone that exists; none for an empty text.
pub(super) fn checked_zone(zone: &str) -> Result<Option<String>, Refusal> {
    if zone.is_empty() {
        return Ok(None);
    }
    zone.parse::<Zone>().map_err(|error| Refusal::Invalid(format!("`timeZone`: {error}")))?;
    Ok(Some(zone.to_owned()))
}
