//! Waiting on a condition, with a deadline; tests never sleep for a guessed time.

use std::future::Future;
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy two-core machine; whoever waits that long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks again and again until `look` answers with something, and gives that back.
///
/// # Panics
/// When it did not within a minute; `what` says what was waited for.
pub async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {} s in vain until {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
