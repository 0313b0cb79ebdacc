//! The one loop: wait, then one step.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How much longer a loop rests than its step took, before a hint wakes it again: however often something is committed
/// and however much there is to look at, a loop spends at most a fifth of its time looking, and what was committed
/// meanwhile shares one look. A step of a millisecond costs nobody more than four.
const REST: u32 = 4;

/// Calls `step` until `stop` is cancelled: at once, then whenever `hint` changes (but not before the loop has rested, at
/// least for `rest_min`), and at the latest after the time that the step before asked for. A step is never dropped
/// half-way.
pub async fn every<F>(
    stop: &CancellationToken,
    hint: &mut watch::Receiver<i64>,
    rest_min: Duration,
    mut step: impl FnMut() -> F,
) where
    F: Future<Output = Duration>,
{
    while !stop.is_cancelled() {
        hint.mark_unchanged();
        let began = Instant::now();
        let wait = step().await;
        let rest = rest_after(began.elapsed()).max(rest_min);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
            () = hinted(hint, rest) => {}
        }
    }
}

/// How long hints are left alone after a step that took so long.
const fn rest_after(step: Duration) -> Duration {
    step.saturating_mul(REST)
}

/// Returns once `rest` is over and `hint` has changed. A closed channel never hints again.
async fn hinted(hint: &mut watch::Receiver<i64>, rest: Duration) {
    tokio::time::sleep(rest).await;
    if hint.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn what_happens_during_a_step_is_looked_at_by_one_more_step() {
        let (told, mut hint) = watch::channel(0);
        let stop = CancellationToken::new();
        let steps = AtomicU32::new(0);
        every(&stop, &mut hint, Duration::ZERO, || async {
            if steps.fetch_add(1, Ordering::Relaxed) > 0 {
                stop.cancel();
            }
            for seq in 1..=100 {
                told.send_replace(seq);
            }
            LONG
        })
        .await;
        assert_eq!(steps.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_longer_a_step_takes_the_longer_its_loop_rests() {
        assert_eq!(rest_after(Duration::ZERO), Duration::ZERO);
        assert_eq!(rest_after(Duration::from_millis(5)), Duration::from_millis(20));
        assert_eq!(rest_after(Duration::MAX), Duration::MAX);
    }
}
