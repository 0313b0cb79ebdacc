//! What to do next about one rollout: a pure function of its plan, its stored facts, the slots in use, and the time.
//!
//! [`decide`] starts, opens, pauses and finishes; [`predicates`] says for one target what holds and what does not.
//! `decide` starts a target exactly when all its predicates hold, so an explanation cannot drift from the decision.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::domain::budget::{Claim, Scope};
use crate::domain::fleet::{ApprovalRule, WaveSpec};
use crate::domain::plan::PlannedTarget;
use crate::domain::rollout::{PauseCause, Rollout, RolloutState, Verdict, Wave, WaveStatus};
use crate::domain::target::{SkipReason, Target, TargetState};
use crate::domain::window::{self, WindowState};
use crate::domain::{Plan, Timestamp, Zone};

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
fn target_predicates(
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

/// The slots that a target takes, one for each scope that limits it, in the order of their keys.
pub fn claims(scene: &Scene<'_>, planned: &PlannedTarget) -> Vec<Claim> {
    let plan = scene.plan;
    let total = u32::try_from(scene.targets.len()).unwrap_or(u32::MAX);
    let mut limits: BTreeMap<Scope, u32> = BTreeMap::new();
    let mut limit = |scope: Scope, limit: u32| {
        let entry = limits.entry(scope).or_insert(limit);
        *entry = (*entry).min(limit);
    };
    limit(Scope::Hub, scene.hub_limit);
    limit(Scope::Cluster { cluster: planned.cluster }, 1);
    if let Some(running) = plan.fleet_limits.running {
        limit(Scope::Fleet { fleet: plan.fleet.clone() }, running.as_limit(total));
    }
    if let Some(running) = plan.strategy.limits.running {
        limit(Scope::Rollout { rollout: scene.rollout.id }, running.as_limit(total));
    }
    for per in plan.fleet_limits.per.iter().chain(&plan.strategy.limits.per) {
        if let Some(value) = planned.labels.get(&per.label) {
            limit(Scope::Label { key: per.label.clone(), value: value.clone() }, per.running);
        }
    }
    let mut claims: Vec<Claim> = limits.into_iter().map(|(scope, limit)| Claim { scope, limit }).collect();
    claims.sort_by_key(|claim| claim.scope.key());
    claims
}

/// How many targets of one wave are in each state.
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
    const fn counted(&self) -> u32 {
        self.pending + self.running + self.deferred + self.succeeded + self.failed + self.owed
    }

    /// The targets that were reached: they came to an end of their own.
    const fn reached(&self) -> u32 {
        self.succeeded + self.failed
    }
}

/// The tally of each wave.
pub fn tallies(scene: &Scene<'_>) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); scene.waves.len()];
    for target in scene.targets {
        if let Some(tally) = tallies.get_mut(target.wave as usize) {
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
fn moved_on(scene: &Scene<'_>, tallies: &[Tally], now: Timestamp) -> Vec<Wave> {
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

/// What breaches an allowance, of a wave or of the rollout, that nobody accepted.
fn breach(scene: &Scene<'_>, tallies: &[Tally]) -> Option<PauseCause> {
    let of_a_wave = (0..scene.waves.len()).find_map(|position| wave_breach(scene, &tallies[position], position));
    of_a_wave.or_else(|| {
        let tally = total(scene.targets);
        let allowed = scene.plan.strategy.failures.allow.as_allowance(tally.counted());
        let exceeded = tally.failed > allowed.max(accepted(scene));
        exceeded.then_some(PauseCause::FailureBudget { wave: None, failed: tally.failed, allowed })
    })
}

fn wave_breach(scene: &Scene<'_>, tally: &Tally, position: usize) -> Option<PauseCause> {
    let allowed = scene.plan.strategy.failures.per_wave?.as_allowance(tally.counted());
    let accepted = total(scene.targets).failed <= accepted(scene);
    (tally.failed > allowed && !accepted).then(|| PauseCause::FailureBudget {
        wave: Some(scene.waves[position].name.clone()),
        failed: tally.failed,
        allowed,
    })
}

fn accepted(scene: &Scene<'_>) -> u32 {
    match scene.rollout.state {
        RolloutState::Running { accepted_failures } | RolloutState::Paused { accepted_failures, .. } => {
            accepted_failures
        }
        RolloutState::Stopping { .. } | RolloutState::Finished { .. } => 0,
    }
}

/// What the rollout came to, once every target is settled.
fn verdict(scene: &Scene<'_>) -> Verdict {
    let strategy = &scene.plan.strategy;
    let tally = total(scene.targets);
    let counted = tally.counted();
    let allowed = strategy.failures.allow.as_allowance(counted).max(accepted(scene));
    if tally.failed > allowed {
        return Verdict::Failed { reason: format!("{} of {counted} failed, {allowed} allowed", tally.failed) };
    }
    if let Some(PauseCause::FailureBudget { wave: Some(wave), failed, allowed }) = breach(scene, &tallies(scene)) {
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

/// What the plan says about a target.
pub fn planned<'a>(scene: &Scene<'a>, target: &Target) -> Option<&'a PlannedTarget> {
    scene.plan.waves.get(target.wave as usize)?.targets.get(target.position as usize)
}

/// The state of the strategy's windows, looked up once for each time zone.
struct WindowStates<'a> {
    windows: &'a [window::Window],
    now: Timestamp,
    by_zone: HashMap<Zone, WindowState>,
}

impl<'a> WindowStates<'a> {
    fn new(scene: &Scene<'a>, now: Timestamp) -> Self {
        Self { windows: &scene.plan.strategy.windows, now, by_zone: HashMap::new() }
    }

    fn state(&mut self, zone: &Zone) -> &WindowState {
        let (windows, now) = (self.windows, self.now);
        self.by_zone.entry(zone.clone()).or_insert_with(|| window::state(windows, now, zone))
    }

    fn closes_at(&mut self, zone: &Zone) -> Option<Timestamp> {
        match self.state(zone) {
            WindowState::Open { closes_at } => *closes_at,
            WindowState::Closed { .. } => None,
        }
    }

    fn predicate(&mut self, zone: &Zone) -> Predicate {
        let (holds, found, changes_at) = match self.state(zone) {
            WindowState::Open { closes_at: None } => (true, "no window shuts it out".to_owned(), None),
            WindowState::Open { closes_at: Some(at) } => (true, format!("its window is open until {at}"), None),
            WindowState::Closed { opens_at: Some(at), reason } => {
                (false, format!("{reason}; its window opens at {at}"), Some(*at))
            }
            WindowState::Closed { opens_at: None, reason } => (false, format!("{reason}; no window opens"), None),
        };
        Predicate { what: "window", holds, found, changes_at }
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
