//! What goes into the store and comes out of it, beside the domain's own nouns.

use serde::{Deserialize, Serialize};

use crate::domain::attempt::Attempt;
use crate::domain::budget::Claim;
use crate::domain::cluster::{Cluster, SealedCredential};
use crate::domain::event::Event;
use crate::domain::rollout::{Rollout, RolloutState, Wave};
use crate::domain::target::{Target, TargetState, Task, TaskState};
use crate::domain::{
    ClusterId, DaemonId, HubId, Inventory, InventoryDigest, PlanDigest, Revision, RolloutId, TargetId, TaskId,
    Timestamp, TokenId,
};

/// A hub to be made, if the store is new.
#[derive(Debug, Clone)]
pub struct NewHub {
    /// Its id.
    pub id: HubId,
    /// Now.
    pub at: Timestamp,
}

/// The hub's own row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// Made once in the store.
    pub id: HubId,
    /// When.
    pub created_at: Timestamp,
    /// The check value of the sealing key, once one was used.
    pub sealing_check: Option<String>,
}

/// A cluster to be registered.
#[derive(Debug, Clone)]
pub struct NewCluster {
    /// Its row.
    pub cluster: Cluster,
    /// Its credential.
    pub credential: SealedCredential,
    /// What tells of it.
    pub events: Vec<Event>,
}

/// The last inventory of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInventory {
    /// When it was read.
    pub taken_at: Timestamp,
    /// The name of its content.
    pub digest: InventoryDigest,
    /// JSON of a `domain::inventory::Inventory`.
    pub body: String,
    /// Whether a rollout was done with the cluster since: what it says of versions may be gone. The store's to know;
    /// what it says of an inventory that is saved changes nothing.
    pub overtaken: bool,
}

/// Whose turn it is to have its inventory read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryTurn {
    /// Older inventories are read again, and silent clusters tried at the latest when they were not tried since.
    pub before: Timestamp,
    /// Who was tried since is left alone.
    pub tried_before: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// Whether clusters that do not answer are meant, or those that do: each attempt on the first costs a timeout, so
    /// they have places of their own.
    pub silent: bool,
    /// How many at most.
    pub limit: u32,
}

impl From<&Inventory> for StoredInventory {
    fn from(inventory: &Inventory) -> Self {
        Self {
            taken_at: inventory.taken_at,
            digest: inventory.digest(),
            body: serde_json::to_string(inventory).unwrap_or_default(),
            overtaken: false,
        }
    }
}

/// A fleet configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFleet {
    /// The name of its content.
    pub revision: Revision,
    /// JSON of a `domain::fleet::Fleet`.
    pub body: String,
    /// When it was applied.
    pub applied_at: Timestamp,
    /// By whom.
    pub applied_by: String,
}

/// A plan with its report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPlan {
    /// The name of its content.
    pub digest: PlanDigest,
    /// The fleet revision that it was made from.
    pub revision: Revision,
    /// The group that it is for.
    pub group: String,
    /// Canonical JSON of a `domain::plan::Plan`: the bytes that the digest names.
    pub body: String,
    /// JSON of a `domain::plan::Report`.
    pub report: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// The oldest inventory that it rests on.
    pub oldest_inventory_at: Timestamp,
    /// By whom.
    pub made_by: String,
}

/// A rollout to be started.
#[derive(Debug, Clone)]
pub struct NewRollout {
    /// Its row.
    pub rollout: Rollout,
    /// Its waves, in order.
    pub waves: Vec<Wave>,
    /// Its targets with their tasks, in order.
    pub targets: Vec<(Target, Vec<Task>)>,
}

/// One rollout with its waves and targets, at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The last event that is in it.
    pub end: i64,
    /// The rollout.
    pub rollout: Rollout,
    /// Its waves, in order.
    pub waves: Vec<Wave>,
    /// Its targets, by wave and position; those of them that were asked for.
    pub targets: Vec<Target>,
}

/// A change of a rollout and its waves.
#[derive(Debug, Clone)]
pub struct RolloutChange {
    /// Which.
    pub rollout: RolloutId,
    /// The version that was read.
    pub version: i64,
    /// The new state, if it changes.
    pub state: Option<RolloutState>,
    /// When it finished, with `Finished`.
    pub finished_at: Option<Timestamp>,
    /// Waves whose facts change, as they shall be.
    pub waves: Vec<Wave>,
    /// Targets that do not run and change with it (skipped by a person or an abort), each with the version that was read.
    pub targets: Vec<Target>,
}

/// Failed targets of a rollout to be tried again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// The rollout.
    pub rollout: RolloutId,
    /// The version that was read.
    pub version: i64,
    /// The new state of a rollout that is finished; `None` of one that is not.
    pub reopened: Option<RolloutState>,
    /// Waves whose facts change, as they shall be.
    pub waves: Vec<Wave>,
    /// The targets as they shall be, each with the version that was read.
    pub targets: Vec<Target>,
    /// Their tasks that are tried again, as they shall be, each with the attempts that were read.
    pub tasks: Vec<Task>,
}

/// A target to be started.
#[derive(Debug, Clone)]
pub struct StartTarget {
    /// Which.
    pub target: TargetId,
    /// The version that was read.
    pub version: i64,
    /// Its new state: Running.
    pub state: TargetState,
    /// Now: also when it first started, if it never did.
    pub at: Timestamp,
    /// Who runs it.
    pub lease: Lease,
    /// The slots that it takes.
    pub claims: Vec<Claim>,
}

/// A daemon's lease. Whoever lost it writes nothing more under its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Whose.
    pub daemon: DaemonId,
    /// Raised whenever a daemon takes its lease anew.
    pub epoch: i64,
}

/// A target that was given to this daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// Which.
    pub target: TargetId,
    /// What each write must name.
    pub fence: Fence,
}

/// What a write to a running target must name: it fails when somebody else owns the target by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The owner.
    pub lease: Lease,
    /// Raised by each commit.
    pub version: i64,
}

/// Everything about one target that a step needs.
#[derive(Debug, Clone)]
pub struct TargetWork {
    /// The target.
    pub target: Target,
    /// Its tasks, in order.
    pub tasks: Vec<Task>,
    /// The attempt that has not ended, if any.
    pub open_attempt: Option<Attempt>,
    /// The rollout that it belongs to.
    pub rollout: Rollout,
    /// The lease under which it was started, or given out last; `None` while it belongs to nobody.
    pub owner: Option<Lease>,
}

/// One step of a running target, committed as a whole.
#[derive(Debug, Clone)]
pub struct TargetCommit {
    /// Which.
    pub target: TargetId,
    /// The owner and the version that was read.
    pub fence: Fence,
    /// The new state, if it changes. A state other than Running gives every slot back that the target holds.
    pub state: Option<TargetState>,
    /// Tasks whose state changes.
    pub tasks: Vec<(TaskId, TaskState)>,
    /// The attempt that is new or changed, as it shall be. One without an end becomes its task's open attempt.
    pub attempt: Option<Attempt>,
    /// The present: of a target that ends, when it ended.
    pub at: Timestamp,
    /// When a target that runs on is looked at next. `None` in the middle of a step: it is looked at already, and what
    /// was asked for meanwhile stays asked for.
    pub due_at: Option<Timestamp>,
}

/// Which results are wanted.
#[derive(Debug, Clone)]
pub struct ResultQuery {
    /// Of this rollout.
    pub rollout: RolloutId,
    /// Of this cluster only.
    pub cluster: Option<ClusterId>,
    /// After this task, in the rollout's order.
    pub after: Option<TaskId>,
    /// At most so many.
    pub limit: u32,
}

/// One task with its last attempt. What the task was to do is the plan's.
#[derive(Debug, Clone)]
pub struct ResultRow {
    /// The cluster.
    pub cluster: ClusterId,
    /// The cluster's name now (or when it was removed).
    pub cluster_name: String,
    /// The target.
    pub target: Target,
    /// The task.
    pub task: Task,
    /// Its last attempt, if there was one.
    pub last_attempt: Option<Attempt>,
}

/// An API token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    /// Its id.
    pub id: TokenId,
    /// Its name: the actor in audit events.
    pub name: String,
    /// SHA-256 of the secret, lowercase hexadecimal.
    pub hash: String,
    /// `viewer`, `operator`, `admin` or `auditor`.
    pub role: String,
    /// The clusters that an operator may touch, as a label selector; `None` for all.
    pub selector: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A cluster that holds a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotHolder {
    /// The key of the budget.
    pub budget: String,
    /// The cluster's name.
    pub cluster: String,
    /// The rollout that works on it.
    pub rollout: RolloutId,
}
