//! A Jiva volume of the CSI engine (`openebs.md` §3.3): replicas, then the controller, then the JivaVolume.

use serde_json::Value;

use super::{PRE_UPGRADE_DONE, REPLICAS_DONE, TARGET_DONE};
use crate::executor::control_plane;
use crate::executor::health;
use crate::executor::jiva_controller;
use crate::executor::journal::Step;
use crate::executor::object::{
    Collection, DEPLOYMENTS, JIVA_VOLUMES, JIVA_VOLUMES_ALPHA, Object, Place, SERVICES, STATEFUL_SETS, exactly_one,
};
use crate::executor::order::At;
use crate::executor::problem::{During, Problem};
use crate::executor::task::{Run, Task};
use crate::executor::version_details::{self, Bump};
use crate::executor::workload::{self, Change, Rollout};
use crate::openebs::control_plane::Operator;

struct Volume {
    controller: Place,
    replicas: Place,
    service: Place,
    jiva: Place,
}

/// Upgrades the volume.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    let volume = task.step(Step::PreUpgrade, PRE_UPGRADE_DONE, look(task)).await?;
    task.step(Step::ReplicaUpgrade, REPLICAS_DONE, upgrade_replicas(task, &volume)).await?;
    task.step(Step::TargetUpgrade, TARGET_DONE, upgrade_target(task, &volume)).await
}

/// The JivaVolume of that name, in whichever version its CRD is served.
pub async fn find(run: &Run, name: &str) -> Result<Option<Place>, Problem> {
    const KNOWN: [&Collection; 2] = [&JIVA_VOLUMES, &JIVA_VOLUMES_ALPHA];
    for collection in KNOWN {
        let place = collection.named(&run.namespace, name);
        if run.api.find(&place).await?.is_some() {
            return Ok(Some(place));
        }
    }
    let Collection { group, plural, kind, .. } = JIVA_VOLUMES;
    let known = KNOWN.map(|collection| collection.version);
    let others = run.api.served_otherwise(group, plural, &known).await;
    if others.is_empty() {
        return Ok(None);
    }
    let seen = format!("the API server has {plural}.{group} only as {}, where we cannot read it", others.join(", "));
    Err(Problem::refused(format!("{kind}/{name}"), seen, format!("served as {}", known.join(" or ")))
        .remedy("install the CRD of the OpenEBS release that runs here, or use a later executor"))
}

async fn look(task: &Task) -> Result<Volume, Problem> {
    control_plane::check(task, Operator::Jiva).await?;
    let (name, versions) = (task.name(), task.versions());

    let controller = one(task, &DEPLOYMENTS, "jiva-controller").await;
    let controller = controller.during(format!("failed to get controller deployment for volume {name}"))?;
    let replicas = one(task, &STATEFUL_SETS, "jiva-replica").await;
    let replicas = replicas.during(format!("failed to list replica statefulset for volume {name}"))?;
    let service = one(task, &SERVICES, "jiva-controller-service").await;
    let service = service.during(format!("failed to get target svc for volume {name}"))?;
    let Some(jiva) = find(&task.run, name).await? else {
        return Err(task
            .api()
            .get(&JIVA_VOLUMES.named(task.namespace(), name))
            .await
            .err()
            .unwrap_or_else(|| Problem::on("JivaVolume", "it appeared just now", "it exists from the beginning")))
        .during(format!("failed to get jivavolume CR for volume {name}"));
    };

    workload::located(&controller, versions).during("failed to verify controller deploy")?;
    workload::located(&service, versions).during("failed to verify target svc")?;
    version_details::check(&task.api().get(&jiva).await?, versions).during("failed to verify JivaVolumeCR")?;
    let at = workload::located(&replicas, versions).during("failed to verify replica statefulset")?;
    // Fails early on an update strategy under which nothing would be rolled out.
    let rollout = workload::rolled_out(&replicas).during("failed to verify replica statefulset")?;
    // What a stopped attempt left half-way is repaired by going on, not by waiting for health.
    if at == At::From && rollout == Rollout::Done {
        wait_healthy(task, &jiva, &service.place).await.during("failed to verify replicas")?;
    }
    Ok(Volume { controller: controller.place, replicas: replicas.place, service: service.place, jiva })
}

async fn upgrade_replicas(task: &Task, volume: &Volume) -> Result<(), Problem> {
    workload::upgrade(task, &volume.replicas, &Change::default()).await.during("failed to patch replica sts")?;
    // The controller restarts next: before that every replica must have caught up again.
    wait_healthy(task, &volume.jiva, &volume.service).await.during("failed to verify replicas")
}

async fn upgrade_target(task: &Task, volume: &Volume) -> Result<(), Problem> {
    workload::upgrade(task, &volume.controller, &Change::default()).await.during("failed to patch target deploy")?;
    workload::relabel(task, &volume.service).await?;
    let bump = Bump::default();
    let reconciled = version_details::upgrade(task, &volume.jiva, &bump).await;
    reconciled.during("failed to verify version reconcile on JivaVolumeCR")?;
    wait_healthy(task, &volume.jiva, &volume.service).await.during("failed to verify replicas")
}

/// All replicas are there, read and written.
///
/// jiva-operator leaves a volume alone that is not at its own version: between the operator's upgrade and ours the
/// JivaVolume tells how things were before. Meanwhile the volume's controller is asked, if its Service offers its API;
/// one that does not answer contradicts nothing.
async fn wait_healthy(task: &Task, jiva: &Place, service: &Place) -> Result<(), Problem> {
    health::gate(task, jiva, "ready, all replicas RW", async || {
        let volume = task.api().get(jiva).await?;
        if version_details::is_at_target(&volume, task.versions()) {
            return Ok(health::jiva_volume(&volume));
        }
        Ok(match modes(task, service).await? {
            Some(modes) => health::jiva_replicas(&volume, &modes),
            None => health::jiva_volume(&volume),
        })
    })
    .await
}

/// What the volume's controller says about its replicas, if it can be asked.
async fn modes(task: &Task, service: &Place) -> Result<Option<Vec<String>>, Problem> {
    let service = task.api().get(service).await?;
    let port = i64::from(jiva_controller::PORT);
    let offered = service.list("/spec/ports").iter().any(|one| one.get("port").and_then(Value::as_i64) == Some(port));
    if !offered {
        return Ok(None);
    }
    let address = (task.run.route)(service.text("/spec/clusterIP"), jiva_controller::PORT);
    match jiva_controller::modes(&address).await {
        Ok(modes) => Ok(Some(modes)),
        Err(why) => {
            tracing::warn!(upgrade = %task.resource, "its controller at {address} was not understood: {why}");
            Ok(None)
        }
    }
}

async fn one(task: &Task, collection: &'static Collection, component: &str) -> Result<Object, Problem> {
    let selector = format!("openebs.io/component={component},{}={}", health::VOLUME_LABEL, task.name());
    let found = task.api().list(collection, task.namespace(), &selector).await?;
    exactly_one(found, collection, task.namespace(), &selector)
}
