//! [`Store`] on a real database: each operation is either a command for the writer or a question to a reader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::watch;

use super::readers::Readers;
use super::writer::{Address, Writer};
use super::{
    Claimed, Hub, InventoryTurn, Lease, NewCluster, NewHub, NewRollout, ResultQuery, ResultRow, Retry, RolloutChange,
    SlotHolder, Snapshot, StartTarget, Store, StoreError, StoredFleet, StoredInventory, StoredPlan, StoredToken,
    TargetCommit, TargetWork,
};
use super::{attempts, budgets, clusters, events, fleets, hub, inventories, leases, rollouts, targets, tokens, work};
use crate::domain::budget::Usage;
use crate::domain::cluster::{Cluster, Reach, SealedCredential, StoredCredential};
use crate::domain::event::{Event, StoredEvent};
use crate::domain::rollout::Rollout;
use crate::domain::{
    Attempt, ClusterId, DaemonId, InventoryDigest, PlanDigest, Revision, RolloutId, TargetId, TaskId, Timestamp,
    TokenId,
};
use crate::metrics::Metrics;

/// How often Postgres is asked what other daemons committed.
const LISTEN_EVERY: Duration = Duration::from_millis(500);

/// A store on SQLite or Postgres.
pub(super) struct Database {
    writer: Writer,
    readers: Readers,
    committed: watch::Receiver<i64>,
}

impl Database {
    pub(super) async fn start(
        address: Address,
        readers: Readers,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Self, StoreError> {
        let head = events::head(&mut readers.one().await?.session()).await?;
        let (sender, committed) = watch::channel(head.seq);
        if let Readers::Postgres(_) = &readers {
            tokio::spawn(follow(readers.clone(), sender.clone()));
        }
        Ok(Self { writer: Writer::start(address, sender, metrics), readers, committed })
    }
}

/// Notices what other daemons commit, until nobody is interested any more.
async fn follow(readers: Readers, committed: watch::Sender<i64>) {
    loop {
        tokio::select! {
            () = committed.closed() => break,
            () = tokio::time::sleep(LISTEN_EVERY) => {}
        }
        let Ok(mut reader) = readers.one().await else { continue };
        // The database may be away for a while: then nothing is committed either.
        if let Ok(head) = events::head(&mut reader.session()).await {
            committed.send_if_modified(|seen| head.seq > std::mem::replace(seen, head.seq.max(*seen)));
        }
    }
    readers.close().await;
}

/// A command for the writer: the operation's own function, given the group's change and the rest of its arguments.
macro_rules! write {
    ($self:ident, $operation:path $(, $argument:expr)*) => {
        $self.writer.write(move |change| Box::pin($operation(change $(, $argument)*))).await
    };
}

/// A question that one query answers.
macro_rules! read {
    ($self:ident, $operation:path $(, $argument:expr)*) => {
        $operation(&mut $self.readers.one().await?.session() $(, $argument)*).await
    };
}

/// A question that several queries answer at one instant.
macro_rules! read_at_once {
    ($self:ident, $operation:path $(, $argument:expr)*) => {
        $operation(&mut $self.readers.at_once().await?.session() $(, $argument)*).await
    };
}

#[async_trait]
impl Store for Database {
    async fn hub(&self, candidate: NewHub) -> Result<Hub, StoreError> {
        if let Some(hub) = read!(self, hub::read)? {
            return Ok(hub);
        }
        write!(self, hub::make, candidate)
    }

    async fn replace_sealing_check(&self, before: &str, check: &str, events: Vec<Event>) -> Result<(), StoreError> {
        let (before, check) = (before.to_owned(), check.to_owned());
        write!(self, hub::replace_check, before, check, events)
    }

    async fn set_sealing_check(&self, check: &str) -> Result<(), StoreError> {
        let check = check.to_owned();
        write!(self, hub::set_check, check)
    }

    async fn register_clusters(&self, new: Vec<NewCluster>) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        // Each is a command of its own, and so accepted or refused by itself; together they share commits.
        let commands = new.into_iter().map(|new| async move { write!(self, clusters::register, new) });
        Ok(join_all(commands).await)
    }

    async fn clusters(&self, after: Option<&str>, limit: u32) -> Result<Vec<Cluster>, StoreError> {
        read!(self, clusters::page, after.unwrap_or_default(), limit)
    }

    async fn cluster_named(&self, name: &str) -> Result<Cluster, StoreError> {
        read!(self, clusters::named, name)
    }

    async fn cluster(&self, id: ClusterId) -> Result<Cluster, StoreError> {
        read!(self, clusters::by_id, id)
    }

    async fn credential(&self, id: ClusterId) -> Result<StoredCredential, StoreError> {
        read!(self, clusters::credential, id)
    }

    async fn change_cluster(&self, cluster: &Cluster, events: Vec<Event>) -> Result<Cluster, StoreError> {
        let cluster = cluster.clone();
        write!(self, clusters::change, cluster, events)
    }

    async fn identify_cluster(&self, id: ClusterId, identity: &str, events: Vec<Event>) -> Result<Cluster, StoreError> {
        let identity = identity.to_owned();
        write!(self, clusters::identify, id, identity, events)
    }

    async fn replace_credential(
        &self,
        cluster: &Cluster,
        credential: SealedCredential,
        events: Vec<Event>,
    ) -> Result<Cluster, StoreError> {
        let cluster = cluster.clone();
        write!(self, clusters::replace_credential, cluster, credential, events)
    }

    async fn rewrap_credential(
        &self,
        id: ClusterId,
        sealed: &SealedCredential,
        envelope: Vec<u8>,
    ) -> Result<(), StoreError> {
        let sealed = sealed.clone();
        write!(self, clusters::rewrap_credential, id, sealed, envelope)
    }

    async fn record_reach(&self, id: ClusterId, reach: &Reach) -> Result<(), StoreError> {
        let reach = reach.clone();
        write!(self, clusters::set_reach, id, reach)
    }

    async fn save_inventory(&self, id: ClusterId, inventory: StoredInventory) -> Result<(), StoreError> {
        write!(self, inventories::save, id, inventory)
    }

    async fn inventory(&self, id: ClusterId) -> Result<Option<StoredInventory>, StoreError> {
        read!(self, inventories::read, id)
    }

    async fn refresh_inventories(
        &self,
        clusters: Vec<ClusterId>,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        write!(self, inventories::refresh, clusters, before, now)
    }

    async fn inventory_digests(&self) -> Result<Vec<(ClusterId, InventoryDigest)>, StoreError> {
        read!(self, inventories::digests)
    }

    async fn claim_inventories(&self, turn: InventoryTurn) -> Result<Vec<ClusterId>, StoreError> {
        let candidates = read!(self, inventories::candidates, turn)?;
        if candidates.is_empty() {
            return Ok(candidates);
        }
        write!(self, inventories::claim, candidates, turn)
    }

    async fn count_clusters(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        read!(self, clusters::count)
    }

    async fn apply_fleet(
        &self,
        fleet: StoredFleet,
        over: Option<Revision>,
        events: Vec<Event>,
    ) -> Result<(), StoreError> {
        write!(self, fleets::apply, fleet, over, events)
    }

    async fn current_fleet(&self) -> Result<Option<StoredFleet>, StoreError> {
        read!(self, fleets::current)
    }

    async fn fleet(&self, revision: &Revision) -> Result<StoredFleet, StoreError> {
        read!(self, fleets::by_revision, revision)
    }

    async fn save_plan(&self, plan: StoredPlan, events: Vec<Event>) -> Result<(), StoreError> {
        write!(self, fleets::save_plan, plan, events)
    }

    async fn plan(&self, digest: &PlanDigest) -> Result<StoredPlan, StoreError> {
        read!(self, fleets::plan, digest)
    }

    async fn plans(&self, prefix: &str, limit: u32) -> Result<Vec<StoredPlan>, StoreError> {
        read!(self, fleets::plans, prefix, limit)
    }

    async fn start_rollout(&self, rollout: NewRollout, events: Vec<Event>) -> Result<(), StoreError> {
        write!(self, rollouts::start, rollout, events)
    }

    async fn rollouts(&self, before: Option<RolloutId>, limit: u32) -> Result<Vec<Rollout>, StoreError> {
        read!(self, rollouts::page, before, limit)
    }

    async fn unfinished_rollouts(&self) -> Result<Vec<RolloutId>, StoreError> {
        read!(self, rollouts::unfinished)
    }

    async fn snapshot(&self, id: RolloutId) -> Result<Snapshot, StoreError> {
        read_at_once!(self, rollouts::snapshot, id, None)
    }

    async fn snapshot_since(&self, id: RolloutId, after: i64) -> Result<Snapshot, StoreError> {
        read_at_once!(self, rollouts::snapshot, id, Some(after))
    }

    async fn change_rollout(&self, change: RolloutChange, events: Vec<Event>) -> Result<(), StoreError> {
        let wanted = change;
        write!(self, rollouts::change, wanted, events)
    }

    async fn slot_holders(&self, keys: Vec<String>) -> Result<Vec<SlotHolder>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        read!(self, budgets::holders, keys)
    }

    async fn retry(&self, retry: Retry, events: Vec<Event>) -> Result<(), StoreError> {
        let wanted = retry;
        write!(self, rollouts::retry, wanted, events)
    }

    async fn usage(&self) -> Result<Vec<Usage>, StoreError> {
        read!(self, budgets::usage)
    }

    async fn start_target(&self, start: StartTarget, events: Vec<Event>) -> Result<(), StoreError> {
        write!(self, targets::start, start, events)
    }

    async fn claim_due(&self, lease: &Lease, now: Timestamp, limit: u32) -> Result<Vec<Claimed>, StoreError> {
        if !read!(self, targets::any_due, lease, now)? {
            return Ok(Vec::new());
        }
        let lease = *lease;
        write!(self, targets::claim, lease, now, limit)
    }

    async fn next_due(&self, lease: &Lease) -> Result<Option<Timestamp>, StoreError> {
        read!(self, targets::next_due, lease)
    }

    async fn target_work(&self, id: TargetId) -> Result<TargetWork, StoreError> {
        read_at_once!(self, work::of_target, id)
    }

    async fn commit_target(&self, commit: TargetCommit, events: Vec<Event>) -> Result<(), StoreError> {
        write!(self, targets::commit, commit, events)
    }

    async fn wake(&self, rollout: RolloutId, target: Option<TargetId>, now: Timestamp) -> Result<(), StoreError> {
        write!(self, targets::wake, rollout, target, now)
    }

    async fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>, StoreError> {
        read!(self, attempts::of_task, task)
    }

    async fn results(&self, query: ResultQuery) -> Result<Vec<ResultRow>, StoreError> {
        read!(self, work::results, query)
    }

    async fn renew_lease(&self, daemon: DaemonId, ttl: Duration) -> Result<Lease, StoreError> {
        match &self.readers {
            // One row, one statement: it must not wait for the groups of other daemons.
            Readers::Postgres(_) => read!(self, leases::renew, daemon, ttl),
            Readers::Sqlite(_) => write!(self, leases::renew_in_group, daemon, ttl),
        }
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = *lease;
        write!(self, leases::release, lease)
    }

    async fn record(&self, events: Vec<Event>) -> Result<(), StoreError> {
        write!(self, events::record, events)
    }

    async fn events(&self, after: i64, rollout: Option<RolloutId>, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        read!(self, events::page, after, rollout, limit)
    }

    async fn history(
        &self,
        cluster: ClusterId,
        rollout: RolloutId,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        read!(self, events::history, cluster, rollout, limit)
    }

    async fn audit_head(&self) -> Result<(i64, String), StoreError> {
        let head = read!(self, events::head)?;
        Ok((head.seq, head.hash))
    }

    fn committed(&self) -> watch::Receiver<i64> {
        self.committed.clone()
    }

    async fn create_token(&self, token: StoredToken, events: Vec<Event>) -> Result<(), StoreError> {
        write!(self, tokens::create, token, events)
    }

    async fn token_by_hash(&self, hash: &str) -> Result<Option<StoredToken>, StoreError> {
        read!(self, tokens::by_hash, hash)
    }

    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        read!(self, tokens::all)
    }

    async fn revoke_token(&self, id: TokenId, at: Timestamp, events: Vec<Event>) -> Result<(), StoreError> {
        write!(self, tokens::revoke, id, at, events)
    }

    async fn idempotent(
        &self,
        principal: &str,
        key: &str,
        answer: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let Some(answer) = answer else { return read!(self, tokens::answer, principal, key, now) };
        let (principal, key, answer) = (principal.to_owned(), key.to_owned(), answer.to_owned());
        write!(self, tokens::keep_answer, principal, key, answer, now)
    }
}
