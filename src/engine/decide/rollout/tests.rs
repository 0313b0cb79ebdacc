use std::collections::BTreeMap;

use super::*;
use crate::domain::fleet::{Amount, ApprovalRule, LabelLimit, Seconds, Strategy, Takes, WaveSpec};
use crate::domain::inventory::Workload;
use crate::domain::plan::{PlannedTask, PlannedWave};
use crate::domain::rollout::{Approval, PauseCause};
use crate::domain::target::Deferral;
use crate::domain::window::{Days, Hours, Rule, Window};
use crate::domain::{
    ClusterId, HubId, InventoryDigest, PlanDigest, ResourceKind, ResourceRef, Revision, RolloutId, TargetId, Version,
    Zone,
};
use crate::engine::decide::tests::{Zeros, at, strategy};

/// A rollout of some waves of some clusters, `w0-0`, `w0-1`, …
struct Story {
    plan: Plan,
    rollout: Rollout,
    waves: Vec<Wave>,
    targets: Vec<Target>,
    health: Option<Health>,
    hub_limit: u32,
}

fn uuid(number: usize) -> String {
    format!("01890000-0000-7000-8000-{number:012x}")
}

fn spec(name: &str) -> WaveSpec {
    WaveSpec { name: name.into(), takes: Takes::Rest, soak: Seconds(0), approval: ApprovalRule::None, start: None }
}

fn task(seconds: u32) -> PlannedTask {
    PlannedTask {
        resource: ResourceRef { kind: ResourceKind::JivaVolume, name: "pvc-1".into() },
        resource_namespace: "openebs".into(),
        namespace: "openebs".into(),
        from: Version::new(3, 5, 0),
        to: Version::new(3, 6, 0),
        image: String::new(),
        pull_secrets: vec![],
        own_executor: true,
        service_account: String::new(),
        image_prefix: String::new(),
        image_tag: String::new(),
        pools: vec![],
        workloads: Vec::<Workload>::new(),
        repair: false,
        expected_seconds: seconds,
    }
}

/// A story with so many clusters in each wave; the strategy says what `change` makes of it.
fn story(sizes: &[usize], change: impl FnOnce(&mut Strategy)) -> Story {
    let mut strategy = strategy();
    strategy.waves = (0..sizes.len()).map(|wave| spec(&format!("w{wave}"))).collect();
    change(&mut strategy);
    let rollout = RolloutId::new(at(0), &Zeros);
    let mut number = 0;
    let mut targets = Vec::new();
    let mut planned_waves = Vec::new();
    for (wave, size) in sizes.iter().enumerate() {
        let mut planned = Vec::new();
        for position in 0..*size {
            number += 1;
            let cluster: ClusterId = uuid(number).parse().unwrap();
            planned.push(PlannedTarget {
                cluster,
                name: format!("w{wave}-{position}"),
                labels: BTreeMap::new(),
                time_zone: Zone::utc(),
                inventory: InventoryDigest::of(b"inventory"),
                tasks: vec![task(60)],
            });
            let id: TargetId = uuid(number).parse().unwrap();
            let (wave, position) = (u32::try_from(wave).unwrap(), u32::try_from(position).unwrap());
            let state = TargetState::Pending;
            targets.push(Target { id, rollout, cluster, wave, position, state, first_started_at: None, version: 1 });
        }
        planned_waves.push(PlannedWave { name: format!("w{wave}"), targets: planned });
    }
    let waves = (0..sizes.len()).map(|wave| Wave {
        position: u32::try_from(wave).unwrap(),
        name: format!("w{wave}"),
        opened_at: None,
        settled_at: None,
        passed_at: None,
        approval: None,
    });
    let rollout = Rollout {
        id: rollout,
        plan: PlanDigest::of(b"plan"),
        fleet: "shops".into(),
        group: "stores".into(),
        revision: Revision::of(b"fleet"),
        state: RolloutState::Running { accepted_failures: 0 },
        started_at: at(0),
        started_by: "me".into(),
        deadline: at(1_000_000),
        finished_at: None,
        version: 1,
    };
    let plan = Plan {
        format: crate::domain::plan::PLAN_FORMAT,
        hub: HubId::new(at(0), &Zeros),
        fleet: "shops".into(),
        revision: Revision::of(b"fleet"),
        group: "stores".into(),
        to: Version::new(3, 6, 0),
        strategy,
        fleet_limits: crate::domain::fleet::Limits::default(),
        waves: planned_waves,
    };
    Story { plan, rollout, waves: waves.collect(), targets, health: None, hub_limit: 100 }
}

impl Story {
    fn scene(&self) -> Scene<'_> {
        Scene {
            plan: &self.plan,
            rollout: &self.rollout,
            waves: &self.waves,
            targets: &self.targets,
            hub_limit: self.hub_limit,
            health: self.health.as_ref(),
        }
    }

    fn decide(&self, now: Timestamp) -> Decision {
        decide(&self.scene(), &InUse::new(), now)
    }

    /// Decides and applies what does not start targets, until nothing of that is left; answers the last decision.
    fn settle(&mut self, now: Timestamp) -> Decision {
        for _ in 0..20 {
            let decision = self.decide(now);
            if decision.state.is_none() && decision.waves.is_empty() && decision.skipped.is_empty() {
                return decision;
            }
            for wave in decision.waves {
                let place = wave.position as usize;
                self.waves[place] = wave;
            }
            for target in decision.skipped {
                let place = self.targets.iter().position(|known| known.id == target.id).unwrap();
                self.targets[place] = target;
            }
            if let Some(state) = decision.state {
                self.rollout.state = state;
            }
        }
        panic!("it never settles");
    }

    fn is(&mut self, target: usize, state: TargetState) -> &mut Self {
        self.targets[target].state = state;
        self
    }

    fn resume(&mut self) {
        let failed = total(&self.targets).failed;
        self.rollout.state =
            RolloutState::Running { accepted_failures: self.rollout.state.accepted_by_resuming(failed) };
    }

    fn approve(&mut self, wave: usize, when: Timestamp) {
        self.waves[wave].approval = Some(Approval { by: "me".into(), at: when, remark: String::new() });
    }

    fn status(&self, wave: usize, now: Timestamp) -> WaveStatus {
        status(&self.scene(), &tallies(&self.scene()), wave, now)
    }

    fn names(&self, decision: &Decision) -> Vec<String> {
        let scene = self.scene();
        decision.starts.iter().map(|(target, _)| planned(&scene, target).unwrap().name.clone()).collect()
    }
}

fn succeeded() -> TargetState {
    TargetState::Succeeded { at: at(10) }
}

fn failed() -> TargetState {
    TargetState::Failed { at: at(10), reason: "it broke".into() }
}

fn running() -> TargetState {
    TargetState::Running { since: at(1), unseen_since: None, doing: String::new() }
}

fn deferred(retry_at: Timestamp) -> TargetState {
    TargetState::Deferred { reason: Deferral::Refused { error: "no".into() }, retry_at }
}

fn nights() -> Window {
    let hours = Hours { from: 22 * 60, to: 5 * 60 };
    let rule = Rule { days: Days::ALL, dates: None, hours: Some(hours), reason: None };
    Window { name: "nights".into(), allow: vec![rule], deny: vec![] }
}

fn hour(hour: i64) -> Timestamp {
    at(hour * 3_600)
}

fn healthy(asked: u32, read: u32) -> Health {
    Health { asked, read, unread: (read < asked).then(|| "w0-1".into()), ill: vec![] }
}

#[test]
fn a_wave_soaks_once_although_a_cluster_that_it_does_without_is_tried_again_and_again() {
    let mut story = story(&[50, 1], |strategy| {
        strategy.waves[0].soak = Seconds(1_800);
        strategy.unreachable.min_reached = Amount::Percent(98);
    });
    story.settle(at(0));
    for target in 0..49 {
        story.is(target, succeeded());
    }
    story.is(49, deferred(at(900)));
    story.settle(at(100));
    assert_eq!(story.status(0, at(100)), WaveStatus::Soaking { until: at(1_900) });
    story.is(49, running());
    story.settle(at(901));
    assert_eq!(story.waves[0].settled_at, Some(at(100)));
    story.health = Some(healthy(49, 49));
    story.settle(at(1_900));
    assert_eq!(story.waves[0].passed_at, Some(at(1_900)), "and it passes while that one is tried");
}

#[test]
fn a_wave_whose_failed_cluster_is_tried_again_by_a_person_is_open_again_and_soaks_anew() {
    let mut story = story(&[2, 1], |strategy| {
        strategy.waves[0].soak = Seconds(100);
        strategy.failures.allow = Amount::Number(1);
    });
    story.settle(at(0));
    story.is(0, succeeded()).is(1, failed());
    story.settle(at(20));
    story.is(1, TargetState::Pending);
    story.settle(at(30));
    assert_eq!(story.waves[0].settled_at, None);
    story.is(1, running());
    story.settle(at(40));
    story.is(1, succeeded());
    story.settle(at(50));
    assert_eq!(story.status(0, at(50)), WaveStatus::Soaking { until: at(150) });
}

#[test]
fn a_soaked_wave_waits_until_its_clusters_were_read_once_more() {
    let mut story = story(&[2, 1], |strategy| strategy.waves[0].soak = Seconds(100));
    story.settle(at(0));
    story.is(0, succeeded()).is(1, succeeded());
    story.settle(at(10));
    story.health = Some(healthy(2, 1));
    assert_eq!(story.settle(at(111)).look_at, Some(at(112)), "soon, since nothing is committed when it is read");
    assert_eq!(story.status(0, at(111)), WaveStatus::Verifying { since: at(110) });
    assert_eq!(story.waves[0].passed_at, None);
    story.health = Some(healthy(2, 2));
    story.settle(at(112));
    assert_eq!(story.waves[0].passed_at, Some(at(112)));
}

#[test]
fn health_that_is_lost_during_a_soak_pauses_the_rollout_by_name_and_whoever_resumes_it_accepts_that() {
    let mut story = story(&[2, 1], |strategy| strategy.waves[0].soak = Seconds(100));
    story.settle(at(0));
    story.is(0, succeeded()).is(1, succeeded());
    story.settle(at(10));
    let found = "jivaVolume/pvc-1: 1 of 3 replicas".to_owned();
    let ill = vec![Ill { cluster: "w0-1".into(), found: found.clone() }];
    story.health = Some(Health { ill, ..healthy(2, 0) });
    story.settle(at(50));
    let cause = PauseCause::HealthLost { wave: "w0".into(), cluster: "w0-1".into(), found, ill: 1 };
    assert_eq!(story.rollout.state, RolloutState::Paused { cause, accepted_failures: 0 });
    story.resume();
    story.settle(at(60));
    assert_eq!(story.rollout.state, RolloutState::Running { accepted_failures: 1 });
    story.health = Some(Health { read: 2, unread: None, ..story.health.clone().unwrap() });
    story.settle(at(110));
    assert_eq!(story.waves[0].passed_at, Some(at(110)));
}

#[test]
fn a_cluster_that_cannot_be_read_after_its_soak_pauses_the_rollout_unless_the_strategy_does_without_it() {
    let soaked = |min_reached| {
        let mut story = story(&[2, 1], |strategy| {
            strategy.waves[0].soak = Seconds(100);
            strategy.unreachable.min_reached = min_reached;
        });
        story.settle(at(0));
        story.is(0, succeeded()).is(1, succeeded());
        story.settle(at(10));
        story.health = Some(healthy(2, 1));
        story.settle(at(110));
        let passed = story.waves[0].passed_at.is_some();
        story.settle(at(110 + 600));
        (passed, story)
    };
    let (passed, story) = soaked(Amount::Percent(100));
    assert!(!passed);
    let RolloutState::Paused { cause, .. } = &story.rollout.state else { panic!("{:?}", story.rollout.state) };
    assert!(cause.to_string().contains("cluster w0-1: it could not be read since its soak ended"), "{cause}");
    assert!(soaked(Amount::Percent(50)).0);
}

#[test]
fn more_failures_in_a_wave_than_it_may_have_pause_the_rollout_and_resuming_accepts_those() {
    let mut story = story(&[4], |strategy| {
        strategy.failures.allow = Amount::Number(4);
        strategy.failures.per_wave = Some(Amount::Number(1));
    });
    story.settle(at(0));
    story.is(0, failed());
    assert_eq!(story.settle(at(10)).starts.len(), 3, "one may fail");
    story.is(1, failed());
    story.settle(at(20));
    let cause = PauseCause::FailureBudget { wave: Some("w0".into()), failed: 2, allowed: 1 };
    assert_eq!(story.rollout.state, RolloutState::Paused { cause, accepted_failures: 0 });
    story.resume();
    assert_eq!(story.settle(at(30)).starts.len(), 2);
    story.is(2, failed());
    story.settle(at(40));
    assert!(matches!(story.rollout.state, RolloutState::Paused { accepted_failures: 2, .. }));
}

#[test]
fn a_share_that_may_fail_is_rounded_down_and_of_those_that_count() {
    let mut story = story(&[20], |strategy| strategy.failures.allow = Amount::Percent(10));
    story.settle(at(0));
    story.is(0, failed()).is(1, failed());
    story.settle(at(10));
    assert!(matches!(story.rollout.state, RolloutState::Running { .. }));
    let reason = SkipReason::Operator { by: "me".into(), remark: String::new() };
    story.is(2, TargetState::Skipped { at: at(10), reason });
    story.settle(at(20));
    let cause = PauseCause::FailureBudget { wave: None, failed: 2, allowed: 1 };
    assert_eq!(story.rollout.state, RolloutState::Paused { cause, accepted_failures: 0 });
}

#[test]
fn what_was_accepted_stays_accepted_when_the_deadline_passes() {
    let mut story = story(&[2], |strategy| strategy.unreachable.min_reached = Amount::Percent(50));
    story.rollout.deadline = at(100);
    story.settle(at(0));
    story.is(0, failed());
    story.settle(at(10));
    story.resume();
    story.settle(at(100));
    let verdict = Verdict::Succeeded { failed: 1, owed: 1 };
    assert_eq!(story.rollout.state, RolloutState::Finished { verdict });
}

#[test]
fn what_is_deferred_at_the_deadline_is_owed_and_says_why() {
    let mut story = story(&[2], |strategy| strategy.unreachable.min_reached = Amount::Percent(50));
    story.rollout.deadline = at(100);
    story.settle(at(0));
    story.is(0, succeeded()).is(1, deferred(at(900)));
    story.settle(at(100));
    assert_eq!(story.rollout.state, RolloutState::Finished { verdict: Verdict::Succeeded { failed: 0, owed: 1 } });
    let reason = SkipReason::Owed { reason: "the cluster refused us: no".into() };
    assert_eq!(story.targets[1].state, TargetState::Skipped { at: at(100), reason });
}

#[test]
fn a_wave_passes_without_the_clusters_that_it_may_leave_unreached_and_the_rollout_waits_for_them() {
    let mut story = story(&[2, 1], |strategy| strategy.unreachable.min_reached = Amount::Percent(50));
    story.settle(at(0));
    story.is(0, succeeded()).is(1, deferred(at(900)));
    let decision = story.settle(at(10));
    assert_eq!(story.names(&decision), ["w1-0"]);
    story.is(2, succeeded());
    assert_eq!(story.settle(at(20)).look_at, Some(at(900)));
    assert!(matches!(story.rollout.state, RolloutState::Running { .. }));
    assert_eq!(story.names(&story.decide(at(900))), ["w0-1"]);
    story.is(1, succeeded());
    story.settle(at(910));
    assert_eq!(story.rollout.state, RolloutState::Finished { verdict: Verdict::Succeeded { failed: 0, owed: 0 } });
}

#[test]
fn a_wave_waits_for_its_start_and_its_approval_before_it_opens() {
    let mut story = story(&[1], |strategy| {
        strategy.waves[0].approval = ApprovalRule::Before;
        strategy.waves[0].start = Some(at(100));
    });
    assert_eq!(story.settle(at(0)).look_at, Some(at(100)));
    assert_eq!(story.status(0, at(0)), WaveStatus::Scheduled { start_at: at(100) });
    assert!(story.settle(at(100)).starts.is_empty());
    assert_eq!(story.status(0, at(120)), WaveStatus::AwaitingApproval { since: at(100) });
    story.approve(0, at(130));
    assert_eq!(story.settle(at(130)).starts.len(), 1);
}

#[test]
fn a_consent_to_what_a_wave_did_counts_only_when_it_was_given_after_the_wave_opened() {
    let mut story = story(&[1, 1], |strategy| strategy.waves[0].approval = ApprovalRule::After);
    story.approve(0, at(0));
    story.settle(at(0));
    assert_eq!(story.waves[0].approval, None);
    story.is(0, succeeded());
    story.settle(at(20));
    assert_eq!(story.status(0, at(20)), WaveStatus::AwaitingApproval { since: at(20) });
    story.approve(0, at(30));
    story.settle(at(30));
    assert_eq!(story.waves[0].passed_at, Some(at(30)));
}

#[test]
fn a_wave_of_which_nothing_was_done_neither_soaks_nor_asks_whether_it_went_well() {
    let mut story = story(&[0, 1], |strategy| {
        strategy.waves[0].soak = Seconds(1_800);
        strategy.waves[0].approval = ApprovalRule::After;
    });
    let decision = story.settle(at(0));
    assert_eq!(story.names(&decision), ["w1-0"]);
}

#[test]
fn what_a_window_shuts_out_soonest_starts_first_then_what_takes_longest_then_by_name() {
    let mut story = story(&[4], |strategy| strategy.windows = vec![nights()]);
    story.hub_limit = 3;
    let targets = &mut story.plan.waves[0].targets;
    targets[0].tasks = vec![task(60)];
    targets[1].tasks = vec![task(60), task(60)];
    targets[2].time_zone = "Europe/Berlin".parse().unwrap();
    let decision = story.settle(hour(23));
    assert_eq!(story.names(&decision), ["w0-2", "w0-1", "w0-0"]);
}

#[test]
fn a_closed_window_holds_a_wave_back_and_says_when_it_opens() {
    let mut story = story(&[2], |strategy| strategy.windows = vec![nights()]);
    assert_eq!(story.settle(hour(12)).look_at, Some(hour(22)));
    assert_eq!(story.status(0, hour(12)), WaveStatus::OutsideWindow { opens_at: Some(hour(22)) });
    assert_eq!(story.decide(hour(22)).starts.len(), 2);
    story.is(0, running());
    assert!(matches!(story.status(0, hour(12)), WaveStatus::Open { .. }), "a Job under way is finished");
}

#[test]
fn a_skipped_cluster_is_neither_owed_nor_waited_for() {
    let mut story = story(&[2], |_| {});
    story.settle(at(0));
    let reason = SkipReason::Operator { by: "me".into(), remark: String::new() };
    story.is(0, succeeded()).is(1, TargetState::Skipped { at: at(5), reason });
    story.settle(at(10));
    assert_eq!(story.rollout.state, RolloutState::Finished { verdict: Verdict::Succeeded { failed: 0, owed: 0 } });
}

#[test]
fn each_value_of_a_label_and_the_whole_have_their_limits() {
    let mut story = story(&[6], |strategy| {
        strategy.limits.per = vec![LabelLimit { label: "site".into(), running: 1 }];
        strategy.limits.running = Some(Amount::Number(2));
    });
    for (place, site) in ["a", "a", "a", "b", "b", "c"].iter().enumerate() {
        story.plan.waves[0].targets[place].labels.insert("site".into(), (*site).into());
    }
    let decision = story.settle(at(0));
    assert_eq!(story.names(&decision), ["w0-0", "w0-3"]);
}

#[test]
fn what_keeps_a_cluster_waiting_is_told_with_the_rollout_that_holds_it() {
    let mut story = story(&[1], |_| {});
    story.settle(at(0));
    let (scene, cluster) = (story.scene(), story.targets[0].cluster);
    let in_use = InUse::from([(Scope::Cluster { cluster }, 1)]);
    assert!(decide(&scene, &in_use, at(1)).starts.is_empty());
    let mut questions = Questions::new(&scene, &in_use, at(1));
    let full = questions.full_scopes(&story.targets[0]);
    let other: RolloutId = uuid(9).parse().unwrap();
    let holder = Holder { cluster: "w0-0".into(), rollout: other };
    let holders = Holders::from([(full[0].clone(), vec![holder])]);
    let unmet = questions.first_unmet(&story.targets[0], &holders).unwrap();
    assert_eq!(unmet.found, format!("the cluster has 1 of 1 running (by rollout {other})"));
}

#[test]
fn a_target_starts_exactly_when_nothing_that_is_asked_of_it_fails() {
    let mut story = story(&[3, 1], |strategy| strategy.windows = vec![nights()]);
    story.is(1, deferred(hour(23)));
    story.plan.waves[0].targets[2].time_zone = "Asia/Tokyo".parse().unwrap();
    story.settle(hour(22));
    let (scene, in_use) = (story.scene(), InUse::new());
    let started: Vec<TargetId> = story.decide(hour(22)).starts.iter().map(|(target, _)| target.id).collect();
    let mut questions = Questions::new(&scene, &in_use, hour(22));
    for target in &story.targets {
        let explained = questions.predicates(target, &Holders::new()).iter().all(|asked| asked.holds);
        assert_eq!(started.contains(&target.id), explained);
    }
    assert_eq!(started.len(), 1);
}

/// Printed, not asserted: `cargo test --lib time_of_a_decision -- --nocapture`.
#[test]
fn the_time_of_a_decision_about_ten_thousand_targets_is_told() {
    let mut story = story(&[100, 9_900], |strategy| {
        strategy.windows = vec![nights()];
        strategy.limits.per = vec![LabelLimit { label: "site".into(), running: 2 }];
    });
    for (place, planned) in story.plan.waves.iter_mut().flat_map(|wave| &mut wave.targets).enumerate() {
        planned.labels.insert("site".into(), format!("site-{}", place % 500));
    }
    story.hub_limit = 200;
    let timed = |story: &Story, what: &str, in_use: &InUse| {
        let begun = std::time::Instant::now();
        let starts = decide(&story.scene(), in_use, hour(22)).starts.len();
        println!("{what}: {starts} start, decided in {:?}", begun.elapsed());
    };
    story.settle(hour(22));
    timed(&story, "the first wave of two", &InUse::new());
    for place in 0..100 {
        story.is(place, succeeded());
    }
    story.settle(hour(22));
    timed(&story, "the second wave", &InUse::new());
    timed(&story, "one slot free", &InUse::from([(Scope::Hub, 199)]));
    timed(&story, "all slots taken", &InUse::from([(Scope::Hub, 200)]));
    let begun = std::time::Instant::now();
    let (scene, in_use) = (story.scene(), InUse::new());
    let mut questions = Questions::new(&scene, &in_use, hour(22));
    let words: usize = story.targets.iter().map(|target| questions.predicates(target, &Holders::new()).len()).sum();
    println!("all {words} answers in words, as each decision once wrote them: {:?}", begun.elapsed());
}
