//! The routes, one file a noun.

mod audit;
mod clusters;
mod events;
mod fleet;
mod health;
mod metrics;
mod plans;
mod results;
mod rollouts;
mod tokens;

use std::sync::Arc;

use axum::Router;

use super::Api;
use super::table::Row;

pub(super) use health::Readiness;
pub(super) use metrics::alone as metrics_alone;

/// Every route that needs a token.
pub fn table() -> Vec<Row> {
    let rows = [
        clusters::rows(),
        fleet::rows(),
        plans::rows(),
        rollouts::rows(),
        results::rows(),
        audit::rows(),
        events::rows(),
        tokens::rows(),
        metrics::rows(),
        health::rows(),
    ];
    rows.into_iter().flatten().collect()
}

/// The routes that are open to everybody.
pub fn open() -> Router<Arc<Api>> {
    health::open()
}
