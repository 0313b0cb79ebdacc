//! What the hub makes of who answers: registered, imported, read and checked over servers that are not who they were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetlift::app::{App, ImportClusters, Principal, Refusal, RegisterCluster, Releases, Role};
use fleetlift::audit::checkpoint::Signer;
use fleetlift::cluster::Vault;
use fleetlift::connections::Connections;
use fleetlift::domain::event::Actor;
use fleetlift::domain::{Clock as _, DaemonId, HubId, TokenId};
use fleetlift::engine::{Bounds, Engine};
use fleetlift::metrics::Metrics;
use fleetlift::seal::{Keyring, SealingKey};
use fleetlift::store::{self, Options};
use fleetlift::system::{SystemClock, SystemEntropy};
use http::Request;
use hyper::body::Incoming;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::reading::page;
use super::server::{Answer, Server, Setup, TOKEN, UID, around, limits};

/// A hub without a daemon.
struct Hub {
    app: App,
    by: Principal,
    _folder: tempfile::TempDir,
}

impl Hub {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(&folder.path().join("hub.db").display().to_string(), Options::default()).await.unwrap();
        let now = SystemClock.now();
        let hub = HubId::new(now, &SystemEntropy);
        let vault = Vault::new(Keyring::new(SealingKey::generate(&SystemEntropy), None), hub);
        let app = App {
            connections: Arc::new(Connections::new(Arc::clone(&store), vault, around(limits()), BTreeMap::new())),
            store,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            hub,
            signer: Arc::new(Signer::new(hub, &[7; 32]).unwrap()),
            hub_limit: 100,
            plan_max_age: Duration::from_hours(24),
            inventory_patience: Duration::ZERO,
            images: Vec::new(),
            plans: Arc::default(),
            releases: Releases::default(),
        };
        let id = TokenId::new(now, &SystemEntropy);
        let by = Principal { id, actor: Actor::local("test"), role: Role::Admin, selector: None };
        Self { app, by, _folder: folder }
    }

    async fn import(&self, names: &[&str], server: &Server) {
        let clusters = names.iter().map(|name| wanted(name, server)).collect();
        for imported in self.app.import_clusters(&self.by, ImportClusters { clusters }).await.unwrap() {
            assert_eq!(imported.outcome.name(), "registered", "{imported:?}");
        }
    }

    fn engine(&self) -> Engine {
        Engine {
            store: Arc::clone(&self.app.store),
            connections: Arc::clone(&self.app.connections),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            metrics: Arc::new(Metrics::new()),
            plans: Arc::clone(&self.app.plans),
            hub: self.app.hub,
            daemon: DaemonId::new(SystemClock.now(), &SystemEntropy),
            bounds: Bounds {
                running: 1,
                steps_at_once: 1,
                inventory_every: Duration::from_mins(10),
                inventories_at_once: 1,
            },
        }
    }

    async fn look(&self, name: &str) -> Result<(), String> {
        self.app.read_resources(&self.by, name).await.map(drop).map_err(|refusal| refusal.to_string())
    }

    /// How the cluster stands, and who it is.
    async fn stands(&self, name: &str) -> (String, Option<String>) {
        let shown = self.app.cluster(name).await.unwrap();
        (shown.state, shown.identity)
    }
}

fn wanted(name: &str, server: &Server) -> RegisterCluster {
    RegisterCluster {
        name: name.to_owned(),
        kubeconfig: server.kubeconfig(&format!("https://{}", server.address), &format!("token: {TOKEN}")),
        context: None,
        labels: BTreeMap::new(),
        time_zone: None,
        namespace: None,
        egress: None,
        insecure_skip_tls_verify: false,
    }
}

/// A cluster that has nothing.
fn empty(request: &Request<Incoming>) -> Answer {
    page(request, &json!([]), "")
}

/// A service account's token that ends in so many hours, of a day's life.
fn token(hours_left: i64) -> String {
    let end = SystemClock.now().as_micros() / 1_000_000 + hours_left * 3_600;
    let claims = json!({"sub": "system:serviceaccount:fleetlift:hub", "iat": end - 24 * 3_600, "exp": end});
    format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_though_the_inventory_cannot_be_read() {
    let server = Server::start(Setup::default(), |request| match request.uri().path() {
        "/api/v1/namespaces/fleetlift/serviceaccounts/hub/token" => {
            let end = SystemClock.now() + Duration::from_hours(24);
            let granted = json!({"token": token(24), "expirationTimestamp": end.to_string()});
            Answer::Json(201, json!({"kind": "TokenRequest", "status": granted}).to_string())
        }
        path if path.ends_with("/nodes") => super::status(500, "InternalError", "etcdserver: no leader"),
        _ => empty(request),
    })
    .await;
    let hub = Hub::new().await;
    let mut cluster = wanted("berlin", &server);
    cluster.kubeconfig = server.kubeconfig(&format!("https://{}", server.address), &format!("token: {}", token(2)));
    hub.app.import_clusters(&hub.by, ImportClusters { clusters: vec![cluster] }).await.unwrap();
    let stop = CancellationToken::new();
    let engine = tokio::spawn(fleetlift::engine::run(Arc::new(hub.engine()), stop.clone()));
    let mut events = hub.app.store.committed();
    let renewed = async {
        loop {
            let told = hub.app.store.events(0, None, 100).await.unwrap();
            if told.iter().any(|event| event.body.contains("credential.rotated")) {
                return;
            }
            events.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_mins(1), renewed).await.unwrap();
    assert_eq!(hub.app.store.inventory(hub.app.store.cluster_named("berlin").await.unwrap().id).await.unwrap(), None);
    stop.cancel();
    engine.await.unwrap().unwrap();
}

fn known(state: &str) -> (String, Option<String>) {
    (state.to_owned(), Some(UID.to_owned()))
}

#[tokio::test]
async fn an_imported_cluster_is_for_ever_whoever_answered_first() {
    let (hub, server) = (Hub::new().await, Server::start(Setup::default(), empty).await);
    hub.import(&["berlin"], &server).await;
    assert_eq!(hub.stands("berlin").await, ("unknown".to_owned(), None));
    hub.look("berlin").await.unwrap();
    assert_eq!(hub.stands("berlin").await, known("reachable"));
    *server.uid.lock().unwrap() = "another".to_owned();
    let refused = hub.look("berlin").await.unwrap_err();
    assert!(refused.contains("another cluster"), "{refused}");
    assert_eq!(hub.stands("berlin").await, known("quarantined"));
    let events = hub.app.store.events(0, None, 100).await.unwrap();
    let told = |kind: &str| events.iter().filter(|event| event.body.contains(kind)).count();
    assert_eq!((told("cluster.identified"), told("cluster.quarantined")), (1, 1), "{events:#?}");
}

#[tokio::test]
async fn a_check_quarantines_whoever_answers_as_another_cluster() {
    let (hub, server) = (Hub::new().await, Server::start(Setup::default(), empty).await);
    hub.import(&["berlin"], &server).await;
    hub.look("berlin").await.unwrap();
    *server.uid.lock().unwrap() = "another".to_owned();
    let report = hub.app.check_cluster(&hub.by, "berlin").await.unwrap();
    assert_eq!(report.level, "fail", "{report:#?}");
    assert_eq!(hub.stands("berlin").await, known("quarantined"));
    let refused = hub.look("berlin").await.unwrap_err();
    assert!(refused.contains("`fleetlift cluster check berlin --release`"), "the way out is named: {refused}");
}

#[tokio::test]
async fn one_cluster_cannot_be_registered_under_two_names() {
    let (hub, server) = (Hub::new().await, Server::start(Setup::default(), empty).await);
    hub.app.register_cluster(&hub.by, wanted("berlin", &server)).await.unwrap();
    let refused = hub.app.register_cluster(&hub.by, wanted("munich", &server)).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Conflict(why) if why.contains("same cluster as berlin")), "{refused:?}");
    // Two OpenEBS in one cluster have nothing in common.
    let elsewhere = RegisterCluster { namespace: Some("storage".to_owned()), ..wanted("munich", &server) };
    hub.app.register_cluster(&hub.by, elsewhere).await.unwrap();
}

#[tokio::test]
async fn one_cluster_that_was_imported_under_two_names_is_used_by_the_first_that_was_looked_at() {
    let (hub, server) = (Hub::new().await, Server::start(Setup::default(), empty).await);
    hub.import(&["berlin", "munich"], &server).await;
    hub.look("munich").await.unwrap();
    let refused = hub.look("berlin").await.unwrap_err();
    assert!(refused.contains("same cluster as munich") && refused.contains("cluster remove"), "{refused}");
    assert_eq!(hub.stands("berlin").await, ("quarantined".to_owned(), None));
    assert_eq!(hub.stands("munich").await, known("reachable"));
    // What the first one leaves free belongs to the other, when a person says so.
    hub.app.remove_cluster(&hub.by, "munich", None).await.unwrap();
    let release = fleetlift::app::ChangeCluster { release: true, ..Default::default() };
    hub.app.change_cluster(&hub.by, "berlin", release, None).await.unwrap();
    hub.look("berlin").await.unwrap();
    assert_eq!(hub.stands("berlin").await, known("reachable"));
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_what_cannot_even_be_asked_is_silence() {
    let forbidding = |_: &Request<Incoming>| super::status(401, "Unauthorized", "who are you?");
    let (hub, server) = (Hub::new().await, Server::start(Setup::default(), forbidding).await);
    hub.import(&["berlin"], &server).await;
    let refused = hub.look("berlin").await.unwrap_err();
    assert!(refused.contains("does not accept the credential"), "{refused}");
    assert_eq!(hub.stands("berlin").await.0, "reachable");
    // As if the hub's settings had named it once.
    let mut cluster = hub.app.store.cluster_named("berlin").await.unwrap();
    cluster.egress = Some("gone".to_owned());
    hub.app.store.change_cluster(&cluster, vec![]).await.unwrap();
    hub.look("berlin").await.unwrap_err();
    assert_eq!(hub.stands("berlin").await.0, "unreachable");
}
