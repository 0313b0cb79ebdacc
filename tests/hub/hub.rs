//! A hub for one test: what people ask of it on one side, a daemon's engine on the other, one database between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetlift::app::{
    App, FleetFile, FleetFiles, MakePlan, PageRequest, PlanView, Principal, RegisterCluster, Releases, ResultView,
    Role, RolloutView, StartRollout,
};
use fleetlift::audit::checkpoint::Signer;
use fleetlift::cluster::{AddressPolicy, Limits, Surroundings, Vault};
use fleetlift::connections::Connections;
use fleetlift::domain::event::Actor;
use fleetlift::domain::{Clock as _, DaemonId, HubId, TokenId};
use fleetlift::engine::{self, Bounds, Engine};
use fleetlift::metrics::Metrics;
use fleetlift::seal::{Keyring, SealingKey};
use fleetlift::store::{self, NewHub, Options, Store};
use fleetlift::system::{SystemClock, SystemEntropy};
use secrecy::ExposeSecret as _;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::support::{TestCluster, until};

/// A hub with one daemon, or none while it is killed.
pub struct Hub {
    pub app: App,
    /// An administrator.
    pub by: Principal,
    database: String,
    key: String,
    id: HubId,
    daemon: Mutex<Option<Daemon>>,
    _folder: tempfile::TempDir,
}

/// A daemon's engine on threads of its own, so that it can be killed between any two of its steps.
struct Daemon {
    runtime: Runtime,
}

impl Hub {
    /// Over a SQLite file of its own, with a running daemon.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("hub.db").display());
        Self::over(database, folder).await
    }

    async fn over(database: String, folder: tempfile::TempDir) -> Self {
        // What the hub logs is part of what a failed test shows.
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_test_writer().try_init();
        let key = SealingKey::generate(&SystemEntropy).to_file().expose_secret().to_owned();
        let store = store::open(&database, Options::default()).await.unwrap();
        let now = SystemClock.now();
        let id = store.hub(NewHub { id: HubId::new(now, &SystemEntropy), at: now }).await.unwrap().id;
        let by = Principal {
            id: TokenId::new(now, &SystemEntropy),
            actor: Actor::local("test"),
            role: Role::Admin,
            selector: None,
        };
        let app = App {
            connections: Arc::new(connections(Arc::clone(&store), &key, id)),
            store,
            plans: Arc::default(),
            releases: Releases::default(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            hub: id,
            signer: Arc::new(Signer::new(id, &[7; 32]).unwrap()),
            hub_limit: 100,
            plan_max_age: Duration::from_hours(24),
            inventory_patience: Duration::from_secs(10),
            images: Vec::new(),
        };
        let hub = Self { app, by, database, key, id, daemon: Mutex::new(None), _folder: folder };
        hub.start();
        hub
    }

    /// Starts a daemon, as another one than whatever ran before.
    pub fn start(&self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (database, key, hub) = (self.database.clone(), self.key.clone(), self.id);
        runtime.spawn(async move {
            let store = store::open(&database, Options::default()).await.unwrap();
            let engine = Engine {
                connections: Arc::new(connections(Arc::clone(&store), &key, hub)),
                store,
                plans: Arc::default(),
                clock: Arc::new(SystemClock),
                entropy: Arc::new(SystemEntropy),
                metrics: Arc::new(Metrics::new()),
                hub,
                daemon: DaemonId::new(SystemClock.now(), &SystemEntropy),
                bounds: Bounds {
                    running: 100,
                    steps_at_once: 16,
                    inventory_every: Duration::from_mins(10),
                    inventories_at_once: 4,
                },
            };
            engine::run(Arc::new(engine), CancellationToken::new()).await.unwrap();
        });
        *self.daemon.lock().unwrap() = Some(Daemon { runtime });
    }

    /// Ends the daemon as a crash would: whatever it was doing is not finished.
    pub fn kill(&self) {
        let daemon = self.daemon.lock().unwrap().take().expect("it runs");
        daemon.runtime.shutdown_background();
    }

    /// Registers `cluster` with the hub's own account's token, and reads what it runs.
    pub async fn register(&self, cluster: &TestCluster, name: &str) {
        let wanted = RegisterCluster {
            name: name.to_owned(),
            kubeconfig: cluster.hub_kubeconfig().await,
            context: None,
            labels: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
            time_zone: None,
            namespace: Some(cluster.namespace.clone()),
            egress: None,
            insecure_skip_tls_verify: false,
        };
        self.app.register_cluster(&self.by, wanted).await.unwrap();
        self.look_at(name).await;
    }

    /// Reads afresh what a cluster runs.
    pub async fn look_at(&self, name: &str) {
        let report = self.app.check_cluster(&self.by, name).await.unwrap();
        assert_ne!(report.level, "fail", "{report:#?}");
    }

    /// Applies a fleet whose one group is all clusters, with that strategy.
    pub async fn apply(&self, strategy: &str) {
        let text = format!(
            "apiVersion: fleetlift.io/v1\nkind: Fleet\nmetadata: {{name: test}}\nspec:\n  timeZone: UTC\n  groups:\n    \
             - name: edge\n      selector: tier=edge\n      target: {{openebs: 3.6.0, executor: {{use: openebs}}}}\n      \
             strategy: test\n  strategies:\n    - {{name: test, uncovered: fail, {strategy}}}\n"
        );
        let files = FleetFiles { files: vec![FleetFile { name: "fleet.yaml".to_owned(), text }] };
        if let Err(refusal) = self.app.apply_fleet(&self.by, files, None).await {
            panic!("{refusal:?}");
        }
    }

    /// Makes a plan for all clusters.
    pub async fn plan(&self) -> PlanView {
        self.app.make_plan(&self.by, MakePlan::default()).await.unwrap()
    }

    /// Plans and starts a rollout over all clusters; gives its id.
    pub async fn rollout(&self) -> String {
        let plan = self.plan().await.digest;
        self.app.start_rollout(&self.by, StartRollout { plan }).await.unwrap().id
    }

    /// Waits until the rollout has finished.
    pub async fn finished(&self, rollout: &str) -> RolloutView {
        until(&format!("rollout {rollout} has finished"), || async {
            let seen = self.app.rollout(rollout).await.unwrap();
            seen.finished_at.is_some().then_some(seen)
        })
        .await
    }

    /// Every result: resource → outcome, and how many attempts it took.
    pub async fn outcomes(&self, rollout: &str) -> BTreeMap<String, (String, u32)> {
        let results = self.results(rollout).await;
        results
            .into_iter()
            .map(|one| (format!("{}/{}", one.resource.kind, one.resource.name), (one.outcome, one.attempts)))
            .collect()
    }

    /// Every result, with its evidence.
    pub async fn results(&self, rollout: &str) -> Vec<ResultView> {
        self.app.results(rollout, None, &PageRequest::default(), true).await.unwrap().items
    }

    /// What the hub answers when asked why a cluster waits, runs or failed.
    pub async fn why(&self, rollout: &str, cluster: &str) -> String {
        self.app.explain(rollout, cluster).await.unwrap().answer
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.lock().unwrap().take() {
            daemon.runtime.shutdown_background();
        }
    }
}

fn connections(store: Arc<dyn Store>, key: &str, hub: HubId) -> Connections {
    let keyring = Keyring::new(SealingKey::parse(key.as_bytes()).unwrap(), None);
    let policy = AddressPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()], ..AddressPolicy::default() };
    let around = Surroundings {
        policy: Arc::new(policy),
        lookups: Arc::default(),
        limits: Limits::default(),
        clock: Arc::new(SystemClock),
        metrics: Arc::new(Metrics::new()),
    };
    Connections::new(store, Vault::new(keyring, hub), around, BTreeMap::new())
}
