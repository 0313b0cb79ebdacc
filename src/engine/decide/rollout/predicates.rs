//! What must hold before a target starts, and what was found.

use super::windows::WindowStates;
use super::{InUse, Scene, claims, planned, status, tallies};
use crate::domain::Timestamp;
use crate::domain::budget::{Claim, Scope};
use crate::domain::plan::PlannedTarget;
use crate::domain::rollout::{RolloutState, WaveStatus};
use crate::domain::target::{Target, TargetState};

/// One condition of a target's start, with its verdict and its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    /// What is asked, in a few words.
    pub what: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// What was found, in a sentence with names, numbers and times.
    pub found: String,
    /// When the answer may change by itself.
    pub changes_at: Option<Timestamp>,
}

/// Everything that must hold before `target` starts, in the order in which it is asked.
pub fn predicates(scene: &Scene<'_>, target: &Target, in_use: &InUse, now: Timestamp) -> Vec<Predicate> {
    let Some(planned) = planned(scene, target) else { return Vec::new() };
    let tallies = tallies(scene);
    let statuses: Vec<WaveStatus> = (0..scene.waves.len()).map(|wave| status(scene, &tallies, wave, now)).collect();
    let claims = claims(scene, planned);
    let mut found = vec![rollout_predicate(scene)];
    let mut windows = WindowStates::new(scene, now);
    found.extend(target_predicates(scene, &statuses, target, planned, &claims, in_use, &mut windows, now));
    found
}

fn rollout_predicate(scene: &Scene<'_>) -> Predicate {
    let (holds, found) = match &scene.rollout.state {
        RolloutState::Running { .. } => (true, "the rollout runs".to_owned()),
        RolloutState::Paused { cause, .. } => (false, format!("the rollout is paused: {cause}")),
        RolloutState::Stopping { verdict } => (false, format!("the rollout is stopping: {}", verdict.name())),
        RolloutState::Finished { verdict } => (false, format!("the rollout is finished: {}", verdict.name())),
    };
    Predicate { what: "rollout", holds, found, changes_at: None }
}

#[expect(clippy::too_many_arguments, reason = "the facts of one start, each computed once for all targets")]
pub(super) fn target_predicates(
    scene: &Scene<'_>,
    statuses: &[WaveStatus],
    target: &Target,
    planned: &PlannedTarget,
    claims: &[Claim],
    in_use: &InUse,
    windows: &mut WindowStates<'_>,
    now: Timestamp,
) -> Vec<Predicate> {
    let mut found = vec![wave_predicate(scene, statuses, target), retry_predicate(target, now)];
    found.push(windows.predicate(&planned.time_zone));
    found.extend(claims.iter().map(|claim| slot_predicate(scene, claim, in_use)));
    found
}

fn wave_predicate(scene: &Scene<'_>, statuses: &[WaveStatus], target: &Target) -> Predicate {
    let wave = target.wave as usize;
    let name = scene.waves.get(wave).map_or("", |wave| &wave.name);
    let opened = scene.waves.get(wave).is_some_and(|wave| wave.opened_at.is_some());
    let breached = statuses.iter().take(wave + 1).any(|status| matches!(status, WaveStatus::Breached { .. }));
    let status = statuses.get(wave);
    Predicate {
        what: "wave",
        holds: opened && !breached,
        found: status.map_or_else(String::new, |status| format!("wave {name}: {status}")),
        changes_at: None,
    }
}

fn retry_predicate(target: &Target, now: Timestamp) -> Predicate {
    let (holds, found, changes_at) = match &target.state {
        TargetState::Deferred { reason, retry_at } if now < *retry_at => {
            (false, format!("deferred: {reason}, next look {retry_at}"), Some(*retry_at))
        }
        TargetState::Deferred { reason, .. } => (true, format!("was deferred: {reason}; due again"), None),
        TargetState::Pending => (true, "not tried yet".to_owned(), None),
        TargetState::Running { doing, .. } => (false, format!("it runs: {doing}"), None),
        TargetState::Succeeded { at } => (false, format!("it succeeded at {at}"), None),
        TargetState::Failed { at, reason } => (false, format!("it failed at {at}: {reason}"), None),
        TargetState::Skipped { at, reason } => (false, format!("it was skipped at {at}: {reason}"), None),
    };
    Predicate { what: "target", holds, found, changes_at }
}

fn slot_predicate(scene: &Scene<'_>, claim: &Claim, in_use: &InUse) -> Predicate {
    let taken = in_use.get(&claim.scope).copied().unwrap_or(0);
    let holds = taken < claim.limit;
    let mut found = format!("{} has {taken} of {} running", claim.scope, claim.limit);
    if let (false, Scope::Label { key, value }) = (holds, &claim.scope) {
        let holders: Vec<&str> = scene
            .targets
            .iter()
            .filter(|target| matches!(target.state, TargetState::Running { .. }))
            .filter_map(|target| planned(scene, target))
            .filter(|planned| planned.labels.get(key) == Some(value))
            .map(|planned| planned.name.as_str())
            .take(8)
            .collect();
        if !holders.is_empty() {
            found = format!("{found} ({})", holders.join(", "));
        }
    }
    Predicate { what: "slot", holds, found, changes_at: None }
}
