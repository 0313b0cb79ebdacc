//! A Jiva volume of the external provisioner (`openebs.md` §3.6): the controller is stopped, the replicas are upgraded,
//! the controller is started in the new version, and in the end every replica must be read and written.
//!
//! While the controller is stopped the volume is off line: an attempt that is stopped there leaves it so, and says so;
//! the next one goes on from there.

use serde_json::{Value, json};

use super::{PRE_UPGRADE_DONE, REPLICAS_DONE, TARGET_DONE};
use crate::domain::inventory::Condition;
use crate::executor::api::Merge;
use crate::executor::control_plane;
use crate::executor::engines;
use crate::executor::health::{self, VOLUME_LABEL};
use crate::executor::jiva_controller;
use crate::executor::journal::Step;
use crate::executor::object::{DEPLOYMENTS, Object, PODS, Place, SERVICES, exactly_one, text};
use crate::executor::order::At;
use crate::executor::problem::{During, Problem};
use crate::executor::task::{Look, Task};
use crate::executor::workload::{self, Change};
use crate::openebs::control_plane::Operator;

const EXPORTER: &str = "maya-volume-exporter";

struct Volume {
    controller: Place,
    /// Containers of the controller whose images are OpenEBS's.
    controller_containers: Vec<String>,
    replicas: Vec<Place>,
    replication_factor: usize,
    service: Object,
    home: String,
}

/// Upgrades the volume.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    let volume = task.step(Step::PreUpgrade, PRE_UPGRADE_DONE, look(task)).await?;
    task.step(Step::ReplicaUpgrade, REPLICAS_DONE, upgrade_replicas(task, &volume)).await?;
    task.step(Step::TargetUpgrade, TARGET_DONE, upgrade_target(task, &volume)).await?;
    task.step(Step::Verify, "Replica sync was successful", wait_synced(task, &volume)).await
}

fn replica_selector(name: &str) -> String {
    format!("openebs.io/replica=jiva-replica,{VOLUME_LABEL}={name}")
}

fn controller_selector(name: &str) -> String {
    format!("openebs.io/controller=jiva-controller,{VOLUME_LABEL}={name}")
}

async fn look(task: &Task) -> Result<Volume, Problem> {
    control_plane::check(task, Operator::Maya).await?;
    let (name, versions) = (task.name(), task.versions());
    if versions.from_before(1, 9) {
        return Err(Problem::refused(
            &task.resource,
            format!("its replicas of {} share one Deployment, which has to be split for later releases", versions.from),
            "a Jiva volume of 1.9.0 or later",
        )
        .remedy("upgrade it to 1.12.0 with openebs/m-upgrade:1.12.0 first, then run this upgrade from 1.12.0"));
    }
    let home = engines::legacy_home(&task.run, name).await.during("failed to get namespace for pvc deployments")?;
    let home = home.unwrap_or_else(|| task.namespace().to_owned());

    let selector = controller_selector(name);
    let controllers = task.api().list(&DEPLOYMENTS, &home, &selector).await?;
    let controller = exactly_one(controllers, &DEPLOYMENTS, &home, &selector).during("failed to get target details")?;
    let selector = format!("openebs.io/controller-service=jiva-controller-svc,{VOLUME_LABEL}={name}");
    let services = task.api().list(&SERVICES, &home, &selector).await?;
    let service = exactly_one(services, &SERVICES, &home, &selector).during("failed to get target details")?;
    let selector = replica_selector(name);
    let mut replicas = task.api().list(&DEPLOYMENTS, &home, &selector).await?;
    if replicas.is_empty() {
        return Err(Problem::on("Deployment", format!("none with {selector} in namespace {home}"), "one a replica"))
            .during("failed to get replica details");
    }
    replicas.sort_by(|one, other| one.name().cmp(other.name()));
    for replica in &replicas {
        workload::located(replica, versions).during("failed to get replica details")?;
    }
    workload::located(&service, versions).during("failed to get target details")?;
    let at = workload::located(&controller, versions).during("failed to get target details")?;

    let volume = Volume {
        replication_factor: replication_factor(&controller).unwrap_or(replicas.len()),
        controller_containers: openebs_containers(&controller),
        controller: controller.place.clone(),
        replicas: replicas.into_iter().map(|replica| replica.place).collect(),
        service,
        home,
    };
    // Only a volume that serves is known to be whole; one whose controller we stopped is repaired by going on.
    let serves = controller.number("/spec/replicas").unwrap_or(1) > 0;
    if at == At::From && serves {
        wait_synced(task, &volume).await?;
    }
    Ok(volume)
}

async fn upgrade_replicas(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let controller = task.api().get(&volume.controller).await?;
    if workload::located(&controller, task.versions())? == At::To {
        return Ok(());
    }
    stop_controller(task, volume).await.during("failed to get scale down target deployment")?;
    let labels = json!({VOLUME_LABEL: task.name(), "openebs.io/replica": "jiva-replica"});
    let more = json!({
        "metadata": {"labels": labels},
        "spec": {
            "replicas": 1,
            "template": {
                "metadata": {"labels": labels},
                "spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
                    "labelSelector": {"matchLabels": labels},
                    "topologyKey": "kubernetes.io/hostname",
                }]}}},
            },
        },
    });
    for replica in &volume.replicas {
        let change = Change { more: more.clone(), ..Change::default() };
        workload::upgrade(task, replica, &change)
            .await
            .during(format!("failed to patch replica depoyment {}", replica.name))?;
    }
    Ok(())
}

/// No controller may speak to replicas of two releases.
async fn stop_controller(task: &Task, volume: &Volume) -> Result<(), Problem> {
    task.bring(&volume.controller, Merge::Strategic, |seen| {
        Ok((seen.number("/spec/replicas") != Some(0)).then(|| json!({"spec": {"replicas": 0}})))
    })
    .await?;
    let selector = controller_selector(task.name());
    task.wait(&volume.controller, "no Pod of it (the volume is off line until the upgrade goes on)", async || {
        let pods = task.api().list(&PODS, &volume.home, &selector).await?;
        let left = pods.iter().find(|pod| !matches!(pod.text("/status/phase"), "Failed" | "Succeeded"));
        Ok(left.map_or(Look::Ready(()), |pod| Look::NotYet(format!("Pod {} is still there", pod.name()))))
    })
    .await
}

async fn upgrade_target(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let containers: Vec<&str> = volume.controller_containers.iter().map(String::as_str).collect();
    let change = Change { containers: &containers, more: json!({"spec": {"replicas": 1}}), ..Change::default() };
    workload::upgrade(task, &volume.controller, &change).await.during("failed to patch target depoyment")?;
    workload::relabel(task, &volume.service.place).await
}

/// The controller itself is asked: nothing in the cluster says which replicas of a legacy volume are in sync.
async fn wait_synced(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let wanted = volume.replication_factor;
    let address = (task.run.route)(volume.service.text("/spec/clusterIP"), jiva_controller::PORT);
    health::gate(task, &volume.service.place, &format!("{wanted} replicas RW"), async || {
        Ok(match jiva_controller::modes(&address).await {
            Err(why) => Condition::Unknown(format!("its controller at {address}: {why}")),
            Ok(modes) => {
                let writable = modes.iter().filter(|mode| *mode == "RW").count();
                if writable == wanted && modes.len() == wanted {
                    Condition::Holds
                } else {
                    Condition::Fails(format!("{writable} of {wanted} replicas are RW ({})", modes.join(", ")))
                }
            }
        })
    })
    .await
    .during("failed to verify synced replicas")
}

fn replication_factor(controller: &Object) -> Option<usize> {
    let containers = controller.list("/spec/template/spec/containers").iter();
    let variables = containers.filter_map(|container| container.get("env")?.as_array()).flatten();
    let mut factor = variables.filter(|variable| text(variable, "/name") == "REPLICATION_FACTOR");
    factor.find_map(|variable| text(variable, "/value").parse().ok())
}

fn openebs_containers(controller: &Object) -> Vec<String> {
    let names =
        controller.list("/spec/template/spec/containers").iter().map(|container: &Value| text(container, "/name"));
    names
        .enumerate()
        .filter(|(place, name)| *place == 0 || *name == EXPORTER)
        .map(|(_, name)| name.to_owned())
        .collect()
}
