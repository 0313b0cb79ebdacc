//! How many targets are in each state.

use super::Scene;
use crate::domain::target::{SkipReason, Target, TargetState};

/// How many targets are in each state, of one wave or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Not started.
    pub pending: u32,
    /// Under way.
    pub running: u32,
    /// Tried again later.
    pub deferred: u32,
    /// Succeeded.
    pub succeeded: u32,
    /// Failed.
    pub failed: u32,
    /// Left out, those that are owed included.
    pub skipped: u32,
    /// Left out, and owed.
    pub owed: u32,
}

impl Tally {
    fn add(&mut self, state: &TargetState) {
        match state {
            TargetState::Pending => self.pending += 1,
            TargetState::Running { .. } => self.running += 1,
            TargetState::Deferred { .. } => self.deferred += 1,
            TargetState::Succeeded { .. } => self.succeeded += 1,
            TargetState::Failed { .. } => self.failed += 1,
            TargetState::Skipped { reason, .. } => {
                self.skipped += 1;
                self.owed += u32::from(matches!(reason, SkipReason::Owed { .. }));
            }
        }
    }

    /// The targets that count: planned, without those that were left out for good.
    pub(super) const fn counted(&self) -> u32 {
        self.pending + self.running + self.deferred + self.succeeded + self.failed + self.owed
    }

    /// The targets that were reached: they came to an end of their own.
    pub(super) const fn reached(&self) -> u32 {
        self.succeeded + self.failed
    }

    /// The targets that have not come to an end.
    pub(super) const fn left(&self) -> u32 {
        self.pending + self.running + self.deferred
    }
}

/// The tallies of one rollout: counted once, asked often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Of each wave.
    pub waves: Vec<Tally>,
    /// Of the whole rollout.
    pub total: Tally,
}

/// The tallies of the rollout and of each wave.
pub fn tallies(scene: &Scene<'_>) -> Tallies {
    let mut tallies = Tallies { waves: vec![Tally::default(); scene.waves.len()], total: Tally::default() };
    for target in scene.targets {
        tallies.total.add(&target.state);
        if let Some(tally) = tallies.waves.get_mut(target.wave as usize) {
            tally.add(&target.state);
        }
    }
    tallies
}

/// The tally of the whole rollout.
pub fn total(targets: &[Target]) -> Tally {
    let mut tally = Tally::default();
    for target in targets {
        tally.add(&target.state);
    }
    tally
}
