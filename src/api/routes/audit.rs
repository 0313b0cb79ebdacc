//! `/api/v1/audit`: the chain as people read it, and as it is hashed.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;

use crate::api::extract::Params;
use crate::api::table::Row;
use crate::api::{Api, Problem};
use crate::app::{Access, Checkpoint, EventView, Events, Page, Principal};

const ASKED: &[(&str, &str)] = &[
    ("after", "events after this number"),
    ("limit", "at most so many entries (1 to 1000)"),
    ("rollout", "only of this rollout"),
    ("cursor", "`next` of the page before"),
];

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::get("/api/v1/audit", Access::Audit, "Audit events, oldest first", list)
            .query(ASKED)
            .answers::<Page<EventView>>(),
        Row::get("/api/v1/audit/checkpoint", Access::Audit, "How far the chain has come, signed", checkpoint)
            .answers::<Checkpoint>(),
        Row::get("/api/v1/audit/export", Access::Audit, "The whole chain as JSON lines, as it was hashed", export)
            .query(&ASKED[..1])
            .streams(),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
    rollout: Option<String>,
    cursor: Option<String>,
}

async fn list(
    State(api): State<Arc<Api>>,
    by: Principal,
    Params(Asked { after, limit, rollout, cursor }): Params<Asked>,
) -> Result<Json<Page<EventView>>, Problem> {
    let limit = limit.unwrap_or(100).clamp(1, 1_000);
    let after = match cursor {
        Some(cursor) => cursor.parse().map_err(|_| Problem::malformed("`cursor` is not the `next` of a page"))?,
        None => after,
    };
    let Events { items, end, more } = api.app.events(&by, after, rollout.as_deref(), limit).await?;
    Ok(Json(Page { items, next: more.then(|| end.to_string()) }))
}

async fn checkpoint(State(api): State<Arc<Api>>) -> Result<Json<Checkpoint>, Problem> {
    Ok(Json(api.app.checkpoint().await?))
}

/// Events of one piece of an export.
const PIECE: u32 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    #[serde(default)]
    after: i64,
}

async fn export(State(api): State<Arc<Api>>, Params(From { after }): Params<From>) -> impl IntoResponse {
    let lines = futures::stream::try_unfold(after, move |after| {
        let api = api.clone();
        async move {
            let events = api.app.stored_events(after, PIECE).await.map_err(std::io::Error::other)?;
            let Some(last) = events.last().map(|event| event.seq) else { return Ok::<_, std::io::Error>(None) };
            let text: String = events.iter().map(|event| format!("{}\n", line(event))).collect();
            Ok(Some((text, last)))
        }
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines))
}

fn line(event: &crate::domain::event::StoredEvent) -> String {
    serde_json::to_string(event).unwrap_or_default()
}
