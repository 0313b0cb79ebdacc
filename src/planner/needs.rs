//! What each resource of one cluster needs to reach its group's target: for people who look at one cluster.

use std::collections::BTreeMap;

use super::{Known, tasks};
use crate::domain::{Fleet, Inventory, ResourceRef};

/// A sentence for each resource that the cluster's group says something about; nothing for a cluster in no group or in
/// several.
pub fn needs(fleet: &Fleet, known: Known<'_>, inventory: &Inventory) -> BTreeMap<ResourceRef, String> {
    let mut groups = fleet.groups.values().filter(|group| group.selector.matches(&known.cluster.labels));
    let (Some(group), None) = (groups.next(), groups.next()) else { return BTreeMap::new() };
    let Some(strategy) = fleet.strategy_of(group) else { return BTreeMap::new() };
    let order = tasks::Order { target: &group.target, also_only: &[], attached: strategy.attached };
    let of = tasks::of(&known.cluster.name, inventory, &order);
    let left_out = of.left_out.into_iter().filter_map(|left_out| Some((left_out.resource?, left_out.why)));
    let upgrades = of.tasks.into_iter().map(|task| {
        let verb = if task.repair { "repair to" } else { "upgrade to" };
        (task.resource, format!("{verb} {}", task.to))
    });
    left_out.chain(upgrades).collect()
}
