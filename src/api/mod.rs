//! HTTP: wire types, routes, authentication and a typed client.
//!
//! Routes are thin: each takes a request apart, calls one use case of `app`, and answers what that answered.

mod certificate;
pub mod client;
mod extract;
mod guard;
mod once;
mod openapi;
mod problem;
mod rate;
mod routes;
pub mod server;
mod strangers;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

pub use client::{Client, ClientError};
pub use problem::Problem;
pub use server::{Listen, ListenError, Server};
pub use strangers::Strangers;

use crate::app::App;
use crate::domain::TokenId;
use crate::metrics::Metrics;

/// What the interface needs beside the use cases.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests that one token may make in a second.
    pub requests_per_second: u32,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
    /// How long one request may take.
    pub request_deadline: Duration,
}

/// The interface: use cases behind limits.
#[derive(Debug)]
pub struct Api {
    app: Arc<App>,
    metrics: Arc<Metrics>,
    principals: rate::Rate<TokenId>,
    strangers: Arc<Strangers>,
    strangers_rate: rate::Rate<Option<IpAddr>>,
    request_deadline: Duration,
    body_bytes_max: usize,
    under_way: once::UnderWay,
    openapi: String,
    readiness: routes::Readiness,
    streams: Arc<Semaphore>,
}

/// Streams of events at once: each asks the store every second.
const STREAMS_MAX: usize = 256;

/// The route of requests that reached none, in metrics.
const NO_ROUTE: &str = "none";

impl Api {
    /// The answer to a request that reached no route, counted.
    fn counted(&self, problem: Problem) -> Response {
        self.metrics.api_request(NO_ROUTE, problem.status);
        problem.into_response()
    }
}

/// Whoever has no token may knock this often in a second, from one address: each knock is cheap (a look-up by hash at
/// most), and a scanner that walks the whole route table should read 401 everywhere.
const STRANGERS_PER_SECOND: u32 = 1_000;

/// `/metrics` and nothing else, without a token: for a listener of its own.
pub fn metrics_router(app: Arc<App>, metrics: Arc<Metrics>) -> Router {
    routes::metrics_alone(app, metrics)
}

/// The whole interface as a service; `strangers` counts who asks it without a valid token.
pub fn router(app: Arc<App>, metrics: Arc<Metrics>, limits: &Limits, strangers: Arc<Strangers>) -> Router {
    let rows = routes::table();
    let openapi = openapi::document(&rows).to_json().unwrap_or_default();
    let api = Arc::new(Api {
        app,
        metrics,
        principals: rate::Rate::new(limits.requests_per_second),
        strangers,
        strangers_rate: rate::Rate::new(STRANGERS_PER_SECOND),
        request_deadline: limits.request_deadline,
        body_bytes_max: limits.body_bytes_max,
        under_way: once::UnderWay::default(),
        openapi,
        readiness: routes::Readiness::default(),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
    });
    table::router(rows, &api)
        .merge(routes::open())
        .fallback(async |State(api): State<Arc<Api>>| {
            api.counted(Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such route"))
        })
        .method_not_allowed_fallback(async |State(api): State<Arc<Api>>| {
            let detail = "this route does not take that method";
            api.counted(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail))
        })
        .layer(DefaultBodyLimit::max(limits.body_bytes_max))
        .layer(middleware::from_fn_with_state(api.clone(), guard::authenticate))
        .with_state(api)
}

#[cfg(test)]
mod tests;
