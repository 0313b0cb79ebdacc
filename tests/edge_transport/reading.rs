//! Reading a whole cluster that is broken in one place, or means never to end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleetlift::cluster::nouns::PODS;
use fleetlift::cluster::{EdgeError, Limits, inventory};
use http::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::server::{Answer, Server, Setup, limits};
use super::{status, version};

/// A page of a list of whatever was asked for.
pub fn page(request: &Request<Incoming>, items: &Value, next: &str) -> Answer {
    if request.uri().path() == "/version" {
        return version();
    }
    Answer::Json(200, json!({"kind": "PodList", "metadata": {"continue": next}, "items": items}).to_string())
}

/// Another token for each page, so that no two of a row are the same.
fn alternating() -> impl Fn() -> &'static str {
    let asked = AtomicUsize::new(0);
    move || if asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { "one" } else { "two" }
}

/// Only the reading as a whole is short of something: a loaded machine takes its time for one answer.
fn patient() -> Limits {
    let long = Duration::from_mins(1);
    Limits { headers: long, idle: long, total: long, reading: long, ..limits() }
}

fn told(error: &EdgeError, what: &str) {
    assert!(matches!(error, EdgeError::NotKubernetes { .. }) && error.to_string().contains(what), "{error}");
    // So it counts as one that does not answer, and gets their few places.
    assert!(!error.reached());
}

#[tokio::test]
async fn pages_without_end_are_given_up_though_each_is_empty() {
    let next = alternating();
    let server = Server::start(Setup::default(), move |request| page(request, &json!([]), next())).await;
    let limits = Limits { reading_pages: 50, ..patient() };
    told(&inventory::read(&server.edge_with(&limits)).await.unwrap_err(), "more than 50 pages");
    let asked = server.seen.requests().len();
    assert!(asked < 80, "all lists together: {asked}");
    let listed = server.edge_with(&limits).list::<Value>(&PODS, Some("openebs"), "").await;
    told(&listed.unwrap_err(), "more than 50 pages");
}

#[tokio::test]
async fn the_bytes_of_a_reading_are_bounded_in_sum() {
    let next = alternating();
    // Each page is far below the limit of one answer.
    let items = json!([{"metadata": {"name": "a", "labels": {"long": "x".repeat(100_000)}}}]);
    let server = Server::start(Setup::default(), move |request| page(request, &items, next())).await;
    let limits = Limits { reading_bytes: 2_000_000, ..patient() };
    told(&inventory::read(&server.edge_with(&limits)).await.unwrap_err(), "more than 2000000 bytes");
}

#[tokio::test]
async fn a_reading_ends_though_its_pages_would_go_on() {
    let next = alternating();
    let server = Server::start(Setup::default(), move |request| page(request, &json!([]), next())).await;
    let limits = Limits { reading_pages: usize::MAX, reading: Duration::from_millis(300), ..patient() };
    let edge = server.edge_with(&limits);
    let error = inventory::read(&edge).await.unwrap_err();
    assert!(matches!(error, EdgeError::TimedOut { .. }), "{error}");
    let listed = edge.list::<Value>(&PODS, Some("openebs"), "").await.unwrap_err();
    assert!(matches!(listed, EdgeError::TimedOut { .. }), "{listed}");
}

#[tokio::test]
async fn a_kind_that_the_api_server_fails_for_is_a_gap_and_the_rest_is_read() {
    let server = Server::start(Setup::default(), |request| match request.uri().path() {
        path if path.ends_with("/cstorvolumes") => status(500, "InternalError", "conversion webhook failed"),
        path if path.ends_with("/jivavolumes") => page(request, &json!([{"metadata": {"name": "pvc-1"}}]), ""),
        _ => page(request, &json!([]), ""),
    })
    .await;
    let read = inventory::read(&server.edge_with(&patient())).await.unwrap();
    let names: Vec<&str> = read.resources.iter().map(|resource| resource.id.name.as_str()).collect();
    assert_eq!(names, ["pvc-1"]);
    assert!(read.problems.iter().any(|problem| problem.contains("fails to list cstorvolumes")), "{:?}", read.problems);
}

#[tokio::test]
async fn where_kubernetes_own_kinds_fail_nothing_is_taken_for_read() {
    let server = Server::start(Setup::default(), |request| match request.uri().path() {
        path if path.ends_with("/nodes") => status(500, "InternalError", "etcdserver: no leader"),
        _ => page(request, &json!([]), ""),
    })
    .await;
    let error = inventory::read(&server.edge_with(&patient())).await.unwrap_err();
    assert!(matches!(error, EdgeError::ServerError { status: 500, .. }), "{error}");
}

#[tokio::test]
async fn a_volume_whose_claim_has_no_namespace_is_a_gap() {
    let server = Server::start(Setup::default(), |request| match request.uri().path() {
        path if path.ends_with("/jivavolumes") => page(request, &json!([{"metadata": {"name": "pvc-1"}}]), ""),
        path if path.ends_with("/persistentvolumes") => {
            page(request, &json!([{"metadata": {"name": "pvc-1"}, "spec": {"claimRef": {"name": "data"}}}]), "")
        }
        _ => page(request, &json!([]), ""),
    })
    .await;
    let read = inventory::read(&server.edge_with(&patient())).await.unwrap();
    let [volume] = &*read.resources else { panic!("one volume: {read:#?}") };
    assert!(volume.users_unknown.as_ref().is_some_and(|why| why.contains("claim's namespace")), "{volume:#?}");
    assert!(read.problems.iter().any(|problem| problem.contains("claim's namespace")), "{:?}", read.problems);
}
