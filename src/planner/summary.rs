//! A plan and its report as people read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cover;
use crate::domain::fleet::{ApprovalRule, WaveSpec};
use crate::domain::plan::{Plan, PlannedTarget, PlannedWave, Report};
use crate::domain::{ResourceKind, Seconds};
use crate::openebs::kinds;

/// How many clusters of a wave, tasks of a cluster and lines of a reason are shown; the JSON has all.
const SHOWN: usize = 12;

/// The plan in a page or two: waves, clusters, tasks in order, whom it touches, what is left out and why, warnings.
pub fn summary(plan: &Plan, report: &Report) -> String {
    let mut text = String::new();
    let targets = plan.waves.iter().map(|wave| wave.targets.len()).sum::<usize>();
    let tasks = plan.waves.iter().flat_map(|wave| &wave.targets).map(|target| target.tasks.len()).sum::<usize>();
    line(
        &mut text,
        0,
        &format!(
            "Group {} of fleet {} to OpenEBS {}: {} in {}",
            plan.group,
            plan.fleet,
            plan.to,
            count(tasks, "task"),
            count(targets, "cluster"),
        ),
    );
    if targets == 0 {
        line(&mut text, 0, "Nothing is to be done.");
    }
    for (position, (wave, spec)) in plan.waves.iter().zip(&plan.strategy.waves).enumerate() {
        describe_wave(&mut text, position, wave, spec);
    }
    describe_cover(&mut text, plan);
    describe_left_out(&mut text, report);
    if !report.warnings.is_empty() {
        line(&mut text, 0, "\nWarnings:");
        few(&mut text, report.warnings.iter().map(String::as_str), report.warnings.len());
    }
    text
}

fn describe_wave(text: &mut String, position: usize, wave: &PlannedWave, spec: &WaveSpec) {
    let mut gate = Vec::new();
    if let Some(start) = spec.start {
        gate.push(format!("not before {start}"));
    }
    match spec.approval {
        ApprovalRule::None => {}
        ApprovalRule::Before => gate.push("after an approval".to_owned()),
        ApprovalRule::After => gate.push("then an approval".to_owned()),
    }
    if !spec.soak.is_zero() {
        gate.push(format!("then {} of soak", spec.soak));
    }
    let gate = if gate.is_empty() { String::new() } else { format!("; {}", gate.join(", ")) };
    let taken = count(wave.targets.len(), "cluster");
    line(text, 0, &format!("\nWave {}: {} ({}: {taken}{gate})", position + 1, wave.name, spec.takes));
    for target in wave.targets.iter().take(SHOWN) {
        describe_target(text, target);
        // The tasks of the clusters that people look at before they go on; of all others, the JSON has them.
        if position == 0 {
            describe_tasks(text, target);
        }
    }
    more(text, wave.targets.len());
}

fn describe_target(text: &mut String, target: &PlannedTarget) {
    let expected = Seconds(target.expected_seconds());
    let mut kinds: BTreeMap<ResourceKind, usize> = BTreeMap::new();
    for task in &target.tasks {
        *kinds.entry(task.resource.kind).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, number)| count(number, kinds::of(kind).noun)).collect();
    let tasks = count(target.tasks.len(), "task");
    line(text, 1, &format!("{}: {tasks}, about {expected} ({})", target.name, kinds.join(", ")));
}

fn describe_tasks(text: &mut String, target: &PlannedTarget) {
    for (position, task) in target.tasks.iter().take(SHOWN).enumerate() {
        let repair = if task.repair { ", repair" } else { "" };
        let touched = match &task.workloads[..] {
            [] => String::new(),
            [only] => format!(", touches {}/{}", only.namespace, only.pod),
            [first, rest @ ..] => format!(", touches {}/{} and {} more", first.namespace, first.pod, rest.len()),
        };
        line(text, 2, &format!("{}. {} {} → {}{repair}{touched}", position + 1, task.resource, task.from, task.to));
    }
    if target.tasks.len() > SHOWN {
        line(text, 2, &format!("… and {} more", target.tasks.len() - SHOWN));
    }
}

fn describe_cover(text: &mut String, plan: &Plan) {
    let Some((_, first)) = cover::first_wave(plan) else { return };
    line(text, 0, &format!("\nWhat wave {} proves, in clusters of it and of all:", first.name));
    for (way, (canaries, all)) in cover::cover(plan) {
        let unproven = if canaries == 0 { "   not exercised" } else { "" };
        line(text, 1, &format!("{way}: {canaries} of {all}{unproven}"));
    }
}

fn describe_left_out(text: &mut String, report: &Report) {
    if report.left_out.is_empty() {
        return;
    }
    line(text, 0, "\nLeft out:");
    let mut by_code: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for left_out in &report.left_out {
        let what = match &left_out.resource {
            Some(resource) => format!("{} {resource}: {}", left_out.cluster, left_out.why),
            None => format!("{}: {}", left_out.cluster, left_out.why),
        };
        by_code.entry(&left_out.code).or_default().push(what);
    }
    for (code, lines) in by_code {
        line(text, 1, &format!("{} ({})", code.replace('_', " "), lines.len()));
        for told in lines.iter().take(SHOWN) {
            line(text, 2, told);
        }
        if lines.len() > SHOWN {
            line(text, 2, &format!("… and {} more", lines.len() - SHOWN));
        }
    }
}

fn few<'t>(text: &mut String, lines: impl Iterator<Item = &'t str>, total: usize) {
    for told in lines.take(SHOWN) {
        line(text, 1, told);
    }
    more(text, total);
}

fn more(text: &mut String, total: usize) {
    if total > SHOWN {
        line(text, 1, &format!("… and {} more", total - SHOWN));
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn line(text: &mut String, depth: usize, told: &str) {
    let _ = writeln!(text, "{:1$}{told}", "", depth * 2);
}
