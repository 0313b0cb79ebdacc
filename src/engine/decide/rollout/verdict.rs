//! What breaches an allowance, and what a rollout came to.

use super::{Scene, Tallies};
use crate::domain::rollout::{PauseCause, RolloutState, Verdict};

/// What breaches an allowance, of a wave or of the rollout, that nobody accepted.
pub(super) fn breach(scene: &Scene<'_>, tallies: &Tallies) -> Option<PauseCause> {
    let of_a_wave = (0..scene.waves.len()).find_map(|position| wave_breach(scene, tallies, position));
    of_a_wave.or_else(|| {
        let tally = tallies.total;
        let allowed = scene.plan.strategy.failures.allow.as_allowance(tally.counted());
        let exceeded = tally.failed > allowed.max(accepted(scene));
        exceeded.then_some(PauseCause::FailureBudget { wave: None, failed: tally.failed, allowed })
    })
}

pub(super) fn wave_breach(scene: &Scene<'_>, tallies: &Tallies, position: usize) -> Option<PauseCause> {
    let tally = tallies.waves[position];
    let allowed = scene.plan.strategy.failures.per_wave?.as_allowance(tally.counted());
    let accepted = tallies.total.failed <= accepted(scene);
    (tally.failed > allowed && !accepted).then(|| PauseCause::FailureBudget {
        wave: Some(scene.waves[position].name.clone()),
        failed: tally.failed,
        allowed,
    })
}

/// What was accepted by whoever resumed it last; a deadline that passes meanwhile takes nothing of that back.
pub(super) fn accepted(scene: &Scene<'_>) -> u32 {
    match scene.rollout.state {
        RolloutState::Running { accepted_failures }
        | RolloutState::Paused { accepted_failures, .. }
        | RolloutState::Stopping { accepted_failures, .. } => accepted_failures,
        RolloutState::Finished { .. } => 0,
    }
}

/// What the rollout came to, once every target is settled.
pub(super) fn verdict(scene: &Scene<'_>, tallies: &Tallies) -> Verdict {
    let strategy = &scene.plan.strategy;
    let tally = tallies.total;
    let counted = tally.counted();
    let allowed = strategy.failures.allow.as_allowance(counted).max(accepted(scene));
    if tally.failed > allowed {
        return Verdict::Failed { reason: format!("{} of {counted} failed, {allowed} allowed", tally.failed) };
    }
    if let Some(PauseCause::FailureBudget { wave: Some(wave), failed, allowed }) = breach(scene, tallies) {
        return Verdict::Failed { reason: format!("wave {wave} has {failed} failed, {allowed} allowed") };
    }
    let enough = strategy.failures.at_least_succeeded.map_or(0, |demand| demand.as_demand(counted));
    if tally.succeeded < enough {
        return Verdict::Failed { reason: format!("{} of {counted} succeeded, {enough} demanded", tally.succeeded) };
    }
    let reach = strategy.unreachable.min_reached.as_demand(counted);
    if tally.reached() < reach {
        return Verdict::Failed {
            reason: format!("{} of {counted} were reached, {reach} demanded; {} are owed", tally.reached(), tally.owed),
        };
    }
    Verdict::Succeeded { failed: tally.failed, owed: tally.owed }
}
