//! What was seen in a cluster: of one attempt, and of one resource. Mirrors, never believed alone.

use serde::{Deserialize, Serialize};

use super::inventory::{Condition, SeenVersion};
use super::{Attempt, ResourceRef, Timestamp, Version};
use crate::openebs::upgrade_task::UpgradeTaskStatus;

/// What to look at: one attempt's objects, and the resource once its Job has ended.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The attempt whose Job and UpgradeTask are meant.
    pub attempt: &'a Attempt,
    /// The resource that it upgrades.
    pub resource: &'a ResourceRef,
    /// Where the resource's own objects live.
    pub resource_namespace: &'a str,
}

/// What one look at a cluster showed of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When the look began, by the hub's clock.
    pub at: Timestamp,
    /// The Job of the attempt's name.
    pub job: JobSeen,
    /// The UpgradeTask of the attempt's name.
    pub upgrade_task: UpgradeTaskSeen,
    /// The Pods that carry the Job's controller UID.
    pub pods: Vec<PodSeen>,
    /// Why a Job that runs has no Pod, in the cluster's words: a quota, an admission webhook, a missing account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_pod: Option<String>,
    /// The resource, by a read sent after the Job was seen to have ended; `None` while it has not.
    pub resource: Option<ResourceSeen>,
}

/// A Job as seen. Only `Complete` and `Failed` conditions are terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum JobSeen {
    /// There is none of that name.
    Absent,
    /// It has not ended.
    Active {
        /// Its UID.
        uid: String,
    },
    /// `spec.suspend` is true; ended for good when no Pod is left.
    Suspended {
        /// Its UID.
        uid: String,
        /// Pods with its controller UID that have not ended.
        pods_left: u32,
    },
    /// Condition `Complete`.
    Complete {
        /// Its UID.
        uid: String,
    },
    /// Condition `Failed`.
    Failed {
        /// Its UID.
        uid: String,
        /// The condition's reason, for example `DeadlineExceeded`.
        reason: String,
        /// The condition's message.
        message: String,
    },
    /// Nobody could look: the cluster was removed.
    Unseen,
    /// A Job of our name that is not ours, or of another attempt or content: a conflict, for a person.
    Foreign {
        /// Its UID.
        uid: String,
        /// What differs.
        why: String,
    },
}

impl JobSeen {
    /// The UID of the Job that was seen.
    pub fn uid(&self) -> Option<&str> {
        match self {
            Self::Absent | Self::Unseen => None,
            Self::Active { uid }
            | Self::Suspended { uid, .. }
            | Self::Complete { uid }
            | Self::Failed { uid, .. }
            | Self::Foreign { uid, .. } => Some(uid),
        }
    }
}

/// An UpgradeTask as seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum UpgradeTaskSeen {
    /// There is none of that name.
    Absent,
    /// It carries this attempt's label.
    Ours {
        /// Its UID.
        uid: String,
        /// What the executor wrote.
        status: UpgradeTaskStatus,
    },
    /// It is left over from another attempt or belongs to somebody else.
    Other {
        /// Its UID.
        uid: String,
        /// Whose it seems to be.
        whose: String,
        /// What it says.
        status: UpgradeTaskStatus,
    },
}

/// A Pod of the Job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, `Succeeded` or `Failed`.
    pub phase: String,
    /// Why it waits: `ImagePullBackOff`, `Unschedulable`, …; of one that has ended, why its node ended it: `Evicted`, …
    pub waiting: Option<String>,
    /// How the container `upgrade` ended.
    pub exit_code: Option<i32>,
    /// When it was to have left, if it was told to leave: after that only a node that does not answer keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves_at: Option<Timestamp>,
    /// The container's termination message, cut to 4 KiB.
    pub termination: Option<String>,
    /// The log's tail, cut to 16 KiB; read when the Pod has ended.
    pub log_tail: Option<String>,
}

impl PodSeen {
    /// Whether it will never run again.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// The resource as seen by one fresh read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ResourceSeen {
    /// It does not exist.
    Gone,
    /// It exists.
    Found(ResourceState),
}

/// Version, rollout and health of one resource, each with the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceState {
    /// Every version found on its objects.
    pub versions: Vec<SeenVersion>,
    /// Whether its Deployments and StatefulSets are rolled out at their generation.
    pub rolled_out: Condition,
    /// Whether it is healthy: pool online and writable, replicas healthy.
    pub healthy: Condition,
    /// Whether the replicas on it, being a pool, and their volumes are healthy. As its own health they suffer from
    /// what it suffers from: an attempt that repairs it must not wait for them.
    #[serde(default = "Condition::unasked")]
    pub load: Condition,
    /// Whether everything else that shares a pool cluster or replicas with it is healthy, and nothing rebuilds.
    pub settled: Condition,
    /// That an upgrade of it is not finished, and how that shows; in its operator's words where that refuses.
    #[serde(default)]
    pub half_done: Option<String>,
}

/// Where a resource stands between the two versions of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Everything that carries a version is at the target.
    AtTarget,
    /// Each is at one of the two, and not all at the target: the upgrade has work to do, or stopped half-way.
    Before,
    /// Something is at neither version, or unreadable: it drifted away from what was planned.
    Drifted(String),
}

impl ResourceState {
    /// Where it stands between `from` and `to`, comparing releases without suffixes.
    pub fn standing(&self, from: &Version, to: &Version) -> Standing {
        let mut all_at_target = true;
        for seen in &self.versions {
            match seen.version.parse::<Version>() {
                Ok(version) if version.same_release(to) => {}
                Ok(version) if version.same_release(from) => all_at_target = false,
                // An empty value is filled in by the operators at their first sync; it is work to be done.
                Err(_) if seen.version.is_empty() => all_at_target = false,
                Ok(_) | Err(_) => {
                    let SeenVersion { object, field, version } = seen;
                    return Standing::Drifted(format!(
                        "{object} has {field} {version:?}, which is neither {from} nor {to}"
                    ));
                }
            }
        }
        match self.versions.is_empty() {
            true => Standing::Drifted("none of its objects carries a version".to_owned()),
            false if all_at_target => Standing::AtTarget,
            false => Standing::Before,
        }
    }
}
