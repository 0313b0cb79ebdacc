//! This daemon's lease: one row, renewed every second by the database's own clock. Targets belong to leases; whoever
//! lost its lease writes nothing more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::domain::Timestamp;
use crate::store::{Lease, StoreError};

/// Three missed renewals: a slow fsync or a live migration must not cost a take-over, and a dead daemon is noticed
/// within three seconds.
pub const TTL: Duration = Duration::from_secs(3);

/// How often it is renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// A lease, and how long it surely lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The lease.
    pub lease: Lease,
    /// Until then by this machine's clock, counted from before it was asked for. A process that was stopped in between
    /// finds that out here.
    pub until: Timestamp,
}

/// Renews the lease and tells the others which they hold; `None` while the store does not answer for longer than it
/// lasts.
pub async fn keep(engine: Arc<Engine>, held: watch::Sender<Option<Held>>, stop: CancellationToken) {
    let mut renewed_at = engine.clock.now();
    while !stop.is_cancelled() {
        let now = engine.clock.now();
        // A store that hangs is worth no more than one that refuses.
        let renewing = tokio::time::timeout(TTL, engine.store.renew_lease(engine.daemon, TTL)).await;
        match renewing.map_err(|late| StoreError::Unavailable(Box::new(late))).and_then(|renewed| renewed) {
            Ok(lease) => {
                renewed_at = now;
                let before = held.send_replace(Some(Held { lease, until: now + TTL }));
                if before.is_some_and(|before| before.lease != lease) {
                    engine.metrics.lease_lost();
                    tracing::warn!(epoch = lease.epoch, "the lease had ended and was taken anew");
                }
            }
            Err(error) if engine.clock.now().since(renewed_at) >= TTL => {
                if held.send_replace(None).is_some() {
                    engine.metrics.lease_lost();
                    tracing::error!(%error, "the lease ended: the store does not answer");
                }
            }
            Err(error) => tracing::warn!(%error, "the lease could not be renewed, trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(RENEWED_EVERY) => {}
        }
    }
    let last = *held.borrow();
    if let Some(Held { lease, .. }) = last
        && let Err(error) = engine.store.release_lease(&lease).await
    {
        tracing::warn!(%error, "the lease could not be given back; it ends by itself");
    }
}
