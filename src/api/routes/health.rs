//! `/livez` and `/readyz`, open and of one word; who am I; the OpenAPI document.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::Mutex;

use crate::api::Api;
use crate::api::table::Row;
use crate::app::{Access, App, Principal, WhoAmI};
use crate::domain::Timestamp;

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::get("/api/v1/whoami", Access::Read, "Who the token is, and the hub's version", whoami).answers::<WhoAmI>(),
        Row::get("/openapi.json", Access::Read, "This document", openapi),
    ]
}

pub(super) fn open() -> Router<Arc<Api>> {
    Router::new().route("/livez", get(async || "ok")).route("/readyz", get(ready))
}

/// Everybody may ask whether the hub is ready, as often as they like: the store is asked once in this time.
const READY_FOR: Duration = Duration::from_secs(1);

/// What the store answered last. Whoever asks while it is asked waits for the same answer.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Option<(Timestamp, bool)>>);

impl Readiness {
    async fn of(&self, app: &App) -> bool {
        let mut last = self.0.lock().await;
        let now = app.clock.now();
        if let Some((_, ready)) = last.filter(|(at, _)| now.since(*at) < READY_FOR) {
            return ready;
        }
        let ready = app.ready().await.is_ok();
        *last = Some((now, ready));
        ready
    }
}

/// Ready is who can read its store.
async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    match api.readiness.of(&api.app).await {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
    }
}

async fn whoami(State(api): State<Arc<Api>>, by: Principal) -> Json<WhoAmI> {
    Json(api.app.whoami(&by))
}

async fn openapi(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], api.openapi.clone())
}
