//! Deployments and StatefulSets: new images and labels in one patch, and the rollout that follows from it.
//!
//! The label `openebs.io/version` moves in the same patch as the images, so a workload is never half patched. But the
//! label says nothing about the rollout: that is always waited for, also by an attempt that found the patch done.

use serde_json::{Value, json};

use super::api::Merge;
use super::image::{self, Architecture};
use super::object::{DEPLOYMENTS, Object, PODS, Place, VERSION_LABEL, text};
use super::order::{At, Images, Versions};
use super::patch::differing;
use super::problem::{During, Problem};
use super::task::{Look, Task};

/// What shall change on a workload besides its version label and images.
#[derive(Debug, Default)]
pub struct Change<'a> {
    /// The containers whose images are OpenEBS's; none named means all of them.
    pub containers: &'a [&'a str],
    /// What becomes of `-amd64` in their images' names.
    pub architecture: Architecture,
    /// Further members of the wanted object, by era and kind.
    pub more: Value,
}

/// The patch that brings `workload` to the target version, or `None` if it is there.
pub fn plan(
    workload: &Object,
    versions: &Versions,
    images: &Images,
    change: &Change<'_>,
) -> Result<Option<Value>, Problem> {
    let label = match located(workload, versions)? {
        At::To if rolled_out(workload)? == Rollout::Done => return Ok(None),
        At::To => workload.label(VERSION_LABEL).to_owned(),
        _ => versions.to.to_string(),
    };
    let mut containers = Vec::new();
    for container in workload.list("/spec/template/spec/containers") {
        let name = text(container, "/name");
        if change.containers.is_empty() || change.containers.contains(&name) {
            let image = image::rewrite(text(container, "/image"), images, change.architecture).map_err(|why| {
                Problem::on(&workload.place, format!("container {name}: {why}"), "an image with a name and a tag")
            })?;
            containers.push(json!({"name": name, "image": image}));
        }
    }
    // Releases before 1.0 put the version into the selector, which nobody can change any more: the Pods keep that label.
    let selects = workload.body.pointer("/spec/selector/matchLabels").and_then(|labels| labels.get(VERSION_LABEL));
    let pods = if selects.is_some() { json!({}) } else { json!({VERSION_LABEL: label}) };
    let mut wanted = json!({
        "metadata": {"labels": {VERSION_LABEL: label}},
        "spec": {"template": {
            "metadata": {"labels": pods},
            "spec": {"containers": containers},
        }},
    });
    overlay(&mut wanted, &change.more);
    // What all volumes of a release get is said of containers that not each of them has (an exporter can be left out).
    if let Some(containers) = wanted.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut) {
        let present = workload.list("/spec/template/spec/containers");
        containers.retain(|one| present.iter().any(|other| other.get("name") == one.get("name")));
    }
    Ok(differing(&wanted, &workload.body, Merge::Strategic))
}

/// Brings the workload to the target version and waits until it is rolled out.
pub async fn upgrade(task: &Task, place: &Place, change: &Change<'_>) -> Result<(), Problem> {
    task.bring(place, Merge::Strategic, |seen| plan(seen, task.versions(), task.images(), change)).await?;
    wait_rolled_out(task, place).await
}

/// Waits until the workload is rolled out at its generation.
pub async fn wait_rolled_out(task: &Task, place: &Place) -> Result<(), Problem> {
    task.wait(place, "all Pods updated and available", async || {
        let seen = task.api().get(place).await?;
        match rolled_out(&seen)? {
            Rollout::Done => Ok(Look::Ready(())),
            Rollout::NotYet(why) => Ok(Look::NotYet(with_trouble(task, &seen, why).await)),
        }
    })
    .await
}

/// Where the workload's label stands; neither `from` nor `to` is a problem.
pub fn located(workload: &Object, versions: &Versions) -> Result<At, Problem> {
    let label = workload.label(VERSION_LABEL);
    match versions.locate(label) {
        at @ (At::From | At::To) => Ok(at),
        At::Unset | At::Elsewhere => Err(drifted(&workload.place, &format!("label {VERSION_LABEL}"), label, versions)),
    }
}

/// The workload is meant to run: one that somebody scaled to 0 would be waited for in vain.
pub fn check_runs(workload: &Object) -> Result<(), Problem> {
    if workload.number("/spec/replicas") != Some(0) {
        return Ok(());
    }
    let Place { collection, namespace, name } = &workload.place;
    Err(Problem::on(&workload.place, "it is scaled to 0, so no Pod of it runs", "it runs").remedy(format!(
        "find out who stopped it and why; `kubectl -n {namespace} scale {} {name} --replicas=N` starts it again, and \
         the upgrade after it is healthy",
        collection.kind.to_lowercase()
    )))
}

/// Something is at neither version.
pub fn drifted(place: &Place, field: &str, seen: &str, versions: &Versions) -> Problem {
    let Versions { from, to } = versions;
    let seen = if seen.is_empty() { format!("{field} is not set") } else { format!("{field} is {seen}") };
    Problem::on(place, seen, format!("{from} or {to}"))
        .remedy(format!("upgrade it to {from} first, or name the version that it really has as fromVersion"))
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// All Pods are of the present generation, and available.
    Done,
    /// What is missing.
    NotYet(String),
}

/// How far the rollout of a Deployment or StatefulSet is, by its own status.
pub fn rolled_out(workload: &Object) -> Result<Rollout, Problem> {
    let generation = workload.number("/metadata/generation").unwrap_or(0);
    let observed = workload.number("/status/observedGeneration").unwrap_or(0);
    if observed < generation {
        return Ok(Rollout::NotYet(format!("its controller has seen generation {observed} of {generation}")));
    }
    let wanted = workload.number("/spec/replicas").unwrap_or(1);
    if wanted == 0 {
        return Ok(Rollout::NotYet("it is scaled to 0, so no Pod of it runs".to_owned()));
    }
    if *workload.place.collection == DEPLOYMENTS {
        return Ok(deployment(workload, wanted));
    }
    if !matches!(workload.text("/spec/updateStrategy/type"), "" | "RollingUpdate") {
        let strategy = workload.text("/spec/updateStrategy/type").to_owned();
        return Err(Problem::on(&workload.place, format!("its update strategy is {strategy}"), "RollingUpdate")
            .remedy("set spec.updateStrategy.type to RollingUpdate: with any other its Pods keep the old images"));
    }
    Ok(stateful_set(workload, wanted))
}

fn deployment(workload: &Object, wanted: i64) -> Rollout {
    let count = |field: &str| workload.number(field).unwrap_or(0);
    let (updated, all) = (count("/status/updatedReplicas"), count("/status/replicas"));
    let available = count("/status/availableReplicas");
    if updated >= wanted && all <= updated && available >= updated {
        return Rollout::Done;
    }
    let mut why = format!("{updated} of {wanted} Pods updated, {available} available");
    if all > updated {
        why = format!("{why}, {} old ones left", all - updated);
    }
    // Slow nodes pass this mark and still get there: it is told, and our own deadline decides.
    let overdue = workload.list("/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "Progressing" && text(condition, "/reason") == "ProgressDeadlineExceeded"
    });
    if overdue {
        why.push_str(", its progress deadline is exceeded");
    }
    Rollout::NotYet(why)
}

/// All Pods must be new: those that a partition keeps have the old images.
pub(super) fn stateful_set(workload: &Object, wanted: i64) -> Rollout {
    let count = |field: &str| workload.number(field).unwrap_or(0);
    let (updated, ready) = (count("/status/updatedReplicas"), count("/status/readyReplicas"));
    let revisions_agree = workload.text("/status/updateRevision").is_empty()
        || workload.text("/status/updateRevision") == workload.text("/status/currentRevision");
    if ready >= wanted && updated >= wanted && revisions_agree {
        return Rollout::Done;
    }
    Rollout::NotYet(format!("{updated} of {wanted} Pods updated, {ready} of {wanted} ready"))
}

/// `why`, and what keeps its Pods, if that can be seen.
pub(super) async fn with_trouble(task: &Task, workload: &Object, why: String) -> String {
    match pods_trouble(task, workload).await {
        Some(trouble) => format!("{why}; {trouble}"),
        None => why,
    }
}

/// What keeps the workload's Pods, in a few words; looking is best effort, for the words only.
async fn pods_trouble(task: &Task, workload: &Object) -> Option<String> {
    let labels = workload.body.pointer("/spec/selector/matchLabels")?.as_object()?;
    let selector: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let pods = task.api().list(&PODS, &workload.place.namespace, &selector.join(",")).await.ok()?;
    trouble_among(&pods, &workload.place)
}

/// Of the workload's own Pods: all pools of a namespace are selected alike, and so are the replicas of a legacy Jiva
/// volume.
fn trouble_among(pods: &[Object], workload: &Place) -> Option<String> {
    pods.iter().filter(|pod| owner(pod).is_some_and(|name| name == workload.name)).find_map(pod_trouble)
}

/// The Deployment or StatefulSet that a Pod belongs to. A Deployment's ReplicaSet is called like it, with the hash of the
/// template behind.
pub(super) fn owner(pod: &Object) -> Option<&str> {
    let owners = pod.list("/metadata/ownerReferences");
    let of_kind =
        |kind: &str| owners.iter().find(|owner| text(owner, "/kind") == kind).map(|owner| text(owner, "/name"));
    let of_deployment = || {
        let hash = pod.label("pod-template-hash");
        of_kind("ReplicaSet")?.strip_suffix(hash)?.strip_suffix('-').filter(|_| !hash.is_empty())
    };
    of_kind("StatefulSet").or_else(of_deployment)
}

fn pod_trouble(pod: &Object) -> Option<String> {
    let unscheduled = pod
        .list("/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == "PodScheduled" && text(condition, "/status") == "False");
    if let Some(condition) = unscheduled {
        return Some(format!("Pod {} is not scheduled: {}", pod.name(), text(condition, "/message")));
    }
    let waiting = pod.list("/status/containerStatuses").iter().find(|container| {
        !matches!(text(container, "/state/waiting/reason"), "" | "ContainerCreating" | "PodInitializing")
    })?;
    let (reason, message) = (text(waiting, "/state/waiting/reason"), text(waiting, "/state/waiting/message"));
    let message: String = message.chars().take(200).collect();
    Some(format!("Pod {}, container {}: {reason} {message}", pod.name(), text(waiting, "/name")).trim_end().to_owned())
}

/// Sets the version label of an object that has nothing else to upgrade (Services).
pub async fn relabel(task: &Task, place: &Place) -> Result<(), Problem> {
    let versions = task.versions();
    task.bring(place, Merge::Strategic, |seen| {
        Ok((located(seen, versions)? == At::From)
            .then(|| json!({"metadata": {"labels": {VERSION_LABEL: versions.to.to_string()}}})))
    })
    .await
    .map(|_| ())
    .during("failed to patch target svc")
}

fn overlay(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                overlay(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        // Elements of the same name complete each other: an image from here, a probe from there.
        (Value::Array(base), Value::Array(more)) => {
            for element in more {
                match base.iter_mut().find(|other| other.get("name") == element.get("name")) {
                    Some(same) => overlay(same, element),
                    None => base.push(element.clone()),
                }
            }
        }
        (_, Value::Null) => {}
        (base, more) => *base = more.clone(),
    }
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
