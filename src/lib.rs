//! Fleetlift rolls OpenEBS data-plane upgrades out over a fleet of Kubernetes clusters.
//!
//! Observe → decide (pure) → act, in short idempotent steps. The tree is the architecture: each module's first
//! line says what it is, and `tests/architecture.rs` holds the arrows between them.

pub mod domain;
pub mod openebs;

#[cfg(feature = "hub")]
pub mod api;
#[cfg(feature = "hub")]
pub mod app;
#[cfg(feature = "hub")]
pub mod audit;
#[cfg(feature = "hub")]
pub mod cli;
#[cfg(feature = "hub")]
pub mod cluster;
#[cfg(feature = "hub")]
pub mod connections;
#[cfg(feature = "hub")]
pub mod engine;
#[cfg(feature = "executor")]
pub mod executor;
#[cfg(feature = "hub")]
pub mod fleet_config;
#[cfg(feature = "hub")]
pub mod metrics;
#[cfg(feature = "hub")]
pub mod planner;
#[cfg(feature = "hub")]
pub mod seal;
#[cfg(feature = "hub")]
pub mod settings;
#[cfg(feature = "hub")]
pub mod sim;
#[cfg(feature = "hub")]
pub mod store;
pub mod system;
#[cfg(feature = "hub")]
pub mod telemetry;
