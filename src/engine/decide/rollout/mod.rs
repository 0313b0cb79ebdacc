//! What to do next about one rollout: a pure function of its plan, its stored facts, the slots in use, the health of
//! what soaks, and the time.
//!
//! [`decide`] starts, opens, pauses and finishes; [`Questions`] say for one target what holds and what does not.
//! `decide` starts a target exactly when all its questions hold, so an explanation cannot drift from the decision.

mod health;
mod predicates;
mod slots;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;
mod waves;
mod windows;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

pub use health::{Health, Ill, Soak, soaking};
pub use predicates::{Holder, Holders, Predicate, Questions};
pub use slots::Limits;
pub use tally::{Tallies, Tally, tallies, total};
pub use waves::{spec, status};

use predicates::Asked;
use verdict::{accepted, breach, verdict};
use waves::moved_on;

use crate::domain::budget::{Claim, Scope};
use crate::domain::plan::PlannedTarget;
use crate::domain::rollout::{Rollout, RolloutState, Verdict, Wave, WaveStatus};
use crate::domain::target::{SkipReason, Target, TargetState};
use crate::domain::window::WindowState;
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
    /// What is known of the clusters of the wave that soaks, where somebody looked.
    pub health: Option<&'a Health>,
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
        RolloutState::Stopping { verdict, .. } => stop(scene, verdict, now),
        RolloutState::Running { .. } | RolloutState::Paused { .. } if now >= scene.rollout.deadline => {
            let reason = format!("the rollout's deadline passed at {}", scene.rollout.deadline);
            let verdict = Verdict::Failed { reason };
            Decision {
                state: Some(RolloutState::Stopping { verdict, accepted_failures: accepted(scene) }),
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
    let tallies = tallies(scene);
    if tallies.total.left() > 0 {
        return Decision::default();
    }
    let verdict = if aborted { verdict.clone() } else { self::verdict(scene, &tallies) };
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
    let breach = breach(scene, &tallies);
    if tallies.total.left() == 0 && (done || breach.is_some()) {
        let verdict = verdict(scene, &tallies);
        return Decision { state: Some(RolloutState::Finished { verdict }), ..Decision::default() };
    }
    let mut decision = Decision { look_at: next_change(scene, &tallies, now), ..Decision::default() };
    let RolloutState::Running { accepted_failures } = scene.rollout.state else { return decision };
    if let Some(cause) = breach.or_else(|| health::lost(scene, &tallies, now)) {
        decision.state = Some(RolloutState::Paused { cause, accepted_failures });
        return decision;
    }
    start_what_may(scene, tallies, in_use, now, &mut decision);
    decision
}

/// Starts every target that nothing keeps from starting, in order, counting the slots that each takes.
///
/// This runs at each commit, over everything that waits: what no slot is left for is not looked at, and only as many as
/// start are taken out of their order.
fn start_what_may(scene: &Scene<'_>, tallies: Tallies, in_use: &InUse, now: Timestamp, decision: &mut Decision) {
    let mut questions = Questions::counted(scene, tallies, in_use, now);
    // Whatever gives a slot back commits, and that is looked at.
    if questions.full() || !questions.rollout().holds() {
        return;
    }
    let mut waiting = Vec::new();
    for (place, target) in scene.targets.iter().enumerate() {
        if !matches!(target.state, TargetState::Pending | TargetState::Deferred { .. }) {
            continue;
        }
        let Some(planned) = planned(scene, target) else { continue };
        let asked = questions.of_itself(target, planned);
        match asked.iter().find(|asked| !asked.holds()) {
            Some(unmet) => decision.look_at = earlier(decision.look_at, unmet.changes_at()),
            None => waiting.push(Reverse((target.wave, closes_at(&asked), urgency(planned), place))),
        }
    }
    let mut waiting = BinaryHeap::from(waiting);
    while !questions.full() {
        let Some(Reverse((.., place))) = waiting.pop() else { return };
        let target = &scene.targets[place];
        let Some(planned) = planned(scene, target) else { continue };
        let slots = questions.slots(planned);
        if slots.iter().all(Asked::holds) {
            let claims: Vec<Claim> = slots.into_iter().filter_map(Asked::claim).collect();
            questions.take(&claims);
            decision.starts.push((target.clone(), claims));
        }
    }
}

/// What a window is about to shut out goes first …
fn closes_at(asked: &[Asked<'_>]) -> i64 {
    let closes_at = asked.iter().find_map(|asked| match asked {
        Asked::Window { state } => match **state {
            WindowState::Open { closes_at } => closes_at,
            WindowState::Closed { .. } => None,
        },
        _ => None,
    });
    closes_at.map_or(i64::MAX, Timestamp::as_micros)
}

/// … then what takes longest (the makespan's lower bound is near then), then by name.
fn urgency(planned: &PlannedTarget) -> (Reverse<u64>, &str) {
    (Reverse(planned.expected_seconds()), &planned.name)
}

/// When a wave's state changes by the clock alone.
fn next_change(scene: &Scene<'_>, tallies: &Tallies, now: Timestamp) -> Option<Timestamp> {
    let current = scene.waves.iter().position(|wave| wave.passed_at.is_none());
    let changes_at = current.and_then(|position| match status(scene, tallies, position, now) {
        WaveStatus::Scheduled { start_at } => Some(start_at),
        WaveStatus::Soaking { until } => Some(until),
        WaveStatus::Verifying { .. } => Some(now + health::LOOK_WHILE_READ),
        WaveStatus::OutsideWindow { .. }
        | WaveStatus::Behind { .. }
        | WaveStatus::AwaitingApproval { .. }
        | WaveStatus::Open { .. }
        | WaveStatus::Breached { .. }
        | WaveStatus::Passed { .. } => None,
    });
    earlier(changes_at, Some(scene.rollout.deadline))
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
