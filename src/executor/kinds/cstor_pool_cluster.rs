//! A cStor pool cluster (CSPC) with all its instances (`openebs.md` §3.1): one instance after the other, each with an
//! UpgradeTask of its own, then the cluster itself.
//!
//! Upstream writes no steps on the cluster's own UpgradeTask; ours has them, so that a failure outside the instances is
//! told as well.

use super::{PRE_UPGRADE_DONE, cstor_pool_instance};
use crate::domain::{ResourceKind, ResourceRef};
use crate::executor::control_plane;
use crate::executor::journal::Step;
use crate::executor::object::{Object, POOL_CLUSTERS, POOL_INSTANCES};
use crate::executor::problem::{During, Problem};
use crate::executor::records;
use crate::executor::task::Task;
use crate::executor::version_details::{self, Bump};
use crate::openebs::control_plane::Operator;

/// The label that names the cluster on its instances.
const CLUSTER: &str = "openebs.io/cstor-pool-cluster";

/// Upgrades the pool cluster.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    let instances = task.step(Step::PreUpgrade, PRE_UPGRADE_DONE, look(task)).await?;
    task.step(
        Step::PoolInstanceUpgrade,
        "All pool instances are upgraded",
        Box::pin(upgrade_instances(task, &instances)),
    )
    .await?;
    task.step(Step::Verify, "Version of the pool cluster was reconciled", upgrade_cluster(task)).await
}

async fn look(task: &Task) -> Result<Vec<Object>, Problem> {
    let cluster = task.api().get(&POOL_CLUSTERS.named(task.namespace(), task.name())).await;
    let cluster = cluster.during("failed to get cstor pool cluster")?;
    task.journal.concerns(&cluster).await;
    control_plane::check(task, Operator::Cspc).await?;
    version_details::check(&cluster, task.versions()).during("failed to verify cstor pool cluster")?;
    let mut instances =
        task.api().list(&POOL_INSTANCES, task.namespace(), &format!("{CLUSTER}={}", task.name())).await?;
    instances.sort_by(|one, other| one.name().cmp(other.name()));
    let mut left = Vec::new();
    for one in &instances {
        if !cstor_pool_instance::is_done(task, one).await? {
            left.push(ResourceRef { kind: ResourceKind::CstorPoolInstance, name: one.name().to_owned() });
        }
    }
    records::check_children(task, &left).await?;
    Ok(instances)
}

async fn upgrade_instances(task: &Task, instances: &[Object]) -> Result<(), Problem> {
    for (done, instance) in instances.iter().enumerate() {
        // Seen anew: an hour may have passed since the list was read.
        let instance = task.api().get(&instance.place).await?;
        if cstor_pool_instance::is_done(task, &instance).await? {
            continue;
        }
        let words = format!("{done} of {} instances done; upgrading {}", instances.len(), instance.name());
        task.journal.waits_for(&words).await?;
        let resource = ResourceRef { kind: ResourceKind::CstorPoolInstance, name: instance.name().to_owned() };
        let child = records::begin_child(task, resource).await?;
        records::close(&child, cstor_pool_instance::upgrade(&child).await)
            .await
            .during(format!("failed to upgrade cstor pool instance {}", instance.name()))?;
    }
    Ok(())
}

async fn upgrade_cluster(task: &Task) -> Result<(), Problem> {
    let cluster = POOL_CLUSTERS.named(task.namespace(), task.name());
    version_details::upgrade(task, &cluster, &Bump::default())
        .await
        .during("failed to verify version reconcile on cstor pool cluster")
}
