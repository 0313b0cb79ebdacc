//! Register many clusters at once; safe to repeat.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, ChangeCluster, Principal, Refusal, RegisterCluster};
use crate::cluster::EdgeAccess;
use crate::connections::Purpose;
use crate::domain::cluster::Cluster;
use crate::store::StoreError;

/// Clusters to be registered at once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportClusters {
    /// The clusters, at most [`ImportClusters::MAX`] a request.
    pub clusters: Vec<RegisterCluster>,
}

impl ImportClusters {
    /// The most clusters of one request: a transaction of a moment.
    pub const MAX: usize = 250;
}

/// What became of one cluster of an import.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// Its name.
    pub name: String,
    /// `registered`, `changed` (it was there, and has labels or a zone, namespace or egress from this import now),
    /// `unchanged` (it was there like this) or `refused`.
    pub outcome: ImportOutcome,
    /// Why it was refused, what changed, or what was not taken over.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What became of one cluster of an import, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportOutcome {
    /// It is new.
    Registered,
    /// It was there, and is described anew.
    Changed,
    /// It was there like this.
    Unchanged,
    /// It was not taken.
    Refused,
}

impl ImportOutcome {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

impl Imported {
    /// A cluster that was not taken, and why.
    pub fn refused(name: String, reason: String) -> Self {
        Self { name, outcome: ImportOutcome::Refused, reason }
    }
}

/// A cluster of an import on its way into the store.
struct Offered {
    cluster: Cluster,
    access: EdgeAccess,
    change: ChangeCluster,
}

impl App {
    /// Registers many clusters without looking at them yet; each is accepted or refused by itself. One that is there
    /// with the same server is described anew as far as this import describes it: labels are set, never taken away.
    /// Its credential stays: the hub may have renewed it since, and a new one is tried before it is kept
    /// ([`App::rotate_credential`]).
    pub async fn import_clusters(&self, by: &Principal, wanted: ImportClusters) -> Result<Vec<Imported>, Refusal> {
        if wanted.clusters.len() > ImportClusters::MAX {
            return Err(Refusal::Invalid(format!("`clusters`: at most {} in one request", ImportClusters::MAX)));
        }
        let mut outcomes: Vec<Result<Offered, Imported>> = Vec::new();
        let mut new = Vec::new();
        for wanted in wanted.clusters {
            let (name, change) = (wanted.name.clone(), description(&wanted));
            let sealed = self.read(wanted).and_then(|(cluster, access)| {
                let new = self.new_cluster(by, cluster.clone(), &access)?;
                Ok((new, Offered { cluster, access, change }))
            });
            outcomes.push(match sealed {
                Ok((cluster, offered)) => {
                    new.push(cluster);
                    Ok(offered)
                }
                Err(refusal) => Err(Imported::refused(name, told(&refusal))),
            });
        }
        let mut stored = self.store.register_clusters(new).await?.into_iter();
        let mut imported = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            imported.push(match outcome {
                Err(refused) => refused,
                Ok(offered) => match stored.next() {
                    Some(Ok(())) => {
                        let name = offered.cluster.name;
                        Imported { name, outcome: ImportOutcome::Registered, reason: String::new() }
                    }
                    Some(Err(StoreError::Exists { .. })) => self.import_again(by, offered).await?,
                    Some(Err(error)) => Imported::refused(offered.cluster.name, told(&error.into())),
                    None => return Err(Refusal::Conflict("the store did not answer for every cluster".to_owned())),
                },
            });
        }
        Ok(imported)
    }

    async fn import_again(&self, by: &Principal, offered: Offered) -> Result<Imported, Refusal> {
        let Offered { cluster: Cluster { name, server, .. }, access, change } = offered;
        let there = self.store.cluster_named(&name).await?;
        if there.server != server {
            let reason = format!(
                "a cluster of this name is there with another server ({}): `fleetlift cluster rotate` replaces server and \
                 credential, `remove` frees the name",
                there.server
            );
            return Ok(Imported::refused(name, reason));
        }
        let differs = what_differs(&there, &change);
        let mut reason = differs.join(", ");
        if !self.has_credential(&there, &access).await {
            let sentence = "its credential differs and was not taken: `fleetlift cluster rotate` tries and replaces it";
            reason = if reason.is_empty() { sentence.to_owned() } else { format!("{reason}; {sentence}") };
        }
        if differs.is_empty() {
            return Ok(Imported { name, outcome: ImportOutcome::Unchanged, reason });
        }
        Ok(match self.change_cluster(by, &name, change, Some(there.version)).await {
            Ok(_) => Imported { name, outcome: ImportOutcome::Changed, reason },
            Err(refusal) => Imported::refused(name, told(&refusal)),
        })
    }

    /// Whether the cluster is reached with this credential already; one that does not open is another one.
    async fn has_credential(&self, cluster: &Cluster, offered: &EdgeAccess) -> bool {
        match self.connections.open(cluster, Purpose::Import).await {
            Ok((stored, _)) => stored.trust == offered.trust && stored.credential.is_same(&offered.credential),
            Err(_) => false,
        }
    }
}

/// What an import says of a cluster beside how to reach it.
fn description(wanted: &RegisterCluster) -> ChangeCluster {
    ChangeCluster {
        labels: wanted.labels.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect(),
        time_zone: wanted.time_zone.clone(),
        namespace: wanted.namespace.clone(),
        egress: wanted.egress.clone(),
        release: false,
    }
}

/// The names of what `change` would change.
fn what_differs(there: &Cluster, change: &ChangeCluster) -> Vec<String> {
    let labels: &BTreeMap<String, Option<String>> = &change.labels;
    let differs =
        |wanted: &Option<String>, has: Option<&str>| wanted.as_deref().is_some_and(|wanted| Some(wanted) != has);
    let mut names: Vec<String> = labels
        .iter()
        .filter(|(key, value)| there.labels.get(*key) != value.as_ref())
        .map(|(key, _)| format!("label {key}"))
        .collect();
    let rest = [
        ("time zone", differs(&change.time_zone, there.time_zone.as_deref())),
        ("namespace", differs(&change.namespace, Some(&there.namespace))),
        ("egress", differs(&change.egress, there.egress.as_deref())),
    ];
    names.extend(rest.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()));
    names
}

/// A refusal in one sentence.
fn told(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Flawed { flaws, .. } => {
            let flaws: Vec<String> =
                flaws.iter().map(|flaw| format!("{} {} ({})", flaw.place, flaw.message, flaw.remedy)).collect();
            format!("{refusal}: {}", flaws.join("; "))
        }
        other => other.to_string(),
    }
}
