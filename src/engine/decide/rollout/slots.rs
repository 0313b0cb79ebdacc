//! The slots that a target takes.

use std::collections::{BTreeMap, BTreeSet};

use super::{InUse, Scene};
use crate::domain::budget::{Claim, Scope};
use crate::domain::plan::PlannedTarget;

/// The limits that bind a rollout, read once for all its targets.
#[derive(Debug, Clone)]
pub struct Limits<'a> {
    /// Those that bind every target.
    common: Vec<Claim>,
    /// The tightest limit of each label.
    labels: BTreeMap<&'a str, u32>,
}

impl<'a> Limits<'a> {
    /// The limits of this rollout.
    pub fn of(scene: &Scene<'a>) -> Self {
        let plan = scene.plan;
        let total = u32::try_from(scene.targets.len()).unwrap_or(u32::MAX);
        let mut common = vec![Claim { scope: Scope::Hub, limit: scene.hub_limit }];
        if let Some(running) = plan.fleet_limits.running {
            common.push(Claim { scope: Scope::Fleet { fleet: plan.fleet.clone() }, limit: running.as_limit(total) });
        }
        if let Some(running) = plan.strategy.limits.running {
            common.push(Claim { scope: Scope::Rollout { rollout: scene.rollout.id }, limit: running.as_limit(total) });
        }
        let mut labels = BTreeMap::new();
        for per in plan.fleet_limits.per.iter().chain(&plan.strategy.limits.per) {
            let tightest = labels.entry(per.label.as_str()).or_insert(per.running);
            *tightest = per.running.min(*tightest);
        }
        Self { common, labels }
    }

    /// The slots that a target takes, one for each scope that limits it.
    pub fn claims(&self, planned: &PlannedTarget) -> Vec<Claim> {
        let mut claims = self.common.clone();
        claims.push(Claim { scope: Scope::Cluster { cluster: planned.cluster }, limit: 1 });
        for (key, value, limit) in self.of_labels(planned) {
            claims.push(Claim { scope: Scope::Label { key: key.to_owned(), value: value.to_owned() }, limit });
        }
        claims
    }

    /// Every scope that limits some target, but for single clusters.
    pub fn shared(&self, scene: &Scene<'_>) -> Vec<Claim> {
        let targets = scene.plan.waves.iter().flat_map(|wave| &wave.targets);
        let labels: BTreeSet<(&str, &str, u32)> = targets.flat_map(|planned| self.of_labels(planned)).collect();
        let labels = labels.into_iter().map(|(key, value, limit)| Claim {
            scope: Scope::Label { key: key.to_owned(), value: value.to_owned() },
            limit,
        });
        self.common.iter().cloned().chain(labels).collect()
    }

    /// How few more rounds of work the labels' limits allow: the most rounds that any one value needs for `targets`.
    pub fn rounds_by_label<'p>(&self, targets: impl Iterator<Item = &'p PlannedTarget>) -> u64 {
        let mut counts: BTreeMap<(&str, &'p str), (u64, u32)> = BTreeMap::new();
        for planned in targets {
            for (&key, &limit) in &self.labels {
                if let Some(value) = planned.labels.get(key) {
                    counts.entry((key, value)).or_insert((0, limit)).0 += 1;
                }
            }
        }
        counts.into_values().map(|(count, limit)| count.div_ceil(u64::from(limit.max(1)))).max().unwrap_or(0)
    }

    /// How many may run at once as far as no label is concerned.
    pub fn at_once(&self) -> u32 {
        self.common.iter().map(|claim| claim.limit).min().unwrap_or(1).max(1)
    }

    /// Whether a scope that every target needs is full: nothing at all can start.
    pub(super) fn full(&self, in_use: &InUse) -> bool {
        self.common.iter().any(|claim| in_use.get(&claim.scope).copied().unwrap_or(0) >= claim.limit)
    }

    fn of_labels<'t>(&'t self, planned: &'t PlannedTarget) -> impl Iterator<Item = (&'t str, &'t str, u32)> {
        self.labels
            .iter()
            .filter_map(|(&key, &limit)| planned.labels.get(key).map(|value| (key, value.as_str(), limit)))
    }
}
