//! A cStor volume of the external provisioner (`openebs.md` §3.5): its replicas, then the target, its Service and the
//! volume. Target and volume may live in the claim's namespace.

use serde_json::{Value, json};

use super::cstor_pool::{REPLICA_POOL, base_directory};
use super::{PRE_UPGRADE_DONE, REPLICAS_DONE, TARGET_DONE};
use crate::executor::control_plane;
use crate::executor::engines;
use crate::executor::health::{self, VOLUME_LABEL};
use crate::executor::journal::Step;
use crate::executor::object::{
    DEPLOYMENTS, LEGACY_VOLUME_REPLICAS, LEGACY_VOLUMES, Object, Place, SERVICES, VERSION_LABEL, exactly_one,
};
use crate::executor::order::{At, Versions};
use crate::executor::problem::{During, Problem};
use crate::executor::task::Task;
use crate::executor::version_details::{self, Bump};
use crate::executor::workload::{self, Change, drifted};
use crate::openebs::control_plane::Operator;

const CONTAINERS: [&str; 3] = ["cstor-istgt", "maya-volume-exporter", "cstor-volume-mgmt"];

struct Volume {
    target: Place,
    service: Place,
    object: Place,
    replicas: Vec<Object>,
    /// The target's folder on its node.
    folder: String,
}

/// Upgrades the volume.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    let volume = task.step(Step::PreUpgrade, PRE_UPGRADE_DONE, look(task)).await?;
    task.step(Step::ReplicaUpgrade, REPLICAS_DONE, upgrade_replicas(task, &volume)).await?;
    task.step(Step::TargetUpgrade, TARGET_DONE, upgrade_target(task, &volume)).await
}

async fn look(task: &Task) -> Result<Volume, Problem> {
    let operator = control_plane::check(task, Operator::Maya).await?;
    let (name, versions) = (task.name(), task.versions());
    let home = engines::legacy_home(&task.run, name).await.during("failed to get namespace for pvc deployments")?;
    let home = home.unwrap_or_else(|| task.namespace().to_owned());

    let selector = format!("{VOLUME_LABEL}={name},openebs.io/target=cstor-target");
    let targets = task.api().list(&DEPLOYMENTS, &home, &selector).await?;
    let target = exactly_one(targets, &DEPLOYMENTS, &home, &selector).during("failed to get target details")?;
    let selector = format!("{VOLUME_LABEL}={name},openebs.io/target-service=cstor-target-svc");
    let services = task.api().list(&SERVICES, &home, &selector).await?;
    let service = exactly_one(services, &SERVICES, &home, &selector).during("failed to get target details")?;
    let selector = format!("{VOLUME_LABEL}={name}");
    let volumes = task.api().list(&LEGACY_VOLUMES, &home, &selector).await?;
    let volume = exactly_one(volumes, &LEGACY_VOLUMES, &home, &selector).during("failed to get cstorvolume")?;
    let replicas = replicas(task).await.during("failed to get replica details")?;

    let label = volume.label(VERSION_LABEL);
    if !matches!(versions.locate(label), At::From | At::To) {
        return Err(drifted(&volume.place, &format!("label {VERSION_LABEL}"), label, versions))
            .during("failed to get cstorvolume");
    }
    version_details::check(&volume, versions).during("failed to get cstorvolume")?;
    let at = workload::located(&target, versions).during("failed to get target details")?;
    workload::check_runs(&target).during("failed to get target details")?;
    workload::located(&service, versions).during("failed to get target details")?;
    for replica in &replicas {
        check_pool(task, replica).await.during("failed to verify cstor pool deployment")?;
    }
    if at == At::From {
        wait_healthy(task, &volume.place).await.during("failed to get cstorvolume")?;
    }
    let folder = format!("{}/cstor-target/{name}", base_directory(&operator));
    Ok(Volume { target: target.place, service: service.place, object: volume.place, replicas, folder })
}

async fn replicas(task: &Task) -> Result<Vec<Object>, Problem> {
    let selector = format!("{VOLUME_LABEL}={}", task.name());
    let found = task.api().list(&LEGACY_VOLUME_REPLICAS, task.namespace(), &selector).await?;
    if found.is_empty() {
        Err(Problem::on(LEGACY_VOLUME_REPLICAS.kind, format!("none with {selector}"), "at least one"))
    } else {
        Ok(found)
    }
}

/// Pools are upgraded before the volumes on them.
async fn check_pool(task: &Task, replica: &Object) -> Result<(), Problem> {
    let pool = health::pool_of(replica, REPLICA_POOL)?;
    let pool = task.api().get(&DEPLOYMENTS.named(task.namespace(), pool)).await?;
    let label = pool.label(VERSION_LABEL);
    match task.versions().locate(label) {
        At::To => Ok(()),
        _ => Err(Problem::on(&pool.place, format!("the pool is at {label}"), format!("at {}", task.versions().to))
            .remedy("upgrade the storage pool claim first")),
    }
}

async fn upgrade_replicas(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let bump = Bump { label: true, pending: true, ..Bump::default() };
    for replica in &volume.replicas {
        version_details::upgrade(task, &replica.place, &bump).await.during("failed to patch cstor volume replica")?;
    }
    Ok(())
}

async fn upgrade_target(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let more = target_particulars(task.versions(), &volume.folder);
    let change = Change { containers: &CONTAINERS, more, ..Change::default() };
    workload::upgrade(task, &volume.target, &change).await.during("failed to patch target deployment")?;
    workload::relabel(task, &volume.service).await.during("failed to patch target service")?;
    let bump = Bump { label: true, pending: true, ..Bump::default() };
    version_details::upgrade(task, &volume.object, &bump)
        .await
        .during("failed to verify version details for cstor volume")?;
    wait_healthy(task, &volume.object).await.during("failed to patch cstor volume")
}

/// Since 1.7 what the target keeps lies in a folder of its own on the node.
fn target_particulars(versions: &Versions, folder: &str) -> Value {
    if !versions.from_before(1, 7) {
        return Value::Null;
    }
    let mounts = json!([{"name": "storagepath", "mountPath": "/var/openebs/cstor-target"}]);
    json!({"spec": {"template": {"spec": {
        "containers": CONTAINERS.map(|name| json!({"name": name, "volumeMounts": mounts})),
        "volumes": [{"name": "storagepath", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}],
    }}}})
}

async fn wait_healthy(task: &Task, volume: &Place) -> Result<(), Problem> {
    health::gate(task, volume, "healthy, with all replicas healthy", async || {
        let replicas = replicas(task).await?;
        Ok(health::cstor_volume(&task.api().get(volume).await?).and(health::replicas(&replicas)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_1_7_every_container_of_the_target_gets_the_folder_where_later_releases_look_for_it() {
        let more = target_particulars(&Versions::parse("1.6.0", "2.12.2").unwrap(), "/var/openebs/cstor-target/pvc-1");
        let pod = &more["spec"]["template"]["spec"];
        let mounts = json!([{"name": "storagepath", "mountPath": "/var/openebs/cstor-target"}]);
        assert_eq!(
            pod["containers"],
            json!([
                {"name": "cstor-istgt", "volumeMounts": mounts},
                {"name": "maya-volume-exporter", "volumeMounts": mounts},
                {"name": "cstor-volume-mgmt", "volumeMounts": mounts},
            ])
        );
        assert_eq!(pod["volumes"][0]["hostPath"]["path"], "/var/openebs/cstor-target/pvc-1");
        assert_eq!(target_particulars(&Versions::parse("1.7.0", "2.12.2").unwrap(), "/x"), Value::Null);
    }
}
