//! The kinds of thing that can be upgraded, one file each: a list of small steps that look, change what differs, and
//! wait for evidence. Each can be stopped anywhere and begun again.

pub mod cstor_pool;
pub mod cstor_pool_cluster;
pub mod cstor_pool_instance;
pub mod cstor_volume;
pub mod jiva_volume;
pub mod legacy_cstor_volume;
mod legacy_jiva_parts;
mod legacy_jiva_split;
pub mod legacy_jiva_volume;
pub mod storage_pool_claim;

use super::problem::Problem;
use super::task::Task;
use crate::domain::ResourceKind;

/// What upstream's executors say when the first step is done.
const PRE_UPGRADE_DONE: &str = "Pre-upgrade steps were successful";
/// What upstream's executors say when a pool is done.
const POOL_DONE: &str = "Pool instance upgrade was successful";
/// What upstream's executors say when a volume's replicas are done.
const REPLICAS_DONE: &str = "Replica upgrade was successful";
/// What upstream's executors say when a volume's target is done.
const TARGET_DONE: &str = "Target upgrade was successful";

/// Upgrades the task's resource.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    match task.resource.kind {
        ResourceKind::CstorPoolInstance => cstor_pool_instance::upgrade(task).await,
        ResourceKind::CstorPoolCluster => cstor_pool_cluster::upgrade(task).await,
        ResourceKind::CstorPool => cstor_pool::upgrade(task).await,
        ResourceKind::StoragePoolClaim => storage_pool_claim::upgrade(task).await,
        ResourceKind::CstorVolume => cstor_volume::upgrade(task).await,
        ResourceKind::LegacyCstorVolume => legacy_cstor_volume::upgrade(task).await,
        ResourceKind::JivaVolume => jiva_volume::upgrade(task).await,
        // The longest of all; boxed, so that the others need not carry its size.
        ResourceKind::LegacyJivaVolume => Box::pin(legacy_jiva_volume::upgrade(task)).await,
    }
}
