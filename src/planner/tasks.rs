//! The tasks of one cluster in OpenEBS's order, and why everything else is left out.
//!
//! Pools come first, then the closing task of a pool cluster or claim once every pool of it will be at the target, then
//! the volumes whose pools will be. What cannot be done pulls with it what depends on it, each with its own reason.

use std::collections::{BTreeMap, BTreeSet};

use super::repair::{Start, start};
use crate::domain::fleet::{Attached, ExecutorMaker, ResourceName, TargetSpec};
use crate::domain::inventory::{Condition, Resource, Workload};
use crate::domain::plan::{LeftOut, PlannedTask};
use crate::domain::{Inventory, ResourceKind, ResourceRef};
use crate::openebs::control_plane;
use crate::openebs::images::{self, Architecture};
use crate::openebs::kinds::{self, Kind, Line};
use crate::openebs::paths;

/// What is wanted of a cluster.
pub struct Order<'a> {
    /// The group's target.
    pub target: &'a TargetSpec,
    /// Beside the target's own filter, only these; empty for all.
    pub also_only: &'a [ResourceName],
    /// What to do about volumes in use.
    pub attached: Attached,
}

/// What is to be done in a cluster, and what not.
#[derive(Debug, Default)]
pub struct ClusterTasks {
    /// In the order of execution.
    pub tasks: Vec<PlannedTask>,
    /// Every other resource, with the reason.
    pub left_out: Vec<LeftOut>,
    /// What a person should know; the same words for the same thing in every cluster.
    pub notes: BTreeSet<String>,
}

/// The tasks of the cluster called `name`.
pub fn of(name: &str, inventory: &Inventory, order: &Order<'_>) -> ClusterTasks {
    let mut resources: Vec<(&Resource, &'static Kind)> =
        inventory.resources.iter().map(|resource| (resource, kinds::of(resource.id.kind))).collect();
    // Rank first: whatever a resource depends on is decided before it.
    resources.sort_by(|(a, a_kind), (b, b_kind)| (a_kind.rank, &a.id).cmp(&(b_kind.rank, &b.id)));

    let mut planner = Planner { inventory, order, ready: BTreeSet::new(), users: users_of_pools(inventory) };
    let mut found = ClusterTasks::default();
    for (resource, kind) in resources {
        match planner.decide(resource, kind) {
            Ok(task) => {
                found.notes.extend(notes(order, resource, kind, &task));
                found.tasks.push(task);
            }
            Err((code, why)) => found.left_out.push(LeftOut {
                cluster: name.to_owned(),
                resource: Some(resource.id.clone()),
                code: code.to_owned(),
                why,
            }),
        }
    }
    found
}

/// One line for a whole cluster in which nothing is to be done for one and the same reason.
pub fn condensed(cluster: &str, left_out: Vec<LeftOut>, nothing_planned: bool) -> Vec<LeftOut> {
    if left_out.is_empty() && nothing_planned {
        return vec![LeftOut {
            cluster: cluster.to_owned(),
            resource: None,
            code: "no_resources".to_owned(),
            why: "no pools and no volumes were found".to_owned(),
        }];
    }
    let (Some(first), true) = (left_out.first(), nothing_planned) else { return left_out };
    let is_plain = matches!(first.code.as_str(), "already_there" | "not_selected");
    if left_out.len() < 2 || !is_plain || left_out.iter().any(|other| other.code != first.code) {
        return left_out;
    }
    let why = format!("all {} resources: {}", left_out.len(), first.why);
    vec![LeftOut { cluster: cluster.to_owned(), resource: None, code: first.code.clone(), why }]
}

/// What to do about users that could not be read.
const REMEDY: &str = "`fleetlift cluster check` prints the command that grants a missing right";

/// A bounded name of a reason, and the sentence.
type Reason = (&'static str, String);

struct Planner<'a> {
    inventory: &'a Inventory,
    order: &'a Order<'a>,
    /// What is at the target or will be by an earlier task.
    ready: BTreeSet<ResourceRef>,
    /// The volumes with a replica on each pool.
    users: BTreeMap<&'a str, Vec<&'a Resource>>,
}

impl<'a> Planner<'a> {
    fn decide(&mut self, resource: &'a Resource, kind: &'static Kind) -> Result<PlannedTask, Reason> {
        let to = &self.order.target.openebs;
        let maker = self.order.target.executor.maker;
        let start = start(self.inventory, resource, to);
        // A parent's own version counts, whatever the signs on its pools: they have tasks of their own.
        let is_parent_there = kinds::children_of(kind.kind).is_some()
            && resource.version.as_ref().is_some_and(|version| version.same_release(to));
        if start == Start::There || is_parent_there {
            self.ready.insert(resource.id.clone());
        }
        if !self.is_selected(resource) {
            return Err(("not_selected", "the group's or the request's choice of resources leaves it out".to_owned()));
        }
        if start == Start::There || is_parent_there {
            return Err(("already_there", format!("at {to} already")));
        }
        self.is_free(resource)?;
        let (from, repair) = match start {
            Start::From { from, repair } => (from, repair),
            Start::Unknown { code, why } => return Err((code, why)),
            Start::There => return Err(("already_there", format!("at {to} already"))),
        };
        paths::path(kind.kind, &from, to, maker).map_err(|error| (error.code(), error.to_string()))?;
        let operator = control_plane::is_at(&self.inventory.control_plane, kind.kind, to);
        if let Some(why) = operator.why_not() {
            return Err(("control_plane_behind", why.to_owned()));
        }
        self.is_preceded(resource, kind)?;
        // jiva-operator, at the target already, tells nothing new of a volume that is not: our executor asks its controller.
        let status_stopped = maker == ExecutorMaker::Fleetlift && kind.kind == ResourceKind::JivaVolume;
        is_fit(resource, repair || status_stopped)?;
        self.may_be_touched(resource, kind)?;
        let image = self.executor_image(kind)?;
        self.ready.insert(resource.id.clone());
        Ok(self.task(resource, kind, from, repair, image))
    }

    fn is_selected(&self, resource: &Resource) -> bool {
        let parent = resource.parent.as_ref();
        let asked = self.order.also_only;
        self.order.target.resources.wants(&resource.id, parent)
            && (asked.is_empty() || asked.iter().any(|name| name.fits(&resource.id, parent)))
    }

    /// Nobody else is at it.
    fn is_free(&self, resource: &Resource) -> Result<(), Reason> {
        let is_about = |named: &ResourceRef| *named == resource.id || Some(named) == resource.parent.as_ref();
        match self.inventory.under_way.iter().find(|other| other.resources.iter().any(is_about)) {
            Some(other) => Err(("busy", format!("{} is upgrading it", other.by))),
            None => Ok(()),
        }
    }

    /// What must be at the target before it will be.
    fn is_preceded(&self, resource: &Resource, kind: &Kind) -> Result<(), Reason> {
        let to = &self.order.target.openebs;
        if let Some(pool) = kinds::children_of(kind.kind) {
            let children: Vec<&Resource> =
                self.inventory.resources.iter().filter(|child| child.parent.as_ref() == Some(&resource.id)).collect();
            // Its executor upgrades whatever pools it finds: none that we do not know may be among them.
            if children.is_empty() {
                return Err(("pools_unknown", "none of its pools could be found".to_owned()));
            }
            let behind = children.into_iter().filter(|child| child.id.kind == pool && !self.ready.contains(&child.id));
            return match behind.min_by(|a, b| a.id.cmp(&b.id)) {
                Some(child) => Err((
                    "pools_behind",
                    format!("it is closed when all its pools are at {to}; {} will not be", child.id.name),
                )),
                None => Ok(()),
            };
        }
        let Some(pool) = pool_kind(kind.kind) else { return Ok(()) };
        if resource.pools.is_empty() {
            return Err(("pools_unknown", "the pools of its replicas could not be found".to_owned()));
        }
        let is_behind = |name: &&String| !self.ready.contains(&ResourceRef { kind: pool, name: (*name).clone() });
        match resource.pools.iter().find(is_behind) {
            Some(name) => {
                Err(("pools_behind", format!("its pool {name} will not be at {to}: pools come before volumes")))
            }
            None => Ok(()),
        }
    }

    fn may_be_touched(&self, resource: &Resource, kind: &Kind) -> Result<(), Reason> {
        if self.order.attached != Attached::Refuse {
            return Ok(());
        }
        match resource.unused() {
            Condition::Holds => {}
            Condition::Fails(why) => {
                return Err(("attached", format!("{why}, and the strategy says `attached: refuse`")));
            }
            Condition::Unknown(why) => {
                return Err(("users_unknown", format!("{why}; the strategy says `attached: refuse`, and {REMEDY}")));
            }
        }
        if kind.parent.is_none() {
            return Ok(());
        }
        // A pool's restart stops the volumes that have no other replica.
        let users = self.users.get(resource.id.name.as_str()).into_iter().flatten();
        let alone = users.filter(|volume| volume.pools.len() < 2).map(|volume| (volume.unused(), &volume.id));
        let in_use = alone.filter(|(unused, _)| !unused.holds());
        // What is known to be in use tells more than what may be.
        match in_use.min_by_key(|(unused, id)| (matches!(unused, Condition::Unknown(_)), *id)) {
            None | Some((Condition::Holds, _)) => Ok(()),
            Some((Condition::Fails(_), volume)) => Err((
                "attached",
                format!(
                    "it holds the only replica of {volume}, which is in use, and the strategy says `attached: refuse`"
                ),
            )),
            Some((Condition::Unknown(why), volume)) => Err((
                "users_unknown",
                format!(
                    "it holds the only replica of {volume}: {why}; the strategy says `attached: refuse`, and {REMEDY}"
                ),
            )),
        }
    }

    fn executor_image(&self, kind: &Kind) -> Result<String, Reason> {
        let TargetSpec { openebs: to, images, executor, resources: _ } = self.order.target;
        if let Some(image) = &executor.image {
            // The two official images have sub-commands of the same names for different engines.
            let name = image.rsplit('/').next().unwrap_or(image);
            let is_legacy = name.starts_with("m-upgrade");
            let is_csi = name.starts_with("upgrade");
            if executor.maker == ExecutorMaker::Openebs
                && (is_legacy && kind.line == Line::Csi || is_csi && kind.line == Line::Legacy)
            {
                return Err((
                    "image_of_other_engine",
                    format!("target.executor.image `{image}` does not know a {}", kind.noun),
                ));
            }
            return Ok(image.clone());
        }
        // A mirror of OpenEBS's images holds the official executors, too; ours is at home elsewhere.
        let prefix = images.as_ref().and_then(|images| images.prefix.as_deref());
        let prefix = prefix.filter(|_| executor.maker == ExecutorMaker::Openebs);
        Ok(images::executor(executor.maker, kind, to, Architecture::of_nodes(&self.inventory.architectures), prefix))
    }

    fn task(
        &self,
        resource: &Resource,
        kind: &'static Kind,
        from: crate::domain::Version,
        repair: bool,
        image: String,
    ) -> PlannedTask {
        let TargetSpec { openebs: to, images, executor, resources: _ } = self.order.target;
        let (prefix, tag) = images.as_ref().map_or((None, None), |images| (images.prefix.clone(), images.tag.clone()));
        let service_account = images::service_account(executor.maker, kind, to, &self.inventory.control_plane);
        PlannedTask {
            resource: resource.id.clone(),
            resource_namespace: resource.namespace.clone(),
            namespace: self.inventory.namespace.clone(),
            from,
            to: to.clone(),
            image,
            pull_secrets: executor.pull_secrets.clone(),
            own_executor: executor.maker == ExecutorMaker::Fleetlift,
            service_account,
            image_prefix: prefix.unwrap_or_default(),
            image_tag: tag.unwrap_or_default(),
            pools: self.pools_of(resource, kind),
            workloads: self.workloads(resource),
            repair,
            expected_seconds: kind.expected_seconds,
        }
    }

    /// The pools that a task keeps busy: those of its replicas; for a parent, all of its own.
    fn pools_of(&self, resource: &Resource, kind: &Kind) -> Vec<String> {
        let mut pools: Vec<String> = if kinds::children_of(kind.kind).is_some() {
            let children = self.inventory.resources.iter().filter(|child| child.parent.as_ref() == Some(&resource.id));
            children.map(|child| child.id.name.clone()).collect()
        } else {
            resource.pools.clone()
        };
        pools.sort();
        pools.dedup();
        pools
    }

    /// The Pods that would notice: its own users, and those of the volumes with a replica on it.
    fn workloads(&self, resource: &Resource) -> Vec<Workload> {
        let of_volumes = kinds::of(resource.id.kind)
            .parent
            .and_then(|_| self.users.get(resource.id.name.as_str()))
            .into_iter()
            .flatten()
            .flat_map(|volume| &volume.workloads);
        let all: BTreeSet<&Workload> = resource.workloads.iter().chain(of_volumes).collect();
        all.into_iter().cloned().collect()
    }
}

/// Whether its health allows to begin, or is not to be gone by.
fn is_fit(resource: &Resource, whatever_it_says: bool) -> Result<(), Reason> {
    match &resource.health {
        // What stopped half-way is rarely healthy; finishing it is the cure, and the engine looks again.
        Condition::Holds => Ok(()),
        _ if whatever_it_says => Ok(()),
        Condition::Fails(why) => Err(("unhealthy", format!("not healthy: {why}"))),
        Condition::Unknown(why) => Err(("health_unknown", format!("its health could not be told: {why}"))),
    }
}

/// The kind of pool that holds the replicas of a kind of volume; Jiva keeps its own.
const fn pool_kind(volume: ResourceKind) -> Option<ResourceKind> {
    match volume {
        ResourceKind::CstorVolume => Some(ResourceKind::CstorPoolInstance),
        ResourceKind::LegacyCstorVolume => Some(ResourceKind::CstorPool),
        ResourceKind::JivaVolume
        | ResourceKind::LegacyJivaVolume
        | ResourceKind::CstorPoolInstance
        | ResourceKind::CstorPoolCluster
        | ResourceKind::CstorPool
        | ResourceKind::StoragePoolClaim => None,
    }
}

fn users_of_pools(inventory: &Inventory) -> BTreeMap<&str, Vec<&Resource>> {
    let mut users: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for volume in inventory.resources.iter().filter(|resource| pool_kind(resource.id.kind).is_some()) {
        for pool in &volume.pools {
            users.entry(pool).or_default().push(volume);
        }
    }
    users
}

/// What a person should know about a task.
fn notes(order: &Order<'_>, resource: &Resource, kind: &Kind, task: &PlannedTask) -> Vec<String> {
    let maker = order.target.executor.maker;
    let mut notes = Vec::new();
    let way = paths::path(kind.kind, &task.from, &task.to, maker);
    for caution in way.map(|path| path.cautions).unwrap_or_default() {
        notes.push(format!("{} from {} to {}: {caution}", kind.noun, task.from, task.to));
    }
    if task.repair {
        notes.push(format!("a {} that other hands left half done is repaired", kind.noun));
    }
    match (order.attached, resource.unused()) {
        (Attached::Warn, Condition::Fails(_)) => {
            notes.push(format!("a {} is in use; its I/O pauses while its target restarts", kind.noun));
        }
        (Attached::Warn, Condition::Unknown(why)) => {
            notes.push(format!(
                "a {}: {why}; if it is, its I/O pauses while its target restarts, and {REMEDY}",
                kind.noun
            ));
        }
        (Attached::Warn, Condition::Holds) | (Attached::Allow | Attached::Refuse, _) => {}
    }
    let forced = images::forced_prefix(kind, &task.to).filter(|_| maker == ExecutorMaker::Openebs);
    if let Some(prefix) = forced.filter(|_| task.image_prefix.is_empty()) {
        notes.push(format!(
            "the executor of {} takes the data plane's images from {prefix} whatever they were; set target.images.prefix",
            task.to
        ));
    }
    notes
}
