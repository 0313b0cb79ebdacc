//! The real binary: a daemon, the commands that people type, and a simulated fleet.

mod arrange;
mod daemon;
mod metrics;
mod story;
