//! What each wave is doing, and what moves it on.

use std::time::Duration;

use super::verdict::wave_breach;
use super::windows::WindowStates;
use super::{Scene, Tallies, Tally, health, planned};
use crate::domain::Timestamp;
use crate::domain::fleet::{ApprovalRule, WaveSpec};
use crate::domain::rollout::{PauseCause, RolloutState, Wave, WaveStatus};
use crate::domain::window::WindowState;

/// What the wave at `position` is doing.
pub fn status(scene: &Scene<'_>, tallies: &Tallies, position: usize, now: Timestamp) -> WaveStatus {
    let wave = &scene.waves[position];
    if let Some(at) = wave.passed_at {
        return WaveStatus::Passed { at };
    }
    if let Some(before) = scene.waves[..position].iter().find(|before| before.passed_at.is_none()) {
        return WaveStatus::Behind { wave: before.name.clone() };
    }
    let tally = tallies.waves[position];
    let spec = spec(scene, position);
    if wave.opened_at.is_none() {
        if let Some(start_at) = spec.and_then(|spec| spec.start).filter(|&start| now < start) {
            return WaveStatus::Scheduled { start_at };
        }
        if needs_approval(spec, ApprovalRule::Before) && wave.approval.is_none() {
            return WaveStatus::AwaitingApproval { since: could_open_since(scene, position) };
        }
    }
    if let Some(PauseCause::FailureBudget { failed, allowed, wave: Some(_) }) = wave_breach(scene, tallies, position) {
        return WaveStatus::Breached { failed, allowed };
    }
    let Some(settled_at) = wave.settled_at else {
        let Tally { running, pending, deferred, .. } = tally;
        return shut(scene, tally, position, now).unwrap_or(WaveStatus::Open { running, pending, deferred });
    };
    let until = settled_at + soak(scene, position);
    let approved = !needs_approval(spec, ApprovalRule::After) || wave.approval.is_some();
    match () {
        () if now < until => WaveStatus::Soaking { until },
        () if !approved => WaveStatus::AwaitingApproval { since: until },
        () => WaveStatus::Verifying { since: until },
    }
}

/// Outside its windows, if nothing runs and the windows of all that is left are closed.
fn shut(scene: &Scene<'_>, tally: Tally, position: usize, now: Timestamp) -> Option<WaveStatus> {
    if tally.running > 0 || tally.left() == 0 || scene.plan.strategy.windows.is_empty() {
        return None;
    }
    let mut windows = WindowStates::new(scene, now);
    let mut opens_at: Option<Timestamp> = None;
    for target in scene.targets.iter().filter(|target| target.wave as usize == position && !target.state.is_settled()) {
        match &*windows.state(&planned(scene, target)?.time_zone) {
            WindowState::Open { .. } => return None,
            WindowState::Closed { opens_at: at, .. } => opens_at = super::earlier(opens_at, *at),
        }
    }
    Some(WaveStatus::OutsideWindow { opens_at })
}

/// Which waves let their targets start: those that are open, while neither they nor one before them are breached.
pub(super) fn let_start(scene: &Scene<'_>, tallies: &Tallies) -> Vec<bool> {
    let mut breached = false;
    let lets_start = |position: usize| {
        breached = breached || is_breached(scene, tallies, position);
        scene.waves[position].opened_at.is_some() && !breached
    };
    (0..scene.waves.len()).map(lets_start).collect()
}

/// A wave that has passed can't be breached any more: whoever let it pass accepted what had failed.
fn is_breached(scene: &Scene<'_>, tallies: &Tallies, position: usize) -> bool {
    scene.waves[position].passed_at.is_none() && wave_breach(scene, tallies, position).is_some()
}

/// Waves whose facts change now: at most one step each, earlier waves first.
pub(super) fn moved_on(scene: &Scene<'_>, tallies: &Tallies, now: Timestamp) -> Vec<Wave> {
    let paused = matches!(scene.rollout.state, RolloutState::Paused { .. });
    let Some(position) = scene.waves.iter().position(|wave| wave.passed_at.is_none()) else { return Vec::new() };
    let wave = &scene.waves[position];
    let spec = spec(scene, position);
    let tally = tallies.waves[position];
    if wave.opened_at.is_none() {
        let due = spec.and_then(|spec| spec.start).is_none_or(|start| now >= start);
        let approved = !needs_approval(spec, ApprovalRule::Before) || wave.approval.is_some();
        let opens = due && approved && !paused;
        return opens.then(|| opened(wave, spec, now)).into_iter().collect();
    }
    let enough = scene.plan.strategy.unreachable.min_reached.as_demand(tally.counted());
    let reached = tally.pending == 0 && tally.reached() >= enough;
    let Some(settled_at) = wave.settled_at else {
        let done = reached && tally.running == 0;
        return done.then(|| Wave { settled_at: Some(now), ..wave.clone() }).into_iter().collect();
    };
    if !reached {
        // A person had a failed target tried again: the wave is open once more. A deferred one that is tried again was
        // not waited for before, and is not waited for now.
        return vec![Wave { settled_at: None, ..wave.clone() }];
    }
    let nothing_to_see = tally.counted() == 0;
    let soaked = now >= settled_at + soak(scene, position) && health::kept(scene, tallies);
    let approved = !needs_approval(spec, ApprovalRule::After) || wave.approval.is_some();
    let passes = nothing_to_see || (soaked && approved && wave_breach(scene, tallies, position).is_none());
    passes.then(|| Wave { passed_at: Some(now), ..wave.clone() }).into_iter().collect()
}

/// The wave as it opens. A consent to what it did can't have been given before.
fn opened(wave: &Wave, spec: Option<&WaveSpec>, now: Timestamp) -> Wave {
    let approval = if needs_approval(spec, ApprovalRule::After) { None } else { wave.approval.clone() };
    Wave { opened_at: Some(now), approval, ..wave.clone() }
}

fn could_open_since(scene: &Scene<'_>, position: usize) -> Timestamp {
    let before = position.checked_sub(1).and_then(|before| scene.waves[before].passed_at);
    let start = spec(scene, position).and_then(|spec| spec.start);
    before.unwrap_or(scene.rollout.started_at).max(start.unwrap_or(scene.rollout.started_at))
}

fn needs_approval(spec: Option<&WaveSpec>, rule: ApprovalRule) -> bool {
    spec.is_some_and(|spec| spec.approval == rule)
}

pub(super) fn soak(scene: &Scene<'_>, position: usize) -> Duration {
    spec(scene, position).map_or(Duration::ZERO, |spec| spec.soak.duration())
}

/// The strategy's words for a wave; the planner's closing wave of uncovered clusters has none.
pub fn spec<'a>(scene: &Scene<'a>, position: usize) -> Option<&'a WaveSpec> {
    let name = &scene.plan.waves.get(position)?.name;
    scene.plan.strategy.waves.iter().find(|spec| spec.name == *name)
}
