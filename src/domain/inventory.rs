//! What a cluster runs, as read at one time: the planner's ground truth and what `cluster resources` shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{InventoryDigest, ResourceRef, Timestamp, Version};

/// What one cluster runs. Bounded: at most [`Inventory::RESOURCES_MAX`] resources; what lies beyond is a problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// When the reading began, by the hub's clock. Not part of the digest.
    pub taken_at: Timestamp,
    /// The API server's version, for example `v1.34.4`.
    pub kubernetes: String,
    /// The processor architectures of its nodes, sorted: executors before 2.6 have an image for each.
    pub architectures: Vec<String>,
    /// The namespace in which OpenEBS runs.
    pub namespace: String,
    /// The operators found, one entry a component.
    pub control_plane: Vec<Component>,
    /// Pools and volumes, ordered by kind and name.
    pub resources: Vec<Resource>,
    /// Unfinished upgrade Jobs and Pods, of whomever.
    pub under_way: Vec<UnderWay>,
    /// Finished UpgradeTasks found: history from before Fleetlift.
    pub history: Vec<PastUpgrade>,
    /// What could not be read, with the right that is missing or the reason; empty when all was read.
    pub problems: Vec<String>,
}

impl Inventory {
    /// The most resources that one inventory holds.
    pub const RESOURCES_MAX: usize = 20_000;

    /// The name of this content: equal for two readings that saw the same, whenever they were taken.
    pub fn digest(&self) -> InventoryDigest {
        let mut timeless = self.clone();
        timeless.taken_at = Timestamp::from_micros(0);
        // Field order is fixed by the struct and maps are ordered: the same content gives the same bytes.
        InventoryDigest::of(&serde_json::to_vec(&timeless).unwrap_or_default())
    }

    /// The resource named by `wanted`, if the cluster has it.
    pub fn resource(&self, wanted: &ResourceRef) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == *wanted)
    }
}

/// One operator of the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its name as labelled: `cspc-operator`, `cvc-operator`, `jiva-operator`, `maya-apiserver`.
    pub name: String,
    /// The versions that its Pods carry as `openebs.io/version`; more than one while it is rolled out.
    pub versions: Vec<String>,
    /// The service account that its Pods run as.
    pub service_account: String,
}

/// One pool or volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Kind and name.
    pub id: ResourceRef,
    /// Where its objects live; for legacy volumes possibly the claim's namespace.
    pub namespace: String,
    /// The pool cluster (CSPC) or pool claim (SPC) that a pool belongs to.
    pub parent: Option<ResourceRef>,
    /// Its release, when all that carries a version agrees on one that can be read.
    pub version: Option<Version>,
    /// Every version seen on its objects, for display and to find mixtures.
    pub versions: Vec<SeenVersion>,
    /// Whether it is healthy now.
    pub health: Condition,
    /// Whether an upgrade by other hands stopped half-way (desired ≠ current, mixed versions, rollout incomplete).
    pub half_done: Option<String>,
    /// The pools (instances) that hold its replicas; for a pool, itself. Tasks that share one never run at once.
    pub pools: Vec<String>,
    /// Replicas wanted and healthy, where it has any.
    pub replicas: Option<Replicas>,
    /// The node that it is attached to, where known.
    pub attached_to: Option<String>,
    /// The Pods that use it.
    pub workloads: Vec<Workload>,
    /// Why there may be users beside these; `None` when all could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users_unknown: Option<String>,
    /// Labels and facts worth showing that have no field of their own (node, capacity, …).
    pub details: BTreeMap<String, String>,
}

impl Resource {
    /// Whether nobody uses it: no Pod, and no node that it is attached to.
    pub fn unused(&self) -> Condition {
        let pod = self.workloads.first().map(|workload| format!("Pod {}/{}", workload.namespace, workload.pod));
        let user = pod.or_else(|| self.attached_to.as_ref().map(|node| format!("node {node}")));
        match (user, &self.users_unknown) {
            (Some(user), _) => Condition::Fails(format!("in use by {user}")),
            (None, Some(why)) => Condition::Unknown(format!("whether it is in use is not known: {why}")),
            (None, None) => Condition::Holds,
        }
    }
}

/// Replicas of one volume or instances of one pool cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// How many there should be.
    pub wanted: u32,
    /// How many are healthy.
    pub healthy: u32,
}

/// A Pod that uses a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
}

/// A version as found on one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenVersion {
    /// The object: `Deployment/pvc-1-target`.
    pub object: String,
    /// The field: `versionDetails.status.current`, `label openebs.io/version`.
    pub field: String,
    /// What it said; empty when it was not set.
    pub version: String,
}

/// Something that ought to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "why")]
pub enum Condition {
    /// It does.
    Holds,
    /// It does not, and why, in a sentence.
    Fails(String),
    /// It could not be told, and why. Never taken for [`Condition::Holds`].
    Unknown(String),
}

impl Condition {
    /// What observations of before it was asked say about it.
    pub(crate) fn unasked() -> Self {
        Self::Holds
    }

    /// Whether it surely holds.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Holds)
    }

    /// Why it does not surely hold.
    pub fn why_not(&self) -> Option<&str> {
        match self {
            Self::Holds => None,
            Self::Fails(why) | Self::Unknown(why) => Some(why),
        }
    }

    /// Both must hold; a failure outweighs a doubt.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Holds, other) => other,
            (Self::Unknown(_), Self::Fails(why)) => Self::Fails(why),
            (this, _) => this,
        }
    }
}

/// Somebody's upgrade that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// The Job or Pod: `Job/cstor-cspc-upgrade`.
    pub by: String,
    /// What it names, as far as its arguments and UpgradeTasks tell.
    pub resources: Vec<ResourceRef>,
}

/// A finished UpgradeTask that was there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastUpgrade {
    /// The UpgradeTask's name (or UpgradeResult's, for the 0.8.2 → 0.9.0 era).
    pub name: String,
    /// What it upgraded, where it says.
    pub resource: Option<ResourceRef>,
    /// From, as written.
    pub from: String,
    /// To, as written.
    pub to: String,
    /// Its phase, as written.
    pub phase: String,
    /// When it ended, as written.
    pub completed_at: Option<String>,
}
