//! The simulator against the real API server: the same requests, and a client sees the same.
//!
//! What differs by its nature is made alike first: UIDs, versions, times, random names, and most of what the real one
//! adds to specs by default. Whatever else differs is a fault of the simulator's, and is repaired there.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod alike;
mod deletions;
mod discovery;
mod jobs;
mod lists;
mod objects;
mod patches;
mod rights;
#[path = "../support/mod.rs"]
mod support;
mod watches;
mod worlds;
