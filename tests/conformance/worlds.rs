//! The two clusters, and conversations with them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fleetlift::cluster::manifest::Manifest;
use fleetlift::sim::{Behaviour, ClusterSpec, Contents, Fleet, FleetSpec, Oracle, Pace};
use fleetlift::system::SystemClock;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::alike::{alike, differences};
use crate::support::crds::{self, UpgradeTaskSchema};
use crate::support::{ControlPlane, TestCluster, edge, until};

/// Longer than anything takes in either.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// May do everything.
    Admin,
    /// The hub's account.
    Hub,
    /// Nobody that is known.
    Stranger,
}

/// One cluster, by its clients.
struct World {
    admin: Client,
    hub: Client,
    stranger: Client,
}

struct Worlds {
    runtime: Runtime,
    real: World,
    simulated: World,
    _plane: Arc<ControlPlane>,
    _fleet: Fleet,
}

/// The two that all scenarios share; each uses names of its own.
fn worlds() -> &'static Worlds {
    static WORLDS: OnceLock<Worlds> = OnceLock::new();
    WORLDS.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (fleet, simulated) = runtime.block_on(simulated());
        let (plane, real) = runtime.block_on(real());
        Worlds { runtime, real, simulated, _plane: plane, _fleet: fleet }
    })
}

async fn simulated() -> (Fleet, World) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cluster = ClusterSpec {
        name: "conformance".to_owned(),
        labels: std::collections::BTreeMap::new(),
        kubernetes: "v1.34.4".to_owned(),
        contents: Contents { csi_operators: Some("3.6.0".to_owned()), maya: Some("2.12.2".to_owned()), items: vec![] },
        behaviour: Behaviour::default(),
        // As on the real control plane, which has no node: the scenarios play it.
        runs_pods: false,
    };
    let spec = FleetSpec { clusters: vec![cluster], pace: Pace::default() };
    let fleet = Fleet::start(spec, Arc::new(SystemClock), Oracle::in_memory(), 1).unwrap();
    let admin = fleet.admin_kubeconfig("conformance").unwrap();
    let hub = fleet.kubeconfigs().remove(0).kubeconfig;
    let token = serde_json::from_str::<Value>(&hub).unwrap()["users"][0]["user"]["token"].as_str().unwrap().to_owned();
    let stranger = hub.replace(&token, "nobody");
    let world = World { admin: client(&admin).await, hub: client(&hub).await, stranger: client(&stranger).await };
    (fleet, world)
}

async fn real() -> (Arc<ControlPlane>, World) {
    let plane = ControlPlane::shared().await;
    let admin = plane.admin();
    crds::install(&admin, UpgradeTaskSchema::Open).await;
    let cluster = TestCluster {
        client: admin.clone(),
        plane: Arc::clone(&plane),
        namespace: "openebs".to_owned(),
        account_namespace: "fleetlift".to_owned(),
        claims_namespace: "shop".to_owned(),
    };
    for namespace in ["openebs", "shop"] {
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
    }
    let manifest = Manifest { openebs: "openebs", account: "fleetlift", admission: false, ..Manifest::default() };
    edge::apply_manifest(&admin, manifest).await;
    let hub = cluster.hub_client().await;
    let stranger = client(&plane.token_kubeconfig("nobody")).await;
    until("a namespace has its account", || async {
        let request = Request::get("/api/v1/namespaces/openebs/serviceaccounts/default").body(vec![]).unwrap();
        admin.request::<Value>(request).await.ok()
    })
    .await;
    (plane, World { admin, hub, stranger })
}

async fn client(kubeconfig: &str) -> Client {
    let read = kube::config::Kubeconfig::from_yaml(kubeconfig).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the kubeconfig is our own")]
    let mut config =
        kube::Config::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// Has the same conversation with both clusters, and compares what they said.
pub fn compare<F>(scenario: impl Fn(Talk) -> F)
where
    F: Future<Output = Talk>,
{
    let worlds = worlds();
    let told = |world: &'static World| worlds.runtime.block_on(scenario(Talk { world, lines: Vec::new() })).lines;
    let (real, simulated) = (told(&worlds.real), told(&worlds.simulated));
    let mut found = Vec::new();
    for ((title, one), (_, other)) in real.iter().zip(&simulated) {
        differences(title, one, other, &mut found);
    }
    assert_eq!(real.len(), simulated.len(), "the conversations are of different lengths");
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// A conversation with one cluster.
pub struct Talk {
    world: &'static World,
    lines: Vec<(String, Value)>,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Answer {
    pub fn uid(&self) -> String {
        self.body["metadata"]["uid"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    pub fn version(&self) -> String {
        self.body["metadata"]["resourceVersion"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

/// A request.
pub struct Asked<'a> {
    pub who: Who,
    pub method: &'a str,
    pub path: &'a str,
    pub body: Option<&'a Value>,
    pub content_type: &'a str,
    pub accept: &'a str,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self {
            who: Who::Admin,
            method: "GET",
            path: "/",
            body: None,
            content_type: "application/json",
            accept: "application/json",
        }
    }
}

impl Talk {
    /// Asks, and remembers the answer under `title`.
    pub async fn ask(&mut self, title: &str, asked: Asked<'_>) -> Answer {
        let answer = self.quietly(asked).await;
        self.note(title, &json!({"code": answer.code, "body": answer.body}));
        answer
    }

    /// Asks, and remembers nothing.
    pub async fn quietly(&self, asked: Asked<'_>) -> Answer {
        let response = self.send(asked).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { code, body }
    }

    /// The lines of a watch: until there are `lines`, or it ends.
    pub async fn lines(&self, path: &str, lines: usize) -> Vec<Value> {
        let mut body = self.send(Asked { path, ..Asked::default() }).await.into_body();
        let mut text = Vec::new();
        let reading = async {
            while text.split(|&byte| byte == b'\n').count() <= lines {
                let Some(frame) = body.frame().await else { return };
                if let Ok(data) = frame.unwrap().into_data() {
                    text.extend_from_slice(&data);
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{path}: too few lines"));
        let whole = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        whole.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    async fn send(&self, asked: Asked<'_>) -> http::Response<Body> {
        let Asked { who, method, path, body, content_type, accept } = asked;
        let client = match who {
            Who::Admin => &self.world.admin,
            Who::Hub => &self.world.hub,
            Who::Stranger => &self.world.stranger,
        };
        let bytes = match body {
            Some(Value::String(text)) => text.clone().into_bytes(),
            Some(body) => serde_json::to_vec(body).unwrap(),
            None => Vec::new(),
        };
        let request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
        let request = request.header(CONTENT_TYPE, content_type).body(Body::from(bytes)).unwrap();
        client.send(request).await.unwrap()
    }

    /// Remembers what was seen, however it was.
    pub fn note(&mut self, title: &str, seen: &Value) {
        self.lines.push((title.to_owned(), alike(seen)));
    }

    pub async fn get(&mut self, title: &str, path: &str) -> Answer {
        self.ask(title, Asked { path, ..Asked::default() }).await
    }

    pub async fn post(&mut self, title: &str, path: &str, body: &Value) -> Answer {
        self.ask(title, Asked { method: "POST", path, body: Some(body), ..Asked::default() }).await
    }

    pub async fn put(&mut self, title: &str, path: &str, body: &Value) -> Answer {
        self.ask(title, Asked { method: "PUT", path, body: Some(body), ..Asked::default() }).await
    }

    pub async fn delete(&mut self, title: &str, path: &str, options: &Value) -> Answer {
        self.ask(title, Asked { method: "DELETE", path, body: Some(options), ..Asked::default() }).await
    }

    pub async fn patch(&mut self, title: &str, path: &str, kind: &str, body: &Value) -> Answer {
        let content_type = format!("application/{kind}+json");
        self.ask(
            title,
            Asked { method: "PATCH", path, body: Some(body), content_type: &content_type, ..Asked::default() },
        )
        .await
    }

    /// Waits until `path` answers what is wanted; gives that.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let waiting = async {
            loop {
                let answer = self.quietly(Asked { path, ..Asked::default() }).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        let Ok(answer) = waited else {
            panic!("{path}: {:#}", self.quietly(Asked { path, ..Asked::default() }).await.body)
        };
        answer
    }
}
