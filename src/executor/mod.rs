//! What runs inside the Job: reads its UpgradeTask, performs the steps, writes the status.
//!
//! Level-triggered all through: each step looks at what is there, patches only what differs, and waits for evidence, so
//! a Pod that dies anywhere is simply followed by one that carries on. `kinds` has one file for each kind of thing,
//! to be read beside the facts it implements; the rest is what they share: `task` (steps and waits), `journal` (the
//! UpgradeTask), `workload`, `version_details`, `health`.

pub mod api;
pub mod arguments;
mod backups;
mod control_plane;
mod engines;
mod health;
mod image;
mod jiva_controller;
mod job;
pub mod journal;
mod kinds;
pub mod object;
mod one_by_one;
pub mod order;
mod patch;
pub mod problem;
mod records;
pub mod run;
pub mod task;
mod version_details;
mod workload;
