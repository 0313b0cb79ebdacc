//! What the hub remembers, in SQLite or Postgres; the only module that says `sqlx`.
//!
//! [`Store`] speaks in domain operations. Every operation that changes something takes the audit events that tell of
//! it and commits both in one transaction: if the event cannot be written, the change does not happen. Every change
//! names the version or the fence that it expects; [`StoreError::Conflict`] is a normal answer.

mod attempts;
mod budgets;
mod clusters;
mod database;
mod events;
mod failure;
mod fleets;
mod hub;
mod inventories;
mod leases;
mod open;
mod readers;
mod records;
mod rollouts;
mod schema;
mod session;
#[cfg(test)]
mod statements_tests;
mod targets;
mod tokens;
mod work;
mod writer;

use std::collections::BTreeMap;

use async_trait::async_trait;

pub use open::{Options, migrate, open};
pub use records::*;
pub use schema::LAYOUT;

use crate::domain::budget::{Scope, Usage};
use crate::domain::cluster::{Cluster, Reach, SealedCredential, StoredCredential};
use crate::domain::event::{Event, StoredEvent};
use crate::domain::rollout::Rollout;
use crate::domain::{
    Attempt, ClusterId, DaemonId, InventoryDigest, PlanDigest, Revision, RolloutId, TargetId, TaskId, Timestamp,
    TokenId,
};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row is not there.
    #[error("there is no {what} {name}")]
    NotFound {
        /// `cluster`, `rollout`, …
        what: &'static str,
        /// As it was asked for.
        name: String,
    },
    /// The row changed since it was read, or another daemon owns it: read again and decide anew.
    #[error("{what} was changed by somebody else meanwhile")]
    Conflict {
        /// Which row.
        what: String,
    },
    /// The name is taken.
    #[error("{what} {name} exists already")]
    Exists {
        /// `cluster`, `token`, …
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It is the same OpenEBS as one that is registered under another name.
    #[error(
        "it is the same cluster as {name} (one address, one UID of namespace kube-system, one namespace of OpenEBS), and \
         under two names its resources would be upgraded twice at once: `fleetlift cluster remove` one of the two"
    )]
    SameCluster {
        /// The other name.
        name: String,
    },
    /// A budget is used up: not an error of anybody's.
    #[error("{scope} has {in_use} of {limit} running")]
    BudgetUsedUp {
        /// Which budget.
        scope: Scope,
        /// Slots taken.
        in_use: u32,
        /// The limit that was asked with.
        limit: u32,
    },
    /// A row does not say what this version understands.
    #[error("{what} in the database cannot be read: {why}")]
    Corrupt {
        /// Table and key.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The database is not one that this version can work with; a person must do something.
    #[error("the database cannot be used: {why}")]
    Unusable {
        /// Why, and the way out.
        why: String,
    },
    /// The database cannot be written or read now (a lost connection, a failing disk); nothing was changed. Only a Postgres
    /// whose connection broke in the very commit may have changed everything that was asked for: the row's version tells,
    /// when it is read again.
    #[error("the database does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk under the database is full; nothing was changed. It goes on when there is room.
    #[error("the disk under the database is full")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody's doing.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::BudgetUsedUp { .. })
    }
}

/// What the hub remembers.
#[async_trait]
pub trait Store: Send + Sync {
    // --- the hub itself ---

    /// The hub's own row, made with `candidate` if the store is new.
    async fn hub(&self, candidate: NewHub) -> Result<Hub, StoreError>;
    /// Stores the check value of the sealing key, once.
    async fn set_sealing_check(&self, check: &str) -> Result<(), StoreError>;

    /// Stores the check value of another sealing key in place of `before`, when everything is sealed with it.
    async fn replace_sealing_check(&self, before: &str, check: &str, events: Vec<Event>) -> Result<(), StoreError>;

    // --- clusters ---

    /// Registers clusters with their sealed credentials; each is accepted or refused by itself.
    async fn register_clusters(&self, new: Vec<NewCluster>) -> Result<Vec<Result<(), StoreError>>, StoreError>;
    /// Clusters that are not removed, ordered by name, after the name `after`, at most `limit`.
    async fn clusters(&self, after: Option<&str>, limit: u32) -> Result<Vec<Cluster>, StoreError>;
    /// The cluster of this name that is not removed.
    async fn cluster_named(&self, name: &str) -> Result<Cluster, StoreError>;
    /// A cluster, removed or not.
    async fn cluster(&self, id: ClusterId) -> Result<Cluster, StoreError>;
    /// A cluster's sealed credential, and what the audit tells of its last sealing.
    async fn credential(&self, id: ClusterId) -> Result<StoredCredential, StoreError>;
    /// Writes a cluster's labels, zone, namespace, egress, identity, state, server and expiry as given, where its
    /// version is still `cluster.version`; removes the credential when the state is `Removed`.
    async fn change_cluster(&self, cluster: &Cluster, events: Vec<Event>) -> Result<Cluster, StoreError>;
    /// Notes who an active cluster is that was not known yet; answers the cluster as it is then. Where it is known
    /// already, or the cluster is not active any more, nothing is changed. [`StoreError::SameCluster`] names whoever is
    /// registered as that cluster.
    async fn identify_cluster(&self, id: ClusterId, identity: &str, events: Vec<Event>) -> Result<Cluster, StoreError>;
    /// Replaces a cluster's sealed credential (and server, identity and expiry with it).
    async fn replace_credential(
        &self,
        cluster: &Cluster,
        credential: SealedCredential,
        events: Vec<Event>,
    ) -> Result<Cluster, StoreError>;
    /// Replaces the envelope of a credential that is still `sealed`: the same secret under another key.
    async fn rewrap_credential(
        &self,
        id: ClusterId,
        sealed: &SealedCredential,
        envelope: Vec<u8>,
    ) -> Result<(), StoreError>;
    /// Notes whether a cluster answered: no event, no version.
    async fn record_reach(&self, id: ClusterId, reach: &Reach) -> Result<(), StoreError>;
    /// Keeps the last inventory of a cluster.
    async fn save_inventory(&self, id: ClusterId, inventory: StoredInventory) -> Result<(), StoreError>;
    /// The last inventory of a cluster, if one was read.
    async fn inventory(&self, id: ClusterId) -> Result<Option<StoredInventory>, StoreError>;
    /// Lets the inventories of these clusters that were taken before `before` be read again at once, as those that a
    /// rollout was done with.
    async fn refresh_inventories(
        &self,
        clusters: Vec<ClusterId>,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// The digests of all inventories.
    async fn inventory_digests(&self) -> Result<Vec<(ClusterId, InventoryDigest)>, StoreError>;
    /// Active clusters whose inventory is older than `before` or missing and that were not tried since `tried_before`,
    /// oldest first, and before them those that a rollout was done with since they were read; each is marked as tried at
    /// `now`, so that several daemons share the work. A silent one waits as long again as it had been silent when it was
    /// last tried, and those are taken in the order of their last try.
    async fn claim_inventories(&self, turn: InventoryTurn) -> Result<Vec<ClusterId>, StoreError>;
    /// How many clusters are in each state, by the state's name.
    async fn count_clusters(&self) -> Result<BTreeMap<String, u64>, StoreError>;

    // --- fleets and plans ---

    /// Makes a fleet configuration the current one; where `over` is given, only if that is the current one still.
    async fn apply_fleet(
        &self,
        fleet: StoredFleet,
        over: Option<Revision>,
        events: Vec<Event>,
    ) -> Result<(), StoreError>;
    /// The current fleet configuration, if one was applied.
    async fn current_fleet(&self) -> Result<Option<StoredFleet>, StoreError>;
    /// A fleet configuration by its revision.
    async fn fleet(&self, revision: &Revision) -> Result<StoredFleet, StoreError>;
    /// Keeps a plan; keeping the same digest twice changes nothing.
    async fn save_plan(&self, plan: StoredPlan, events: Vec<Event>) -> Result<(), StoreError>;
    /// A plan by its digest.
    async fn plan(&self, digest: &PlanDigest) -> Result<StoredPlan, StoreError>;
    /// Plans whose digest starts with `prefix`, newest first, at most `limit`.
    async fn plans(&self, prefix: &str, limit: u32) -> Result<Vec<StoredPlan>, StoreError>;

    // --- rollouts ---

    /// Stores a rollout with its waves, targets and tasks.
    async fn start_rollout(&self, rollout: NewRollout, events: Vec<Event>) -> Result<(), StoreError>;
    /// Rollouts, newest first, older than `before`, at most `limit`.
    async fn rollouts(&self, before: Option<RolloutId>, limit: u32) -> Result<Vec<Rollout>, StoreError>;
    /// The ids of the rollouts that are not finished.
    async fn unfinished_rollouts(&self) -> Result<Vec<RolloutId>, StoreError>;
    /// One rollout with its waves and targets, read in one transaction.
    async fn snapshot(&self, id: RolloutId) -> Result<Snapshot, StoreError>;
    /// The same, with only those targets that something happened to after event `after`.
    async fn snapshot_since(&self, id: RolloutId, after: i64) -> Result<Snapshot, StoreError>;
    /// Changes a rollout's state and waves where its version is still `version`.
    async fn change_rollout(&self, change: RolloutChange, events: Vec<Event>) -> Result<(), StoreError>;
    /// Who holds slots of the budgets with these keys.
    async fn slot_holders(&self, keys: Vec<String>) -> Result<Vec<SlotHolder>, StoreError>;
    /// Has failed targets tried again, all of them or none, where the rollout's version is still `version`; a finished
    /// rollout runs again, unless another one of its plan does.
    async fn retry(&self, retry: Retry, events: Vec<Event>) -> Result<(), StoreError>;
    /// How much of every scope is in use.
    async fn usage(&self) -> Result<Vec<Usage>, StoreError>;

    // --- targets: the engine's own ---

    /// Takes the claims' slots, in the order of their keys, and makes the target Running, owned by `fence`'s daemon,
    /// due at once. [`StoreError::BudgetUsedUp`] names the first scope that is full.
    async fn start_target(&self, start: StartTarget, events: Vec<Event>) -> Result<(), StoreError>;
    /// Gives running targets that are due to this daemon: its own, and those whose owner's lease has ended (which it
    /// then owns), at most `limit`, longest overdue first; a target given out is not given out again within two
    /// minutes unless a commit sets its due time. Being given out does not change its version: a step of the same daemon
    /// that is under way goes on.
    async fn claim_due(&self, lease: &Lease, now: Timestamp, limit: u32) -> Result<Vec<Claimed>, StoreError>;
    /// When the next running target of this daemon, or of a daemon whose lease has ended, is due.
    async fn next_due(&self, lease: &Lease) -> Result<Option<Timestamp>, StoreError>;
    /// One target with its tasks, its open attempt and its rollout's state, read in one transaction.
    async fn target_work(&self, id: TargetId) -> Result<TargetWork, StoreError>;
    /// Commits one step of a target: every part of `commit` and the events, where the fence still holds. With its end,
    /// the cluster's inventory is due to be read again.
    async fn commit_target(&self, commit: TargetCommit, events: Vec<Event>) -> Result<(), StoreError>;
    /// Makes running targets of a rollout (or one target) due at `now`: something about them was decided elsewhere.
    async fn wake(&self, rollout: RolloutId, target: Option<TargetId>, now: Timestamp) -> Result<(), StoreError>;
    /// Every attempt of a task, oldest first.
    async fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>, StoreError>;
    /// Results: one row a task of the rollout (and cluster) with its last attempt, in the plan's order, after `after`.
    async fn results(&self, query: ResultQuery) -> Result<Vec<ResultRow>, StoreError>;

    // --- leases ---

    /// Takes or renews a daemon's lease by the database's own clock; a lease that had ended comes back with a new
    /// epoch, and what it owned may belong to others by then.
    async fn renew_lease(&self, daemon: DaemonId, ttl: std::time::Duration) -> Result<Lease, StoreError>;
    /// Ends a daemon's lease: what it owned is free at once.
    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError>;

    // --- audit ---

    /// Writes events that belong to no change of their own.
    async fn record(&self, events: Vec<Event>) -> Result<(), StoreError>;
    /// Events after `seq`, in order, at most `limit`; only of `rollout`, when given.
    async fn events(&self, after: i64, rollout: Option<RolloutId>, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;
    /// The last events of a cluster in a rollout, in order, at most `limit`.
    async fn history(&self, cluster: ClusterId, rollout: RolloutId, limit: u32)
    -> Result<Vec<StoredEvent>, StoreError>;
    /// The last event's place and hash: `(0, zeros)` while there is none.
    async fn audit_head(&self) -> Result<(i64, String), StoreError>;
    /// Wakes whoever waits for events or work: the highest `seq` that this process has seen committed.
    fn committed(&self) -> tokio::sync::watch::Receiver<i64>;

    // --- API tokens, idempotency ---

    /// Keeps a token's hash.
    async fn create_token(&self, token: StoredToken, events: Vec<Event>) -> Result<(), StoreError>;
    /// The token of this hash, revoked and expired ones included.
    async fn token_by_hash(&self, hash: &str) -> Result<Option<StoredToken>, StoreError>;
    /// Every token, by name.
    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError>;
    /// Revokes a token; [`StoreError::Conflict`] for the only administrator's token that is good.
    async fn revoke_token(&self, id: TokenId, at: Timestamp, events: Vec<Event>) -> Result<(), StoreError>;
    /// The answer that was kept for this principal and idempotency key, if any; keeps `answer` when there is none.
    async fn idempotent(
        &self,
        principal: &str,
        key: &str,
        answer: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError>;
}
