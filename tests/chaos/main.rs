//! The real daemon under kills, freezes, races and broken networks: simulated clusters say what really happened.
//!
//! `FLEETLIFT_CHAOS_ROUNDS` makes the random tests longer, `FLEETLIFT_CHAOS_SEED` repeats one that failed: every failure
//! names the seed that it began with.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test that cannot go on has failed")]

mod daemon;
mod edges;
mod faults;
mod full_disk;
mod kills;
mod neighbours;
mod place;
mod seed;
mod simulator;
mod storm;
#[path = "../support/postgres.rs"]
mod support;
mod two_daemons;
