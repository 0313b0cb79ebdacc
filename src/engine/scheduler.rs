//! The scheduler's step: for each rollout that is not finished, read, decide, apply.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::decide::rollout::{Decision, InUse, Scene, decide};
use super::every::{Stepped, every};
use super::followed::Followed;
use super::lease::Held;
use super::soaks::Soaks;
use super::{Engine, step};
use crate::domain::Timestamp;
use crate::domain::event::{Actor, Event, EventType, Subject};
use crate::domain::rollout::{PauseCause, RolloutState, Wave};
use crate::domain::target::{Target, TargetState};
use crate::store::{Lease, RolloutChange, Snapshot, StartTarget, StoreError};

/// How often rollouts are looked at when nothing is committed: the floor under the hint.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How soon after a refusal that passes (a lost race, a store that does not answer).
const LOOK_SOON: Duration = Duration::from_millis(200);

/// Starts under way at once.
const STARTS_AT_ONCE: usize = 64;

/// Decides until `stop` is cancelled.
pub async fn run(engine: Arc<Engine>, held: watch::Receiver<Option<Held>>, stop: CancellationToken) {
    let mut hint = engine.store.committed();
    let kept = Mutex::new((Followed::default(), Soaks::default()));
    every(&stop, &mut hint, Duration::ZERO, || async {
        let Some(Held { lease, .. }) = *held.borrow() else { return LOOK_SOON.into() };
        let (followed, soaks) = &mut *kept.lock().await;
        look(&engine, followed, soaks, lease).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "rollouts could not be looked at, trying again");
            LOOK_EVERY.min(Duration::from_secs(1)).into()
        })
    })
    .await;
}

/// One look at every rollout that is not finished; says when to look again.
async fn look(
    engine: &Engine,
    followed: &mut Followed,
    soaks: &mut Soaks,
    lease: Lease,
) -> Result<Stepped, StoreError> {
    let mut looked = Stepped::from(LOOK_EVERY);
    let unfinished = engine.store.unfinished_rollouts().await?;
    followed.keep_only(&unfinished);
    soaks.keep_only(&unfinished);
    for rollout in unfinished {
        let snapshot = followed.snapshot(&*engine.store, rollout, engine.clock.now()).await;
        let next = match snapshot {
            Ok(snapshot) => one(engine, soaks, lease, snapshot).await,
            Err(error) => Err(error),
        };
        match next {
            Ok(Stepped { next, carrying_out }) => {
                looked.next = looked.next.min(next);
                looked.carrying_out += carrying_out;
            }
            // Somebody else decided first: what they wrote is read the next time.
            Err(StoreError::Conflict { .. }) => looked.next = looked.next.min(LOOK_SOON),
            Err(error @ StoreError::Corrupt { .. }) => tracing::error!(%error, %rollout, "a rollout cannot be read"),
            Err(error) => return Err(error),
        }
    }
    Ok(looked)
}

async fn one(engine: &Engine, soaks: &mut Soaks, lease: Lease, snapshot: &Snapshot) -> Result<Stepped, StoreError> {
    let plan = engine.plans.of(&*engine.store, &snapshot.rollout.plan).await?;
    let in_use: InUse = engine.store.usage().await?.into_iter().map(|usage| (usage.scope, usage.in_use)).collect();
    let now = engine.clock.now();
    let scene = Scene {
        plan: &plan,
        rollout: &snapshot.rollout,
        waves: &snapshot.waves,
        targets: &snapshot.targets,
        hub_limit: engine.bounds.running,
        health: None,
    };
    let health = soaks.health(&*engine.store, &*engine.clock, &scene).await?;
    let scene = Scene { health, ..scene };
    let Decision { state, waves, skipped, starts, look_at } = decide(&scene, &in_use, now);
    if state.is_some() || !waves.is_empty() || !skipped.is_empty() {
        let began = Instant::now();
        change(engine, snapshot, state, waves, skipped, now).await?;
        return Ok(Stepped { next: Duration::ZERO, carrying_out: began.elapsed() });
    }
    let mut next = look_at.map_or(LOOK_EVERY, |at| at.since(now));
    if starts.is_empty() {
        return Ok(next.into());
    }
    let began = Instant::now();
    let mut free_since = free_since(&snapshot.targets).into_iter();
    // Side by side, so that one group commit starts many.
    let starting = starts.into_iter().map(|(target, claims)| start(engine, lease, snapshot, target, claims, now));
    let mut starting = stream::iter(starting).buffered(STARTS_AT_ONCE);
    while let Some(started) = starting.next().await {
        match started {
            Ok(()) => {
                if let Some(since) = free_since.next() {
                    engine.metrics.slot_filled(engine.clock.now().since(since));
                }
            }
            // Another rollout or daemon was faster; the slots' numbers are read anew.
            Err(StoreError::BudgetUsedUp { .. } | StoreError::Conflict { .. }) => next = next.min(LOOK_SOON),
            Err(error) => return Err(error),
        }
    }
    Ok(Stepped { next, carrying_out: began.elapsed() })
}

/// Since when slots are free that nothing has taken, the longest first: the targets that ended after the last one
/// started.
fn free_since(targets: &[Target]) -> Vec<Timestamp> {
    let last_start = targets.iter().filter_map(|target| match target.state {
        TargetState::Running { since, .. } => Some(since),
        _ => None,
    });
    // Without any under way it was not a slot that was waited for.
    let Some(last_start) = last_start.max() else { return Vec::new() };
    let ended = targets.iter().filter_map(|target| match target.state {
        TargetState::Succeeded { at } | TargetState::Failed { at, .. } => Some(at),
        _ => None,
    });
    let mut free: Vec<Timestamp> = ended.filter(|at| *at >= last_start).collect();
    free.sort_unstable();
    free
}

async fn start(
    engine: &Engine,
    lease: Lease,
    snapshot: &Snapshot,
    target: Target,
    claims: Vec<crate::domain::budget::Claim>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let wave = snapshot.waves.get(target.wave as usize).map_or("", |wave| wave.name.as_str());
    let event =
        Event::new(now, EventType::TargetStarted, Actor::engine(), step::subject_of(&target)).with("wave", wave);
    let start = StartTarget {
        target: target.id,
        version: target.version,
        state: TargetState::Running { since: now, unseen_since: None, doing: "connecting".to_owned() },
        at: now,
        lease,
        claims,
    };
    engine.store.start_target(start, vec![event]).await
}

async fn change(
    engine: &Engine,
    snapshot: &Snapshot,
    state: Option<RolloutState>,
    waves: Vec<Wave>,
    targets: Vec<Target>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let rollout = &snapshot.rollout;
    let about = Subject { rollout: Some(rollout.id), ..Subject::default() };
    let mut events: Vec<Event> = Vec::new();
    for wave in &waves {
        let before = &snapshot.waves[wave.position as usize];
        events.push(Event::new(now, what_moved(before, wave), Actor::engine(), about).with("wave", wave.name.as_str()));
    }
    for target in &targets {
        let why = match &target.state {
            TargetState::Skipped { reason, .. } => reason.to_string(),
            _ => String::new(),
        };
        events.push(Event::new(now, EventType::TargetSkipped, Actor::engine(), step::subject_of(target)).because(why));
    }
    if let Some(state) = &state {
        events.extend(state_event(state, now, about));
    }
    let finished_at = matches!(state, Some(RolloutState::Finished { .. })).then_some(now);
    let change = RolloutChange { rollout: rollout.id, version: rollout.version, state, finished_at, waves, targets };
    engine.store.change_rollout(change, events).await
}

fn what_moved(before: &Wave, after: &Wave) -> EventType {
    if before.opened_at.is_none() {
        EventType::WaveOpened
    } else if after.passed_at.is_some() {
        EventType::WavePassed
    } else if after.settled_at.is_some() {
        EventType::WaveSettled
    } else {
        EventType::WaveOpened
    }
}

fn state_event(state: &RolloutState, now: Timestamp, about: Subject) -> Option<Event> {
    let event = |kind| Event::new(now, kind, Actor::engine(), about);
    match state {
        RolloutState::Running { .. } => None,
        RolloutState::Paused { cause, .. } => {
            let breached = matches!(cause, PauseCause::FailureBudget { .. });
            Some(event(EventType::RolloutPaused).because(cause.to_string()).with("failure_budget", breached))
        }
        RolloutState::Stopping { verdict, .. } => {
            Some(event(EventType::RolloutExpired).with("verdict", verdict.name()))
        }
        RolloutState::Finished { verdict } => {
            let why = match verdict {
                crate::domain::rollout::Verdict::Failed { reason } => reason.clone(),
                _ => String::new(),
            };
            Some(event(EventType::RolloutFinished).because(why).with("verdict", verdict.name()))
        }
    }
}
