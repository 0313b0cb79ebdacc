//! Facts of OpenEBS, pure: wire types, names, version paths and the kinds that can be upgraded.

pub mod names;
pub mod upgrade_task;

pub use upgrade_task::UpgradeTask;
