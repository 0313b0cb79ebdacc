//! On a real API server with real controllers and a played node: what the hub sees, what it does, and how it judges.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's arrangement that fails shall end the test")]

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod hand;
mod inventory;
mod jobs;
mod outcomes;
mod rights;
