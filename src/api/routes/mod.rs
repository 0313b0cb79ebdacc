//! The routes, one file a noun.

mod health;
mod tokens;

use std::sync::Arc;

use axum::Router;

use super::Api;
use super::table::Row;

/// Every route that needs a token.
pub fn table() -> Vec<Row> {
    [health::rows(), tokens::rows()].into_iter().flatten().collect()
}

/// The routes that are open to everybody.
pub fn open() -> Router<Arc<Api>> {
    health::open()
}
