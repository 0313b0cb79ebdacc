//! `/metrics`, with a token here, and without one on a listener of its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::api::table::Row;
use crate::api::{Api, Problem};
use crate::app::{Access, App, LimitView, Readings, RolloutView, TargetCounts, WaveView};
use crate::metrics::{CONTENT_TYPE, ClusterGauges, Gauges, Limit, Metrics, RolloutGauges};

pub(super) fn rows() -> Vec<Row> {
    vec![Row::get("/metrics", Access::Read, "Metrics in OpenMetrics text", scrape)]
}

async fn scrape(State(api): State<Arc<Api>>) -> Result<impl IntoResponse, Problem> {
    page(&api.app, &api.metrics).await
}

/// The listener of its own: this route and no other.
pub fn alone(app: Arc<App>, metrics: Arc<Metrics>) -> Router {
    Router::new().route("/metrics", get(async move || page(&app, &metrics).await))
}

async fn page(app: &App, metrics: &Metrics) -> Result<impl IntoResponse + use<>, Problem> {
    let gauges = gauges(app.readings().await?);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.encode(&gauges)))
}

fn gauges(readings: Readings) -> Gauges {
    let Readings { clusters, rollouts, limits, deferred, stuck, head } = readings;
    Gauges {
        version: env!("CARGO_PKG_VERSION"),
        clusters: clusters
            .into_iter()
            .map(|(name, state, credential_expiry, version)| ClusterGauges { name, state, credential_expiry, version })
            .collect(),
        rollouts: rollouts.into_iter().map(rollout).collect(),
        limits: limits
            .into_iter()
            .map(|LimitView { scope, limit, running }| Limit { scope, limit: limit.into(), running: running.into() })
            .collect(),
        deferred,
        stuck_targets: stuck,
        audit_head: Some(head),
    }
}

fn rollout(view: RolloutView) -> RolloutGauges {
    let counts = |wave: WaveView| {
        let TargetCounts { pending, running, succeeded, failed, deferred, skipped } = wave.targets;
        let counts = [
            ("pending", pending),
            ("running", running),
            ("succeeded", succeeded),
            ("failed", failed),
            ("deferred", deferred),
            ("skipped", skipped),
        ];
        counts.map(|(state, count)| (wave.name.clone(), state, u64::from(count)))
    };
    RolloutGauges {
        id: view.id,
        state: match view.state.as_str() {
            "running" => "running",
            "paused" => "paused",
            "stopping" => "stopping",
            _ => "finished",
        },
        targets: view.waves.into_iter().flat_map(counts).collect(),
        eta: view.eta.map(|eta| eta.0),
    }
}
