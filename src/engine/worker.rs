//! The worker: gives each due target one step, many at a time, and follows their Jobs by watch.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::Engine;
use super::every::every;
use super::lease::Held;
use super::step::{Follow, Left, take};
use crate::cluster::{EdgeError, Hint};
use crate::domain::TargetId;
use crate::store::{Lease, StoreError};

/// How often due targets are asked for when nothing hints: the floor under the hints.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Changes that watches told of and that wait for a step; a full queue costs only the floor's second.
const HINTS_MAX: usize = 4_096;

/// How long one watch lasts before it is begun anew: servers end them after five to ten minutes anyway.
const WATCH_FOR: Duration = Duration::from_secs(280);

/// How soon a step that could not be committed is taken again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The store gave the target out.
    Due,
    /// A watch told of a change, or a step came to nothing.
    Hint,
}

/// What the parts of the worker share.
struct Worker {
    engine: Arc<Engine>,
    stepping: Arc<Stepping>,
    /// Jobs that are followed, by target.
    followed: Mutex<HashMap<TargetId, (String, CancellationToken)>>,
    steps: Arc<Semaphore>,
    tasks: TaskTracker,
    hints: mpsc::Sender<TargetId>,
    held: watch::Receiver<Option<Held>>,
    stop: CancellationToken,
}

/// Works until `stop` is cancelled, and then until every step under way has ended.
pub async fn run(engine: Arc<Engine>, held: watch::Receiver<Option<Held>>, stop: CancellationToken) {
    let (hints, mut hinted) = mpsc::channel(HINTS_MAX);
    let mut committed = engine.store.committed();
    let worker = Arc::new(Worker {
        steps: Arc::new(Semaphore::new(engine.bounds.steps_at_once)),
        engine,
        stepping: Arc::default(),
        followed: Mutex::default(),
        tasks: TaskTracker::new(),
        hints,
        held: held.clone(),
        stop: stop.clone(),
    });
    let looking = every(&stop, &mut committed, Duration::ZERO, || async {
        let Some(Held { lease, .. }) = *held.borrow() else { return LOOK_EVERY };
        worker.begin_due(lease).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "due targets could not be claimed, trying again");
            LOOK_EVERY
        })
    });
    let listening = async {
        while let Some(Some(target)) = stop.run_until_cancelled(hinted.recv()).await {
            // As it is now: whoever hints may have waited for this very lease.
            let lease = held.borrow().map(|held| held.lease);
            match lease {
                Some(lease) => worker.begin(target, lease, Cause::Hint),
                None => worker.again_soon(target),
            }
        }
    };
    tokio::join!(looking, listening);
    worker.tasks.close();
    worker.tasks.wait().await;
}

impl Worker {
    /// Begins a step of everything that is due, as far as there is room; says when to ask again.
    async fn begin_due(self: &Arc<Self>, lease: Lease) -> Result<Duration, StoreError> {
        let room = u32::try_from(self.steps.available_permits()).unwrap_or(u32::MAX);
        if room == 0 {
            return Ok(LOOK_EVERY);
        }
        let now = self.engine.clock.now();
        let due = self.engine.store.claim_due(&lease, now, room).await?;
        for claimed in due {
            self.begin(claimed.target, lease, Cause::Due);
        }
        let next = self.engine.store.next_due(&lease).await?;
        Ok(next.map_or(LOOK_EVERY, |at| at.since(now).clamp(Duration::from_millis(5), LOOK_EVERY)))
    }

    /// Begins a step of one target, unless one is under way. A hint is dropped then, for that step looks anyway; what
    /// was given out by the store is not given out again for a long time, and so comes right after it.
    fn begin(self: &Arc<Self>, target: TargetId, lease: Lease, cause: Cause) {
        let Some(turn) = self.stepping.begin(target, cause) else { return };
        let worker = Arc::clone(self);
        let span = tracing::info_span!("step", %target, cluster = Empty, rollout = Empty, error = Empty);
        self.tasks.spawn(
            async move {
                // The semaphore is never closed.
                let permit = Arc::clone(&worker.steps).acquire_owned().await;
                let left = take(&worker.engine, target, lease, &worker.held).await;
                drop(permit);
                let again = turn.end();
                worker.after(target, left);
                if again && !worker.stop.is_cancelled() {
                    worker.begin(target, lease, Cause::Due);
                }
            }
            .instrument(span),
        );
    }

    fn after(self: &Arc<Self>, target: TargetId, left: Result<Left, StoreError>) {
        match left {
            Ok(Left::Following(follow)) => self.follow(*follow),
            Ok(Left::Running | Left::Ended) => self.unfollow(target),
            // Another daemon owns it, or a person changed something: whoever owns it reads anew.
            Err(error @ StoreError::Conflict { .. }) => {
                tracing::debug!(%target, %error, "a step lost its fence");
                self.again_soon(target);
            }
            Err(error) => {
                tracing::warn!(%target, %error, "a step could not be committed; it is taken again");
                self.again_soon(target);
            }
        }
    }

    /// Another step before the store would give the target out again; one that is no more ours ends at once.
    fn again_soon(self: &Arc<Self>, target: TargetId) {
        let worker = Arc::clone(self);
        self.tasks.spawn(async move {
            let waiting = async {
                tokio::time::sleep(AGAIN_AFTER).await;
                // Without a lease nothing can be committed; the first one wakes everybody who waits for it.
                let mut held = worker.held.clone();
                held.wait_for(Option::is_some).await.is_ok()
            };
            if worker.stop.run_until_cancelled(waiting).await == Some(true) {
                // A queue that is full costs only the store's own patience.
                let _ = worker.hints.try_send(target);
            }
        });
    }

    /// Follows a Job by watch, so that its end is noticed at once.
    fn follow(self: &Arc<Self>, follow: Follow) {
        let token = {
            let mut followed = lock(&self.followed);
            if followed.get(&follow.target).is_some_and(|(job, token)| *job == follow.job && !token.is_cancelled()) {
                return;
            }
            let token = self.stop.child_token();
            if let Some((_, before)) = followed.insert(follow.target, (follow.job.clone(), token.clone())) {
                before.cancel();
            }
            token
        };
        let worker = Arc::clone(self);
        self.tasks.spawn(async move {
            let ended = token.run_until_cancelled(worker.watch(&follow)).await;
            token.cancel();
            if let Some(Err(error)) = ended {
                tracing::debug!(target = %follow.target, %error, "a watch ended; looking goes on without it");
            }
        });
    }

    /// One watch of one Job. When it ends, the next look begins another one: no retrying here.
    async fn watch(&self, follow: &Follow) -> Result<(), EdgeError> {
        let mut watch = follow.edge.watch_job(&follow.namespace, &follow.job, "", WATCH_FOR).await?;
        loop {
            match watch.next().await? {
                Hint::Look => {
                    if self.hints.try_send(follow.target).is_err() {
                        tracing::debug!("the queue of hints is full; the poll will find it");
                    }
                }
                Hint::Ended => return Ok(()),
            }
        }
    }

    fn unfollow(&self, target: TargetId) {
        if let Some((_, token)) = lock(&self.followed).remove(&target) {
            token.cancel();
        }
    }
}

/// Targets with a step under way, never two of one; and whether another is due right after it.
#[derive(Default)]
struct Stepping(Mutex<HashMap<TargetId, bool>>);

impl Stepping {
    /// The target's turn, unless a step of it is under way.
    fn begin(self: &Arc<Self>, target: TargetId, cause: Cause) -> Option<Turn> {
        match lock(&self.0).entry(target) {
            Entry::Occupied(mut again) => {
                *again.get_mut() |= cause == Cause::Due;
                return None;
            }
            Entry::Vacant(place) => place.insert(false),
        };
        Some(Turn { stepping: Arc::clone(self), target: Some(target) })
    }
}

/// One target's step. However it ends, by a panic too, another one may begin.
struct Turn {
    stepping: Arc<Stepping>,
    /// `None` once it has ended.
    target: Option<TargetId>,
}

impl Turn {
    /// Ends it; tells whether another step is due right after it.
    fn end(mut self) -> bool {
        self.give_up()
    }

    fn give_up(&mut self) -> bool {
        self.target.take().is_some_and(|target| lock(&self.stepping.0).remove(&target) == Some(true))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// What the locks guard stays consistent between any two statements, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::system::SystemEntropy;

    #[tokio::test]
    async fn a_step_that_panics_leaves_room_for_the_next() {
        let stepping = Arc::new(Stepping::default());
        let target = TargetId::new(Timestamp::from_micros(0), &SystemEntropy);
        let turn = stepping.begin(target, Cause::Due).unwrap();
        assert!(stepping.begin(target, Cause::Hint).is_none(), "one step of a target at a time");
        let step = tokio::spawn(async move {
            let _turn = turn;
            unreachable!("as a bug would");
        });
        assert!(step.await.is_err());
        assert!(stepping.begin(target, Cause::Due).is_some());
    }

    #[test]
    fn what_became_due_during_a_step_follows_it() {
        let stepping = Arc::new(Stepping::default());
        let target = TargetId::new(Timestamp::from_micros(0), &SystemEntropy);
        for (cause, follows) in [(Cause::Due, true), (Cause::Hint, false)] {
            let turn = stepping.begin(target, Cause::Due).unwrap();
            assert!(stepping.begin(target, cause).is_none());
            assert_eq!(turn.end(), follows);
        }
    }
}
