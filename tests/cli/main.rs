//! The real binary: a daemon, the commands that people type, and a simulated fleet.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod arrange;
mod canaries;
mod daemon;
mod demo;
mod image;
mod import;
mod metrics;
mod steering;
mod story;
mod telemetry;
mod unit;
mod waiver;
