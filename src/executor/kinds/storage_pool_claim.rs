//! A legacy storage pool claim (SPC) with all its pools (`openebs.md` §3.4): one pool after the other, each with an
//! UpgradeTask of its own, then the claim itself.

use std::collections::BTreeMap;

use super::PRE_UPGRADE_DONE;
use super::cstor_pool::{self, CLAIM};
use crate::domain::{ResourceKind, ResourceRef};
use crate::executor::control_plane;
use crate::executor::journal::Step;
use crate::executor::object::{LEGACY_POOLS, Object, POOL_CLAIMS};
use crate::executor::problem::{During, Problem};
use crate::executor::records;
use crate::executor::task::Task;
use crate::executor::version_details::{self, Bump};
use crate::openebs::control_plane::Operator;

const NODE: &str = "kubernetes.io/hostname";

/// Upgrades the claim.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    let pools = task.step(Step::PreUpgrade, PRE_UPGRADE_DONE, look(task)).await?;
    task.step(Step::PoolInstanceUpgrade, "All pools are upgraded", Box::pin(upgrade_pools(task, &pools))).await?;
    task.step(Step::Verify, "Version of the storage pool claim was reconciled", upgrade_claim(task)).await
}

async fn look(task: &Task) -> Result<Vec<Object>, Problem> {
    control_plane::check(task, Operator::Maya).await?;
    let claim = task.api().get(&POOL_CLAIMS.named("", task.name())).await;
    let claim = claim.during("failed to get storage pool claim")?;
    version_details::check(&claim, task.versions()).during("failed to verify storage pool claim")?;
    let mut pools = task.api().list(&LEGACY_POOLS, "", &format!("{CLAIM}={}", task.name())).await?;
    pools.sort_by(|one, other| one.name().cmp(other.name()));
    check_nodes(&claim, &pools).during("failed to verify storage pool claim")?;
    let mut left = Vec::new();
    for one in &pools {
        if !cstor_pool::is_done(task, one).await? {
            left.push(ResourceRef { kind: ResourceKind::CstorPool, name: one.name().to_owned() });
        }
    }
    records::check_children(task, &left).await?;
    Ok(pools)
}

/// Two pools of one claim on one node share the folder that they are given since 1.7.
fn check_nodes(claim: &Object, pools: &[Object]) -> Result<(), Problem> {
    if pools.is_empty() {
        return Err(Problem::on(&claim.place, "it has no pools", "at least one"));
    }
    let mut by_node: BTreeMap<&str, &str> = BTreeMap::new();
    for pool in pools {
        let node = pool.label(NODE);
        if let Some(other) = by_node.insert(node, pool.name()).filter(|_| !node.is_empty()) {
            let seen = format!("its pools {other} and {} are both on node {node}", pool.name());
            return Err(Problem::on(&claim.place, seen, "one pool a node")
                .remedy("remove one of them; such a claim cannot be upgraded"));
        }
    }
    Ok(())
}

async fn upgrade_pools(task: &Task, pools: &[Object]) -> Result<(), Problem> {
    for (done, pool) in pools.iter().enumerate() {
        let pool = task.api().get(&pool.place).await?;
        if cstor_pool::is_done(task, &pool).await? {
            continue;
        }
        task.journal.waits_for(&format!("{done} of {} pools done; upgrading {}", pools.len(), pool.name())).await?;
        let resource = ResourceRef { kind: ResourceKind::CstorPool, name: pool.name().to_owned() };
        let child = records::begin_child(task, resource).await?;
        records::close(&child, cstor_pool::upgrade(&child).await)
            .await
            .during(format!("failed to upgrade cstor pool {}", pool.name()))?;
    }
    Ok(())
}

async fn upgrade_claim(task: &Task) -> Result<(), Problem> {
    let bump = Bump { pending: true, ..Bump::default() };
    version_details::upgrade(task, &POOL_CLAIMS.named("", task.name()), &bump)
        .await
        .during("failed to verify version reconcile on storage pool claim")
}
