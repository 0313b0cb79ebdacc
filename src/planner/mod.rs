//! Fleet × inventories × request → plan and report. Pure: the same inputs give the same plan, byte for byte.
//!
//! Clusters of the group (`members`) → tasks of each, or why not (`tasks`, `repair`) → waves (`waves`) → what a person
//! should know (`cover`, `summary`). Nothing that was asked for disappears: it is planned, or left out with a reason.

mod allowed;
mod cover;
mod members;
mod needs;
mod repair;
mod summary;
mod tasks;
mod waves;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::needs::needs;
pub use self::summary::summary;
use self::tasks::ClusterTasks;
use crate::domain::cluster::Cluster;
use crate::domain::fleet::{Group, ResourceName, Strategy, TargetSpec};
use crate::domain::plan::{LeftOut, PLAN_FORMAT, Plan, PlannedTarget, Report};
use crate::domain::{Fleet, HubId, Inventory, Timestamp, Version, Zone};

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The group.
    pub group: String,
    /// Only these clusters of it, by name; empty for all.
    pub clusters: Vec<String>,
    /// Only these resources, beside what the group selects; empty for all.
    pub resources: Vec<ResourceName>,
    /// Another version than the group's target.
    pub to: Option<Version>,
    /// The first wave does not open before this.
    pub at: Option<Timestamp>,
}

/// What the hub knows of one cluster.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its registration.
    pub cluster: &'a Cluster,
    /// The last reading of what it runs, if there is one.
    pub inventory: Option<&'a Inventory>,
    /// Whether a rollout was done with the cluster since that reading.
    pub overtaken: bool,
    /// Why there is a reading that cannot be used, where that is so.
    pub unreadable: Option<&'a str>,
}

/// The hub's own rules.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The hub that makes the plan.
    pub hub: HubId,
    /// Now.
    pub now: Timestamp,
    /// How old an inventory may be (`plan.max_age`).
    pub max_age: Duration,
    /// Image repositories that plans may use beside OpenEBS's own and ours (`edge.images`).
    pub images: Vec<String>,
}

/// Why no plan can be made. Trying again helps only after the fleet file, the labels or the request changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotPlan {
    /// There is no such group.
    #[error("there is no group `{group}`; the fleet has {}", listed(known))]
    NoGroup {
        /// What was asked for.
        group: String,
        /// Which ones there are.
        known: Vec<String>,
    },
    /// Clusters were named that the group does not have.
    #[error("not in group `{group}`: {}; check the names and the labels", listed(clusters))]
    NotInGroup {
        /// The group.
        group: String,
        /// Which.
        clusters: Vec<String>,
    },
    /// Clusters belong to two groups.
    #[error("{}; change a selector or a label so that each cluster has one group", two_groups(clusters))]
    InTwoGroups {
        /// Each with its groups.
        clusters: Vec<(String, Vec<String>)>,
    },
    /// No wave takes these, and the strategy says that this must not be.
    #[error(
        "no wave of strategy `{strategy}` takes {}; add a wave without size, selector and names, or set `uncovered`",
        listed(clusters)
    )]
    Uncovered {
        /// The strategy.
        strategy: String,
        /// Which.
        clusters: Vec<String>,
    },
    /// An image would come from a repository that the hub does not allow.
    #[error(
        "{field} `{image}` comes from a repository that this daemon does not allow; add it to the setting edge.images"
    )]
    ImageNotAllowed {
        /// The field of the fleet file.
        field: &'static str,
        /// The image or prefix.
        image: String,
    },
    /// Another version was asked for, while the group pins what belongs to its own.
    #[error("group `{group}` pins {field} for {pinned}: another version cannot be asked for; change the fleet file")]
    Pinned {
        /// The group.
        group: String,
        /// The field of the fleet file.
        field: &'static str,
        /// The group's version.
        pinned: Version,
    },
    /// The fleet misses what its group names; a checked fleet does not.
    #[error("group `{group}` names strategy `{strategy}`, which the fleet does not have")]
    NoStrategy {
        /// The group.
        group: String,
        /// The strategy.
        strategy: String,
    },
}

/// The plan for what `request` asks, and what was found on the way. A plan without targets is one, too: all is there.
pub fn plan(
    fleet: &Fleet,
    clusters: &[Known<'_>],
    request: &Request,
    rules: &Rules,
) -> Result<(Plan, Report), CannotPlan> {
    let Some(group) = fleet.groups.get(&request.group) else {
        return Err(CannotPlan::NoGroup {
            group: request.group.clone(),
            known: fleet.groups.keys().cloned().collect(),
        });
    };
    let Some(strategy) = fleet.strategy_of(group) else {
        return Err(CannotPlan::NoStrategy { group: group.name.clone(), strategy: group.strategy.clone() });
    };
    let target = target(group, request)?;
    allowed::check(&target, &rules.images)?;
    let members = members::of(fleet, group, clusters, &request.clusters)?;

    let mut report = Report::default();
    let mut targets = Vec::new();
    let mut notes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for known in members {
        let order = tasks::Order { target: &target, also_only: &request.resources, attached: strategy.attached };
        match readable(known, rules) {
            Err(left_out) => report.left_out.push(left_out),
            Ok(inventory) => {
                let ClusterTasks { tasks, left_out, notes: own } = tasks::of(&known.cluster.name, inventory, &order);
                report.left_out.extend(tasks::condensed(&known.cluster.name, left_out, tasks.is_empty()));
                for note in own.into_iter().chain(doubts(known, inventory)) {
                    notes.entry(note).or_default().push(known.cluster.name.clone());
                }
                if !tasks.is_empty() {
                    targets.push(planned_target(known.cluster, inventory, &fleet.time_zone, tasks, &mut report));
                }
            }
        }
    }
    report.warnings.extend(notes.into_iter().map(|(note, clusters)| format!("{note} ({})", listed(&clusters))));
    let waves = waves::assign(strategy, targets, &mut report)?;
    let plan = Plan {
        format: PLAN_FORMAT,
        hub: rules.hub,
        fleet: fleet.name.clone(),
        revision: fleet.revision(),
        group: group.name.clone(),
        to: target.openebs.clone(),
        strategy: not_before(strategy, request.at),
        fleet_limits: fleet.limits.clone(),
        waves,
    };
    report.warnings.extend(cover::warning(&plan));
    Ok((plan, report))
}

/// The group's target, with the version that was asked for.
fn target(group: &Group, request: &Request) -> Result<TargetSpec, CannotPlan> {
    let mut target = group.target.clone();
    if let Some(to) = request.to.as_ref().filter(|to| **to != target.openebs) {
        let pinned = |field| CannotPlan::Pinned { group: group.name.clone(), field, pinned: target.openebs.clone() };
        if target.images.as_ref().is_some_and(|images| images.tag.is_some()) {
            return Err(pinned("target.images.tag"));
        }
        if target.executor.image.is_some() {
            return Err(pinned("target.executor.image"));
        }
        target.openebs = to.clone();
    }
    Ok(target)
}

/// The strategy with a first wave that does not open before `at`.
fn not_before(strategy: &Strategy, at: Option<Timestamp>) -> Strategy {
    let mut strategy = strategy.clone();
    if let (Some(first), Some(at)) = (strategy.waves.first_mut(), at) {
        first.start = first.start.max(Some(at));
    }
    strategy
}

/// The inventory to plan from, or why the whole cluster is left out.
fn readable<'a>(known: Known<'a>, rules: &Rules) -> Result<&'a Inventory, LeftOut> {
    use crate::domain::cluster::ClusterState;
    let cluster = known.cluster;
    let name = &cluster.name;
    let left_out =
        |code: &str, why: String| LeftOut { cluster: cluster.name.clone(), resource: None, code: code.to_owned(), why };
    if let ClusterState::Quarantined { why } = &cluster.state {
        return Err(left_out(
            "quarantined",
            format!(
                "quarantined: {why}; when a person has looked, `fleetlift cluster check {name} --release` lifts that"
            ),
        ));
    }
    let is_recent = |inventory: &&Inventory| rules.now.since(inventory.taken_at) <= rules.max_age;
    let is_current = |inventory: &&Inventory| is_recent(inventory) && !known.overtaken;
    match (known.inventory.filter(is_current), known.inventory, &cluster.reach.failing) {
        (Some(inventory), _, _) => Ok(inventory),
        (None, _, Some(failing)) => Err(left_out(
            "unreachable",
            format!(
                "does not answer since {} ({}), and what it runs was not read lately",
                failing.since, failing.error
            ),
        )),
        (None, Some(_), None) if known.overtaken => Err(left_out(
            "inventory_overtaken",
            format!(
                "a rollout was done with it since what it runs was last read; it is read again in the background, or by \
                 `fleetlift cluster resources {name} --refresh`"
            ),
        )),
        (None, Some(old), None) => Err(left_out(
            "inventory_too_old",
            format!("what it runs was last read at {}; run `fleetlift cluster check {name}`", old.taken_at),
        )),
        (None, None, None) => Err(match known.unreadable {
            Some(why) => left_out(
                "inventory_unreadable",
                format!(
                    "{why}; it is read again in the background, or by `fleetlift cluster resources {name} --refresh`"
                ),
            ),
            None => left_out(
                "inventory_missing",
                format!("what it runs was never read; run `fleetlift cluster check {name}`"),
            ),
        }),
    }
}

/// What a person should know about a cluster that is planned from what was read.
fn doubts(known: Known<'_>, inventory: &Inventory) -> Vec<String> {
    let mut doubts: Vec<String> =
        inventory.problems.iter().map(|problem| format!("what it runs could not be read in full: {problem}")).collect();
    if known.cluster.reach.failing.is_some() {
        doubts.push("does not answer just now, and is deferred until it does".to_owned());
    }
    doubts
}

fn planned_target(
    cluster: &Cluster,
    inventory: &Inventory,
    fleet_zone: &Zone,
    tasks: Vec<crate::domain::plan::PlannedTask>,
    report: &mut Report,
) -> PlannedTarget {
    let own_zone = cluster.time_zone.as_ref().map(|text| text.parse::<Zone>());
    let time_zone = match own_zone {
        Some(Ok(zone)) => zone,
        Some(Err(error)) => {
            report.warnings.push(format!("{}: {error}; its windows are read in {fleet_zone}", cluster.name));
            fleet_zone.clone()
        }
        None => fleet_zone.clone(),
    };
    PlannedTarget {
        cluster: cluster.id,
        name: cluster.name.clone(),
        labels: cluster.labels.clone(),
        time_zone,
        inventory: inventory.digest(),
        tasks,
    }
}

/// At most ten names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn two_groups(clusters: &[(String, Vec<String>)]) -> String {
    let told: Vec<String> =
        clusters.iter().map(|(cluster, groups)| format!("{cluster} is in groups {}", groups.join(" and "))).collect();
    listed(&told)
}

#[cfg(test)]
mod tests;
