//! A plan: which clusters, in which waves, with which tasks in which order. Immutable and complete: whoever carries it
//! out makes no choice that it could have made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "hub")]
use super::PlanDigest;
use super::fleet::{Limits, Strategy};
use super::inventory::Workload;
use super::{ClusterId, HubId, InventoryDigest, ResourceRef, Revision, Version, Zone};

/// The layout of [`Plan`]; a plan of another one is refused.
pub const PLAN_FORMAT: u32 = 1;

/// What a rollout carries out. Its digest covers the canonical JSON (RFC 8785) of all of it: integers and text only,
/// no wall-clock times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// The hub that made it, and alone may carry it out.
    pub hub: HubId,
    /// The fleet's name.
    pub fleet: String,
    /// The fleet revision that it was made from.
    pub revision: Revision,
    /// The group.
    pub group: String,
    /// The version that everything in it shall have.
    pub to: Version,
    /// The strategy as it was when the plan was made: editing the file never changes a running rollout.
    pub strategy: Strategy,
    /// The limits of the whole fleet, as they were then.
    pub fleet_limits: Limits,
    /// Its waves, in order; the n-th is carried out under the n-th wave of the strategy, or as its closing wave of
    /// clusters that no wave covers.
    pub waves: Vec<PlannedWave>,
}

/// One wave of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedWave {
    /// Its name.
    pub name: String,
    /// Its clusters, in the order in which they would start.
    pub targets: Vec<PlannedTarget>,
}

/// One cluster's part in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTarget {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its name when the plan was made.
    pub name: String,
    /// Its labels then: limits per label count by these.
    pub labels: BTreeMap<String, String>,
    /// The time zone for its windows.
    pub time_zone: Zone,
    /// The inventory that the tasks rest on.
    pub inventory: InventoryDigest,
    /// Its tasks, in the order of execution.
    pub tasks: Vec<PlannedTask>,
}

impl PlannedTarget {
    /// How long all its tasks are expected to take, in seconds.
    pub fn expected_seconds(&self) -> u64 {
        self.tasks.iter().map(|task| u64::from(task.expected_seconds)).sum()
    }
}

/// One resource to upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTask {
    /// The resource.
    pub resource: ResourceRef,
    /// Where the resource's own objects live.
    pub resource_namespace: String,
    /// The OpenEBS namespace: where the Job and the UpgradeTask are made.
    pub namespace: String,
    /// The version that it has.
    pub from: Version,
    /// The version that it shall have.
    pub to: Version,
    /// The executor's image, with its tag.
    pub image: String,
    /// Secrets to pull it with.
    pub pull_secrets: Vec<String>,
    /// Whether the executor is Fleetlift's own.
    pub own_executor: bool,
    /// The service account that its Pod runs as.
    pub service_account: String,
    /// `imagePrefix` of the UpgradeTask; empty for none.
    pub image_prefix: String,
    /// `imageTag` of the UpgradeTask; empty for the version.
    pub image_tag: String,
    /// The pools that hold its replicas; tasks that share one never run at once.
    pub pools: Vec<String>,
    /// The Pods that use it.
    pub workloads: Vec<Workload>,
    /// Whether it repairs an upgrade that other hands left half done.
    pub repair: bool,
    /// How long it is expected to take, in seconds.
    pub expected_seconds: u32,
}

/// What the planner found beside the plan: for people, and for whoever asks why something is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Clusters and resources that are not in the plan, and why.
    pub left_out: Vec<LeftOut>,
    /// What a person should know before starting it.
    pub warnings: Vec<String>,
}

/// A cluster or a resource that is not in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The cluster's name.
    pub cluster: String,
    /// The resource; `None` for the whole cluster.
    pub resource: Option<ResourceRef>,
    /// A bounded name of the reason, for counting: `already_there`, `control_plane_behind`, …
    pub code: String,
    /// Why, in a sentence, and what would bring it in.
    pub why: String,
}

/// The plan's canonical JSON and its digest.
#[derive(Debug, thiserror::Error)]
#[error("the plan cannot be written as canonical JSON")]
pub struct NotCanonical(#[source] serde_json::Error);

impl Plan {
    /// The canonical JSON (RFC 8785) and the digest that names it.
    #[cfg(feature = "hub")]
    pub fn canonical(&self) -> Result<(String, PlanDigest), NotCanonical> {
        let body = serde_json_canonicalizer::to_string(self).map_err(NotCanonical)?;
        let digest = PlanDigest::of(body.as_bytes());
        Ok((body, digest))
    }
}
