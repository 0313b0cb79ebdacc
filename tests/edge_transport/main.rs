//! The transport to edge clusters against servers that are slow, hostile, dead, or somebody else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod reading;
mod registry;
mod secrets;
mod server;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleetlift::cluster::nouns::{JOBS, NODES, PODS};
use fleetlift::cluster::{
    AddressPolicy, Created, Denied, Edge, EdgeError, Egress, Hint, Phase, Retry, Surroundings, Trust, WaitingFor,
    kubeconfig,
};
use http::Response;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};
use server::{Answer, Piecewise, Server, Setup, TOKEN, UID, around, failed, limits, raw, status};
use tokio::io::AsyncWriteExt as _;

fn version() -> Answer {
    Answer::Json(200, json!({"major": "1", "minor": "34", "gitVersion": "v1.34.4"}).to_string())
}

const H1: Setup = Setup { h2: false, requests_per_connection: usize::MAX };

#[tokio::test]
async fn a_hundred_calls_at_once_share_one_http2_connection() {
    let server = Server::start(Setup::default(), |_| version()).await;
    let edge = server.edge();
    let calls = (0..100).map(|_| edge.version());
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), "v1.34.4");
    }
    assert_eq!(server.seen.connections(), 1);
    assert_eq!(server.seen.identity_checks.load(Ordering::SeqCst), 1);
    assert_eq!(server.seen.authorizations.lock().unwrap()[0], format!("Bearer {TOKEN}"));
}

#[tokio::test]
async fn a_server_without_http2_gets_a_few_connections_each_checked_for_identity() {
    let server = Server::start(H1, |_| version()).await;
    let edge = server.edge();
    let calls = (0..60).map(|_| edge.version());
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), "v1.34.4");
    }
    let connections = server.seen.connections();
    assert!(connections <= 8, "{connections}");
    assert_eq!(server.seen.identity_checks.load(Ordering::SeqCst), connections);
    edge.version().await.unwrap();
    assert_eq!(server.seen.connections(), connections, "an idle connection is used again");
}

#[tokio::test]
async fn another_cluster_gets_no_request_that_was_meant_for_the_registered_one() {
    for setup in [Setup::default(), H1] {
        let server = Server::start(setup, |_| version()).await;
        *server.uid.lock().unwrap() = "another".to_owned();
        let edge = server.edge();
        for _ in 0..3 {
            let error = failed(edge.version().await);
            assert_eq!(error, EdgeError::AnotherCluster { expected: UID.to_owned(), seen: "another".to_owned() });
            assert_eq!((error.retry(), error.reached()), (Retry::Never, false));
        }
        assert_eq!(server.seen.requests(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_identity_is_asked_again_on_every_new_connection() {
    let setup = Setup { h2: true, requests_per_connection: 2 };
    let server = Server::start(setup, |_| version()).await;
    let edge = server.edge();
    edge.version().await.unwrap();
    *server.uid.lock().unwrap() = "another".to_owned();
    let deadline = Instant::now() + Duration::from_secs(5);
    // The old connection may serve a little longer: it leads to the right cluster.
    let error = loop {
        match edge.version().await {
            Ok(_) => assert!(Instant::now() < deadline, "the connection was never made anew"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EdgeError::AnotherCluster { .. }), "{error}");
}

#[tokio::test]
async fn a_registration_learns_the_identity_and_keeps_to_it() {
    let server = Server::start(Setup { h2: false, requests_per_connection: 2 }, |_| version()).await;
    let edge = Edge::new(&server.access_at(""), None, "openebs", None, &around(limits())).unwrap();
    assert_eq!(edge.identify().await.unwrap(), UID);
    *server.uid.lock().unwrap() = "another".to_owned();
    assert!(matches!(failed(edge.version().await), EdgeError::AnotherCluster { .. }));
}

#[tokio::test]
async fn connections_that_servers_close_are_replaced_without_repeating_a_request() {
    for h2 in [true, false] {
        let server = Server::start(Setup { h2, requests_per_connection: 3 }, |_| version()).await;
        let edge = server.edge();
        for _ in 0..20 {
            edge.version().await.unwrap();
        }
        assert_eq!(server.seen.requests().len(), 20, "h2: {h2}");
        assert!(server.seen.connections() >= 6, "h2: {h2}");
    }
}

#[tokio::test]
async fn an_unused_connection_is_closed_and_reopened_when_needed() {
    let server = Server::start(Setup::default(), |_| version()).await;
    let edge =
        server.edge_with(&fleetlift::cluster::Limits { idle_connection: Duration::from_millis(100), ..limits() });
    edge.version().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.seen.open.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < deadline, "it stays open");
        tokio::task::yield_now().await;
    }
    edge.version().await.unwrap();
    assert_eq!(server.seen.connections(), 2);
}

#[tokio::test]
async fn s3_loopback_is_denied_by_address_and_by_name_and_nothing_is_sent() {
    let server = Server::start(Setup::default(), |_| version()).await;
    let strict = Surroundings { policy: Arc::new(AddressPolicy::default()), ..around(limits()) };
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let yaml = server.kubeconfig(&format!("https://{host}:{}", server.address.port()), "token: t");
        let access = kubeconfig::read(yaml.as_bytes(), None).unwrap();
        let edge = Edge::new(&access, None, "openebs", None, &strict).unwrap();
        let error = failed(edge.version().await);
        assert!(matches!(error, EdgeError::AddressDenied(Denied::Special { .. })), "{host}: {error}");
        assert_eq!(error.retry(), Retry::Never);
    }
    let access = kubeconfig::read(server.kubeconfig("https://169.254.169.254", "token: t").as_bytes(), None).unwrap();
    let edge = Edge::new(&access, None, "openebs", None, &strict).unwrap();
    assert!(matches!(failed(edge.version().await), EdgeError::AddressDenied(_)));
    let own = AddressPolicy { own_listeners: vec![server.address], ..(*around(limits()).policy).clone() };
    let edge =
        Edge::new(&server.access_at(""), None, "o", None, &Surroundings { policy: Arc::new(own), ..strict }).unwrap();
    assert!(matches!(failed(edge.version().await), EdgeError::AddressDenied(Denied::OwnListener(_))));
    assert_eq!(server.seen.connections(), 0);
}

#[tokio::test]
async fn s4_a_server_that_its_ca_does_not_vouch_for_is_not_spoken_to() {
    let server = Server::start(Setup::default(), |_| version()).await;
    let other = Server::start(Setup::default(), |_| version()).await;
    let mut access = server.access_at("");
    access.trust = Trust::Ca(other.ca_pem.clone());
    let mut misnamed = server.access_at("");
    misnamed.tls_server_name = Some("elsewhere.example".to_owned());
    for access in [access, misnamed] {
        let edge = Edge::new(&access, None, "openebs", None, &around(limits())).unwrap();
        let error = failed(edge.version().await);
        assert!(matches!(error, EdgeError::Unreachable { phase: Phase::Securing, .. }), "{error}");
        assert!(!error.ambiguous() && !error.reached());
    }
    assert_eq!(server.seen.requests(), Vec::<String>::new());
    let mut named = server.access_at("");
    named.tls_server_name = Some("localhost".to_owned());
    Edge::new(&named, None, "openebs", None, &around(limits())).unwrap().version().await.unwrap();
    let mut waived = server.access_at("");
    waived.trust = Trust::Waived;
    Edge::new(&waived, None, "openebs", None, &around(limits())).unwrap().version().await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_presented_and_no_token_with_it() {
    use base64::Engine as _;
    let base64 = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    let server = Server::start(Setup::default(), |_| version()).await;
    let (certificate, key) = &server.client_certificate;
    let user = format!("client-certificate-data: {}, client-key-data: {}", base64(certificate), base64(key));
    let yaml = server.kubeconfig(&format!("https://{}", server.address), &user);
    let access = kubeconfig::read(yaml.as_bytes(), None).unwrap();
    Edge::new(&access, None, "openebs", None, &around(limits())).unwrap().version().await.unwrap();
    assert_eq!(*server.seen.authorizations.lock().unwrap(), ["client certificate"]);
}

#[tokio::test]
async fn an_api_server_under_a_path_is_found_there() {
    let server = Server::start(Setup::default(), |request| {
        if request.uri().path().ends_with("/kube-system") {
            return Answer::Json(200, server::namespace(UID));
        }
        version()
    })
    .await;
    let access = server.access_at("/k8s/clusters/c-1");
    let edge = Edge::new(&access, None, "openebs", Some(UID.to_owned()), &around(limits())).unwrap();
    edge.version().await.unwrap();
    let requests = ["GET /k8s/clusters/c-1/api/v1/namespaces/kube-system", "GET /k8s/clusters/c-1/version"];
    assert_eq!(server.seen.requests(), requests);
}

#[tokio::test]
async fn s6_endless_dripping_and_silent_answers_end_at_a_limit() {
    let server = Server::start(Setup::default(), |request| {
        let body = match request.uri().path() {
            "/api/v1/namespaces/endless/pods" => Piecewise::endless(vec![b' '; 16 * 1024], Duration::ZERO),
            "/api/v1/namespaces/drip/pods" => Piecewise::endless(" ", Duration::from_millis(50)),
            "/api/v1/namespaces/half/pods" => Piecewise::then_silence(["{\"kind\":"]),
            _ => return Answer::Silence,
        };
        Answer::Full(Response::builder().header("content-type", "application/json").body(body).unwrap())
    })
    .await;
    let edge = server.edge();
    let limits = limits();
    let table = [
        ("endless", EdgeError::TooLarge { bytes_max: limits.body_bytes }),
        ("drip", EdgeError::TimedOut { waiting_for: WaitingFor::End, after: limits.total }),
        ("half", EdgeError::TimedOut { waiting_for: WaitingFor::MoreBody, after: limits.idle }),
        ("silent", EdgeError::TimedOut { waiting_for: WaitingFor::Headers, after: limits.headers }),
    ];
    let began = Instant::now();
    let calls = table.iter().map(|(namespace, _)| edge.list::<Value>(&PODS, Some(namespace), ""));
    for ((namespace, expected), answer) in table.iter().zip(futures::future::join_all(calls).await) {
        let error = failed(answer);
        assert_eq!(error, *expected, "{namespace}");
        assert!(error.ambiguous(), "a write with such an answer may have been applied");
    }
    assert!(began.elapsed() < limits.total * 3, "{:?}", began.elapsed());
    assert_eq!(server.seen.connections(), 1, "one bad answer does not cost the others their connection");
}

#[tokio::test]
async fn s6_what_never_becomes_tls_or_http_ends_at_a_limit() {
    let honest = Server::start(Setup::default(), |_| version()).await;
    let silent = raw(|stream| async move {
        let _keep = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let babbling = raw(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} }).await;
    let closing = raw(|stream| async move { drop(stream) }).await;
    for address in [silent, babbling, closing] {
        let yaml = honest.kubeconfig(&format!("https://{address}"), "token: t");
        let access = kubeconfig::read(yaml.as_bytes(), None).unwrap();
        let edge = Edge::new(&access, None, "openebs", None, &around(limits())).unwrap();
        let began = Instant::now();
        // Ten at once wait for one connection, and fail together with it.
        for answer in futures::future::join_all((0..10).map(|_| edge.version())).await {
            let error = failed(answer);
            assert!(matches!(error, EdgeError::Unreachable { phase: Phase::Securing, .. }), "{error}");
            assert_eq!((error.retry(), error.reached(), error.ambiguous()), (Retry::Later, false, false));
        }
        assert!(began.elapsed() < limits().connect * 2, "{:?}", began.elapsed());
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let access =
        kubeconfig::read(honest.kubeconfig(&format!("https://{nobody}"), "token: t").as_bytes(), None).unwrap();
    let edge = Edge::new(&access, None, "openebs", None, &around(limits())).unwrap();
    let error = failed(edge.version().await);
    assert!(matches!(error, EdgeError::Unreachable { phase: Phase::Connecting, .. }), "{error}");
}

#[tokio::test]
async fn s6_headers_without_end_and_compressed_answers_are_refused() {
    let server = Server::start(H1, |request| {
        let mut response = Response::builder().header("content-type", "application/json");
        if request.uri().path().contains("gzip") {
            response = response.header("content-encoding", "gzip");
        } else {
            for number in 0..90 {
                response = response.header(format!("x-{number}"), "y".repeat(2_000));
            }
        }
        Answer::Full(response.body(Piecewise::once("{}")).unwrap())
    })
    .await;
    let edge = server.edge();
    let error = failed(edge.list::<Value>(&PODS, Some("gzip"), "").await);
    assert!(matches!(error, EdgeError::NotKubernetes { .. }), "{error}");
    let error = failed(edge.list::<Value>(&PODS, Some("headers"), "").await);
    assert!(matches!(error, EdgeError::Unreachable { phase: Phase::Answering, .. }), "{error}");
}

#[tokio::test]
async fn s7_redirects_are_an_error_and_never_followed() {
    let elsewhere = Server::start(Setup::default(), |_| version()).await;
    let to = format!("https://{}/version", elsewhere.address);
    let server = Server::start(Setup::default(), move |request| {
        let code = if request.uri().path() == "/version" { 302 } else { 307 };
        let redirect = Response::builder().status(code).header("location", &to);
        Answer::Full(redirect.body(Piecewise::once("")).unwrap())
    })
    .await;
    let edge = server.edge();
    assert_eq!(failed(edge.version().await), EdgeError::Redirected { status: 302 });
    let error = failed(edge.create_job(&job("a")).await);
    assert_eq!(error, EdgeError::Redirected { status: 307 });
    assert_eq!(elsewhere.seen.connections(), 0);
}

#[tokio::test]
async fn what_is_not_kubernetes_is_never_taken_for_an_answer() {
    let server = Server::start(Setup::default(), |request| {
        let html = |code: u16| {
            let page = Response::builder().status(code).header("content-type", "text/html; charset=utf-8");
            Answer::Full(page.body(Piecewise::once("<html>Sign in</html>")).unwrap())
        };
        match request.uri().path().rsplit('/').next().unwrap() {
            "login" => html(200),
            "lost" => html(404),
            "wrong-kind" => Answer::Json(200, json!({"kind": "Pod", "apiVersion": "v1", "metadata": {}}).to_string()),
            "status" => status(200, "", ""),
            "text" => Answer::Json(200, "hello".to_owned()),
            _ => Answer::Json(200, json!({"kind": "PodList", "items": []}).to_string()),
        }
    })
    .await;
    let edge = server.edge();
    for name in ["login", "lost", "wrong-kind", "status", "text"] {
        // Above all not as `None`: a proxy's 404 must not make a Job look lost.
        let error = failed(edge.find::<Value>(&JOBS, Some("openebs"), name).await);
        assert!(matches!(error, EdgeError::NotKubernetes { .. }), "{name}: {error}");
        assert_eq!((error.retry(), error.reached(), error.ambiguous()), (Retry::Later, false, true));
    }
    assert!(matches!(failed(edge.list::<Value>(&NODES, None, "").await), EdgeError::NotKubernetes { .. }));
    assert_eq!(edge.list::<Value>(&PODS, None, "").await.unwrap(), Vec::<Value>::new());
}

#[tokio::test]
async fn every_refusal_of_an_api_server_is_told_apart() {
    let server = Server::start(Setup::default(), |request| {
        let name = request.uri().path().rsplit('/').next().unwrap();
        match name {
            "unauthorized" => status(401, "Unauthorized", "Unauthorized"),
            "forbidden" => status(403, "Forbidden", &format!("user {TOKEN} cannot \u{1b}[31mget")),
            "absent" => status(404, "NotFound", "jobs.batch \"absent\" not found"),
            "unserved" => {
                let page = Response::builder().status(404).header("content-type", "text/plain");
                Answer::Full(page.body(Piecewise::once("404 page not found\n")).unwrap())
            }
            "conflict" => status(409, "Conflict", "the object has been modified"),
            "gone" => status(410, "Expired", "too old"),
            "odd" => status(422, "Invalid", "spec: required"),
            "failing" => status(500, "InternalError", "etcd"),
            "away" => {
                let page = Response::builder().status(503).header("content-type", "text/html");
                Answer::Full(page.body(Piecewise::endless("<br>", Duration::from_millis(10))).unwrap())
            }
            throttled => {
                let answer =
                    Response::builder().status(429).header("retry-after", throttled.trim_start_matches("wait-"));
                Answer::Full(answer.body(Piecewise::once("")).unwrap())
            }
        }
    })
    .await;
    let edge = server.edge();
    let get = |name| {
        let edge = edge.clone();
        async move { failed(edge.get::<Value>(&JOBS, Some("openebs"), name).await) }
    };
    assert_eq!(get("unauthorized").await, EdgeError::Unauthorized);
    let right = "jobs.batch in namespace openebs".to_owned();
    let message = "user (the token) cannot  [31mget".to_owned();
    assert_eq!(get("forbidden").await, EdgeError::Forbidden { verb: "get", resource: right, message });
    assert_eq!(get("absent").await, EdgeError::NotFound { resource: "jobs.batch openebs/absent".to_owned() });
    assert_eq!(edge.find::<Value>(&JOBS, Some("openebs"), "absent").await.unwrap(), None);
    assert_eq!(get("unserved").await, EdgeError::NoSuchApi { resource: "jobs.batch".to_owned() });
    assert!(matches!(get("conflict").await, EdgeError::Conflict { exists: false, .. }));
    assert_eq!(get("gone").await, EdgeError::Gone);
    assert!(matches!(get("odd").await, EdgeError::Refused { status: 422, .. }));
    assert!(matches!(get("failing").await, EdgeError::ServerError { status: 500, .. }));
    assert!(matches!(get("away").await, EdgeError::ServerError { status: 503, .. }));
    for (asked, expected) in [("wait-7", 7), ("wait-0", 1), ("wait-999999", 60), ("wait-soon", 1), ("wait--3", 1)] {
        assert_eq!(get(asked).await, EdgeError::Throttled { retry_after: Duration::from_secs(expected) }, "{asked}");
    }
}

#[tokio::test]
async fn lists_are_read_page_by_page_and_end() {
    let server = Server::start(Setup::default(), |request| {
        let query = request.uri().query().unwrap_or_default();
        let page = |items: Vec<Value>, next: &str| {
            Answer::Json(200, json!({"kind": "PodList", "metadata": {"continue": next}, "items": items}).to_string())
        };
        match query {
            _ if request.uri().path().contains("endless") => page(vec![json!({}); 250], "again"),
            _ if query.contains("continue=two") => page(vec![json!({"n": 2})], ""),
            _ => page(vec![json!({"n": 1})], "two"),
        }
    })
    .await;
    let edge = server.edge();
    let pods = edge.list::<Value>(&PODS, Some("openebs"), "a=b").await.unwrap();
    assert_eq!(pods, [json!({"n": 1}), json!({"n": 2})]);
    assert!(server.seen.requests().iter().all(|request| request.contains("labelSelector=a%3Db")));
    let error = failed(edge.list::<Value>(&PODS, Some("endless"), "").await);
    assert!(matches!(error, EdgeError::NotKubernetes { .. }), "{error}");
}

#[tokio::test]
async fn names_that_would_ask_for_something_else_are_not_sent() {
    let server = Server::start(Setup::default(), |_| version()).await;
    let edge = server.edge();
    for name in ["", "a/../../secrets", "a?x", "a%2fb", "..", "a#b", "a b", &"x".repeat(300)] {
        let error = failed(edge.get::<Value>(&PODS, Some("openebs"), name).await);
        assert!(matches!(error, EdgeError::Impossible(_)), "{name}: {error}");
        let error = failed(edge.list::<Value>(&PODS, Some(name), "").await);
        assert!(matches!(error, EdgeError::Impossible(_)), "{name}: {error}");
    }
    assert_eq!(server.seen.connections(), 0);
}

fn job(attempt: &str) -> Job {
    serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "fl-x", "namespace": "openebs",
            "labels": {"fleetlift.io/hub": "h", "fleetlift.io/attempt": attempt},
            "annotations": {"fleetlift.io/spec-hash": "s"}},
        "spec": {"template": {}},
    }))
    .unwrap()
}

/// A server that applies creations but answers the first one as `lost` says; then it shows what it holds.
async fn losing(lost: fn() -> Answer) -> Server {
    let held = Arc::new(Mutex::new(None::<Value>));
    Server::start(Setup::default(), move |request| {
        let mut held = held.lock().unwrap();
        if request.method() == "GET" {
            return held.as_ref().map_or_else(|| status(404, "NotFound", ""), |job| Answer::Json(200, job.to_string()));
        }
        if held.is_some() {
            return status(409, "AlreadyExists", "exists");
        }
        let mut job = serde_json::to_value(self::job("a")).unwrap();
        job["metadata"]["uid"] = json!("u-1");
        *held = Some(job);
        lost()
    })
    .await
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_is_settled_by_reading() {
    for lost in [
        || Answer::Cut,
        || Answer::Silence,
        || status(500, "InternalError", "timeout"),
        || status(504, "Timeout", "timed out"),
    ] {
        let server = losing(lost).await;
        let edge = server.edge();
        let adopted = Created::Adopted { uid: "u-1".to_owned() };
        assert_eq!(edge.create_job(&job("a")).await.unwrap(), adopted);
        assert_eq!(edge.create_job(&job("a")).await.unwrap(), adopted, "and again, by its name");
        let error = failed(edge.create_job(&job("b")).await);
        assert!(matches!(error, EdgeError::Conflict { exists: true, .. }), "{error}");
        assert!(error.to_string().contains("fleetlift.io/attempt"), "{error}");
        let posts = server.seen.requests().iter().filter(|request| request.starts_with("POST")).count();
        assert_eq!(posts, 3, "one a call: nothing is posted again in hope");
    }
}

#[tokio::test]
async fn a_creation_that_stays_unknown_says_so() {
    let server = Server::start(Setup::default(), |_| Answer::Cut).await;
    let error = failed(server.edge().create_job(&job("a")).await);
    assert!(matches!(error, EdgeError::Unreachable { phase: Phase::Answering, .. }), "{error}");
    assert!(error.ambiguous());
}

#[tokio::test]
async fn a_watch_hints_at_changes_remembers_its_place_and_ends() {
    let server = Server::start(Setup::default(), |request| {
        let lines = match request.uri().query().unwrap() {
            query if query.contains("resourceVersion=old") => vec![json!({"type": "ERROR", "object": {"code": 410}})],
            _ => vec![
                json!({"type": "ADDED", "object": {"metadata": {"resourceVersion": "5"}}}),
                json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}),
                json!({"type": "MODIFIED", "object": {"metadata": {"resourceVersion": "12"}, "status": {"active": 1}}}),
                json!({"type": "MODIFIED", "object": {"metadata": {"resourceVersion": "13"}, "spec": {"suspend": true}}}),
                json!({"type": "DELETED", "object": {"metadata": {"resourceVersion": "14"}}}),
            ],
        };
        let text = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n";
        Answer::Full(
            Response::builder().header("content-type", "application/json").body(Piecewise::once(text)).unwrap(),
        )
    })
    .await;
    let edge = server.edge();
    let mut watch = edge.watch_job("openebs", "fl-x", "", Duration::from_mins(1)).await.unwrap();
    assert_eq!(watch.next().await, Ok(Hint::Look));
    assert_eq!(watch.version(), "13", "what changes while it runs is no reason to look");
    assert_eq!(watch.next().await, Ok(Hint::Look));
    assert_eq!(watch.version(), "14");
    assert_eq!(watch.next().await, Ok(Hint::Ended));
    let query = server.seen.requests()[0].clone();
    for part in ["fieldSelector=metadata.name%3Dfl-x", "timeoutSeconds=60"] {
        assert!(query.contains(part), "{query}");
    }
    let mut watch = edge.watch_job("openebs", "fl-x", "old", Duration::from_mins(1)).await.unwrap();
    assert_eq!(watch.next().await, Err(EdgeError::Gone));
    assert!(server.seen.requests()[1].contains("allowWatchBookmarks=true"), "so that its place stays known");
}

#[tokio::test]
async fn s6_a_giant_line_ends_a_watch_and_a_silent_one_is_no_error() {
    let server = Server::start(Setup::default(), |request| {
        let body = match request.uri().query().unwrap() {
            query if query.contains("resourceVersion=1") => Piecewise::endless(vec![b'x'; 8 * 1024], Duration::ZERO),
            _ => Piecewise::then_silence([]),
        };
        Answer::Full(Response::builder().header("content-type", "application/json").body(body).unwrap())
    })
    .await;
    let edge = server.edge();
    let mut giant = edge.watch_job("openebs", "fl-x", "1", Duration::from_mins(1)).await.unwrap();
    assert_eq!(giant.next().await, Err(EdgeError::TooLarge { bytes_max: limits().watch_line_bytes }));
    let mut silent = edge.watch_job("openebs", "fl-x", "", Duration::from_mins(1)).await.unwrap();
    let outlasted = tokio::time::timeout(limits().total + limits().idle, silent.next()).await;
    assert!(outlasted.is_err(), "{outlasted:?}");
}

#[tokio::test]
async fn clusters_behind_nat_are_reached_through_the_hubs_own_proxies() {
    let server = Server::start(Setup::default(), |_| version()).await;
    for (socks, scheme) in [(false, "http"), (true, "socks5")] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let proxy = server::proxy(socks, Arc::clone(&asked), server.address).await;
        // A name that only the proxy can resolve.
        let yaml = server.kubeconfig("https://edge.invalid:6443", &format!("token: {TOKEN}"));
        let mut access = kubeconfig::read(yaml.as_bytes(), None).unwrap();
        access.tls_server_name = Some("localhost".to_owned());
        let egress: Egress = format!("{scheme}://{proxy}").parse().unwrap();
        let strict = Surroundings { policy: Arc::new(AddressPolicy::default()), ..around(limits()) };
        let edge = Edge::new(&access, Some(egress.clone()), "openebs", None, &strict).unwrap();
        assert_eq!(edge.version().await.unwrap(), "v1.34.4");
        let asked = asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 1);
        assert!(asked[0].contains("edge.invalid:6443"), "{asked:?}");
        assert!(!asked[0].contains(TOKEN));

        let literal = server.access_at("");
        let edge = Edge::new(&literal, Some(egress), "openebs", None, &strict).unwrap();
        assert!(
            matches!(failed(edge.version().await), EdgeError::AddressDenied(_)),
            "a proxy is no way around the rules"
        );
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_or_hangs_is_told_from_the_cluster() {
    let server = Server::start(Setup::default(), |_| version()).await;
    let refusing = raw(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
    })
    .await;
    let silent = raw(|stream| async move {
        let _keep = stream;
        std::future::pending::<()>().await;
    })
    .await;
    for (scheme, proxy) in [("http", refusing), ("http", silent), ("socks5", silent), ("socks5", refusing)] {
        let egress: Egress = format!("{scheme}://{proxy}").parse().unwrap();
        let edge = Edge::new(&server.access_at(""), Some(egress), "openebs", None, &around(limits())).unwrap();
        let error = failed(edge.version().await);
        assert!(matches!(error, EdgeError::Unreachable { phase: Phase::Tunnelling, .. }), "{scheme}: {error}");
    }
}
