//! Carries one attempt out by hand: looks, asks the decision, does what it says. What the daemon's worker does, without
//! its store, so that each row of the outcome table can be shown on its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fleetlift::cluster::{AddressPolicy, Edge, Limits, Surroundings, kubeconfig, observe};
use fleetlift::domain::attempt::{CancelCause, FailureClass, Outcome};
use fleetlift::domain::fleet::Attached;
use fleetlift::domain::observation::{Look, Observation};
use fleetlift::domain::plan::PlannedTask;
use fleetlift::domain::{
    Attempt, AttemptId, Clock, HubId, ResourceKind, ResourceRef, RolloutId, TaskId, Timestamp, Version,
};
use fleetlift::engine::decide::Rules;
use fleetlift::engine::decide::attempt::{Action, Step, next_step};
use fleetlift::metrics::Metrics;
use fleetlift::openebs::job::{AttemptObjects, AttemptOrder, build, job_name};
use fleetlift::system::{SystemClock, SystemEntropy};

use crate::support::{TestCluster, until};

pub const FROM: Version = Version::new(3, 5, 0);
pub const TO: Version = Version::new(3, 6, 0);

/// How long the Job may take, by the hub's clock.
const DEADLINE: Duration = Duration::from_mins(30);

const RULES: Rules = Rules {
    attempts: 1,
    backoff_first: Duration::from_secs(1),
    backoff_longest: Duration::from_secs(1),
    task_deadline: DEADLINE,
    cluster_deadline: DEADLINE,
    settle_deadline: DEADLINE,
    retry_every: DEADLINE,
    attached: Attached::Warn,
};

/// The machine's clock, put forward when a test wants a deadline to pass.
#[derive(Default)]
pub struct Hurried(AtomicI64);

impl Hurried {
    pub fn forward(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_micros(u64::try_from(self.0.load(Ordering::Relaxed)).unwrap())
    }
}

/// One attempt at one resource.
pub struct Hand {
    pub edge: Edge,
    pub clock: Arc<Hurried>,
    pub attempt: Attempt,
    pub objects: AttemptObjects,
    /// Set when the rollout wants its Jobs gone.
    pub wanted_off: Option<CancelCause>,
    resource: ResourceRef,
    namespace: String,
}

impl Hand {
    /// Intends an attempt at `resource`, as the hub of `cluster`; nothing is sent yet.
    pub async fn on(cluster: &TestCluster, kind: ResourceKind, name: &str) -> Self {
        let clock = Arc::new(Hurried::default());
        let edge = edge_by(cluster, Arc::clone(&clock) as Arc<dyn Clock>).await;
        let now = clock.now();
        let resource = ResourceRef { kind, name: name.to_owned() };
        let planned = PlannedTask {
            resource: resource.clone(),
            resource_namespace: cluster.namespace.clone(),
            namespace: cluster.namespace.clone(),
            from: FROM,
            to: TO,
            image: "openebs/upgrade:3.6.0".to_owned(),
            pull_secrets: Vec::new(),
            own_executor: false,
            service_account: "openebs-cstor-operator".to_owned(),
            image_prefix: String::new(),
            image_tag: String::new(),
            pools: Vec::new(),
            workloads: Vec::new(),
            repair: false,
            expected_seconds: 60,
        };
        let (hub, rollout) = (HubId::new(now, &SystemEntropy), RolloutId::new(now, &SystemEntropy));
        let (task, id) = (TaskId::new(now, &SystemEntropy), AttemptId::new(now, &SystemEntropy));
        let order = AttemptOrder {
            hub,
            rollout,
            task,
            attempt: id,
            number: 1,
            epoch: 1,
            deadline: DEADLINE,
            planned: &planned,
        };
        let objects = build(&order).unwrap();
        let attempt = Attempt {
            id,
            task,
            number: 1,
            job_name: job_name(hub, rollout, task, 1),
            upgrade_task_name: objects.upgrade_task.metadata.name.clone().unwrap(),
            spec_hash: objects.spec_hash.clone(),
            intended_at: now,
            deadline: now + DEADLINE,
            job_uid: None,
            upgrade_task_uid: None,
            cancelled: None,
            completed_seen_at: None,
            held_up: None,
            resource_before: None,
            end: None,
        };
        Self { edge, clock, attempt, objects, wanted_off: None, resource, namespace: cluster.namespace.clone() }
    }

    /// One look.
    pub async fn look(&self) -> Observation {
        let look = Look { attempt: &self.attempt, resource: &self.resource, resource_namespace: &self.namespace };
        observe(&self.edge, &look).await.unwrap()
    }

    /// One look and what follows from it, done.
    pub async fn step(&mut self) -> (Step, Observation) {
        let seen = self.look().await;
        let step = next_step(&self.attempt, (&FROM, &TO), self.wanted_off.as_ref(), &seen, &RULES, self.clock.now());
        if let Step::Act(action) = &step {
            self.act(action).await;
        }
        (step, seen)
    }

    /// Steps until there is nothing to do but wait: the Job was created, or suspended.
    pub async fn until_waiting(&mut self) -> String {
        for _ in 0..20 {
            match self.step().await.0 {
                Step::Act(_) => {}
                Step::Wait { doing, .. } => return doing,
                Step::End(outcome) => panic!("it ended too soon: {outcome:?}"),
            }
        }
        panic!("it never came to rest");
    }

    /// Steps until the end. The steps are taken one after another, each from what the cluster shows by then.
    pub async fn end(&mut self) -> (Outcome, Observation) {
        let this = tokio::sync::Mutex::new(self);
        until("the attempt has ended", || async {
            match this.lock().await.step().await {
                (Step::End(outcome), seen) => Some((outcome, seen)),
                _ => None,
            }
        })
        .await
    }

    /// Steps until the end, which must be a failure.
    pub async fn failure(&mut self) -> (FailureClass, String) {
        match self.end().await.0 {
            Outcome::Failed { reason, class } => (class, reason),
            other @ (Outcome::Succeeded { .. } | Outcome::NotBegun { .. }) => panic!("it must fail: {other:?}"),
        }
    }

    pub async fn act(&mut self, action: &Action) {
        let (attempt, objects, namespace) = (&mut self.attempt, &self.objects, &self.namespace);
        match action {
            Action::DeleteUpgradeTask { uid, .. } => {
                self.edge.delete_upgrade_task(namespace, &attempt.upgrade_task_name, uid).await.unwrap();
            }
            Action::CreateUpgradeTask => {
                let created = self.edge.create_upgrade_task(&objects.upgrade_task).await.unwrap();
                attempt.upgrade_task_uid = Some(created.uid().to_owned());
            }
            Action::CreateJob => {
                attempt.job_uid = Some(self.edge.create_job(&objects.job).await.unwrap().uid().to_owned());
            }
            Action::Adopt { job_uid } => attempt.job_uid = Some(job_uid.clone()),
            Action::Cancel(cause) => attempt.cancelled = Some(cause.clone()),
            Action::SuspendJob { uid } => {
                self.edge.suspend_job(namespace, &attempt.job_name, uid).await.unwrap();
            }
            Action::FenceJob => {
                let fenced = self.edge.fence_job(&objects.fence()).await.unwrap();
                attempt.job_uid = Some(fenced.uid().to_owned());
            }
            Action::AwaitSettling => attempt.completed_seen_at = Some(self.clock.now()),
        }
    }
}

/// The hub's connection to `cluster`, with its own account's rights.
pub async fn edge(cluster: &TestCluster) -> Edge {
    edge_by(cluster, Arc::new(SystemClock)).await
}

/// A connection to `cluster` by that kubeconfig, which passes the allow-list.
pub fn edge_with(cluster: &TestCluster, kubeconfig: &str) -> Edge {
    connect(cluster, kubeconfig, Arc::new(SystemClock))
}

async fn edge_by(cluster: &TestCluster, clock: Arc<dyn Clock>) -> Edge {
    connect(cluster, &cluster.hub_kubeconfig().await, clock)
}

fn connect(cluster: &TestCluster, kubeconfig: &str, clock: Arc<dyn Clock>) -> Edge {
    let access = kubeconfig::read(kubeconfig.as_bytes(), None).unwrap();
    let policy = AddressPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()], ..AddressPolicy::default() };
    let around = Surroundings {
        policy: Arc::new(policy),
        lookups: Arc::default(),
        limits: Limits::default(),
        clock,
        metrics: Arc::new(Metrics::new()),
    };
    Edge::new(&access, None, &cluster.namespace, None, &around).unwrap()
}
