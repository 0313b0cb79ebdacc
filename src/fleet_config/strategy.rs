//! The strategies of a fleet file.

use std::collections::BTreeMap;

use super::problem::At;
use super::raw::{
    RawApproval, RawAttached, RawDeadlines, RawFailures, RawLabelLimit, RawLateJoiners, RawLimits, RawRetries,
    RawStrategy, RawUncovered, RawUnreachable, RawWave, RawWhenWindowCloses,
};
use super::resolve::{Named, checked_name, not_yet, read, read_optional, require};
use super::scalars;
use crate::domain::fleet::{
    Amount, ApprovalRule, Attached, Deadlines, Failures, LabelLimit, Limits, Retries, Takes, Uncovered, Unreachable,
    WaveSpec,
};
use crate::domain::selector::check_key;
use crate::domain::{Seconds, Selector, Strategy, Window, Zone};

/// The most waves of one strategy.
const WAVES_MAX: usize = 100;
/// The most clusters that one wave names.
const NAMES_MAX: usize = 20_000;
/// The most labels that limit one strategy.
const LABELS_MAX: usize = 10;
/// A month: longer soaks and shorter patience are slips of the unit.
const SOAK_MAX: Seconds = Seconds(30 * 86_400);

/// The strategy, or `None` after problems.
pub fn strategy(raw: &RawStrategy, at: &At<'_>, zone: &Zone, windows: &Named<'_, Window>) -> Option<Strategy> {
    let RawStrategy {
        name,
        waves: raw_waves,
        limits: raw_limits,
        failures: raw_failures,
        attached,
        deadlines: raw_deadlines,
        retries: raw_retries,
        windows: raw_windows,
        when_window_closes,
        late_joiners,
        uncovered,
        unreachable: raw_unreachable,
        gates,
    } = raw;
    if gates.is_some() {
        not_yet(&at.field("gates"), "remove it; a soak and an approval hold a wave back until a person has looked");
    }
    match when_window_closes {
        None | Some(RawWhenWindowCloses::Finish) => {}
        Some(RawWhenWindowCloses::StopAfterTask) => {
            not_yet(&at.field("whenWindowCloses"), "write `finish`: a running task is finished, the next one waits");
        }
    }
    match late_joiners {
        None | Some(RawLateJoiners::Ignore) => {}
        Some(RawLateJoiners::Append | RawLateJoiners::CatchUp) => {
            not_yet(&at.field("lateJoiners"), "write `ignore`, and make another plan for clusters that joined");
        }
    }
    let waves_at = at.field("waves");
    let waves = require(raw_waves.as_deref(), &waves_at, "write at least one wave, for example `- {name: all}`")
        .map(|raw| waves(raw, &waves_at, zone))
        .unwrap_or_default();
    let named_windows = at.field("windows");
    let mut own_windows: Vec<Window> = Vec::new();
    for (name, at) in raw_windows.iter().flatten().zip(named_windows.elements()) {
        let Some(window) = windows.find(name, &at) else { continue };
        if own_windows.contains(window) {
            at.problem(format!("`{name}` is named twice: keep one"));
        } else {
            own_windows.push(window.clone());
        }
    }
    Some(Strategy {
        name: name.clone()?,
        waves,
        limits: raw_limits.as_ref().map(|raw| limits(raw, &at.field("limits"))).unwrap_or_default(),
        failures: failures(raw_failures.as_ref(), &at.field("failures")),
        attached: match attached {
            Some(RawAttached::Allow) => Attached::Allow,
            Some(RawAttached::Warn) | None => Attached::Warn,
            Some(RawAttached::Refuse) => Attached::Refuse,
        },
        deadlines: deadlines(raw_deadlines.as_ref(), &at.field("deadlines")),
        retries: retries(raw_retries.as_ref(), &at.field("retries")),
        windows: own_windows,
        time_zone: zone.clone(),
        uncovered: match uncovered {
            Some(RawUncovered::Fail) | None => Uncovered::Fail,
            Some(RawUncovered::Warn) => Uncovered::Warn,
            Some(RawUncovered::LastWave) => Uncovered::LastWave,
        },
        unreachable: unreachable(raw_unreachable.as_ref(), &at.field("unreachable")),
    })
}

fn waves(raw: &[RawWave], at: &At<'_>, zone: &Zone) -> Vec<WaveSpec> {
    if raw.is_empty() && at.is_clean() {
        at.problem("a strategy needs at least one wave, for example `- {name: all}`");
    }
    if raw.len() > WAVES_MAX {
        at.problem(format!("at most {WAVES_MAX} waves are possible, found {}", raw.len()));
    }
    let mut waves = Vec::new();
    let mut first_places: BTreeMap<String, At<'_>> = BTreeMap::new();
    let mut named_clusters: BTreeMap<String, String> = BTreeMap::new();
    let mut takes_all: Option<String> = None;
    let mut is_reported = false;
    for (raw, at) in raw.iter().take(WAVES_MAX).zip(at.elements()) {
        let wave = wave(raw, &at, zone);
        // Once is enough: the remedy is one move.
        if let Some(earlier) = takes_all.take_if(|_| !is_reported) {
            is_reported = true;
            at.problem(format!("comes after wave `{earlier}`, which takes all that is left, so it would be empty: move it before, or remove it"));
        }
        let Some(wave) = wave else { continue };
        if let Some(first) = first_places.insert(wave.name.clone(), at.clone()) {
            at.field("name").problem(format!(
                "there is already a wave `{}` at {}: give this one another name",
                wave.name,
                first.location()
            ));
        }
        match &wave.takes {
            Takes::Rest | Takes::Percent(100) => takes_all = takes_all.or_else(|| Some(wave.name.clone())),
            Takes::Selector(selector) if selector.is_empty() => {
                takes_all = takes_all.or_else(|| Some(wave.name.clone()));
            }
            Takes::Names(names) => {
                for (name, at) in names.iter().zip(at.field("names").elements()) {
                    if let Some(earlier) = named_clusters.insert(name.clone(), wave.name.clone()) {
                        let message = format!("cluster `{name}` is named in wave `{earlier}` already: keep one");
                        at.problem(message);
                    }
                }
            }
            Takes::Size(_) | Takes::Percent(_) | Takes::Selector(_) => {}
        }
        waves.push(wave);
    }
    waves
}

fn wave(raw: &RawWave, at: &At<'_>, zone: &Zone) -> Option<WaveSpec> {
    let RawWave { name, size, selector, names, soak, approval, start } = raw;
    let name = checked_name(name.as_deref(), at);
    let given: Vec<&str> = [("size", size.is_some()), ("selector", selector.is_some()), ("names", names.is_some())]
        .into_iter()
        .filter_map(|(field, is_given)| is_given.then_some(field))
        .collect();
    if let [_, second, ..] = given[..] {
        at.field(second).problem(format!("a wave takes clusters in one way: keep one of {}", given.join(", ")));
    }
    let takes = if let Some(size) = size {
        read(size, &at.field("size"), |text| match scalars::amount(text)? {
            Amount::Number(0) | Amount::Percent(0) => {
                Err("a wave of no clusters does nothing: write at least 1".to_owned())
            }
            Amount::Number(number) => Ok(Takes::Size(number)),
            Amount::Percent(percent) => Ok(Takes::Percent(percent)),
        })
    } else if let Some(selector) = selector {
        read(selector, &at.field("selector"), |text| text.parse::<Selector>().map_err(|error| error.to_string()))
            .map(Takes::Selector)
    } else if let Some(names) = names {
        let at = at.field("names");
        if names.is_empty() && at.is_clean() {
            at.problem("names no cluster: name at least one");
        }
        if names.len() > NAMES_MAX {
            at.problem(format!("at most {NAMES_MAX} names are possible: use a label and `selector:`"));
        }
        Some(Takes::Names(names.iter().take(NAMES_MAX).cloned().collect()))
    } else {
        // A size that could not be read must not turn the wave into "the rest".
        at.is_clean().then_some(Takes::Rest)
    };
    let soak = bounded(soak.as_deref(), &at.field("soak"), Seconds(0)..=SOAK_MAX).unwrap_or_default();
    let start = read_optional(start.as_deref(), &at.field("start"), |text| scalars::start(text, zone));
    let approval = match approval {
        None => ApprovalRule::None,
        Some(RawApproval::Before) => ApprovalRule::Before,
        Some(RawApproval::After) => ApprovalRule::After,
    };
    Some(WaveSpec { name: name?, takes: takes?, soak, approval, start })
}

/// Limits of a strategy or of the whole fleet.
pub fn limits(raw: &RawLimits, at: &At<'_>) -> Limits {
    let RawLimits { running, tasks_per_cluster, per } = raw;
    let running = read_optional(running.as_deref(), &at.field("running"), |text| match scalars::amount(text)? {
        Amount::Number(0) | Amount::Percent(0) => Err("nothing would ever run: write at least 1".to_owned()),
        amount => Ok(amount),
    });
    match tasks_per_cluster {
        None | Some(1) => {}
        Some(0) => at.field("tasksPerCluster").problem("nothing would ever run: write 1"),
        Some(_) => not_yet(&at.field("tasksPerCluster"), "write 1; the tasks of one cluster run one after another"),
    }
    let per_at = at.field("per");
    let raw = per.as_deref().unwrap_or_default();
    if raw.len() > LABELS_MAX {
        per_at.problem(format!("at most {LABELS_MAX} labels are possible, found {}", raw.len()));
    }
    let mut per: Vec<LabelLimit> = Vec::new();
    for (raw, at) in raw.iter().take(LABELS_MAX).zip(per_at.elements()) {
        let Some(limit) = label_limit(raw, &at) else { continue };
        if per.iter().any(|other| other.label == limit.label) {
            at.field("label").problem(format!("label `{}` is limited twice: keep one", limit.label));
        } else {
            per.push(limit);
        }
    }
    Limits { running, per }
}

fn label_limit(raw: &RawLabelLimit, at: &At<'_>) -> Option<LabelLimit> {
    let RawLabelLimit { label, running } = raw;
    let (label_at, running_at) = (at.field("label"), at.field("running"));
    let label = require(label.as_deref(), &label_at, "write the label's key, for example site")
        .and_then(|text| read(text, &label_at, |text| check_key(text).map(|()| text.to_owned())));
    let running = require(running.as_deref(), &running_at, "write how many clusters of each value").and_then(|text| {
        read(text, &running_at, |text| match scalars::amount(text)? {
            Amount::Number(0) => Err("nothing would ever run: write at least 1".to_owned()),
            Amount::Number(number) => Ok(number),
            Amount::Percent(_) => Err("a share is not possible here: write a number".to_owned()),
        })
    });
    Some(LabelLimit { label: label?, running: running? })
}

fn failures(raw: Option<&RawFailures>, at: &At<'_>) -> Failures {
    let default = RawFailures::default();
    let RawFailures { allow, per_wave, at_least_succeeded } = raw.unwrap_or(&default);
    Failures {
        allow: read_optional(allow.as_deref(), &at.field("allow"), scalars::amount).unwrap_or(Amount::Number(0)),
        per_wave: read_optional(per_wave.as_deref(), &at.field("perWave"), scalars::amount),
        at_least_succeeded: read_optional(
            at_least_succeeded.as_deref(),
            &at.field("atLeastSucceeded"),
            scalars::amount,
        ),
    }
}

fn deadlines(raw: Option<&RawDeadlines>, at: &At<'_>) -> Deadlines {
    let default = RawDeadlines::default();
    let RawDeadlines { task, cluster, rollout } = raw.unwrap_or(&default);
    let is_given = [task.is_some(), cluster.is_some(), rollout.is_some()];
    let day = 86_400;
    // A Pod is scheduled, pulls its image and polls every ten seconds: less than this is a slip of the unit.
    let task = bounded(task.as_deref(), &at.field("task"), Seconds(30)..=Seconds(7 * day)).unwrap_or(Seconds(45 * 60));
    let cluster = bounded(cluster.as_deref(), &at.field("cluster"), Seconds(30)..=Seconds(60 * day))
        .unwrap_or(Seconds(6 * 3_600));
    let rollout = bounded(rollout.as_deref(), &at.field("rollout"), Seconds(30)..=Seconds(366 * day))
        .unwrap_or(Seconds(14 * day));
    let (longer, [task_given, cluster_given, _]) = ("is longer than", is_given);
    if task > cluster && at.field("task").is_clean() {
        let field = at.field(if task_given { "task" } else { "cluster" });
        field.problem(format!(
            "a task's deadline ({task}) {longer} its cluster's ({cluster}): one task could never use it"
        ));
    }
    if cluster > rollout && at.field("cluster").is_clean() {
        let field = at.field(if cluster_given { "cluster" } else { "rollout" });
        field.problem(format!(
            "a cluster's deadline ({cluster}) {longer} the rollout's ({rollout}): one cluster could never use it"
        ));
    }
    Deadlines { task, cluster, rollout }
}

fn retries(raw: Option<&RawRetries>, at: &At<'_>) -> Retries {
    let default = RawRetries::default();
    let RawRetries { attempts, backoff } = raw.unwrap_or(&default);
    let attempts = attempts.unwrap_or(3);
    if !(1..=20).contains(&attempts) {
        at.field("attempts").problem(format!("{attempts} attempts are not possible: write 1 to 20"));
    }
    let at = at.field("backoff");
    let backoff = backoff.clone().unwrap_or_default();
    let bounds = Seconds(1)..=Seconds(86_400);
    let first = bounded(backoff.first.as_deref(), &at.field("first"), bounds.clone());
    let longest = bounded(backoff.longest.as_deref(), &at.field("longest"), bounds);
    let (first, longest) = match (first, longest) {
        (Some(first), None) => (first, first.max(Seconds(30 * 60))),
        (None, Some(longest)) => (longest.min(Seconds(30)), longest),
        (None, None) => (Seconds(30), Seconds(30 * 60)),
        (Some(first), Some(longest)) => {
            if first > longest {
                at.field("first")
                    .problem(format!("the first wait ({first}) is longer than the longest ({longest}): swap them"));
            }
            (first, longest)
        }
    };
    Retries { attempts, first, longest }
}

fn unreachable(raw: Option<&RawUnreachable>, at: &At<'_>) -> Unreachable {
    let default = RawUnreachable::default();
    let RawUnreachable { retry_every, min_reached } = raw.unwrap_or(&default);
    let bounds = Seconds(1)..=Seconds(86_400);
    Unreachable {
        retry_every: bounded(retry_every.as_deref(), &at.field("retryEvery"), bounds).unwrap_or(Seconds(15 * 60)),
        min_reached: read_optional(min_reached.as_deref(), &at.field("minReached"), scalars::amount)
            .unwrap_or(Amount::Percent(100)),
    }
}

/// A duration inside bounds.
fn bounded(text: Option<&str>, at: &At<'_>, bounds: std::ops::RangeInclusive<Seconds>) -> Option<Seconds> {
    read_optional(text, at, |text| {
        let duration = scalars::duration(text)?;
        if bounds.contains(&duration) {
            return Ok(duration);
        }
        Err(format!("{duration} is out of bounds: write {} to {}", bounds.start(), bounds.end()))
    })
}
