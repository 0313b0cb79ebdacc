//! Whole rollouts: the hub's engine over a real store, on a real API server with real controllers. Executors are played;
//! a witness outside counts who was at work.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's arrangement that fails shall end the test")]

#[path = "../support/mod.rs"]
mod support;

mod crashes;
mod hub;
mod outcomes;
mod site;
mod typed;
mod waiting;
