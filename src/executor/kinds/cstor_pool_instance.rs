//! One pool instance (CSPI) of a cStor pool cluster (`openebs.md` §3.1): its Deployment, then the instance, then what
//! older releases kept of its backups.

use super::{POOL_DONE, PRE_UPGRADE_DONE};
use crate::executor::backups;
use crate::executor::control_plane;
use crate::executor::health;
use crate::executor::image::Architecture;
use crate::executor::journal::Step;
use crate::executor::object::{
    DEPLOYMENTS, Object, POOL_INSTANCES, Place, VERSION_LABEL, VOLUME_REPLICAS, exactly_one,
};
use crate::executor::order::At;
use crate::executor::problem::{During, Problem};
use crate::executor::task::Task;
use crate::executor::version_details::{self, Bump};
use crate::executor::workload::{self, Change, Rollout, drifted};
use crate::openebs::control_plane::Operator;
use serde_json::json;

/// The label that names the instance on its Deployment.
const INSTANCE: &str = "openebs.io/cstor-pool-instance";
/// The label that names the instance on the replicas that it holds.
pub const REPLICA_INSTANCE: &str = "cstorpoolinstance.openebs.io/name";

struct Pool {
    deployment: Place,
    instance: Place,
    service_account: String,
}

/// Upgrades the pool instance.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    let pool = task.step(Step::PreUpgrade, PRE_UPGRADE_DONE, look(task)).await?;
    task.step(Step::PoolInstanceUpgrade, POOL_DONE, upgrade_pool(task, &pool)).await
}

/// Whether nothing is left to do for the instance.
pub async fn is_done(task: &Task, instance: &Object) -> Result<bool, Problem> {
    let versions = task.versions();
    let at_target = version_details::is_at_target(instance, versions)
        && versions.locate(instance.label(VERSION_LABEL)) == At::To
        && health::pool(instance).holds();
    if !at_target {
        return Ok(false);
    }
    let deployment = deployment(task, instance.name()).await?;
    Ok(workload::located(&deployment, versions)? == At::To && workload::rolled_out(&deployment)? == Rollout::Done)
}

async fn look(task: &Task) -> Result<Pool, Problem> {
    let operator = control_plane::check(task, Operator::Cspc).await?;
    let versions = task.versions();
    let deployment = deployment(task, task.name()).await.during("failed to get cstor pool deployment")?;
    let instance = task.api().get(&POOL_INSTANCES.named(task.namespace(), task.name())).await;
    let instance = instance.during("failed to get cstor pool instance")?;
    task.journal.concerns(&instance).await;

    let at = workload::located(&deployment, versions).during("failed to verify cstor pool deployment")?;
    workload::check_runs(&deployment).during("failed to verify cstor pool deployment")?;
    let label = instance.label(VERSION_LABEL);
    if !matches!(versions.locate(label), At::From | At::To) {
        return Err(drifted(&instance.place, &format!("label {VERSION_LABEL}"), label, versions))
            .during("failed to verify cstor pool instance");
    }
    version_details::check(&instance, versions).during("failed to verify cstor pool instance")?;
    // A restart of the pool is safe while every volume on it can live without this replica. What a stopped attempt has
    // restarted already is repaired by going on.
    if at == At::From {
        wait_healthy(task, &instance.place).await.during("failed to verify cstor pool instance")?;
    }
    let service_account = control_plane::service_account(&operator).to_owned();
    Ok(Pool { deployment: deployment.place, instance: instance.place, service_account })
}

async fn upgrade_pool(task: &Task, pool: &Pool) -> Result<(), Problem> {
    let change = Change {
        architecture: Architecture::Drop,
        more: json!({"spec": {"template": {"spec": {"serviceAccountName": pool.service_account}}}}),
        ..Change::default()
    };
    workload::upgrade(task, &pool.deployment, &change).await.during("failed to patch cstor pool deployment")?;
    let bump = Bump { label: true, ..Bump::default() };
    version_details::upgrade(task, &pool.instance, &bump).await.during("failed to verify cstor pool instance")?;
    backups::convert(task, &format!("{REPLICA_INSTANCE}={}", task.name())).await?;
    wait_healthy(task, &pool.instance).await.during("failed to verify cstor pool instance")
}

/// The pool is online and writable, and every volume with a replica on it has all its replicas, none rebuilding.
async fn wait_healthy(task: &Task, instance: &Place) -> Result<(), Problem> {
    health::gate(task, instance, "ONLINE, writable, and the replicas of its volumes healthy", async || {
        let pool = health::pool(&task.api().get(instance).await?);
        let neighbours = health::pool_neighbours(task, &VOLUME_REPLICAS, REPLICA_INSTANCE, &instance.name).await?;
        Ok(pool.and(neighbours))
    })
    .await
}

async fn deployment(task: &Task, instance: &str) -> Result<Object, Problem> {
    let selector = format!("{INSTANCE}={instance}");
    let found = task.api().list(&DEPLOYMENTS, task.namespace(), &selector).await?;
    exactly_one(found, &DEPLOYMENTS, task.namespace(), &selector)
}
