//! `/livez` and `/readyz`, open and of one word; who am I; the OpenAPI document.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use crate::api::Api;
use crate::api::table::Row;
use crate::app::{Access, Principal, WhoAmI};

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::get("/api/v1/whoami", Access::Read, "Who the token is, and the hub's version", whoami).answers::<WhoAmI>(),
        Row::get("/openapi.json", Access::Read, "This document", openapi),
    ]
}

pub(super) fn open() -> Router<Arc<Api>> {
    Router::new().route("/livez", get(async || "ok")).route("/readyz", get(ready))
}

/// Ready is who can read its store.
async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    match api.app.ready().await {
        Ok(()) => (StatusCode::OK, "ok"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
    }
}

async fn whoami(State(api): State<Arc<Api>>, by: Principal) -> Json<WhoAmI> {
    Json(api.app.whoami(&by))
}

async fn openapi(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], api.openapi.clone())
}
