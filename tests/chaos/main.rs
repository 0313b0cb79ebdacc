//! The real daemon under kills, freezes, races and broken networks: simulated clusters say what really happened.
//!
//! `FLEETLIFT_CHAOS_ROUNDS` makes the random tests longer, `FLEETLIFT_SEED` repeats one that failed: every failure
//! names the seed that it began with.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test that cannot go on has failed")]

mod edges;
mod faults;
mod full_disk;
#[path = "../support/hub.rs"]
#[expect(dead_code, reason = "tests over real clusters use the rest")]
mod hub;
mod kills;
mod neighbours;
mod place;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/seed.rs"]
#[expect(dead_code, reason = "a test over real clusters uses the rest")]
mod seed;
mod simulator;
mod storm;
mod two_daemons;

/// The variable that makes the random tests longer.
const ROUNDS: &str = "FLEETLIFT_CHAOS_ROUNDS";
