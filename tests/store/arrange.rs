//! Stores to test, and rows to put into them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetlift::domain::attempt::{Attempt, AttemptEnd, FailureClass, Outcome};
use fleetlift::domain::budget::{Claim, Scope};
use fleetlift::domain::cluster::{Cluster, ClusterState, Reach, SealedCredential};
use fleetlift::domain::event::{Actor, Event, EventType, Subject};
use fleetlift::domain::observation::{JobSeen, Observation, UpgradeTaskSeen};
use fleetlift::domain::rollout::{Rollout, RolloutState, Wave};
use fleetlift::domain::target::{Target, TargetState, Task, TaskState};
use fleetlift::domain::{
    AttemptId, ClusterId, DaemonId, HubId, PlanDigest, Revision, RolloutId, TargetId, TaskId, Timestamp,
};
use fleetlift::store::{
    Fence, Lease, NewCluster, NewHub, NewRollout, Options, StartTarget, Store, StoreError, StoredFleet, StoredPlan,
    TargetCommit,
};
use fleetlift::system::SystemEntropy;
use sqlx::Connection as _;

/// The tests' own time: far from the machine's, so that nothing confuses the two.
pub const NOW: Timestamp = Timestamp::from_micros(2_000_000_000_000_000);

/// Longer than any test.
pub const LEASE: Duration = Duration::from_mins(10);

/// A database that several stores (daemons) can be opened on, gone when it is dropped.
#[async_trait::async_trait]
pub trait Backend: Send + Sync {
    fn url(&self) -> String;

    async fn open(&self) -> Arc<dyn Store> {
        fleetlift::store::open(&self.url(), Options::default()).await.unwrap()
    }
}

const RAISE_LAYOUT: &str =
    "insert into layouts (number, sha256, applied_at_us) select max(number) + 1, '', 0 from layouts";

pub struct Sqlite {
    folder: tempfile::TempDir,
}

impl Sqlite {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
}

impl Sqlite {
    /// As if a newer version had been here.
    pub async fn raise_layout(&self) {
        let mut connection = sqlx::SqliteConnection::connect(&self.url()).await.unwrap();
        sqlx::query(RAISE_LAYOUT).execute(&mut connection).await.unwrap();
    }
}

impl Backend for Sqlite {
    fn url(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("fleetlift.db").display())
    }
}

pub struct Postgres {
    url: String,
    /// The server outlives the test.
    _server: Arc<crate::support::Postgres>,
}

impl Postgres {
    pub async fn new() -> Self {
        let server = crate::support::Postgres::shared();
        let url = server.database();
        assert_eq!(fleetlift::store::migrate(&url, Options::default()).await.unwrap(), 0);
        Self { url, _server: server }
    }
}

impl Postgres {
    /// As if a newer version had been here.
    pub async fn raise_layout(&self) {
        let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
        sqlx::query(RAISE_LAYOUT).execute(&mut connection).await.unwrap();
    }
}

impl Backend for Postgres {
    fn url(&self) -> String {
        self.url.clone()
    }
}

macro_rules! ids {
    ($($name:ident: $id:ty),*) => {$(
        pub fn $name() -> $id { <$id>::new(NOW, &SystemEntropy) }
    )*};
}

ids! {
    hub_id: HubId, cluster_id: ClusterId, rollout_id: RolloutId, target_id: TargetId, task_id: TaskId,
    attempt_id: AttemptId, daemon_id: DaemonId
}

pub fn event(kind: EventType) -> Event {
    Event::new(NOW, kind, Actor::engine(), Subject::default())
}

pub fn new_cluster(name: &str) -> NewCluster {
    NewCluster {
        cluster: Cluster {
            id: cluster_id(),
            name: name.into(),
            labels: BTreeMap::from([("region".into(), "north".into())]),
            time_zone: None,
            namespace: "openebs".into(),
            egress: None,
            server: "https://192.0.2.7:6443".into(),
            tls_verified: true,
            identity: None,
            credential_expires_at: None,
            state: ClusterState::Active,
            reach: Reach::default(),
            registered_at: NOW,
            version: 1,
        },
        credential: SealedCredential {
            version: 1,
            envelope: vec![0, 1, 255],
            ca_pem: "c0".into(),
            tls_server_name: Some("edge".into()),
        },
        events: vec![event(EventType::ClusterRegistered)],
    }
}

/// One rollout of one task a cluster, and the daemon that works on it.
pub struct Scene {
    pub store: Arc<dyn Store>,
    pub lease: Lease,
    pub rollout: Rollout,
    pub targets: Vec<Target>,
    pub tasks: Vec<Task>,
}

impl Scene {
    pub async fn new(backend: &dyn Backend, clusters: u32) -> Self {
        Self::on(backend.open().await, clusters).await
    }

    pub async fn on(store: Arc<dyn Store>, clusters: u32) -> Self {
        store.hub(NewHub { id: hub_id(), at: NOW }).await.unwrap();
        let new: Vec<_> = (0..clusters).map(|n| new_cluster(&format!("edge-{n:04}"))).collect();
        let ids: Vec<_> = new.iter().map(|new| new.cluster.id).collect();
        for registered in store.register_clusters(new).await.unwrap() {
            registered.unwrap();
        }
        let plan = stored_plan(store.as_ref(), "{}").await;
        let new = new_rollout(&plan, &ids);
        let (rollout, rows) = (new.rollout.clone(), new.targets.clone());
        store.start_rollout(new, vec![event(EventType::RolloutStarted)]).await.unwrap();
        let lease = store.renew_lease(daemon_id(), LEASE).await.unwrap();
        let (targets, tasks): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        Self { store, lease, rollout, targets, tasks: tasks.into_iter().flatten().collect() }
    }

    /// Starts the n-th target without claims, and takes it up.
    pub async fn running(&self, n: usize) -> Fence {
        self.store
            .start_target(self.start(n, self.lease, vec![]), vec![event(EventType::TargetStarted)])
            .await
            .unwrap();
        let claimed = self.store.claim_due(&self.lease, NOW, 100).await.unwrap();
        claimed.into_iter().find(|claimed| claimed.target == self.targets[n].id).expect("it is due").fence
    }

    pub fn start(&self, n: usize, lease: Lease, claims: Vec<Claim>) -> StartTarget {
        let target = &self.targets[n];
        let state = TargetState::Running { since: NOW, unseen_since: None, doing: "starting".into() };
        StartTarget { target: target.id, version: target.version, state, at: NOW, lease, claims }
    }

    /// A step that changes nothing but the time of the next one.
    pub fn step(&self, n: usize, fence: Fence) -> TargetCommit {
        TargetCommit {
            target: self.targets[n].id,
            fence,
            state: None,
            tasks: vec![],
            attempt: None,
            at: NOW,
            due_at: Some(NOW + Duration::from_mins(1)),
        }
    }

    pub fn attempt(&self, n: usize, number: u32) -> Attempt {
        Attempt {
            id: attempt_id(),
            task: self.tasks[n].id,
            number,
            job_name: format!("fl-{n}-{number}"),
            upgrade_task_name: format!("upgrade-{n}"),
            spec_hash: "5e".into(),
            intended_at: NOW,
            deadline: NOW + Duration::from_mins(10),
            job_uid: None,
            upgrade_task_uid: None,
            cancelled: None,
            completed_seen_at: None,
            held_up: None,
            resource_before: None,
            end: None,
        }
    }
}

pub async fn stored_plan(store: &dyn Store, body: &str) -> StoredPlan {
    let revision = Revision::of(b"fleet");
    let fleet = StoredFleet { revision: revision.clone(), body: "{}".into(), applied_at: NOW, applied_by: "me".into() };
    store.apply_fleet(fleet, None, vec![event(EventType::FleetApplied)]).await.unwrap();
    let plan = StoredPlan {
        digest: PlanDigest::of(body.as_bytes()),
        revision,
        group: "all".into(),
        body: body.into(),
        report: "{}".into(),
        made_at: NOW,
        oldest_inventory_at: NOW,
        made_by: "me".into(),
    };
    store.save_plan(plan.clone(), vec![event(EventType::PlanMade)]).await.unwrap();
    plan
}

pub fn new_rollout(plan: &StoredPlan, clusters: &[ClusterId]) -> NewRollout {
    let rollout = Rollout {
        id: rollout_id(),
        plan: plan.digest.clone(),
        fleet: "shops".into(),
        group: plan.group.clone(),
        revision: plan.revision.clone(),
        state: RolloutState::Running { accepted_failures: 0 },
        started_at: NOW,
        started_by: "me".into(),
        deadline: NOW + Duration::from_hours(24),
        finished_at: None,
        version: 1,
    };
    let wave =
        Wave { position: 0, name: "all".into(), opened_at: None, settled_at: None, passed_at: None, approval: None };
    let targets = clusters.iter().zip(0..).map(|(cluster, position)| {
        let target = Target {
            id: target_id(),
            rollout: rollout.id,
            cluster: *cluster,
            wave: 0,
            position,
            state: TargetState::Pending,
            first_started_at: None,
            version: 1,
        };
        let task = Task {
            id: task_id(),
            target: target.id,
            position: 0,
            state: TaskState::Pending { not_before: None },
            attempts: 0,
            attempts_allowed: 2,
            open_attempt: None,
        };
        (target, vec![task])
    });
    NewRollout { targets: targets.collect(), rollout, waves: vec![wave] }
}

pub fn ended(attempt: &Attempt) -> Attempt {
    let evidence = Observation {
        at: NOW,
        job: JobSeen::Absent,
        upgrade_task: UpgradeTaskSeen::Absent,
        pods: vec![],
        no_pod: None,
        resource: None,
    };
    let outcome = Outcome::Failed { reason: "lost".into(), class: FailureClass::Lost };
    Attempt { end: Some(AttemptEnd { at: NOW, outcome, evidence }), ..attempt.clone() }
}

pub fn hub_claim(limit: u32) -> Claim {
    Claim { scope: Scope::Hub, limit }
}

#[expect(clippy::needless_pass_by_value, reason = "the calls read better")]
pub fn is_conflict<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}
