//! What to do next about one rollout: a pure function of its plan, its stored facts, the slots in use, and the time.
//!
//! [`decide`] starts, opens, pauses and finishes; [`predicates`] says for one target what holds and what does not.
//! `decide` starts a target exactly when all its predicates hold, so an explanation cannot drift from the decision.

mod predicates;
mod slots;
mod tally;
mod verdict;
mod waves;
mod windows;

use std::collections::HashMap;

pub use predicates::{Predicate, predicates};
pub use slots::claims;
pub use tally::{Tally, tallies, total};
pub use waves::status;

use predicates::target_predicates;
use verdict::{breach, verdict};
use waves::moved_on;
use windows::WindowStates;

use crate::domain::budget::{Claim, Scope};
use crate::domain::plan::PlannedTarget;
use crate::domain::rollout::{Rollout, RolloutState, Verdict, Wave, WaveStatus};
use crate::domain::target::{SkipReason, Target, TargetState};
use crate::domain::{Plan, Timestamp};

/// Everything that the decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The plan being carried out.
    pub plan: &'a Plan,
    /// The rollout.
    pub rollout: &'a Rollout,
    /// Its waves, in the plan's order.
    pub waves: &'a [Wave],
    /// Its targets, by wave and position.
    pub targets: &'a [Target],
    /// The most targets that this hub runs at once.
    pub hub_limit: u32,
}

/// What is to be done, computed before anything is applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// The rollout's new state.
    pub state: Option<RolloutState>,
    /// Waves whose facts change, as they shall be.
    pub waves: Vec<Wave>,
    /// Targets that are left out now, as they shall be.
    pub skipped: Vec<Target>,
    /// Targets to start, in order, with the slots that each takes.
    pub starts: Vec<(Target, Vec<Claim>)>,
    /// When to decide anew, even if nothing happens before.
    pub look_at: Option<Timestamp>,
}

/// Slots in use, by scope.
pub type InUse = HashMap<Scope, u32>;

/// What to do next about a rollout.
pub fn decide(scene: &Scene<'_>, in_use: &InUse, now: Timestamp) -> Decision {
    match &scene.rollout.state {
        RolloutState::Finished { .. } => Decision::default(),
        RolloutState::Stopping { verdict } => stop(scene, verdict, now),
        RolloutState::Running { .. } | RolloutState::Paused { .. } if now >= scene.rollout.deadline => {
            let reason = format!("the rollout's deadline passed at {}", scene.rollout.deadline);
            Decision {
                state: Some(RolloutState::Stopping { verdict: Verdict::Failed { reason } }),
                ..Decision::default()
            }
        }
        RolloutState::Running { .. } | RolloutState::Paused { .. } => carry_on(scene, in_use, now),
    }
}

/// Leaves out what has not started, and finishes once nothing runs.
fn stop(scene: &Scene<'_>, verdict: &Verdict, now: Timestamp) -> Decision {
    let aborted = matches!(verdict, Verdict::Aborted { .. });
    let skipped: Vec<Target> = scene.targets.iter().filter_map(|target| left_out(target, aborted, now)).collect();
    if !skipped.is_empty() {
        return Decision { skipped, ..Decision::default() };
    }
    if scene.targets.iter().any(|target| !target.state.is_settled()) {
        return Decision::default();
    }
    let verdict = if aborted { verdict.clone() } else { self::verdict(scene) };
    Decision { state: Some(RolloutState::Finished { verdict }), ..Decision::default() }
}

fn left_out(target: &Target, aborted: bool, now: Timestamp) -> Option<Target> {
    let why = match &target.state {
        TargetState::Pending => "its turn never came".to_owned(),
        TargetState::Deferred { reason, .. } => reason.to_string(),
        TargetState::Running { .. }
        | TargetState::Succeeded { .. }
        | TargetState::Failed { .. }
        | TargetState::Skipped { .. } => return None,
    };
    let reason = if aborted { SkipReason::Aborted } else { SkipReason::Owed { reason: why } };
    Some(Target { state: TargetState::Skipped { at: now, reason }, ..target.clone() })
}

/// Moves waves on, finishes, pauses, or starts what may start.
fn carry_on(scene: &Scene<'_>, in_use: &InUse, now: Timestamp) -> Decision {
    let tallies = tallies(scene);
    let waves = moved_on(scene, &tallies, now);
    if !waves.is_empty() {
        return Decision { waves, ..Decision::default() };
    }
    let done = scene.waves.iter().all(|wave| wave.passed_at.is_some());
    let settled = scene.targets.iter().all(|target| target.state.is_settled());
    let breach = breach(scene, &tallies);
    if settled && (done || breach.is_some()) {
        return Decision { state: Some(RolloutState::Finished { verdict: verdict(scene) }), ..Decision::default() };
    }
    let mut decision = Decision { look_at: next_change(scene, &tallies, now), ..Decision::default() };
    let RolloutState::Running { accepted_failures } = scene.rollout.state else { return decision };
    if let Some(cause) = breach {
        decision.state = Some(RolloutState::Paused { cause, accepted_failures });
        return decision;
    }
    start_what_may(scene, &tallies, in_use, now, &mut decision);
    decision
}

/// Starts every target whose predicates hold, in order, counting the slots that each takes.
fn start_what_may(scene: &Scene<'_>, tallies: &[Tally], in_use: &InUse, now: Timestamp, decision: &mut Decision) {
    let mut in_use = in_use.clone();
    let mut windows = WindowStates::new(scene, now);
    let statuses: Vec<WaveStatus> = (0..scene.waves.len()).map(|wave| status(scene, tallies, wave, now)).collect();
    let mut candidates: Vec<(&Target, &PlannedTarget)> = scene
        .targets
        .iter()
        .filter(|target| matches!(target.state, TargetState::Pending | TargetState::Deferred { .. }))
        .filter_map(|target| Some((target, planned(scene, target)?)))
        .collect();
    // What a window is about to shut out goes first, then what takes longest: the makespan's lower bound is near then.
    candidates.sort_by_cached_key(|(target, planned)| {
        let closes = windows.closes_at(&planned.time_zone).map_or(i64::MAX, Timestamp::as_micros);
        (target.wave, closes, std::cmp::Reverse(planned.expected_seconds()), planned.name.clone())
    });
    for (target, planned) in candidates {
        let claims = claims(scene, planned);
        let found = target_predicates(scene, &statuses, target, planned, &claims, &in_use, &mut windows, now);
        if let Some(unmet) = found.iter().find(|predicate| !predicate.holds) {
            decision.look_at = earlier(decision.look_at, unmet.changes_at);
            continue;
        }
        for claim in &claims {
            *in_use.entry(claim.scope.clone()).or_default() += 1;
        }
        decision.starts.push((target.clone(), claims));
    }
}

/// When a wave's state changes by the clock alone.
fn next_change(scene: &Scene<'_>, tallies: &[Tally], now: Timestamp) -> Option<Timestamp> {
    let by_wave = (0..scene.waves.len()).filter_map(|position| match status(scene, tallies, position, now) {
        WaveStatus::Scheduled { start_at } => Some(start_at),
        WaveStatus::Soaking { until } => Some(until),
        WaveStatus::Behind { .. }
        | WaveStatus::AwaitingApproval { .. }
        | WaveStatus::Open { .. }
        | WaveStatus::Breached { .. }
        | WaveStatus::Passed { .. } => None,
    });
    by_wave.chain([scene.rollout.deadline]).min()
}

/// What the plan says about a target.
pub fn planned<'a>(scene: &Scene<'a>, target: &Target) -> Option<&'a PlannedTarget> {
    scene.plan.waves.get(target.wave as usize)?.targets.get(target.position as usize)
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
