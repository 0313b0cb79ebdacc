//! What each wave is doing, and what moves it on.

use std::time::Duration;

use super::verdict::wave_breach;
use super::{Scene, Tally};
use crate::domain::Timestamp;
use crate::domain::fleet::{ApprovalRule, WaveSpec};
use crate::domain::rollout::{PauseCause, RolloutState, Wave, WaveStatus};

/// What the wave at `position` is doing.
pub fn status(scene: &Scene<'_>, tallies: &[Tally], position: usize, now: Timestamp) -> WaveStatus {
    let wave = &scene.waves[position];
    if let Some(at) = wave.passed_at {
        return WaveStatus::Passed { at };
    }
    if let Some(before) = scene.waves[..position].iter().find(|before| before.passed_at.is_none()) {
        return WaveStatus::Behind { wave: before.name.clone() };
    }
    let tally = &tallies[position];
    let spec = spec(scene, position);
    if wave.opened_at.is_none() {
        if let Some(start_at) = spec.and_then(|spec| spec.start).filter(|&start| now < start) {
            return WaveStatus::Scheduled { start_at };
        }
        if needs_approval(spec, ApprovalRule::Before) && wave.approval.is_none() {
            return WaveStatus::AwaitingApproval { since: could_open_since(scene, position) };
        }
    }
    if let Some(PauseCause::FailureBudget { failed, allowed, wave: Some(_) }) = wave_breach(scene, tally, position) {
        return WaveStatus::Breached { failed, allowed };
    }
    match wave.settled_at {
        Some(settled_at) => {
            let until = settled_at + soak(spec);
            if now < until { WaveStatus::Soaking { until } } else { WaveStatus::AwaitingApproval { since: until } }
        }
        None => WaveStatus::Open { running: tally.running, pending: tally.pending, deferred: tally.deferred },
    }
}

/// Waves whose facts change now: at most one step each, earlier waves first.
pub(super) fn moved_on(scene: &Scene<'_>, tallies: &[Tally], now: Timestamp) -> Vec<Wave> {
    let paused = matches!(scene.rollout.state, RolloutState::Paused { .. });
    let Some(position) = scene.waves.iter().position(|wave| wave.passed_at.is_none()) else { return Vec::new() };
    let wave = &scene.waves[position];
    let spec = spec(scene, position);
    let tally = &tallies[position];
    if wave.opened_at.is_none() {
        let due = spec.and_then(|spec| spec.start).is_none_or(|start| now >= start);
        let approved = !needs_approval(spec, ApprovalRule::Before) || wave.approval.is_some();
        let opens = due && approved && !paused;
        return opens.then(|| Wave { opened_at: Some(now), ..wave.clone() }).into_iter().collect();
    }
    let enough = scene.plan.strategy.unreachable.min_reached.as_demand(tally.counted());
    let done = tally.pending == 0 && tally.running == 0 && tally.reached() >= enough;
    let Some(settled_at) = wave.settled_at else {
        return done.then(|| Wave { settled_at: Some(now), ..wave.clone() }).into_iter().collect();
    };
    if !done {
        // A person had a failed target tried again: the wave is open once more.
        return vec![Wave { settled_at: None, ..wave.clone() }];
    }
    let soaked = now >= settled_at + soak(spec);
    let approved = !needs_approval(spec, ApprovalRule::After) || wave.approval.is_some();
    let passes = soaked && approved && wave_breach(scene, tally, position).is_none();
    passes.then(|| Wave { passed_at: Some(now), ..wave.clone() }).into_iter().collect()
}

fn could_open_since(scene: &Scene<'_>, position: usize) -> Timestamp {
    let before = position.checked_sub(1).and_then(|before| scene.waves[before].passed_at);
    let start = spec(scene, position).and_then(|spec| spec.start);
    before.unwrap_or(scene.rollout.started_at).max(start.unwrap_or(scene.rollout.started_at))
}

fn needs_approval(spec: Option<&WaveSpec>, rule: ApprovalRule) -> bool {
    spec.is_some_and(|spec| spec.approval == rule)
}

fn soak(spec: Option<&WaveSpec>) -> Duration {
    spec.map_or(Duration::ZERO, |spec| spec.soak.duration())
}

/// The strategy's words for a wave; the planner's closing wave of uncovered clusters has none.
fn spec<'a>(scene: &Scene<'a>, position: usize) -> Option<&'a WaveSpec> {
    let name = &scene.plan.waves.get(position)?.name;
    scene.plan.strategy.waves.iter().find(|spec| spec.name == *name)
}
