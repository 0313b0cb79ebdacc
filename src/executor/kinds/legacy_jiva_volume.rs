//! A Jiva volume of the external provisioner (`openebs.md` §3.6): the controller is stopped, the replicas are upgraded,
//! the controller is started in the new version, and in the end every replica must be read and written.
//!
//! A volume from before 1.9 is split on the way (`legacy_jiva_split`).
//!
//! While the controller is stopped the volume is off line: an attempt that is stopped there leaves it so, and says so;
//! the next one goes on from there.

use serde_json::{Value, json};

use super::legacy_jiva_split::{self, Split};
use super::{PRE_UPGRADE_DONE, REPLICAS_DONE, TARGET_DONE};
use crate::domain::inventory::Condition;
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

/// The label that a volume's Service has.
pub(super) const SERVICE: &str = "openebs.io/controller-service=jiva-controller-svc";

struct Volume {
    /// The controller that is upgraded.
    controller: Place,
    /// Containers of the controller whose images are OpenEBS's.
    controller_containers: Vec<String>,
    replicas: Vec<Place>,
    replication_factor: usize,
    service: Place,
    /// The Service's address.
    address: String,
    /// What has yet to be brought into the shape that volumes have since 1.9.
    split: Option<Split>,
}

/// Upgrades the volume.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    let volume = task.step(Step::PreUpgrade, PRE_UPGRADE_DONE, look(task)).await?;
    task.step(Step::ReplicaUpgrade, REPLICAS_DONE, upgrade_replicas(task, &volume)).await?;
    task.step(Step::TargetUpgrade, TARGET_DONE, upgrade_target(task, &volume)).await?;
    task.step(Step::Verify, "Replica sync was successful", verify(task, &volume)).await
}

pub(super) fn replica_selector(name: &str) -> String {
    format!("openebs.io/replica=jiva-replica,{VOLUME_LABEL}={name}")
}

pub(super) fn controller_selector(name: &str) -> String {
    format!("openebs.io/controller=jiva-controller,{VOLUME_LABEL}={name}")
}

async fn look(task: &Task) -> Result<Volume, Problem> {
    control_plane::check(task, Operator::Maya).await?;
    if !task.versions().from_before(1, 9) {
        return look_at_whole(task).await;
    }
    if task.versions().to_before(1, 9) {
        return Err(Problem::refused(&task.resource, format!("toVersion is {}", task.versions().to), "1.9.0 or later")
            .remedy(
                "upgrade OpenEBS's control plane to 1.9.0 or later and this volume then to that: it may go there \
                     from any release before",
            ));
    }
    match legacy_jiva_split::find(task).await.during("failed to get replica details")? {
        None => look_at_whole(task).await,
        Some(split) => look_at_split(task, split).await,
    }
}

/// A volume in the shape that volumes have since 1.9.
async fn look_at_whole(task: &Task) -> Result<Volume, Problem> {
    let name = task.name();
    let home = engines::legacy_home(&task.run, name).await.during("failed to get namespace for pvc deployments")?;
    let home = home.unwrap_or_else(|| task.namespace().to_owned());
    let controller = controller(task, &home).await?;
    let selector = format!("{SERVICE},{VOLUME_LABEL}={name}");
    let services = task.api().list(&SERVICES, &home, &selector).await?;
    let service = exactly_one(services, &SERVICES, &home, &selector).during("failed to get target details")?;
    workload::located(&service, task.versions()).during("failed to get target details")?;
    let replicas = task.api().list(&DEPLOYMENTS, &home, &replica_selector(name)).await?;
    let volume = volume(task, &controller, replicas, &service.place, service.text("/spec/clusterIP"))?;
    check_serving(task, &controller, &volume).await?;
    Ok(volume)
}

/// A volume from before 1.9: proven to be healthy, then everything made that it needs in its new shape.
async fn look_at_split(task: &Task, split: Split) -> Result<Volume, Problem> {
    let (service, address) = (split.service(task), split.address().to_owned());
    let serving = match split.old_controller() {
        Some(old) => old.clone(),
        None => controller(task, task.namespace()).await?,
    };
    let before = Volume { replication_factor: split.replicas(&serving), ..volume_of(&serving, &service, &address) };
    check_serving(task, &serving, &before).await?;
    split.prepare(task).await.during("failed to migrate deployments in openebes namespace")?;
    let controller = controller(task, task.namespace()).await?;
    let replicas = legacy_jiva_split::own_replicas(task).await?;
    Ok(Volume { split: Some(split), ..volume(task, &controller, replicas, &service, &address)? })
}

async fn controller(task: &Task, home: &str) -> Result<Object, Problem> {
    let selector = controller_selector(task.name());
    let controllers = task.api().list(&DEPLOYMENTS, home, &selector).await?;
    let controller = exactly_one(controllers, &DEPLOYMENTS, home, &selector).during("failed to get target details")?;
    workload::located(&controller, task.versions()).during("failed to get target details")?;
    Ok(controller)
}

fn volume(
    task: &Task,
    controller: &Object,
    mut replicas: Vec<Object>,
    service: &Place,
    address: &str,
) -> Result<Volume, Problem> {
    if replicas.is_empty() {
        let (selector, home) = (replica_selector(task.name()), &controller.place.namespace);
        return Err(Problem::on("Deployment", format!("none with {selector} in namespace {home}"), "one a replica"))
            .during("failed to get replica details");
    }
    replicas.sort_by(|one, other| one.name().cmp(other.name()));
    for replica in &replicas {
        workload::located(replica, task.versions()).during("failed to get replica details")?;
    }
    Ok(Volume {
        replication_factor: replication_factor(controller).unwrap_or(replicas.len()),
        replicas: replicas.into_iter().map(|replica| replica.place).collect(),
        ..volume_of(controller, service, address)
    })
}

fn volume_of(controller: &Object, service: &Place, address: &str) -> Volume {
    Volume {
        controller_containers: openebs_containers(controller),
        controller: controller.place.clone(),
        replicas: Vec::new(),
        replication_factor: 0,
        service: service.clone(),
        address: address.to_owned(),
        split: None,
    }
}

/// Only a volume that serves is known to be whole; one whose controller we stopped is repaired by going on.
async fn check_serving(task: &Task, controller: &Object, volume: &Volume) -> Result<(), Problem> {
    let serves = controller.number("/spec/replicas").unwrap_or(1) > 0;
    if serves && workload::located(controller, task.versions())? == At::From {
        wait_synced(task, volume).await?;
    }
    Ok(())
}

async fn upgrade_replicas(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let controller = task.api().get(&volume.controller).await?;
    if workload::located(&controller, task.versions())? == At::To {
        return Ok(());
    }
    stop_controllers(task, volume).await.during("failed to get scale down target deployment")?;
    if let Some(split) = &volume.split {
        split.hand_over(task).await?;
    }
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
async fn stop_controllers(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let old = volume.split.as_ref().and_then(Split::old_controller).map(|controller| &controller.place);
    for place in old.into_iter().chain([&volume.controller]) {
        legacy_jiva_split::scale_to_zero(task, place).await?;
        let selector = controller_selector(task.name());
        task.wait(place, "no Pod of it (the volume is off line until the upgrade goes on)", async || {
            let pods = task.api().list(&PODS, &place.namespace, &selector).await?;
            let left = pods.iter().find(|pod| legacy_jiva_split::runs(pod));
            Ok(left.map_or(Look::Ready(()), |pod| Look::NotYet(format!("Pod {} is still there", pod.name()))))
        })
        .await?;
    }
    Ok(())
}

async fn upgrade_target(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let containers: Vec<&str> = volume.controller_containers.iter().map(String::as_str).collect();
    let change = Change { containers: &containers, more: json!({"spec": {"replicas": 1}}), ..Change::default() };
    workload::upgrade(task, &volume.controller, &change).await.during("failed to patch target depoyment")?;
    workload::relabel(task, &volume.service).await
}

async fn verify(task: &Task, volume: &Volume) -> Result<(), Problem> {
    wait_synced(task, volume).await?;
    match &volume.split {
        Some(split) => split.clean_up(task).await.during("failed to clean up old replica deployemts"),
        None => Ok(()),
    }
}

/// The controller itself is asked: nothing in the cluster says which replicas of a legacy volume are in sync.
async fn wait_synced(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let wanted = volume.replication_factor;
    let address = (task.run.route)(&volume.address, jiva_controller::PORT);
    health::gate(task, &volume.service, &format!("{wanted} replicas RW"), async || {
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

/// How many replicas the controller was told to have.
pub(super) fn replication_factor(controller: &Object) -> Option<usize> {
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
