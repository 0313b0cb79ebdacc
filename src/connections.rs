//! From a registered cluster to a connection: its row, its unsealed credential, and the connections that are kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cluster::{Edge, EdgeAccess, Egress, Surroundings, Unusable, Vault};
use crate::domain::cluster::{Cluster, ClusterState};
use crate::domain::event::{Actor, Event, EventType, Subject};
use crate::domain::{ClusterId, Timestamp};
use crate::store::{Store, StoreError};

/// A connection that nobody used for so long is let go: a socket and some 50 KiB each.
const KEPT_UNUSED: Duration = Duration::from_mins(1);

/// The same once nothing more is done there: its inventory is read next, at once unless many are.
const KEPT_AFTERWARDS: Duration = Duration::from_secs(3);

/// Each cluster's credential is reported as used once for each purpose in this time, with a count.
const REPORTED_EVERY: Duration = Duration::from_hours(1);

/// What a credential is used for: part of its audit event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Carrying out a rollout.
    Rollout,
    /// Reading what the cluster runs.
    Inventory,
    /// Somebody asked for a check.
    Check,
    /// Asking for its successor.
    Renewal,
    /// Comparing it with the one of a repeated import.
    Import,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Inventory => "inventory",
            Self::Check => "check",
            Self::Renewal => "renewal",
            Self::Import => "import",
        }
    }
}

mod standing;

pub use standing::Unrecognised;

/// Why a registered cluster cannot be connected to, before anything is sent.
#[derive(Debug, thiserror::Error)]
pub enum NotConnectable {
    /// It was removed.
    #[error("the cluster was removed")]
    Removed,
    /// It is in quarantine.
    #[error(
        "the cluster is quarantined: {why}; when a person has looked, `fleetlift cluster check {name} --release` lifts that"
    )]
    Quarantined {
        /// The cluster's name.
        name: String,
        /// Why.
        why: String,
    },
    /// Its credential cannot be used.
    #[error(transparent)]
    Credential(#[from] Unusable),
    /// Its egress is none of the hub's.
    #[error("the hub has no egress named {0}; name it under edge.egress, or register the cluster without")]
    NoSuchEgress(String),
    /// Its certificates cannot be used.
    #[error("its certificates cannot be used: {0}")]
    Certificates(String),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NotConnectable {
    fn quarantined(cluster: &Cluster, why: &str) -> Self {
        Self::Quarantined { name: cluster.name.clone(), why: why.to_owned() }
    }
}

/// The connections of one hub.
pub struct Connections {
    store: Arc<dyn Store>,
    vault: Vault,
    around: Surroundings,
    egresses: BTreeMap<String, Egress>,
    kept: Mutex<HashMap<ClusterId, Kept>>,
    uses: Mutex<Uses>,
}

struct Kept {
    edge: Edge,
    row_version: i64,
    /// Unless it is used again.
    until: Timestamp,
}

/// How often credentials were used since it was reported last. One row for each cluster and purpose that there was: a
/// count is told with the next use, however late that is.
#[derive(Default)]
struct Uses(HashMap<(ClusterId, Purpose), Used>);

struct Used {
    since: Timestamp,
    count: u32,
}

impl Uses {
    /// Counts a use; when it is to be reported, how many there were since the last report.
    fn note(&mut self, cluster: ClusterId, purpose: Purpose, now: Timestamp) -> Option<u32> {
        let unreported = match self.0.get_mut(&(cluster, purpose)) {
            Some(recent) if now.since(recent.since) < REPORTED_EVERY => {
                recent.count += 1;
                return None;
            }
            earlier => earlier.map_or(0, |earlier| earlier.count),
        };
        self.0.insert((cluster, purpose), Used { since: now, count: 0 });
        Some(unreported)
    }
}

impl Connections {
    /// No connections yet.
    pub fn new(store: Arc<dyn Store>, vault: Vault, around: Surroundings, egresses: BTreeMap<String, Egress>) -> Self {
        Self { store, vault, around, egresses, kept: Mutex::default(), uses: Mutex::default() }
    }

    /// The vault that seals what is registered here.
    pub const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// What all connections share.
    pub const fn surroundings(&self) -> &Surroundings {
        &self.around
    }

    /// The hub's egress of that name.
    pub fn egress(&self, name: Option<&str>) -> Result<Option<Egress>, NotConnectable> {
        let Some(name) = name else { return Ok(None) };
        self.egresses.get(name).cloned().map(Some).ok_or_else(|| NotConnectable::NoSuchEgress(name.to_owned()))
    }

    /// A connection to `cluster`, kept or new; it connects when it is first asked something.
    pub async fn to(&self, cluster: &Cluster, purpose: Purpose) -> Result<Edge, NotConnectable> {
        match &cluster.state {
            ClusterState::Active => {}
            ClusterState::Quarantined { why } => return Err(NotConnectable::quarantined(cluster, why)),
            ClusterState::Removed { .. } => return Err(NotConnectable::Removed),
        }
        let now = self.around.clock.now();
        if let Some(edge) = self.kept(cluster, now) {
            return Ok(edge);
        }
        let edge = match self.connect(cluster, purpose).await {
            Ok(edge) => edge,
            Err(NotConnectable::Store(error)) => return Err(error.into()),
            Err(error) => {
                self.note_silence(cluster, &error).await?;
                return Err(error);
            }
        };
        // A look at a cluster that nobody works on ends with its connection: thousands would be idle otherwise.
        if purpose == Purpose::Rollout {
            let kept = Kept { edge: edge.clone(), row_version: cluster.version, until: now + KEPT_UNUSED };
            lock(&self.kept).insert(cluster.id, kept);
        }
        Ok(edge)
    }

    async fn connect(&self, cluster: &Cluster, purpose: Purpose) -> Result<Edge, NotConnectable> {
        let (access, _) = self.open(cluster, purpose).await?;
        self.with(cluster, &access)
    }

    /// What `cluster` is reached with, and the version of its next sealing; its use is audited. A credential that
    /// somebody had a hand in puts the cluster into quarantine.
    pub async fn open(&self, cluster: &Cluster, purpose: Purpose) -> Result<(EdgeAccess, i64), NotConnectable> {
        let stored = self.store.credential(cluster.id).await?;
        if let Some(event) = self.note_use(cluster.id, purpose, self.around.clock.now()) {
            self.store.record(vec![event]).await?;
        }
        match self.vault.open(cluster.id, &cluster.server, &stored) {
            Ok(access) => Ok((access, stored.next_version())),
            Err(unusable) => {
                if unusable.is_tampering() {
                    self.quarantine(cluster, &unusable.to_string()).await?;
                }
                Err(unusable.into())
            }
        }
    }

    /// Lets nobody use `cluster` until a person has looked, and says why.
    pub async fn quarantine(&self, cluster: &Cluster, why: &str) -> Result<(), StoreError> {
        self.forget(cluster.id);
        if !matches!(cluster.state, ClusterState::Active) {
            return Ok(());
        }
        let about = Subject { cluster: Some(cluster.id), ..Subject::default() };
        let now = self.around.clock.now();
        let event = Event::new(now, EventType::ClusterQuarantined, Actor::engine(), about).because(why);
        let cluster = Cluster { state: ClusterState::Quarantined { why: why.to_owned() }, ..cluster.clone() };
        match self.store.change_cluster(&cluster, vec![event]).await {
            // Somebody changed it meanwhile; the next look finds the same again if it still holds.
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A connection of its own to `cluster`, with `access` instead of what is stored: to try it.
    pub fn with(&self, cluster: &Cluster, access: &EdgeAccess) -> Result<Edge, NotConnectable> {
        let egress = self.egress(cluster.egress.as_deref())?;
        Edge::new(access, egress, &cluster.namespace, cluster.identity.clone(), &self.around)
            .map_err(|problem| NotConnectable::Certificates(problem.to_string()))
    }

    /// Lets a kept connection go: the next use connects anew.
    pub fn forget(&self, cluster: ClusterId) {
        lock(&self.kept).remove(&cluster);
    }

    /// Nothing more is done in that cluster: its connection is kept for its next inventory, if that is soon.
    pub fn done_with(&self, cluster: ClusterId) {
        let now = self.around.clock.now();
        if let Some(kept) = lock(&self.kept).get_mut(&cluster) {
            kept.until = now + KEPT_AFTERWARDS;
        }
    }

    /// Lets those go that nobody used for a while.
    pub fn let_unused_go(&self) {
        let now = self.around.clock.now();
        lock(&self.kept).retain(|_, kept| now < kept.until);
    }

    fn kept(&self, cluster: &Cluster, now: Timestamp) -> Option<Edge> {
        let mut kept = lock(&self.kept);
        let found = kept.get_mut(&cluster.id).filter(|kept| kept.row_version == cluster.version)?;
        found.until = now + KEPT_UNUSED;
        Some(found.edge.clone())
    }

    fn note_use(&self, cluster: ClusterId, purpose: Purpose, now: Timestamp) -> Option<Event> {
        let unreported = lock(&self.uses).note(cluster, purpose, now)?;
        let subject = Subject { cluster: Some(cluster), ..Subject::default() };
        let event = Event::new(now, EventType::CredentialUnsealed, Actor::engine(), subject);
        Some(event.with("purpose", purpose.name()).with("uses_since_last_report", unreported))
    }
}

/// What the locks guard stays consistent between any two statements, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
