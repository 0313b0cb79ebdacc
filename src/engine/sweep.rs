//! Takes away the tombstones of attempts that were cancelled long ago: suspended Jobs of this hub without Pods.

use std::time::Duration;

use super::Engine;
use crate::cluster::{Edge, EdgeError};
use crate::domain::cluster::Cluster;
use crate::domain::event::{Actor, Event, EventType, Subject};
use crate::store::StoreError;

/// How long a tombstone keeps its name taken: a request that was delayed for longer does not arrive any more. The same
/// time after which Kubernetes takes finished Jobs away (`ttlSecondsAfterFinished`).
const KEPT_FOR: Duration = Duration::from_hours(7 * 24);

/// Tombstones of one cluster that are taken away at once; the others have time.
const AT_ONCE: usize = 20;

/// Why tombstones stay for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSwept {
    #[error(transparent)]
    Edge(#[from] EdgeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes the old tombstones of one cluster away.
pub(super) async fn sweep(engine: &Engine, cluster: &Cluster, edge: &Edge) -> Result<(), NotSwept> {
    let (namespace, now) = (&cluster.namespace, engine.clock.now());
    let old = edge.old_tombstones(namespace, &engine.hub.to_string(), now, KEPT_FOR, AT_ONCE).await?;
    for (name, uid) in old {
        edge.delete_job(namespace, &name, &uid).await?;
        let about = Subject { cluster: Some(cluster.id), ..Subject::default() };
        let event = Event::new(now, EventType::JobSwept, Actor::engine(), about);
        engine.store.record(vec![event.with("name", name).with("uid", uid)]).await?;
    }
    Ok(())
}
