//! The one loop: wait, then one step.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Calls `step` until `stop` is cancelled: at once, then whenever `hint` changes, and at the latest after the time that
/// the step before asked for. A step is never dropped half-way.
pub async fn every<F>(stop: &CancellationToken, hint: &mut watch::Receiver<i64>, mut step: impl FnMut() -> F)
where
    F: Future<Output = Duration>,
{
    while !stop.is_cancelled() {
        hint.mark_unchanged();
        let wait = step().await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
            // A closed channel never hints again: the time is the floor.
            changed = hint.changed() => if changed.is_err() { tokio::time::sleep(wait).await },
        }
    }
}
