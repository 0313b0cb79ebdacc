//! A Jiva volume of the CSI engine (`openebs.md` §3.3): replicas, then the controller, then the JivaVolume.

use serde_json::Value;

use super::{PRE_UPGRADE_DONE, REPLICAS_DONE, TARGET_DONE};
use crate::domain::inventory::Condition;
use crate::executor::control_plane;
use crate::executor::health;
use crate::executor::jiva_controller::{self, NoAnswer};
use crate::executor::journal::Step;
use crate::executor::object::{
    Collection, DEPLOYMENTS, JIVA_VOLUMES, JIVA_VOLUMES_ALPHA, Object, PODS, Place, SERVICES, STATEFUL_SETS,
    exactly_one,
};
use crate::executor::one_by_one;
use crate::executor::order::At;
use crate::executor::problem::{During, Problem};
use crate::executor::task::{Look, Run, Task};
use crate::executor::version_details::{self, Bump};
use crate::executor::workload::{self, Change, Rollout};
use crate::openebs::control_plane::Operator;

struct Volume {
    controller: Place,
    replicas: Place,
    service: Place,
    jiva: Place,
    witness: Witness,
}

/// Who tells how the replicas are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Witness {
    /// The volume's controller, asked in its Pod.
    Controller,
    /// The JivaVolume's status, since its controller has no API that could be asked.
    Status,
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
    let seen = task.api().get(&jiva).await?;
    task.journal.concerns(&seen).await;
    version_details::check(&seen, versions).during("failed to verify JivaVolumeCR")?;
    let at = workload::located(&replicas, versions).during("failed to verify replica statefulset")?;
    // Fails early on an update strategy under which nothing would be rolled out.
    workload::rolled_out(&replicas).during("failed to verify replica statefulset")?;
    workload::check_runs(&controller).during("failed to verify controller deploy")?;
    workload::check_runs(&replicas).during("failed to verify replica statefulset")?;
    // What a stopped attempt left half-way is repaired by going on, not by waiting for health; but that has the new label
    // already. Whatever is missing at the old one was missing before us, and the others carry the volume.
    let witness = match offers_api(&service) || offers_api(&controller) {
        true => witness(task, &controller.place).await.during("failed to verify replicas")?,
        false => Witness::Status,
    };
    if at == At::From {
        wait_healthy(task, &jiva, witness).await.during("failed to verify replicas")?;
    }
    Ok(Volume { controller: controller.place, replicas: replicas.place, service: service.place, jiva, witness })
}

/// Found out before anything is touched: a controller that runs and at whose API nobody listens has none. One whose API
/// was there is never taken for such afterwards, however long it is silent.
async fn witness(task: &Task, controller: &Place) -> Result<Witness, Problem> {
    let mut mute_since = None;
    task.wait(controller, "an answer of its API, or that it surely has none", async || {
        let Some(why) = nobody_listens(task).await? else { return Ok(Look::Ready(Witness::Controller)) };
        let now = task.run.clock.now();
        let mute_for = now.since(*mute_since.get_or_insert(now));
        let seen = task.api().get(controller).await?;
        if mute_for < task.run.pace.mute_lasts || workload::rolled_out(&seen)? != Rollout::Done {
            return Ok(Look::NotYet(why));
        }
        tracing::warn!(upgrade = %task.resource, "{why}: the JivaVolume's status is believed instead");
        Ok(Look::Ready(Witness::Status))
    })
    .await
}

/// Whether a Service, or the Pods of a workload, have a port for the controller's API: jiva-operator's always do.
fn offers_api(object: &Object) -> bool {
    let port = i64::from(jiva_controller::PORT);
    let is_it = |field: &str, one: &Value| one.get(field).and_then(Value::as_i64) == Some(port);
    let containers = object.list("/spec/template/spec/containers").iter();
    let mut of_pods = containers.filter_map(|container| container.get("ports")?.as_array()).flatten();
    object.list("/spec/ports").iter().any(|one| is_it("port", one)) || of_pods.any(|one| is_it("containerPort", one))
}

/// Why nobody can be asked, if nobody can.
async fn nobody_listens(task: &Task) -> Result<Option<String>, Problem> {
    let mut why = "no Pod of its controller has an address".to_owned();
    for (pod, address) in controllers(task).await? {
        match jiva_controller::modes(&address).await {
            Err(NoAnswer::NobodyListens) => why = format!("nobody listens at its controller, Pod {pod} at {address}"),
            Ok(_) | Err(NoAnswer::NotUnderstood(_)) => return Ok(None),
        }
    }
    Ok(Some(why))
}

async fn upgrade_replicas(task: &Task, volume: &Volume) -> Result<(), Problem> {
    one_by_one::upgrade(task, &volume.replicas, async || in_sync(task, &volume.jiva, volume.witness).await)
        .await
        .during("failed to patch replica sts")?;
    // The controller restarts next: before that every replica must have caught up again.
    wait_healthy(task, &volume.jiva, volume.witness).await.during("failed to verify replicas")
}

async fn upgrade_target(task: &Task, volume: &Volume) -> Result<(), Problem> {
    workload::upgrade(task, &volume.controller, &Change::default()).await.during("failed to patch target deploy")?;
    workload::relabel(task, &volume.service).await?;
    let bump = Bump::default();
    let reconciled = version_details::upgrade(task, &volume.jiva, &bump).await;
    reconciled.during("failed to verify version reconcile on JivaVolumeCR")?;
    wait_healthy(task, &volume.jiva, volume.witness).await.during("failed to verify replicas")
}

async fn wait_healthy(task: &Task, jiva: &Place, witness: Witness) -> Result<(), Problem> {
    health::gate(task, jiva, "ready, all replicas RW", async || in_sync(task, jiva, witness).await).await
}

/// All replicas are there, read and written.
///
/// jiva-operator leaves a volume alone that is not at its own version: between the operator's upgrade and ours the
/// JivaVolume tells how things were before. So the volume's controller is asked, in its own Pod: some releases' Services
/// lead to replicas as well, which refuse. One that does not answer leaves it unknown.
async fn in_sync(task: &Task, jiva: &Place, witness: Witness) -> Result<Condition, Problem> {
    let volume = task.api().get(jiva).await?;
    let told = health::jiva_volume(&volume);
    if witness == Witness::Status {
        return Ok(told);
    }
    let mut asked = None;
    for (pod, address) in controllers(task).await? {
        let said = match jiva_controller::modes(&address).await {
            Ok(modes) => health::jiva_replicas(&volume, &modes),
            Err(why) => Condition::Unknown(format!("its controller, Pod {pod} at {address}: {why}")),
        };
        asked = Some(asked.unwrap_or(Condition::Holds).and(said));
    }
    let asked = asked.unwrap_or_else(|| Condition::Unknown("no Pod of its controller runs".to_owned()));
    Ok(if version_details::is_at_target(&volume, task.versions()) { told.and(asked) } else { asked })
}

/// The controller's Pods that may be asked, by name, and where.
async fn controllers(task: &Task) -> Result<Vec<(String, String)>, Problem> {
    let pods = task.api().list(&PODS, task.namespace(), &selector(task, "jiva-controller")).await?;
    let asked = pods.iter().filter(|pod| jiva_controller::may_answer(pod));
    let address = |pod: &Object| (task.run.route)(pod.text("/status/podIP"), jiva_controller::PORT);
    Ok(asked.map(|pod| (pod.name().to_owned(), address(pod))).collect())
}

async fn one(task: &Task, collection: &'static Collection, component: &str) -> Result<Object, Problem> {
    let selector = selector(task, component);
    let found = task.api().list(collection, task.namespace(), &selector).await?;
    exactly_one(found, collection, task.namespace(), &selector)
}

fn selector(task: &Task, component: &str) -> String {
    format!("openebs.io/component={component},{}={}", health::VOLUME_LABEL, task.name())
}
