//! This daemon's lease: one row, renewed every second by the database's own clock. Targets belong to leases; whoever
//! lost its lease writes nothing more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::store::Lease;

/// Three missed renewals: a slow fsync or a live migration must not cost a take-over, and a dead daemon is noticed
/// within three seconds.
pub const TTL: Duration = Duration::from_secs(3);

/// How often it is renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// Renews the lease and tells the others which they hold; `None` while the store does not answer for longer than it
/// lasts.
pub async fn keep(engine: Arc<Engine>, held: watch::Sender<Option<Lease>>, stop: CancellationToken) {
    let mut renewed_at = engine.clock.now();
    while !stop.is_cancelled() {
        let now = engine.clock.now();
        match engine.store.renew_lease(engine.daemon, TTL).await {
            Ok(lease) => {
                renewed_at = now;
                let before = held.send_replace(Some(lease));
                if before.is_some_and(|before| before != lease) {
                    engine.metrics.lease_lost();
                    tracing::warn!(epoch = lease.epoch, "the lease had ended and was taken anew");
                }
            }
            Err(error) if now.since(renewed_at) >= TTL => {
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
    let lease = *held.borrow();
    if let Some(lease) = lease {
        if let Err(error) = engine.store.release_lease(&lease).await {
            tracing::warn!(%error, "the lease could not be given back; it ends by itself");
        }
    }
}
