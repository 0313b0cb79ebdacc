//! `/api/v1/events`: what happens, as it happens (server-sent events), resumable by id.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::api::extract::Params;
use crate::api::table::Row;
use crate::api::{Api, Problem};
use crate::app::{Access, EventView, Events, Principal};

const ASKED: &[(&str, &str)] = &[
    ("after", "events after this number; `Last-Event-ID` beats it; from now on without either"),
    ("rollout", "only of this rollout"),
];

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::get("/api/v1/events", Access::Read, "What happens, as it happens", follow)
            .query(ASKED)
            .answers::<EventView>()
            .streams(),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<i64>,
    rollout: Option<String>,
}

/// Other daemons of the same store commit, too: the store is asked that often even when nobody says anything.
const FLOOR: Duration = Duration::from_secs(1);

/// A token that was revoked must not go on listening: whoever streams is asked again that often.
const RECHECK: Duration = Duration::from_secs(5);

struct Follower {
    /// Given back when the stream ends.
    _place: OwnedSemaphorePermit,
    api: Arc<Api>,
    by: Principal,
    secret: String,
    rollout: Option<String>,
    after: i64,
    checked: tokio::time::Instant,
}

async fn follow(
    State(api): State<Arc<Api>>,
    by: Principal,
    headers: HeaderMap,
    Params(Asked { after, rollout }): Params<Asked>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = api.streams.clone().try_acquire_owned().map_err(|_| {
        let detail = "as many streams of events as this hub serves are open: try again later";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", detail)
    })?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let after = match last.or(after) {
        Some(after) => after,
        None => api.app.last_event().await?,
    };
    // A rollout that is not there is an answer, not an empty stream.
    api.app.events(&by, after, rollout.as_deref(), 1).await?;
    let secret = crate::api::guard::bearer(&headers).unwrap_or_default().to_owned();
    let follower = Follower { _place: place, api, by, secret, rollout, after, checked: tokio::time::Instant::now() };
    let events = stream::unfold(follower, next).flat_map(stream::iter);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// The next events, once there are any; the end when the token is no longer good or the store fails.
async fn next(mut follower: Follower) -> Option<(Vec<Result<Event, Infallible>>, Follower)> {
    let mut committed = follower.api.app.store.committed();
    loop {
        committed.mark_unchanged();
        if follower.checked.elapsed() > RECHECK {
            follower.api.app.authenticate(&follower.secret).await.ok()??;
            follower.checked = tokio::time::Instant::now();
        }
        let Follower { api, by, rollout, after, .. } = &follower;
        let Events { items: events, end, .. } = api.app.events(by, *after, rollout.as_deref(), 500).await.ok()?;
        follower.after = end;
        if !events.is_empty() {
            return Some((events.iter().map(|event| Ok(sent(event))).collect(), follower));
        }
        // Whichever comes first: a commit of ours, or the floor for those of others.
        let _ = tokio::time::timeout(FLOOR, committed.changed()).await;
    }
}

fn sent(event: &EventView) -> Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default().id(event.seq.to_string()).event(event.kind.clone()).data(data)
}
