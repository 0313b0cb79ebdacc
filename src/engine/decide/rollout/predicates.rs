//! What must hold before a target starts, and what was found.
//!
//! The decision asks thousands of targets at each look, so a question is a value that tells whether it holds; it is put
//! into words only where somebody reads them. Both come from the same value, so they cannot drift apart.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::windows::WindowStates;
use super::{InUse, Limits, Scene, Tallies, planned, status, tallies, waves};
use crate::domain::budget::{Claim, Scope};
use crate::domain::plan::PlannedTarget;
use crate::domain::rollout::RolloutState;
use crate::domain::target::{Target, TargetState};
use crate::domain::window::WindowState;
use crate::domain::{RolloutId, Timestamp};

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

/// A cluster that holds a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The cluster's name.
    pub cluster: String,
    /// The rollout that works on it.
    pub rollout: RolloutId,
}

/// Who holds slots, by the key of the scope: as far as they were looked up.
pub type Holders = BTreeMap<String, Vec<Holder>>;

/// So many holders are named.
const HOLDERS_NAMED: usize = 8;

/// One condition of a target's start, before it is put into words.
pub(super) enum Asked<'a> {
    Rollout { state: &'a RolloutState },
    Wave { position: usize, lets_start: bool },
    Target { state: &'a TargetState, now: Timestamp },
    Window { state: Rc<WindowState> },
    Slot { claim: Claim, taken: u32 },
}

impl Asked<'_> {
    pub(super) fn holds(&self) -> bool {
        match self {
            Self::Rollout { state } => matches!(state, RolloutState::Running { .. }),
            Self::Wave { lets_start, .. } => *lets_start,
            Self::Target { state, now } => match state {
                TargetState::Pending => true,
                TargetState::Deferred { retry_at, .. } => now >= retry_at,
                TargetState::Running { .. }
                | TargetState::Succeeded { .. }
                | TargetState::Failed { .. }
                | TargetState::Skipped { .. } => false,
            },
            Self::Window { state } => matches!(**state, WindowState::Open { .. }),
            Self::Slot { claim, taken } => *taken < claim.limit,
        }
    }

    /// The slot that is asked for.
    pub(super) fn claim(self) -> Option<Claim> {
        match self {
            Self::Slot { claim, .. } => Some(claim),
            Self::Rollout { .. } | Self::Wave { .. } | Self::Target { .. } | Self::Window { .. } => None,
        }
    }

    /// When the answer may change by the clock alone.
    pub(super) fn changes_at(&self) -> Option<Timestamp> {
        match self {
            Self::Target { state: TargetState::Deferred { retry_at, .. }, now } if now < retry_at => Some(*retry_at),
            Self::Window { state } => match **state {
                WindowState::Closed { opens_at, .. } => opens_at,
                WindowState::Open { .. } => None,
            },
            Self::Rollout { .. } | Self::Wave { .. } | Self::Target { .. } | Self::Slot { .. } => None,
        }
    }
}

/// What is asked of the targets of one rollout at one instant.
pub struct Questions<'a> {
    scene: Scene<'a>,
    tallies: Tallies,
    limits: Limits<'a>,
    in_use: InUse,
    windows: WindowStates<'a>,
    lets_start: Vec<bool>,
    now: Timestamp,
}

impl<'a> Questions<'a> {
    /// The questions at `now`.
    pub fn new(scene: &Scene<'a>, in_use: &InUse, now: Timestamp) -> Self {
        Self::counted(scene, tallies(scene), in_use, now)
    }

    pub(super) fn counted(scene: &Scene<'a>, tallies: Tallies, in_use: &InUse, now: Timestamp) -> Self {
        let lets_start = waves::let_start(scene, &tallies);
        let (limits, windows) = (Limits::of(scene), WindowStates::new(scene, now));
        Self { scene: *scene, tallies, limits, in_use: in_use.clone(), windows, lets_start, now }
    }

    /// Everything that must hold before `target` starts, in the order in which it is asked.
    pub fn predicates(&mut self, target: &'a Target, holders: &Holders) -> Vec<Predicate> {
        let Some(planned) = planned(&self.scene, target) else { return Vec::new() };
        let asked = self.all(target, planned);
        asked.iter().map(|asked| self.in_words(asked, holders)).collect()
    }

    /// The first condition that keeps `target` from starting.
    pub fn first_unmet(&mut self, target: &'a Target, holders: &Holders) -> Option<Predicate> {
        let planned = planned(&self.scene, target)?;
        let unmet = self.all(target, planned).into_iter().find(|asked| !asked.holds())?;
        Some(self.in_words(&unmet, holders))
    }

    /// The keys of the full scopes that keep `target` from starting: whoever holds them may be looked up.
    pub fn full_scopes(&mut self, target: &'a Target) -> Vec<String> {
        let Some(planned) = planned(&self.scene, target) else { return Vec::new() };
        let full = self.slots(planned).into_iter().filter(|asked| !asked.holds());
        let keys = full.filter_map(|asked| match asked {
            Asked::Slot { claim, .. } if is_narrow(&claim.scope) => Some(claim.scope.key()),
            _ => None,
        });
        keys.collect()
    }

    fn all(&mut self, target: &'a Target, planned: &'a PlannedTarget) -> Vec<Asked<'a>> {
        let mut asked = vec![self.rollout()];
        asked.extend(self.of_itself(target, planned));
        asked.extend(self.slots(planned));
        asked
    }

    pub(super) fn rollout(&self) -> Asked<'a> {
        Asked::Rollout { state: &self.scene.rollout.state }
    }

    /// What is asked of the target whatever else runs.
    pub(super) fn of_itself(&mut self, target: &'a Target, planned: &'a PlannedTarget) -> [Asked<'a>; 3] {
        let position = target.wave as usize;
        let lets_start = self.lets_start.get(position).copied().unwrap_or(false);
        [
            Asked::Wave { position, lets_start },
            Asked::Target { state: &target.state, now: self.now },
            Asked::Window { state: self.windows.state(&planned.time_zone) },
        ]
    }

    /// A slot in each scope that limits the target.
    pub(super) fn slots(&self, planned: &PlannedTarget) -> Vec<Asked<'a>> {
        let taken = |claim: &Claim| self.in_use.get(&claim.scope).copied().unwrap_or(0);
        let claims = self.limits.claims(planned).into_iter();
        claims.map(|claim| Asked::Slot { taken: taken(&claim), claim }).collect()
    }

    /// Whether nothing at all can start, whatever else is asked.
    pub(super) fn full(&self) -> bool {
        self.limits.full(&self.in_use)
    }

    pub(super) fn take(&mut self, claims: &[Claim]) {
        for claim in claims {
            *self.in_use.entry(claim.scope.clone()).or_default() += 1;
        }
    }

    fn in_words(&self, asked: &Asked<'_>, holders: &Holders) -> Predicate {
        let (what, found) = match asked {
            Asked::Rollout { state } => ("rollout", rollout_in_words(state)),
            Asked::Wave { position, .. } => ("wave", self.wave_in_words(*position)),
            Asked::Target { state, now } => ("target", target_in_words(state, *now)),
            Asked::Window { state } => ("window", window_in_words(state)),
            Asked::Slot { claim, taken } => ("slot", self.slot_in_words(claim, *taken, holders)),
        };
        Predicate { what, holds: asked.holds(), found, changes_at: asked.changes_at() }
    }

    fn wave_in_words(&self, position: usize) -> String {
        let Some(wave) = self.scene.waves.get(position) else { return String::new() };
        format!("wave {}: {}", wave.name, status(&self.scene, &self.tallies, position, self.now))
    }

    fn slot_in_words(&self, claim: &Claim, taken: u32, holders: &Holders) -> String {
        let found = format!("{} has {taken} of {} running", claim.scope, claim.limit);
        if taken < claim.limit || !is_narrow(&claim.scope) {
            return found;
        }
        let named = match holders.get(&claim.scope.key()) {
            Some(holders) => self.named(&claim.scope, holders),
            None => self.own_holders(&claim.scope),
        };
        if named.is_empty() { found } else { format!("{found} ({})", named.join(", ")) }
    }

    /// The holders by name, and those of another rollout with its id.
    fn named(&self, scope: &Scope, holders: &[Holder]) -> Vec<String> {
        let own = self.scene.rollout.id;
        let name = |holder: &Holder| match scope {
            Scope::Cluster { .. } => format!("by rollout {}", holder.rollout),
            _ if holder.rollout == own => holder.cluster.clone(),
            _ => format!("{} of rollout {}", holder.cluster, holder.rollout),
        };
        holders.iter().take(HOLDERS_NAMED).map(name).collect()
    }

    /// The holders in this rollout, when nobody looked further.
    fn own_holders(&self, scope: &Scope) -> Vec<String> {
        let Scope::Label { key, value } = scope else { return Vec::new() };
        let running = self.scene.targets.iter().filter(|target| matches!(target.state, TargetState::Running { .. }));
        let planned = running.filter_map(|target| planned(&self.scene, target));
        let holders = planned.filter(|planned| planned.labels.get(key) == Some(value));
        holders.map(|planned| planned.name.clone()).take(HOLDERS_NAMED).collect()
    }
}

/// Whether so few hold slots of this scope that their names tell something.
const fn is_narrow(scope: &Scope) -> bool {
    matches!(scope, Scope::Cluster { .. } | Scope::Label { .. })
}

fn rollout_in_words(state: &RolloutState) -> String {
    match state {
        RolloutState::Running { .. } => "the rollout runs".to_owned(),
        RolloutState::Paused { cause, .. } => format!("the rollout is paused: {cause}"),
        RolloutState::Stopping { verdict, .. } => format!("the rollout is stopping: {}", verdict.name()),
        RolloutState::Finished { verdict } => format!("the rollout is finished: {}", verdict.name()),
    }
}

fn target_in_words(state: &TargetState, now: Timestamp) -> String {
    match state {
        TargetState::Pending => "not tried yet".to_owned(),
        TargetState::Deferred { reason, retry_at } if now < *retry_at => {
            format!("deferred: {reason}, next look {retry_at}")
        }
        TargetState::Deferred { reason, .. } => format!("was deferred: {reason}; due again"),
        TargetState::Running { doing, .. } => format!("it runs: {doing}"),
        TargetState::Succeeded { at } => format!("it succeeded at {at}"),
        TargetState::Failed { at, reason } => format!("it failed at {at}: {reason}"),
        TargetState::Skipped { at, reason } => format!("it was skipped at {at}: {reason}"),
    }
}

fn window_in_words(state: &WindowState) -> String {
    match state {
        WindowState::Open { closes_at: None } => "no window shuts it out".to_owned(),
        WindowState::Open { closes_at: Some(at) } => format!("its window is open until {at}"),
        WindowState::Closed { opens_at: Some(at), reason } => format!("{reason}; its window opens at {at}"),
        WindowState::Closed { opens_at: None, reason } => format!("{reason}; no window opens"),
    }
}
