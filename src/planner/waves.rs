//! Clusters into waves: each takes some of those that earlier ones left.

use super::CannotPlan;
use crate::domain::fleet::{Amount, Strategy, Takes, Uncovered};
use crate::domain::plan::{LeftOut, PlannedTarget, PlannedWave, Report};

/// One planned wave for each of the strategy's, empty ones included: the engine pairs them by position.
///
/// Waves take clusters in the order of their names, so that the same fleet gives the same canaries.
pub fn assign(
    strategy: &Strategy,
    mut targets: Vec<PlannedTarget>,
    report: &mut Report,
) -> Result<Vec<PlannedWave>, CannotPlan> {
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    let is_empty = targets.is_empty();
    let mut waves = Vec::new();
    let mut left = targets;
    for wave in &strategy.waves {
        let (taken, rest) = take(&wave.takes, left);
        left = rest;
        if let Takes::Names(names) = &wave.takes {
            let missing: Vec<String> =
                names.iter().filter(|name| !taken.iter().any(|target| target.name == **name)).cloned().collect();
            if !missing.is_empty() {
                let missing = super::listed(&missing);
                report.warnings.push(format!("wave {}: nothing is planned for {missing}, which it names", wave.name));
            }
        }
        if taken.is_empty() && !is_empty {
            report.warnings.push(format!("wave {} is empty: earlier waves took what it would have", wave.name));
        }
        waves.push(PlannedWave { name: wave.name.clone(), targets: taken });
    }
    settle_uncovered(strategy, left, &mut waves, report)?;
    for wave in &mut waves {
        // The longest first: whoever starts last should not be the one who takes longest.
        wave.targets.sort_by(|a, b| (b.expected_seconds(), &a.name).cmp(&(a.expected_seconds(), &b.name)));
    }
    Ok(waves)
}

fn take(takes: &Takes, left: Vec<PlannedTarget>) -> (Vec<PlannedTarget>, Vec<PlannedTarget>) {
    let first = |count: u32, mut left: Vec<PlannedTarget>| {
        let rest = left.split_off(usize::try_from(count).unwrap_or(usize::MAX).min(left.len()));
        (left, rest)
    };
    match takes {
        Takes::Size(size) => first(*size, left),
        Takes::Percent(percent) => {
            let share = Amount::Percent(*percent).as_limit(u32::try_from(left.len()).unwrap_or(u32::MAX));
            first(share, left)
        }
        Takes::Selector(selector) => left.into_iter().partition(|target| selector.matches(&target.labels)),
        Takes::Names(names) => left.into_iter().partition(|target| names.contains(&target.name)),
        Takes::Rest => (left, Vec::new()),
    }
}

fn settle_uncovered(
    strategy: &Strategy,
    left: Vec<PlannedTarget>,
    waves: &mut [PlannedWave],
    report: &mut Report,
) -> Result<(), CannotPlan> {
    if left.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = left.iter().map(|target| target.name.clone()).collect();
    match (strategy.uncovered, waves.last_mut()) {
        (Uncovered::LastWave, Some(last)) => {
            let listed = super::listed(&names);
            report.warnings.push(format!("no wave takes {listed}: put into the last wave, {}", last.name));
            last.targets.extend(left);
            Ok(())
        }
        (Uncovered::Warn, _) => {
            report.warnings.push(format!("no wave takes {}: left out", super::listed(&names)));
            report.left_out.extend(names.into_iter().map(|cluster| LeftOut {
                cluster,
                resource: None,
                code: "uncovered".to_owned(),
                why: format!("no wave of strategy `{}` takes it", strategy.name),
            }));
            Ok(())
        }
        (Uncovered::Fail, _) | (Uncovered::LastWave, None) => {
            Err(CannotPlan::Uncovered { strategy: strategy.name.clone(), clusters: names })
        }
    }
}
