//! The one loop: wait, then one step.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How much longer a loop does something else than look, before a hint wakes it again: however often something is
/// committed and however much there is to look at, a loop spends at most a fifth of its time looking, and what was
/// committed meanwhile shares one look. A look of a millisecond costs nobody more than four.
const REST: u32 = 4;

/// What a step tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stepped {
    /// How soon the next one shall come, if nothing hints before.
    pub next: Duration,
    /// For how long it did not look but waited for what it had decided to be carried out. That is as good as rest.
    pub carrying_out: Duration,
}

impl From<Duration> for Stepped {
    /// Of a step that only looked.
    fn from(next: Duration) -> Self {
        Self { next, carrying_out: Duration::ZERO }
    }
}

/// Calls `step` until `stop` is cancelled: at once, then whenever `hint` changes (but not before the loop has rested, at
/// least for `rest_min`), and at the latest after the time that the step before asked for. A step is never dropped
/// half-way.
pub async fn every<F>(
    stop: &CancellationToken,
    hint: &mut watch::Receiver<i64>,
    rest_min: Duration,
    mut step: impl FnMut() -> F,
) where
    F: Future<Output: Into<Stepped>>,
{
    while !stop.is_cancelled() {
        hint.mark_unchanged();
        let began = Instant::now();
        let Stepped { next, carrying_out } = step().await.into();
        let rest = rest_after(began.elapsed(), carrying_out).max(rest_min);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(next) => {}
            () = hinted(hint, rest) => {}
        }
    }
}

/// How long hints are left alone after a step that took so long, of which it carried out for so long.
const fn rest_after(step: Duration, carrying_out: Duration) -> Duration {
    step.saturating_sub(carrying_out).saturating_mul(REST).saturating_sub(carrying_out)
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
    fn the_longer_a_look_takes_the_longer_its_loop_rests() {
        let (none, ms) = (Duration::ZERO, Duration::from_millis);
        assert_eq!(rest_after(none, none), none);
        assert_eq!(rest_after(ms(5), none), ms(20));
        assert_eq!(rest_after(Duration::MAX, none), Duration::MAX);
        assert_eq!(rest_after(ms(15), ms(10)), ms(10), "five of looking, ten of them have passed");
        assert_eq!(rest_after(ms(300), ms(290)), none, "it has not looked for long enough");
    }
}
