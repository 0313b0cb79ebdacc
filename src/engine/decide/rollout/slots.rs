//! The slots that a target takes.

use std::collections::BTreeMap;

use super::Scene;
use crate::domain::budget::{Claim, Scope};
use crate::domain::plan::PlannedTarget;

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
