//! The simulator, seen through the real Kubernetes client.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/until.rs"]
mod until;

mod arrange;
mod jobs;
mod objects;
mod trouble;
mod upgrades;
