//! The hub's calls to a cluster, on a real API server with the hub's real rights: one attempt's whole life.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use fleetlift::cluster::account::{AccountToken, ServiceAccount};
use fleetlift::cluster::bootstrap::{Bootstrapped, Order, Outcome, bootstrap};
use fleetlift::cluster::manifest::Manifest;
use fleetlift::cluster::{
    AddressPolicy, Created, Edge, EdgeAccess, EdgeError, Hint, Limits, Noun, Retry, Surroundings, Vault, WaitingFor,
    kubeconfig, observe,
};
use fleetlift::connections::Connections;
use fleetlift::domain::cluster::{Cluster, ClusterState, Reach};
use fleetlift::domain::event::{Actor, Event, EventType, Subject};
use fleetlift::domain::observation::{JobSeen, Look, Observation, ResourceSeen, Standing, UpgradeTaskSeen};
use fleetlift::domain::plan::PlannedTask;
use fleetlift::domain::{
    Attempt, AttemptId, Clock, ClusterId, DaemonId, HubId, ResourceKind, ResourceRef, RolloutId, TaskId, Timestamp,
    Version,
};
use fleetlift::engine::{Bounds, Engine};
use fleetlift::metrics::Metrics;
use fleetlift::openebs::job::{AttemptObjects, AttemptOrder, build};
use fleetlift::seal::{Keyring, SealingKey};
use fleetlift::store::{NewCluster, Options, Store};
use fleetlift::system::{SystemClock, SystemEntropy};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, PostParams};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use support::openebs::{self, bring_to, upgrade_task};
use support::{Ending, Node, TestCluster, until};
use tokio_util::sync::CancellationToken;

const OLD: Version = Version::new(3, 5, 0);
const NEW: Version = Version::new(3, 6, 0);

fn around(limits: Limits) -> Surroundings {
    let policy = AddressPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()], ..AddressPolicy::default() };
    Surroundings {
        policy: Arc::new(policy),
        lookups: Arc::default(),
        limits,
        clock: Arc::new(SystemClock),
        metrics: Arc::new(Metrics::new()),
    }
}

async fn hub(cluster: &TestCluster) -> Edge {
    let yaml = cluster.hub_kubeconfig().await;
    let access = kubeconfig::read(yaml.as_bytes(), None).unwrap();
    Edge::new(&access, None, &cluster.namespace, None, &around(Limits::default())).unwrap()
}

/// One attempt at one Jiva volume.
struct Try {
    resource: ResourceRef,
    attempt: Attempt,
    objects: AttemptObjects,
}

impl Try {
    fn new(cluster: &TestCluster, volume: &str) -> Self {
        Self::of(HubId::new(SystemClock.now(), &SystemEntropy), cluster, volume)
    }

    fn of(hub: HubId, cluster: &TestCluster, volume: &str) -> Self {
        let now = SystemClock.now();
        let resource = ResourceRef { kind: ResourceKind::JivaVolume, name: volume.to_owned() };
        let planned = PlannedTask {
            resource: resource.clone(),
            resource_namespace: cluster.namespace.clone(),
            namespace: cluster.namespace.clone(),
            from: OLD,
            to: NEW,
            image: "openebs/upgrade:3.6.0".to_owned(),
            pull_secrets: Vec::new(),
            own_executor: false,
            service_account: "jiva-operator".to_owned(),
            image_prefix: String::new(),
            image_tag: String::new(),
            pools: Vec::new(),
            workloads: Vec::new(),
            repair: false,
            expected_seconds: 60,
        };
        let (id, task) = (AttemptId::new(now, &SystemEntropy), TaskId::new(now, &SystemEntropy));
        let order = AttemptOrder {
            hub,
            rollout: RolloutId::new(now, &SystemEntropy),
            task,
            attempt: id,
            number: 1,
            epoch: 1,
            deadline: Duration::from_mins(10),
            planned: &planned,
        };
        let objects = build(&order).unwrap();
        let attempt = Attempt {
            id,
            task,
            number: 1,
            job_name: objects.job.metadata.name.clone().unwrap(),
            upgrade_task_name: objects.upgrade_task.metadata.name.clone().unwrap(),
            spec_hash: objects.spec_hash.clone(),
            intended_at: now,
            deadline: now + order.deadline,
            job_uid: None,
            upgrade_task_uid: None,
            cancelled: None,
            completed_seen_at: None,
            held_up: None,
            resource_before: None,
            end: None,
        };
        Self { resource, attempt, objects }
    }

    async fn look(&self, edge: &Edge) -> Observation {
        let look = Look { attempt: &self.attempt, resource: &self.resource, resource_namespace: edge.namespace() };
        observe(edge, &look).await.unwrap()
    }

    /// Creates UpgradeTask and Job, and records the Job's UID as the engine would.
    async fn start(&mut self, edge: &Edge) -> String {
        edge.create_upgrade_task(&self.objects.upgrade_task).await.unwrap();
        let created = edge.create_job(&self.objects.job).await.unwrap();
        self.attempt.job_uid = Some(created.uid().to_owned());
        created.uid().to_owned()
    }
}

#[tokio::test]
async fn an_attempt_is_created_once_followed_and_seen_to_the_end_with_the_hubs_own_rights() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    openebs::on(&cluster).csi_operators("3.6.0").await;
    openebs::on(&cluster).jiva_volume("pvc-a", "3.5.0", 1).await;
    let edge = hub(&cluster).await;
    let mut this = Try::new(&cluster, "pvc-a");

    let before = this.look(&edge).await;
    assert_eq!((before.job, before.upgrade_task, before.resource), (JobSeen::Absent, UpgradeTaskSeen::Absent, None));
    let uid = this.start(&edge).await;
    let again = Created::Adopted { uid: uid.clone() };
    assert_eq!(edge.create_job(&this.objects.job).await.unwrap(), again, "posted twice, it exists once");
    assert_eq!(edge.fence_job(&this.objects.fence()).await.unwrap(), again);

    let mut watch =
        edge.watch_job(&cluster.namespace, &this.attempt.job_name, "", Duration::from_mins(1)).await.unwrap();
    node.running_pod(&this.attempt.job_name).await;
    let running = this.look(&edge).await;
    assert_eq!(running.job, JobSeen::Active { uid: uid.clone() });
    assert!(matches!(running.upgrade_task, UpgradeTaskSeen::Ours { .. }));
    assert_eq!((running.pods.len(), running.pods[0].phase.as_str()), (1, "Running"));
    assert_eq!(running.resource, None, "while it runs the resource says nothing");

    upgrade_task::tell(
        &cluster,
        &this.attempt.upgrade_task_name,
        ResourceKind::JivaVolume,
        upgrade_task::Told::Success,
    )
    .await;
    bring_to(&cluster, &this.resource, "3.6.0").await;
    node.end(&this.attempt.job_name, Ending::Succeeds).await;
    node.verdict(&this.attempt.job_name).await;
    assert_eq!(watch.next().await, Ok(Hint::Look), "the watch tells of its end");
    let ended = until("the volume is rolled out", || async {
        let seen = this.look(&edge).await;
        assert_eq!(seen.job, JobSeen::Complete { uid: uid.clone() });
        matches!(&seen.resource, Some(ResourceSeen::Found(state)) if state.rolled_out.holds()).then_some(seen)
    })
    .await;
    let Some(ResourceSeen::Found(state)) = &ended.resource else { unreachable!("it was found") };
    assert_eq!(state.standing(&OLD, &NEW), Standing::AtTarget);
    assert!(matches!(&ended.upgrade_task, UpgradeTaskSeen::Ours { status, .. } if status.phase == "Success"));
    assert_eq!(ended.pods[0].exit_code, Some(0));
}

#[tokio::test]
async fn suspending_needs_the_very_job_and_is_done_when_its_pod_is_gone() {
    let cluster = TestCluster::new().await;
    let node = Node::join(&cluster).await;
    openebs::on(&cluster).jiva_volume("pvc-s", "3.5.0", 1).await;
    let edge = hub(&cluster).await;
    let mut this = Try::new(&cluster, "pvc-s");
    let uid = this.start(&edge).await;
    let name = this.attempt.job_name.clone();
    node.running_pod(&name).await;
    node.keep_from_leaving(&name);

    let other = "11111111-2222-3333-4444-555555555555";
    let error = edge.suspend_job(&cluster.namespace, &name, other).await.unwrap_err();
    assert!(matches!(error, EdgeError::Conflict { exists: false, .. }), "{error}");
    assert_eq!(this.look(&edge).await.job, JobSeen::Active { uid: uid.clone() });

    edge.suspend_job(&cluster.namespace, &name, &uid).await.unwrap();
    edge.suspend_job(&cluster.namespace, &name, &uid).await.unwrap();
    let seen = this.look(&edge).await;
    assert_eq!(seen.job, JobSeen::Suspended { uid: uid.clone(), pods_left: 1 });
    assert_eq!(seen.resource, None, "its Pod may still be at work");
    node.behave();
    let seen = until("its Pod is gone", || async {
        let seen = this.look(&edge).await;
        (seen.job == JobSeen::Suspended { uid: uid.clone(), pods_left: 0 }).then_some(seen)
    })
    .await;
    assert!(matches!(seen.resource, Some(ResourceSeen::Found(_))));
    assert_eq!(edge.create_job(&this.objects.job).await.unwrap(), Created::Adopted { uid: uid.clone() });
    assert!(matches!(this.look(&edge).await.job, JobSeen::Suspended { .. }), "its name stays taken");

    let hub_id = this.objects.job.metadata.labels.as_ref().unwrap()["fleetlift.io/hub"].clone();
    let week = Duration::from_hours(7 * 24);
    let now = edge.clock().now();
    let fresh = edge.old_tombstones(&cluster.namespace, &hub_id, now, week, 10).await.unwrap();
    assert_eq!(fresh, Vec::new());
    let old = edge.old_tombstones(&cluster.namespace, &hub_id, now + week * 2, week, 10).await.unwrap();
    assert_eq!(old, [(name.clone(), uid.clone())]);
    assert!(matches!(edge.delete_job(&cluster.namespace, &name, other).await, Err(EdgeError::Conflict { .. })));
    edge.delete_job(&cluster.namespace, &name, &uid).await.unwrap();
    until("it is swept", || async { (this.look(&edge).await.job == JobSeen::Absent).then_some(()) }).await;
    edge.delete_job(&cluster.namespace, &name, &uid).await.unwrap();
    assert!(this.look(&edge).await.resource.is_some(), "a recorded Job that is gone has ended");
}

#[tokio::test]
async fn a_fence_takes_the_name_of_a_job_that_was_never_answered_for() {
    let cluster = TestCluster::new().await;
    let edge = hub(&cluster).await;
    let this = Try::new(&cluster, "pvc-f");
    let refused = edge.fence_job(&this.objects.job).await.unwrap_err();
    assert!(matches!(refused, EdgeError::Impossible(_)), "{refused}");
    let Created::New { uid } = edge.fence_job(&this.objects.fence()).await.unwrap() else { panic!("it was not there") };
    assert_eq!(edge.create_job(&this.objects.job).await.unwrap(), Created::Adopted { uid: uid.clone() });
    assert_eq!(this.look(&edge).await.job, JobSeen::Suspended { uid, pods_left: 0 });
}

#[tokio::test]
async fn objects_of_our_names_that_are_not_ours_are_left_alone_and_told() {
    let cluster = TestCluster::new().await;
    let edge = hub(&cluster).await;
    let this = Try::new(&cluster, "pvc-x");
    let mut theirs = this.objects.job.clone();
    theirs.metadata.labels.get_or_insert_default().insert("fleetlift.io/attempt".to_owned(), "x".to_owned());
    let jobs: Api<Job> = cluster.api();
    let uid = jobs.create(&PostParams::default(), &theirs).await.unwrap().metadata.uid.unwrap();
    let error = edge.create_job(&this.objects.job).await.unwrap_err();
    assert!(matches!(error, EdgeError::Conflict { exists: true, .. }), "{error}");
    let seen = this.look(&edge).await;
    let why = "its fleetlift.io/attempt is `x`, not ours".to_owned();
    assert_eq!(seen.job, JobSeen::Foreign { uid, why });

    let mut left_over = this.objects.upgrade_task.clone();
    left_over.metadata.labels = None;
    let created = edge.create_upgrade_task(&left_over).await.unwrap();
    let error = edge.create_upgrade_task(&this.objects.upgrade_task).await.unwrap_err();
    assert!(matches!(error, EdgeError::Conflict { exists: true, .. }), "{error}");
    let seen = this.look(&edge).await;
    let UpgradeTaskSeen::Other { uid, whose, .. } = seen.upgrade_task else { panic!("{:?}", seen.upgrade_task) };
    assert_eq!((uid.as_str(), whose.as_str()), (created.uid(), "made by an upgrade Job or by hand"));
    let name = &this.attempt.upgrade_task_name;
    let other = "11111111-2222-3333-4444-555555555555";
    let error = edge.delete_upgrade_task(&cluster.namespace, name, other).await.unwrap_err();
    assert!(matches!(error, EdgeError::Conflict { .. }), "{error}");
    edge.delete_upgrade_task(&cluster.namespace, name, &uid).await.unwrap();
    assert_eq!(this.look(&edge).await.upgrade_task, UpgradeTaskSeen::Absent);
    edge.delete_upgrade_task(&cluster.namespace, name, &uid).await.unwrap();
    assert!(matches!(edge.create_upgrade_task(&this.objects.upgrade_task).await.unwrap(), Created::New { .. }));
}

#[tokio::test]
async fn a_job_that_was_replaced_counts_as_gone_and_its_resource_is_read() {
    let cluster = TestCluster::new().await;
    openebs::on(&cluster).jiva_volume("pvc-r", "3.5.0", 1).await;
    let edge = hub(&cluster).await;
    let mut this = Try::new(&cluster, "pvc-r");
    let uid = this.start(&edge).await;
    let jobs: Api<Job> = cluster.api();
    jobs.delete(&this.attempt.job_name, &DeleteParams::background()).await.unwrap();
    until("it is gone", || async { (this.look(&edge).await.job == JobSeen::Absent).then_some(()) }).await;
    jobs.create(&PostParams::default(), &this.objects.job).await.unwrap();
    // Not before its Pod is gone, too.
    let seen = until("its resource is read", || async {
        let seen = this.look(&edge).await;
        seen.resource.is_some().then_some(seen)
    })
    .await;
    assert_ne!(seen.job.uid(), Some(uid.as_str()));
    assert!(matches!(seen.resource, Some(ResourceSeen::Found(_))));
}

#[tokio::test]
async fn a_missing_right_is_named_and_another_cluster_refused() {
    let cluster = TestCluster::new().await;
    let edge = hub(&cluster).await;
    let secrets = Noun { group: "", version: "v1", plural: "secrets", kind: "Secret" };
    let error = edge.list::<Value>(&secrets, Some(&cluster.namespace), "").await.unwrap_err();
    let EdgeError::Forbidden { verb, resource, .. } = &error else { panic!("{error}") };
    assert_eq!((*verb, resource.clone()), ("list", format!("secrets in namespace {}", cluster.namespace)));
    let unserved = Noun { group: "openebs.io", version: "v9", plural: "wonders", kind: "Wonder" };
    let admin = kubeconfig::read(cluster.admin_kubeconfig().as_bytes(), None).unwrap();
    let admin = Edge::new(&admin, None, &cluster.namespace, None, &around(Limits::default())).unwrap();
    let error = admin.list::<Value>(&unserved, Some(&cluster.namespace), "").await.unwrap_err();
    assert_eq!(error, EdgeError::NoSuchApi { resource: "wonders.openebs.io".to_owned() });

    let access = kubeconfig::read(cluster.hub_kubeconfig().await.as_bytes(), None).unwrap();
    let registered = Some("another".to_owned());
    let pinned = Edge::new(&access, None, &cluster.namespace, registered, &around(Limits::default())).unwrap();
    let error = pinned.version().await.unwrap_err();
    let seen = edge.identify().await.unwrap();
    assert_eq!(error, EdgeError::AnotherCluster { expected: "another".to_owned(), seen });
    let wrong = cluster.plane.token_kubeconfig("not-a-token");
    let access = kubeconfig::read(wrong.as_bytes(), None).unwrap();
    let edge = Edge::new(&access, None, &cluster.namespace, None, &around(Limits::default())).unwrap();
    assert_eq!(edge.version().await.unwrap_err(), EdgeError::Unauthorized);
}

#[tokio::test]
async fn the_hub_renews_its_own_token_and_no_other() {
    let cluster = TestCluster::new().await;
    let edge = hub(&cluster).await;
    let access = kubeconfig::read(cluster.hub_kubeconfig().await.as_bytes(), None).unwrap();
    let AccountToken { account, .. } = AccountToken::of(&access.credential).unwrap();
    assert_eq!(account.namespace, cluster.account_namespace);
    let granted = edge.request_token(&account, Duration::from_hours(1)).await.unwrap();
    let lives_for = granted.expires_at.since(edge.clock().now());
    assert!(lives_for > Duration::from_mins(55) && lives_for < Duration::from_mins(65), "{lives_for:?}");
    let renewed = cluster.plane.token_kubeconfig(granted.token.expose_secret());
    let access = kubeconfig::read(renewed.as_bytes(), None).unwrap();
    let edge = Edge::new(&access, None, &cluster.namespace, None, &around(Limits::default())).unwrap();
    edge.version().await.unwrap();
    let other = ServiceAccount { namespace: cluster.namespace.clone(), name: "jiva-operator".to_owned() };
    let error = edge.request_token(&other, Duration::from_hours(1)).await.unwrap_err();
    assert!(matches!(error, EdgeError::Forbidden { verb: "create", .. }), "{error}");
}

/// The machine's clock, some minutes ahead.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }
}

/// A daemon that knows one cluster and lives `ahead` of the time.
struct Daemon {
    store: Arc<dyn Store>,
    cluster: ClusterId,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), fleetlift::engine::LoopEnded>>,
    _folder: tempfile::TempDir,
}

impl Daemon {
    async fn start(cluster: &TestCluster, access: &EdgeAccess, ahead: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("hub.db").display());
        let store = fleetlift::store::open(&url, Options::default()).await.unwrap();
        let now = SystemClock.now();
        let registered = Cluster {
            id: ClusterId::new(now, &SystemEntropy),
            name: "berlin-1".to_owned(),
            labels: std::collections::BTreeMap::new(),
            time_zone: None,
            namespace: cluster.namespace.clone(),
            egress: None,
            server: access.server.as_str().to_owned(),
            tls_verified: true,
            identity: None,
            credential_expires_at: AccountToken::of(&access.credential).map(|token| token.expires_at),
            state: ClusterState::Active,
            reach: Reach::default(),
            registered_at: now,
            version: 1,
        };
        let id = registered.id;
        let (credential, sealing) = vault().seal(id, 1, access, &SystemEntropy).unwrap();
        let about = Subject { cluster: Some(id), ..Subject::default() };
        let event = Event::new(now, EventType::ClusterRegistered, Actor::engine(), about);
        let new = NewCluster { cluster: registered, credential, events: vec![sealing.told_by(event)] };
        store.register_clusters(vec![new]).await.unwrap().remove(0).unwrap();

        let clock: Arc<dyn Clock> = Arc::new(Ahead(ahead));
        let around = Surroundings { clock: Arc::clone(&clock), ..around(Limits::default()) };
        let metrics = Arc::clone(&around.metrics);
        let egresses = std::collections::BTreeMap::new();
        let connections = Arc::new(Connections::new(Arc::clone(&store), vault(), around, egresses));
        let engine = Engine {
            store: Arc::clone(&store),
            connections,
            plans: Arc::default(),
            clock,
            entropy: Arc::new(SystemEntropy),
            metrics,
            hub: vault().hub(),
            daemon: DaemonId::new(now, &SystemEntropy),
            bounds: Bounds {
                running: 1,
                steps_at_once: 1,
                inventory_every: Duration::from_hours(1),
                inventories_at_once: 1,
            },
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(fleetlift::engine::run(Arc::new(engine), stop.clone()));
        Self { store, cluster: id, stop, running, _folder: folder }
    }

    /// What was audited, once it has ended.
    async fn end(self) -> Vec<String> {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        self.store.events(0, None, 100).await.unwrap().iter().map(|event| event.body.clone()).collect()
    }
}

fn vault() -> Vault {
    let key = SealingKey::parse(b"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
    Vault::new(Keyring::new(key, None), "0190b3f0-0000-7000-8000-000000000001".parse().unwrap())
}

#[tokio::test]
async fn the_daemon_renews_a_token_in_the_last_third_of_its_life_and_audits_it() {
    let cluster = TestCluster::new().await;
    let access = kubeconfig::read(cluster.hub_kubeconfig().await.as_bytes(), None).unwrap();
    let token = AccountToken::of(&access.credential).unwrap();
    // A successor of the same second would end no later: tokens count in seconds.
    let issued = token.issued_at + Duration::from_secs(2);
    until("the token is two seconds old", || async { (SystemClock.now() >= issued).then_some(()) }).await;
    let daemon = Daemon::start(&cluster, &access, token.lifetime() * 3 / 4).await;
    let renewed = until("the token is renewed", || async {
        let seen = daemon.store.cluster(daemon.cluster).await.unwrap();
        (seen.credential_expires_at > Some(token.expires_at)).then_some(seen)
    })
    .await;

    let stored = daemon.store.credential(daemon.cluster).await.unwrap();
    assert_eq!(stored.sealed.version, 2);
    let opened = vault().open(daemon.cluster, &renewed.server, &stored).unwrap();
    let successor = AccountToken::of(&opened.credential).unwrap();
    assert_eq!(successor.account, token.account);
    assert_eq!(Some(successor.expires_at), renewed.credential_expires_at);
    let edge = Edge::new(&opened, None, &cluster.namespace, None, &self::around(Limits::default())).unwrap();
    edge.version().await.unwrap();
    let events = daemon.end().await;
    assert!(events.iter().any(|body| body.contains("credential.rotated")), "{events:?}");
}

#[tokio::test]
async fn the_daemon_takes_its_own_tombstones_away_after_a_week_and_audits_it() {
    let cluster = TestCluster::new().await;
    let edge = hub(&cluster).await;
    let access = kubeconfig::read(cluster.hub_kubeconfig().await.as_bytes(), None).unwrap();
    let (ours, theirs) = (Try::of(vault().hub(), &cluster, "pvc-ours"), Try::new(&cluster, "pvc-theirs"));
    for this in [&ours, &theirs] {
        edge.fence_job(&this.objects.fence()).await.unwrap();
    }
    let jobs: Api<Job> = cluster.api();
    let early = Daemon::start(&cluster, &access, Duration::from_hours(6 * 24)).await;
    until("the cluster was read", || async { early.store.inventory(early.cluster).await.unwrap() }).await;
    let events = early.end().await;
    assert!(!events.iter().any(|body| body.contains("job.swept")), "{events:?}");
    assert_eq!(jobs.list(&kube::api::ListParams::default()).await.unwrap().items.len(), 2);

    let daemon = Daemon::start(&cluster, &access, Duration::from_hours(8 * 24)).await;
    until("the tombstone is gone", || async { (ours.look(&edge).await.job == JobSeen::Absent).then_some(()) }).await;
    let events = daemon.end().await;
    assert!(events.iter().any(|body| body.contains("job.swept")), "{events:?}");
    assert!(matches!(theirs.look(&edge).await.job, JobSeen::Suspended { .. }), "another hub's stays");
}

#[tokio::test]
async fn a_bootstrap_gives_the_hub_exactly_its_account() {
    let cluster = TestCluster::new().await;
    // The manifest's own namespaces, as `edge manifest` prints them for the defaults.
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openebs"}})).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.yaml");
    std::fs::write(&file, cluster.admin_kubeconfig()).unwrap();
    let account = ServiceAccount { namespace: "fleetlift".to_owned(), name: "fleetlift-hub".to_owned() };
    let unknown = "---\napiVersion: nowhere.example/v1\nkind: Policy\nmetadata: {name: later}\n";
    let manifest = format!("{}\n{unknown}", Manifest::default().yaml());
    let order = Order {
        kubeconfig: Some(&file),
        context: None,
        manifest: &manifest,
        account: &account,
        lifetime: Duration::from_hours(24),
    };
    let made = bootstrap(&order).await.unwrap();
    let outcome = |made: &Bootstrapped, part: &str| {
        made.objects.iter().find(|one| one.object == part).map(|one| one.outcome.clone())
    };
    for part in ["Role/openebs/fleetlift-hub", "ValidatingAdmissionPolicy/fleetlift-hub"] {
        assert_eq!(outcome(&made, part), Some(Outcome::Created), "{:?}", made.objects);
    }
    assert_eq!(outcome(&made, "Policy/later"), Some(Outcome::LeftOut));
    let again = bootstrap(&order).await.unwrap();
    let changed = again.objects.iter().find(|one| !matches!(one.outcome, Outcome::Unchanged | Outcome::LeftOut));
    assert_eq!(changed, None, "applying it twice changes nothing");

    let access = kubeconfig::read(made.kubeconfig.expose_secret().as_bytes(), None).unwrap();
    assert_eq!(AccountToken::of(&access.credential).map(|token| token.account), Some(account));
    let edge = Edge::new(&access, None, "openebs", None, &around(Limits::default())).unwrap();
    assert_eq!(edge.upgrade_task("openebs", "none").await.unwrap(), None);
    let elsewhere = edge.upgrade_task("kube-system", "none").await.unwrap_err();
    assert!(matches!(elsewhere, EdgeError::Forbidden { .. }), "{elsewhere}");
}

#[tokio::test]
async fn a_frozen_and_a_killed_api_server_are_not_reached_and_come_back() {
    let cluster = TestCluster::alone(support::crds::UpgradeTaskSchema::Fleetlift).await;
    let access = kubeconfig::read(cluster.hub_kubeconfig().await.as_bytes(), None).unwrap();
    let short = Limits { headers: Duration::from_secs(2), connect: Duration::from_secs(2), ..Limits::default() };
    let edge = Edge::new(&access, None, &cluster.namespace, None, &around(short)).unwrap();
    let this = Try::new(&cluster, "pvc-z");
    edge.version().await.unwrap();

    cluster.plane.freeze_api_server();
    let error = edge.create_job(&this.objects.job).await.unwrap_err();
    assert_eq!(error, EdgeError::TimedOut { waiting_for: WaitingFor::Headers, after: short.headers });
    assert_eq!((error.retry(), error.reached(), error.ambiguous()), (Retry::Later, false, true));
    cluster.plane.thaw_api_server();
    // Whether the frozen server had read the request is what nobody can know; by its name it exists at most once.
    until("it answers again", || async { edge.create_job(&this.objects.job).await.ok() }).await;
    let jobs: Api<Job> = cluster.api();
    assert_eq!(jobs.list(&kube::api::ListParams::default()).await.unwrap().items.len(), 1);

    cluster.plane.kill_api_server();
    let error = until("the connection is seen to be broken", || async { edge.version().await.err() }).await;
    assert!(!error.reached(), "{error}");
    cluster.plane.start_api_server().await;
    until("it answers again", || async { edge.version().await.ok() }).await;
}
