//! What a cluster's answer, or its silence, means for its row: one rule for rollouts, inventories, checks and renewals.

use std::time::Duration;

use super::{Connections, NotConnectable};
use crate::cluster::{Edge, EdgeError};
use crate::domain::cluster::{Cluster, ClusterState, Failing, Reach};
use crate::domain::event::{Actor, Event, EventType, Subject};
use crate::store::StoreError;

/// How old the note of a cluster's last answer may become: a row a minute and cluster, not one a look.
const ANSWER_NOTED_EVERY: Duration = Duration::from_mins(1);

/// Why a cluster must not be used before somebody has looked, or cannot be now.
#[derive(Debug, thiserror::Error)]
pub enum Unrecognised {
    /// It does not say who it is.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// It is in quarantine now, or was removed meanwhile.
    #[error(transparent)]
    Connection(#[from] NotConnectable),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Connections {
    /// The cluster with its identity: one that was registered unseen is asked for it, and must be whoever answers now for
    /// ever after. One that has another name already goes into quarantine. Nothing may be done in a cluster before.
    pub async fn recognise(&self, cluster: &Cluster, edge: &Edge) -> Result<Cluster, Unrecognised> {
        if cluster.identity.is_some() {
            return Ok(cluster.clone());
        }
        let seen = edge.identify().await?;
        let about = Subject { cluster: Some(cluster.id), ..Subject::default() };
        let event = Event::new(self.around.clock.now(), EventType::ClusterIdentified, Actor::engine(), about)
            .with("name", cluster.name.as_str())
            .with("identity", seen.as_str());
        let known = match self.store.identify_cluster(cluster.id, &seen, vec![event]).await {
            Ok(known) => known,
            Err(error @ StoreError::SameCluster { .. }) => {
                let why = error.to_string();
                self.quarantine(cluster, &why).await?;
                return Err(NotConnectable::quarantined(cluster, &why).into());
            }
            Err(error) => return Err(error.into()),
        };
        match (&known.state, &known.identity) {
            (ClusterState::Active, Some(identity)) if *identity == seen => Ok(known),
            (ClusterState::Active, identity) => {
                let expected = identity.clone().unwrap_or_default();
                Err(EdgeError::AnotherCluster { expected, seen }.into())
            }
            (ClusterState::Quarantined { why }, _) => Err(NotConnectable::quarantined(&known, why).into()),
            (ClusterState::Removed { .. }, _) => Err(NotConnectable::Removed.into()),
        }
    }

    /// Notes that a cluster answered.
    pub async fn note_answer(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let now = self.around.clock.now();
        let Reach { seen_at, failing, back_at: _ } = &cluster.reach;
        if failing.is_none() && seen_at.is_some_and(|at| now.since(at) < ANSWER_NOTED_EVERY) {
            return Ok(());
        }
        self.store.record_reach(cluster.id, &cluster.reach.answered(now)).await
    }

    /// Notes what an error says of a cluster: a refusal is an answer, too, and one that answers as another cluster goes
    /// into quarantine.
    pub async fn note_error(&self, cluster: &Cluster, error: &EdgeError) -> Result<(), StoreError> {
        if let EdgeError::AnotherCluster { .. } = error {
            self.quarantine(cluster, &error.to_string()).await?;
        }
        if error.reached() { self.note_answer(cluster).await } else { self.note_silence(cluster, error).await }
    }

    /// Notes that a cluster did not answer, or could not even be asked.
    pub(super) async fn note_silence(
        &self,
        cluster: &Cluster,
        error: &(dyn std::error::Error + Sync),
    ) -> Result<(), StoreError> {
        let since = cluster.reach.failing.as_ref().map_or_else(|| self.around.clock.now(), |failing| failing.since);
        let failing = Some(Failing { since, error: error.to_string() });
        self.store.record_reach(cluster.id, &Reach { failing, ..cluster.reach.clone() }).await
    }
}
