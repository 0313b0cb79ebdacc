//! A fleet as one YAML document with every default written out: what `fleet show` prints, and what reads back as the
//! same fleet.

use super::raw::{
    RawApproval, RawAttached, RawBackoff, RawDeadlines, RawDocument, RawExecutor, RawFailures, RawGroup, RawImages,
    RawKind, RawLabelLimit, RawLateJoiners, RawLimits, RawMaker, RawMetadata, RawMode, RawResources, RawRetries,
    RawRule, RawSpec, RawStrategy, RawTarget, RawUncovered, RawUnreachable, RawWave, RawWhenWindowCloses, RawWindow,
};
use crate::domain::fleet::{
    Amount, ApprovalRule, Attached, Deadlines, ExecutorMaker, ExecutorSpec, Failures, Fleet, Group, Images, Limits,
    ResourceFilter, Retries, Strategy, Takes, TargetSpec, Uncovered, Unreachable, WaveSpec,
};
use crate::domain::window::{Dates, Days, Hours, Rule, Window};
use crate::domain::{ResourceKind, Seconds};
use crate::openebs;

/// `fleet` as YAML.
pub fn show(fleet: &Fleet) -> String {
    // A document of plain structs, lists and text: there is nothing in it that YAML could not hold.
    serde_saphyr::to_string(&document(fleet)).unwrap_or_default()
}

/// `fleet` as it would be written with every default given.
pub fn document(fleet: &Fleet) -> RawDocument {
    let Fleet { name, time_zone, groups, strategies, windows, limits: fleet_limits } = fleet;
    RawDocument {
        api_version: Some("fleetlift.io/v1".to_owned()),
        kind: Some("Fleet".to_owned()),
        metadata: Some(RawMetadata { name: Some(name.clone()) }),
        spec: Some(RawSpec {
            time_zone: Some(time_zone.to_string()),
            groups: Some(groups.values().map(group).collect()),
            strategies: Some(strategies.values().map(strategy).collect()),
            windows: (!windows.is_empty()).then(|| windows.values().map(window).collect()),
            limits: (*fleet_limits != Limits::default()).then(|| limits(fleet_limits)),
            debt: None,
        }),
    }
}

fn group(group: &Group) -> RawGroup {
    let Group { name, selector, target: to, strategy } = group;
    RawGroup {
        name: Some(name.clone()),
        selector: Some(selector.to_string()),
        target: Some(target(to)),
        strategy: Some(strategy.clone()),
        mode: Some(RawMode::Manual),
    }
}

fn target(target: &TargetSpec) -> RawTarget {
    let TargetSpec { openebs, images, executor, resources } = target;
    let ExecutorSpec { maker, image, pull_secrets } = executor;
    let ResourceFilter { kinds, names } = resources;
    RawTarget {
        openebs: Some(openebs.to_string()),
        images: images.as_ref().map(|Images { prefix, tag }| RawImages { prefix: prefix.clone(), tag: tag.clone() }),
        executor: Some(RawExecutor {
            maker: Some(match maker {
                ExecutorMaker::Fleetlift => RawMaker::Fleetlift,
                ExecutorMaker::Openebs => RawMaker::Openebs,
            }),
            image: image.clone(),
            pull_secrets: (!pull_secrets.is_empty()).then(|| pull_secrets.clone()),
        }),
        resources: (*resources != ResourceFilter::default()).then(|| RawResources {
            kinds: (!kinds.is_empty()).then(|| families(kinds)),
            names: (!names.is_empty()).then(|| names.iter().map(ToString::to_string).collect()),
        }),
    }
}

/// The fewest names that select exactly these kinds: a file can only have made such a set.
fn families(kinds: &[ResourceKind]) -> Vec<RawKind> {
    let selected = |raw: RawKind| openebs::kinds::selected_by(raw.family()).unwrap_or_default();
    let is_inside = |raw: RawKind| selected(raw).iter().all(|kind| kinds.contains(kind));
    let inside: Vec<RawKind> = RawKind::ALL.into_iter().filter(|raw| is_inside(*raw)).collect();
    let is_covered = |raw: RawKind| {
        let own = selected(raw);
        let is_wider = |other: &RawKind| {
            let theirs = selected(*other);
            theirs.len() > own.len() && own.iter().all(|kind| theirs.contains(kind))
        };
        inside.iter().any(is_wider)
    };
    inside.iter().copied().filter(|raw| !is_covered(*raw)).collect()
}

fn strategy(strategy: &Strategy) -> RawStrategy {
    let Strategy {
        name,
        waves,
        limits: own_limits,
        failures,
        attached,
        deadlines,
        retries,
        windows,
        time_zone: _,
        uncovered,
        unreachable,
    } = strategy;
    let Failures { allow, per_wave, at_least_succeeded } = failures;
    let Deadlines { task, cluster, rollout } = deadlines;
    let Retries { attempts, first, longest } = retries;
    let Unreachable { retry_every, min_reached } = unreachable;
    RawStrategy {
        name: Some(name.clone()),
        waves: Some(waves.iter().map(wave).collect()),
        limits: (*own_limits != Limits::default()).then(|| limits(own_limits)),
        failures: Some(RawFailures {
            allow: amount(*allow),
            per_wave: per_wave.and_then(amount),
            at_least_succeeded: at_least_succeeded.and_then(amount),
        }),
        attached: Some(match attached {
            Attached::Allow => RawAttached::Allow,
            Attached::Warn => RawAttached::Warn,
            Attached::Refuse => RawAttached::Refuse,
        }),
        deadlines: Some(RawDeadlines { task: seconds(*task), cluster: seconds(*cluster), rollout: seconds(*rollout) }),
        retries: Some(RawRetries {
            attempts: Some(*attempts),
            backoff: Some(RawBackoff { first: seconds(*first), longest: seconds(*longest) }),
        }),
        windows: (!windows.is_empty()).then(|| windows.iter().map(|window| window.name.clone()).collect()),
        when_window_closes: Some(RawWhenWindowCloses::Finish),
        late_joiners: Some(RawLateJoiners::Ignore),
        uncovered: Some(match uncovered {
            Uncovered::Fail => RawUncovered::Fail,
            Uncovered::Warn => RawUncovered::Warn,
            Uncovered::LastWave => RawUncovered::LastWave,
        }),
        unreachable: Some(RawUnreachable { retry_every: seconds(*retry_every), min_reached: amount(*min_reached) }),
        gates: None,
    }
}

fn wave(wave: &WaveSpec) -> RawWave {
    let WaveSpec { name, takes, soak, approval, start } = wave;
    let mut raw = RawWave {
        name: Some(name.clone()),
        soak: (!soak.is_zero()).then(|| soak.to_string()),
        approval: match approval {
            ApprovalRule::None => None,
            ApprovalRule::Before => Some(RawApproval::Before),
            ApprovalRule::After => Some(RawApproval::After),
        },
        start: start.map(|start| start.to_string()),
        ..RawWave::default()
    };
    match takes {
        Takes::Size(size) => raw.size = amount(Amount::Number(*size)),
        Takes::Percent(percent) => raw.size = amount(Amount::Percent(*percent)),
        Takes::Selector(selector) => raw.selector = Some(selector.to_string()),
        Takes::Names(names) => raw.names = Some(names.clone()),
        Takes::Rest => {}
    }
    raw
}

fn limits(limits: &Limits) -> RawLimits {
    let Limits { running, per } = limits;
    let limit = |limit: &crate::domain::fleet::LabelLimit| RawLabelLimit {
        label: Some(limit.label.clone()),
        running: Some(limit.running.to_string()),
    };
    RawLimits {
        running: running.and_then(amount),
        tasks_per_cluster: None,
        per: (!per.is_empty()).then(|| per.iter().map(limit).collect()),
    }
}

fn window(window: &Window) -> RawWindow {
    let Window { name, allow, deny } = window;
    let rules = |rules: &[Rule]| (!rules.is_empty()).then(|| rules.iter().map(rule).collect());
    RawWindow { name: Some(name.clone()), allow: rules(allow), deny: rules(deny) }
}

fn rule(rule: &Rule) -> RawRule {
    let Rule { days, dates, hours, reason } = rule;
    let minute = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    RawRule {
        days: (*days != Days::ALL).then(|| days.to_string()),
        dates: dates.map(|Dates { first, last }| format!("{first}..{last}")),
        from: hours.map(|Hours { from, .. }| minute(from)),
        to: hours.map(|Hours { to, .. }| minute(to)),
        reason: reason.clone(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every field of the raw structs is optional")]
fn amount(amount: Amount) -> Option<String> {
    Some(amount.to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "every field of the raw structs is optional")]
fn seconds(seconds: Seconds) -> Option<String> {
    Some(seconds.to_string())
}
