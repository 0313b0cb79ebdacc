//! Which clusters a plan is about.

use super::{CannotPlan, Known};
use crate::domain::Fleet;
use crate::domain::cluster::ClusterState;
use crate::domain::fleet::Group;

/// The clusters of `group`, of which only those `named` if any are, in the order of their names.
pub fn of<'a>(
    fleet: &Fleet,
    group: &Group,
    clusters: &[Known<'a>],
    named: &[String],
) -> Result<Vec<Known<'a>>, CannotPlan> {
    let mut members: Vec<Known<'a>> = clusters
        .iter()
        .filter(|known| !matches!(known.cluster.state, ClusterState::Removed { .. }))
        .filter(|known| group.selector.matches(&known.cluster.labels))
        .copied()
        .collect();
    members.sort_by(|a, b| a.cluster.name.cmp(&b.cluster.name));

    let in_two: Vec<(String, Vec<String>)> = members
        .iter()
        .filter_map(|known| {
            let groups = fleet.groups.values().filter(|group| group.selector.matches(&known.cluster.labels));
            let groups: Vec<String> = groups.map(|group| group.name.clone()).collect();
            (groups.len() > 1).then(|| (known.cluster.name.clone(), groups))
        })
        .collect();
    if !in_two.is_empty() {
        return Err(CannotPlan::InTwoGroups { clusters: in_two });
    }
    if named.is_empty() {
        return Ok(members);
    }
    let is_member = |name: &&String| members.iter().any(|known| known.cluster.name == **name);
    let strangers: Vec<String> = named.iter().filter(|name| !is_member(name)).cloned().collect();
    if !strangers.is_empty() {
        return Err(CannotPlan::NotInGroup { group: group.name.clone(), clusters: strangers });
    }
    members.retain(|known| named.contains(&known.cluster.name));
    Ok(members)
}
