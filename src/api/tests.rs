//! Who may do what, over the whole route table, with a real store behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use tower::ServiceExt as _;

use super::table::Row;
use super::{Limits, guard, metrics_router, router, routes};
use crate::app::{App, CreateToken, Events, Releases, Role};
use crate::audit::checkpoint::Signer;
use crate::cluster::{self, AddressPolicy, Surroundings, Vault};
use crate::connections::Connections;
use crate::domain::cluster::{Cluster, ClusterState, Reach, SealedCredential};
use crate::domain::inventory::{Component, Condition, Resource};
use crate::domain::{Clock as _, ClusterId, HubId, Inventory, ResourceKind, ResourceRef, Timestamp, Version};
use crate::metrics::Metrics;
use crate::seal::{Keyring, SealingKey};
use crate::store::{self, NewCluster, NewHub, StoredInventory};
use crate::system::{SystemClock, SystemEntropy};

/// A hub without a network, and a token of each role.
struct Hub {
    app: Arc<App>,
    router: Router,
    metrics: Arc<Metrics>,
    tokens: BTreeMap<&'static str, String>,
    _folder: tempfile::TempDir,
}

async fn hub_with(limits: Limits) -> Hub {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("hub.db").display());
    let store = store::open(&url, store::Options::default()).await.unwrap();
    let now = SystemClock.now();
    let hub = store.hub(NewHub { id: HubId::new(now, &SystemEntropy), at: now }).await.unwrap();
    let around = Surroundings {
        policy: Arc::new(AddressPolicy::default()),
        lookups: Arc::default(),
        limits: cluster::Limits::default(),
        clock: Arc::new(SystemClock),
        metrics: Arc::new(Metrics::new()),
    };
    let vault = Vault::new(Keyring::new(SealingKey::generate(&SystemEntropy), None), hub.id);
    let app = Arc::new(App {
        connections: Arc::new(Connections::new(store.clone(), vault, around, BTreeMap::new())),
        store,
        plans: Arc::default(),
        releases: Releases::default(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        hub: hub.id,
        signer: Arc::new(Signer::new(hub.id, &[7; 32]).unwrap()),
        hub_limit: 10,
        plan_max_age: Duration::from_hours(1),
        inventory_patience: Duration::ZERO,
        images: Vec::new(),
    });
    let secret = app.propose_first_token().await.unwrap().unwrap();
    let admin = app.create_first_token(secret.clone()).await.unwrap().unwrap();
    assert!(app.create_first_token(secret).await.unwrap().is_none(), "whoever comes second gets none");
    assert!(app.propose_first_token().await.unwrap().is_none());
    let by = app.authenticate(&admin.secret).await.unwrap().unwrap();
    let mut tokens = BTreeMap::new();
    for role in Role::ALL {
        let wanted = CreateToken { name: format!("a-{role}"), role, selector: None, expires_at: None };
        tokens.insert(role.name(), app.create_token(&by, wanted).await.unwrap().secret);
    }
    let metrics = Arc::new(Metrics::new());
    let router = router(app.clone(), metrics.clone(), &limits, Arc::default());
    Hub { app, router, metrics, tokens, _folder: folder }
}

const LIMITS: Limits =
    Limits { requests_per_second: 10_000, body_bytes_max: 1 << 16, request_deadline: Duration::from_secs(20) };

async fn hub() -> Hub {
    hub_with(LIMITS).await
}

/// A cluster that nobody can reach.
fn cluster_named(hub: &Hub, name: &str) -> NewCluster {
    let now = hub.app.clock.now();
    let cluster = Cluster {
        id: ClusterId::new(now, &SystemEntropy),
        name: name.to_owned(),
        labels: BTreeMap::new(),
        time_zone: None,
        namespace: "openebs".to_owned(),
        egress: None,
        server: "https://192.0.2.7:6443".to_owned(),
        tls_verified: true,
        identity: None,
        credential_expires_at: None,
        state: ClusterState::Active,
        reach: Reach::default(),
        registered_at: now,
        version: 1,
    };
    let credential = SealedCredential { version: 1, envelope: vec![0], ca_pem: "c0".to_owned(), tls_server_name: None };
    NewCluster { cluster, credential, events: Vec::new() }
}

/// A request as this route would get it, for things that are not there.
fn request(row: &Row, authorization: &[&str]) -> Request<Body> {
    let path: String = row
        .path
        .split('/')
        .map(|part| if part.starts_with('{') { "nothing" } else { part })
        .fold(String::new(), |path, part| if part.is_empty() { path } else { format!("{path}/{part}") });
    let mut request = Request::builder().method(row.method.clone()).uri(path);
    for value in authorization {
        request = request.header(header::AUTHORIZATION, *value);
    }
    let body = if row.method == Method::GET { Body::empty() } else { Body::from("{}") };
    request.header(header::CONTENT_TYPE, "application/json").body(body).unwrap()
}

async fn status(hub: &Hub, request: Request<Body>) -> StatusCode {
    hub.router.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn every_route_is_for_its_roles_and_for_nobody_else() {
    let hub = hub().await;
    for row in routes::table() {
        let route = format!("{} {}", row.method, row.path);
        assert_eq!(status(&hub, request(&row, &[])).await, StatusCode::UNAUTHORIZED, "{route} without a token");
        for role in Role::ALL {
            let bearer = format!("Bearer {}", hub.tokens[role.name()]);
            let status = status(&hub, request(&row, &[&bearer])).await;
            let let_in = !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            assert_eq!(let_in, role.may(row.access), "{route} as {role}: {status}");
            assert!(!status.is_server_error(), "{route} as {role}: {status}");
        }
    }
}

#[tokio::test]
async fn odd_tokens_open_nothing() {
    let hub = hub().await;
    let good = hub.tokens["admin"].clone();
    let bearer = format!("Bearer {good}");
    let altered = format!("Bearer {}x", &good[..good.len() - 1]);
    let jwt = "Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZG1pbiIsInJvbGUiOiJhZG1pbiJ9.";
    let shouted = bearer.to_uppercase();
    let basic = format!("Basic {good}");
    let odd: &[&[&str]] = &[
        &[],
        &[""],
        &["Bearer"],
        &["Bearer "],
        &[&good],
        &[&altered],
        &[jwt],
        &[&basic],
        &[&shouted],
        &[&bearer, &bearer],
        &["Bearer flt_' or '1'='1"],
    ];
    for row in routes::table() {
        for authorization in odd {
            let status = status(&hub, request(&row, authorization)).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{} {} with {authorization:?}", row.method, row.path);
        }
        let mut in_query = request(&row, &[]);
        *in_query.uri_mut() = format!("{}?token={good}&access_token={good}", in_query.uri().path()).parse().unwrap();
        assert_eq!(status(&hub, in_query).await, StatusCode::UNAUTHORIZED, "{} with a token in the query", row.path);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_tell_strangers_nothing() {
    let hub = hub().await;
    let asked = |method: &str, path: &str| Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    for (method, path) in
        [("GET", "/"), ("GET", "/api/v1/nothing"), ("DELETE", "/api/v1/clusters"), ("GET", "/metrics")]
    {
        assert_eq!(status(&hub, asked(method, path)).await, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    for path in guard::OPEN {
        let response = hub.router.clone().oneshot(asked("GET", path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(to_bytes(response.into_body(), 64).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn a_revoked_and_an_expired_token_open_nothing() {
    let hub = hub().await;
    let by = hub.app.authenticate(&hub.tokens["admin"]).await.unwrap().unwrap();
    let bearer = format!("Bearer {}", hub.tokens["viewer"]);
    let list = || Row::get("/api/v1/clusters", crate::app::Access::Read, "", async || "");
    assert_eq!(status(&hub, request(&list(), &[&bearer])).await, StatusCode::OK);
    hub.app.revoke_token(&by, "a-viewer").await.unwrap();
    assert_eq!(status(&hub, request(&list(), &[&bearer])).await, StatusCode::UNAUTHORIZED);
    let past = CreateToken {
        name: "late".to_owned(),
        role: Role::Admin,
        selector: None,
        expires_at: Some(crate::app::When(SystemClock.now() - Duration::from_secs(1))),
    };
    assert!(hub.app.create_token(&by, past).await.is_err());
}

#[tokio::test]
async fn denied_requests_are_audited_with_who_and_what() {
    let hub = hub().await;
    let bearer = format!("Bearer {}", hub.tokens["viewer"]);
    let row =
        routes::table().into_iter().find(|row| row.path == "/api/v1/tokens" && row.method == Method::POST).unwrap();
    assert_eq!(status(&hub, request(&row, &[&bearer])).await, StatusCode::FORBIDDEN);
    let by = hub.app.authenticate(&hub.tokens["auditor"]).await.unwrap().unwrap();
    let Events { items: events, .. } = hub.app.events(&by, 0, None, 100).await.unwrap();
    let denied: Vec<(&str, &str)> = events
        .iter()
        .filter(|event| event.kind == "request.denied")
        .map(|event| (event.actor.as_str(), event.reason.as_str()))
        .collect();
    assert_eq!(denied, [("token:a-viewer", "POST /api/v1/tokens")]);
}

#[tokio::test]
async fn the_last_administrators_token_is_not_revoked() {
    let hub = hub().await;
    let by = hub.app.authenticate(&hub.tokens["admin"]).await.unwrap().unwrap();
    hub.app.revoke_token(&by, "admin").await.unwrap();
    let refused = hub.app.revoke_token(&by, "a-admin").await.unwrap_err().to_string();
    assert!(refused.contains("last administrator") && refused.contains("make another one first"), "{refused}");
    let made = crate::app::recover(hub.app.store.as_ref(), &SystemClock, &SystemEntropy).await.unwrap();
    let recovered = hub.app.authenticate(&made.secret).await.unwrap().unwrap();
    assert_eq!(recovered.role, Role::Admin);
    hub.app.revoke_token(&recovered, "a-admin").await.unwrap();
    let Events { items: events, .. } = hub.app.events(&recovered, 0, None, 100).await.unwrap();
    let told = events.iter().find(|event| event.actor == "local:recovery").unwrap();
    assert_eq!((told.kind.as_str(), &told.data["name"]), ("token.created", &made.token.name.into()));
}

#[tokio::test]
async fn requests_that_reach_no_route_are_counted_too() {
    let hub = hub_with(Limits { requests_per_second: 1, ..LIMITS }).await;
    let bearer = format!("Bearer {}", hub.tokens["viewer"]);
    let asked = |authorization: Option<&str>| {
        let request = Request::builder().uri("/api/v1/nothing");
        let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
        request.body(Body::empty()).unwrap()
    };
    assert_eq!(status(&hub, asked(None)).await, StatusCode::UNAUTHORIZED);
    for _ in 0..20 {
        status(&hub, asked(Some(&bearer))).await;
    }
    let metrics = metrics_router(hub.app.clone(), hub.metrics.clone());
    let page = metrics.oneshot(Request::builder().uri("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    let page = String::from_utf8(to_bytes(page.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
    for code in ["401", "404", "429"] {
        let counted = format!("fleetlift_api_requests_total{{route=\"none\",code=\"{code}\"}}");
        assert!(page.contains(&counted), "{counted} is missing in {page}");
    }
}

#[tokio::test]
async fn a_change_of_what_was_changed_since_is_refused() {
    let hub = hub().await;
    let by = hub.app.authenticate(&hub.tokens["admin"]).await.unwrap().unwrap();
    let new = cluster_named(&hub, "berlin");
    hub.app.store.register_clusters(vec![new]).await.unwrap().remove(0).unwrap();
    let bearer = format!("Bearer {}", hub.tokens["admin"]);
    let rotate = r#"{"kubeconfig": "{}"}"#;
    for (method, path, body) in [
        (Method::PATCH, "clusters/berlin", "{}"),
        (Method::PUT, "clusters/berlin/credential", rotate),
        (Method::DELETE, "clusters/berlin", ""),
    ] {
        let request = Request::builder().method(method.clone()).uri(format!("/api/v1/{path}"));
        let request = request.header(header::AUTHORIZATION, &bearer).header(header::IF_MATCH, "\"7\"");
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap();
        assert_eq!(status(&hub, request).await, StatusCode::PRECONDITION_FAILED, "{method} {path}");
    }
    hub.app.remove_cluster(&by, "berlin", Some(1)).await.unwrap();
}

#[tokio::test]
async fn a_fleet_is_replaced_only_over_the_revision_that_was_read() {
    let hub = hub().await;
    let bearer = format!("Bearer {}", hub.tokens["admin"]);
    let asked = |method, read: Option<String>, body: String| {
        let request = Request::builder().method(method).uri("/api/v1/fleet").header(header::AUTHORIZATION, &bearer);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let request = read.into_iter().fold(request, |request, read| request.header(header::IF_MATCH, read));
        hub.router.clone().oneshot(request.body(Body::from(body)).unwrap())
    };
    let fleet = |name: &str| {
        let text = include_str!("../../fleet-config/demo.yaml").replace("{name: demo}", &format!("{{name: {name}}}"));
        serde_json::json!({"files": [{"name": "fleet.yaml", "text": text}]}).to_string()
    };
    let first = asked(Method::PUT, None, fleet("one")).await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let shown = asked(Method::GET, None, String::new()).await.unwrap();
    let read = shown.headers()[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!(first.headers()[header::ETAG].to_str().unwrap(), read);
    let second = asked(Method::PUT, Some(read.clone()), fleet("two")).await.unwrap();
    assert_eq!(second.status(), StatusCode::OK);
    let late = asked(Method::PUT, Some(read), fleet("three")).await.unwrap();
    assert_eq!(late.status(), StatusCode::PRECONDITION_FAILED, "somebody else was faster");
    let odd = asked(Method::PUT, Some("\"7\"".to_owned()), fleet("three")).await.unwrap();
    assert_eq!(odd.status(), StatusCode::BAD_REQUEST);
}

#[test]
fn a_lost_race_is_a_conflict() {
    let lost = crate::store::StoreError::Conflict { what: "rollout x".to_owned() };
    let problem = super::Problem::from(crate::app::Refusal::from(lost));
    assert_eq!(problem.status, 409);
    assert!(problem.detail.contains("rollout x was changed by somebody else"), "{}", problem.detail);
}

#[tokio::test]
async fn streams_of_events_are_bounded() {
    let hub = hub().await;
    let bearer = format!("Bearer {}", hub.tokens["viewer"]);
    let open = || {
        let request = Request::builder().uri("/api/v1/events").header(header::AUTHORIZATION, &bearer);
        hub.router.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    let mut streams = Vec::new();
    for _ in 0..super::STREAMS_MAX {
        streams.push(open().await.unwrap());
    }
    assert!(streams.iter().all(|stream| stream.status() == StatusCode::OK));
    assert_eq!(open().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(streams.pop());
    assert_eq!(open().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_to_wait() {
    let limits = Limits { requests_per_second: 1, body_bytes_max: 1 << 16, request_deadline: Duration::from_secs(20) };
    let hub = hub_with(limits).await;
    let row = routes::table().remove(0);
    let bearer = format!("Bearer {}", hub.tokens["viewer"]);
    let mut last = StatusCode::OK;
    for _ in 0..20 {
        last = status(&hub, request(&row, &[&bearer])).await;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let other = format!("Bearer {}", hub.tokens["auditor"]);
    assert_eq!(status(&hub, request(&row, &[&other])).await, StatusCode::OK);
}

#[tokio::test]
async fn large_and_deep_bodies_are_refused() {
    let hub = hub().await;
    let bearer = format!("Bearer {}", hub.tokens["admin"]);
    let send = |body: String| {
        let request = Request::builder().method(Method::POST).uri("/api/v1/clusters");
        let request = request.header(header::AUTHORIZATION, &bearer).header(header::CONTENT_TYPE, "application/json");
        request.body(Body::from(body)).unwrap()
    };
    assert_eq!(status(&hub, send("x".repeat(1 << 17))).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(status(&hub, send("[".repeat(10_000))).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_and_nothing_twice() {
    let hub = hub().await;
    let bearer = format!("Bearer {}", hub.tokens["admin"]);
    let send = |key: &str, body: &str| {
        let request = Request::builder().method(Method::POST).uri("/api/v1/clusters/import");
        let request = request.header(header::AUTHORIZATION, &bearer).header(header::CONTENT_TYPE, "application/json");
        request.header("Idempotency-Key", key).body(Body::from(body.to_owned())).unwrap()
    };
    let body = r#"{"clusters": [{"name": "a", "kubeconfig": "{}"}]}"#;
    let answer = async |request: Request<Body>| {
        to_bytes(hub.router.clone().oneshot(request).await.unwrap().into_body(), 1 << 20).await.unwrap()
    };
    let first = answer(send("k1", body)).await;
    assert!(String::from_utf8_lossy(&first).contains("refused"));
    assert_eq!(answer(send("k1", body)).await, first);
    assert_eq!(status(&hub, send("k1", r#"{"clusters": []}"#)).await, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_document_names_every_route() {
    let document = super::openapi::document(&routes::table()).to_json().unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    for row in routes::table() {
        let operation = &document["paths"][row.path][row.method.as_str().to_lowercase()];
        assert_eq!(operation["summary"], row.summary, "{} {}", row.method, row.path);
    }
    assert!(document["components"]["schemas"]["Problem"].is_object());
}

#[tokio::test]
async fn a_listener_of_its_own_serves_metrics_and_nothing_else() {
    let hub = hub().await;
    let metrics = metrics_router(hub.app.clone(), Arc::new(Metrics::new()));
    let asked = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
    let page = metrics.clone().oneshot(asked("/metrics")).await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let page = String::from_utf8(to_bytes(page.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
    assert!(page.contains("fleetlift_limit{scope=\"hub\"} 10") && page.ends_with("# EOF\n"), "{page}");
    assert_eq!(metrics.oneshot(asked("/api/v1/clusters")).await.unwrap().status(), StatusCode::NOT_FOUND);
}

/// An inventory of some forty volumes: what it costs to understand one is what counts here.
fn inventory(number: usize) -> StoredInventory {
    let resource = |volume: usize| Resource {
        id: ResourceRef { kind: ResourceKind::JivaVolume, name: format!("pvc-{volume}") },
        namespace: "openebs".into(),
        parent: None,
        version: Some(Version::new(3, 5, 0)),
        versions: vec![],
        health: Condition::Holds,
        half_done: None,
        pools: vec![],
        replicas: None,
        attached_to: None,
        workloads: vec![],
        users_unknown: None,
        details: BTreeMap::new(),
    };
    let component =
        |name: &str| Component { name: name.into(), versions: vec!["3.6.0".into()], service_account: "openebs".into() };
    let taken = Inventory {
        taken_at: Timestamp::from_micros(1_000_000),
        kubernetes: format!("v1.34.{number}"),
        architectures: vec![],
        namespace: "openebs".into(),
        control_plane: vec![component("jiva-operator"), component("cspc-operator")],
        resources: (0..40).map(resource).collect(),
        under_way: vec![],
        history: vec![],
        problems: vec![],
    };
    StoredInventory::from(&taken)
}

async fn with_clusters(hub: &Hub, clusters: usize) {
    let new = |number: usize| NewCluster {
        cluster: Cluster {
            id: ClusterId::new(SystemClock.now(), &SystemEntropy),
            name: format!("edge-{number:05}"),
            labels: BTreeMap::new(),
            time_zone: None,
            namespace: "openebs".into(),
            egress: None,
            server: "https://192.0.2.7:6443".into(),
            tls_verified: true,
            identity: None,
            credential_expires_at: None,
            state: ClusterState::Active,
            reach: Reach::default(),
            registered_at: SystemClock.now(),
            version: 1,
        },
        credential: SealedCredential { version: 1, envelope: vec![0], ca_pem: String::new(), tls_server_name: None },
        events: vec![],
    };
    let new: Vec<NewCluster> = (0..clusters).map(new).collect();
    let ids: Vec<ClusterId> = new.iter().map(|new| new.cluster.id).collect();
    hub.app.store.register_clusters(new).await.unwrap();
    let save = |(number, id)| hub.app.store.save_inventory(id, inventory(number));
    futures::future::try_join_all(ids.into_iter().enumerate().map(save)).await.unwrap();
}

#[tokio::test]
async fn a_scrape_shows_the_release_of_each_cluster_and_notices_another_inventory() {
    let hub = hub().await;
    with_clusters(&hub, 2).await;
    let shown = async || {
        let clusters = hub.app.readings().await.unwrap().clusters;
        clusters.into_iter().map(|(_, _, _, release)| release).collect::<Vec<_>>()
    };
    assert_eq!(shown().await, [Some("3.6.0".to_owned()), Some("3.6.0".to_owned())]);
    let id = hub.app.store.cluster_named("edge-00001").await.unwrap().id;
    let mut other: Inventory = serde_json::from_str(&inventory(1).body).unwrap();
    other.control_plane[0].versions = vec!["3.5.0".into()];
    other.taken_at = Timestamp::from_micros(2_000_000);
    hub.app.store.save_inventory(id, StoredInventory::from(&other)).await.unwrap();
    assert_eq!(shown().await, [Some("3.6.0".to_owned()), None], "its components do not agree");
}

/// Printed, not asserted: `cargo test --lib time_of_a_scrape -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn the_time_of_a_scrape_over_five_thousand_clusters_is_told() {
    let hub = hub().await;
    with_clusters(&hub, 5_000).await;
    let begun = std::time::Instant::now();
    for cluster in hub.app.store.clusters(None, 5_000).await.unwrap() {
        let stored = hub.app.store.inventory(cluster.id).await.unwrap().unwrap();
        let _: Inventory = serde_json::from_str(&stored.body).unwrap();
    }
    println!("every inventory read and understood: {:?}", begun.elapsed());
    for scrape in ["the first scrape", "the second scrape"] {
        let begun = std::time::Instant::now();
        let clusters = hub.app.readings().await.unwrap().clusters.len();
        println!("{scrape}: {clusters} clusters in {:?}", begun.elapsed());
    }
}
