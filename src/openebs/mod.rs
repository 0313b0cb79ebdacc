//! Facts of OpenEBS, pure: wire types, names, version paths and the kinds that can be upgraded.

pub mod claim;
pub mod control_plane;
pub mod images;
pub mod job;
pub mod kinds;
pub mod names;
pub mod outcome;
pub mod paths;
pub mod termination;
pub mod upgrade_task;

pub use kinds::{Kind, Line};
pub use upgrade_task::UpgradeTask;
