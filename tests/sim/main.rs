//! The simulator, seen through the real Kubernetes client.

#[path = "../support/until.rs"]
mod until;

mod arrange;
mod jobs;
mod objects;
mod trouble;
mod upgrades;
