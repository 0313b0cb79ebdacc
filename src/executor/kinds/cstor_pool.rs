//! One pool (CSP) of a legacy storage pool claim (`openebs.md` §3.4): its Deployment, then the pool.

use serde_json::{Value, json};

use super::{POOL_DONE, PRE_UPGRADE_DONE};
use crate::executor::control_plane;
use crate::executor::health;
use crate::executor::journal::Step;
use crate::executor::object::{
    DEPLOYMENTS, LEGACY_POOLS, LEGACY_VOLUME_REPLICAS, Object, Place, VERSION_LABEL, exactly_one,
};
use crate::executor::order::{At, Versions};
use crate::executor::problem::{During, Problem};
use crate::executor::task::Task;
use crate::executor::version_details::{self, Bump};
use crate::executor::workload::{self, Change, Rollout, drifted};
use crate::openebs::control_plane::Operator;

/// The label that names the claim on its pools.
pub const CLAIM: &str = "openebs.io/storage-pool-claim";
/// The label that names the pool on its Deployment.
const POOL: &str = "openebs.io/cstor-pool";
/// The label that names the pool on the replicas that it holds.
pub const REPLICA_POOL: &str = "cstorpool.openebs.io/name";
const CONTAINERS: [&str; 3] = ["cstor-pool", "cstor-pool-mgmt", "maya-exporter"];
const BASE_DIRECTORY: &str = "/var/openebs";

struct Pool {
    deployment: Place,
    object: Place,
    /// The pool's folder on its node.
    folder: String,
    /// Who wants to be asked before the pool is deleted.
    finalizers: Vec<Value>,
}

/// Upgrades the pool.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    let pool = task.step(Step::PreUpgrade, PRE_UPGRADE_DONE, look(task)).await?;
    task.step(Step::PoolInstanceUpgrade, POOL_DONE, upgrade_pool(task, &pool)).await
}

/// Whether nothing is left to do for the pool.
pub async fn is_done(task: &Task, pool: &Object) -> Result<bool, Problem> {
    let versions = task.versions();
    let at_target = version_details::is_at_target(pool, versions)
        && versions.locate(pool.label(VERSION_LABEL)) == At::To
        && health::pool(pool).holds();
    if !at_target {
        return Ok(false);
    }
    let deployment = deployment(task, pool.name()).await?;
    Ok(workload::located(&deployment, versions)? == At::To && workload::rolled_out(&deployment)? == Rollout::Done)
}

/// Where OpenEBS keeps its folders on the nodes, as its API server was told.
pub fn base_directory(operator: &Object) -> String {
    let told = control_plane::environment(operator, "OPENEBS_IO_BASE_DIR");
    told.unwrap_or(BASE_DIRECTORY).trim_end_matches('/').to_owned()
}

async fn look(task: &Task) -> Result<Pool, Problem> {
    let operator = control_plane::check(task, Operator::Maya).await?;
    let versions = task.versions();
    let pool = task.api().get(&LEGACY_POOLS.named("", task.name())).await.during("failed to verify cstor pool")?;
    let deployment = deployment(task, task.name()).await.during("failed to verify cstor pool deployment")?;

    let label = pool.label(VERSION_LABEL);
    if !matches!(versions.locate(label), At::From | At::To) {
        return Err(drifted(&pool.place, &format!("label {VERSION_LABEL}"), label, versions))
            .during("failed to verify cstor pool");
    }
    version_details::check(&pool, versions).during("failed to verify cstor pool")?;
    workload::check_runs(&deployment).during("failed to verify cstor pool deployment")?;
    if workload::located(&deployment, versions).during("failed to verify cstor pool deployment")? == At::From {
        wait_healthy(task, &pool.place).await.during("failed to verify cstor pool")?;
    }
    let folder = format!("{}/cstor-pool/{}", base_directory(&operator), pool.label(CLAIM));
    let finalizers = pool.list("/metadata/finalizers").to_vec();
    Ok(Pool { deployment: deployment.place, object: pool.place, folder, finalizers })
}

async fn upgrade_pool(task: &Task, pool: &Pool) -> Result<(), Problem> {
    let more = deployment_particulars(task.versions(), &pool.folder);
    let change = Change { containers: &CONTAINERS, more, ..Change::default() };
    workload::upgrade(task, &pool.deployment, &change).await.during("failed to patch cstor pool deployment")?;
    let bump = Bump { label: true, pending: true, more: pool_particulars(task.versions(), &pool.finalizers) };
    version_details::upgrade(task, &pool.object, &bump)
        .await
        .during("failed to verify versiondetails for cstor pool")?;
    wait_healthy(task, &pool.object).await.during("failed to verify cstor pool")
}

/// What pools' Deployments got over the releases, besides images and labels.
fn deployment_particulars(versions: &Versions, folder: &str) -> Value {
    let probe = json!({
        "exec": {"command": [
            "/bin/sh",
            "-c",
            "timeout 120 zfs set io.openebs:livenesstimestamp=\"$(date +%s)\" cstor-$OPENEBS_IO_CSTOR_ID",
        ]},
        "failureThreshold": 3,
        "initialDelaySeconds": 300,
        "periodSeconds": 60,
        "successThreshold": 1,
        "timeoutSeconds": 150,
    });
    let mut template = json!({"containers": [{"name": "cstor-pool", "livenessProbe": probe}]});
    // Since 1.7 what the pool keeps outside its disks lies in a folder of its own on the node.
    if versions.from_before(1, 7) {
        let mounts = json!([
            {"name": "storagepath", "mountPath": "/var/openebs/cstor-pool"},
            {"name": "sockfile", "mountPath": "/var/tmp/sock"},
        ]);
        template = json!({
            "containers": [
                {"name": "cstor-pool", "livenessProbe": probe, "volumeMounts": mounts},
                {"name": "cstor-pool-mgmt", "volumeMounts": mounts},
                {"name": "maya-exporter", "volumeMounts": mounts},
            ],
            "volumes": [
                {"name": "storagepath", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}},
                {"name": "sockfile", "emptyDir": {}},
            ],
        });
    }
    json!({
        "metadata": {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
        "spec": {"template": {"spec": template}},
    })
}

/// What pools themselves got over the releases. A list is replaced as a whole, so it names the finalizers that there are.
fn pool_particulars(versions: &Versions, finalizers: &[Value]) -> Value {
    let mut more = json!({});
    let protection = json!("openebs.io/pool-protection");
    if versions.from_before(1, 9) && !finalizers.contains(&protection) {
        let all: Vec<&Value> = finalizers.iter().chain([&protection]).collect();
        more["metadata"]["finalizers"] = json!(all);
    }
    if versions.from_before(1, 8) {
        more["spec"]["poolSpec"]["roThresholdLimit"] = json!(85);
    }
    more
}

async fn wait_healthy(task: &Task, pool: &Place) -> Result<(), Problem> {
    health::gate(task, pool, "online, writable, and the replicas of its volumes healthy", async || {
        let own = health::pool(&task.api().get(pool).await?);
        Ok(own.and(health::pool_neighbours(task, &LEGACY_VOLUME_REPLICAS, REPLICA_POOL, &pool.name).await?))
    })
    .await
}

async fn deployment(task: &Task, pool: &str) -> Result<Object, Problem> {
    let selector = format!("{POOL}={pool}");
    let found = task.api().list(&DEPLOYMENTS, task.namespace(), &selector).await?;
    exactly_one(found, &DEPLOYMENTS, task.namespace(), &selector)
}
