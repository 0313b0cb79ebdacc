//! The node: starts Pods, runs what is in them, and stops them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::behaviour::UpgradeTrouble;
use super::claims;
use super::cluster::Cluster;
use super::executor;
use super::object::{Key, member, set_condition, text};
use super::store::{Deletion, Store};
use crate::domain::Timestamp;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Its exit code.
    pub code: i32,
    /// Its last words; empty for none.
    pub message: String,
}

/// Starts the Pod at `key` on a node, if it still waits for that.
pub(super) fn start(cluster: &Arc<Cluster>, key: &Key) {
    let started = cluster.with(false, |store, now| {
        let pod = store.get(key).filter(|pod| !pod.terminating).cloned()?;
        let value = pod.value();
        if text(&value["status"], "phase") != "Pending" {
            return None;
        }
        store.change(key, |pod| {
            member(pod, "spec").entry("nodeName").or_insert_with(|| Value::from(node()));
            run(pod, now);
        });
        Some((pod.uid.to_string(), value))
    });
    if let Some((uid, pod)) = started {
        let killed = cluster.begin_process(&uid);
        let process = executor::Process::new(Arc::clone(cluster), key.clone(), uid, pod, killed);
        cluster.world.tasks.spawn(process.run());
    }
}

/// The node on which everything runs that has no other.
pub const fn node() -> &'static str {
    "node-1"
}

/// Kills what runs in the Pod at `key` and lets it go, if it is being deleted.
pub(super) fn stop(cluster: &Arc<Cluster>, key: &Key) {
    let uid = cluster.with(false, |store, _| store.get(key).filter(|pod| pod.terminating).map(|pod| pod.uid.clone()));
    let Some(uid) = uid else { return };
    cluster.kill_process(&uid);
    cluster.with(false, |store, now| {
        end(store, key, &Ending { code: 143, message: String::new() }, now);
        let at_once = Deletion { uid: Some(uid.to_string()), grace: Some(0), ..Deletion::default() };
        // Gone already is as good.
        let _ = store.delete(key, &at_once, now);
    });
}

/// Gives the Pod at `key` its end, if it has none yet.
pub(super) fn end(store: &mut Store, key: &Key, ending: &Ending, now: Timestamp) {
    store.change(key, |pod| {
        if matches!(text(&pod["status"], "phase"), "Succeeded" | "Failed") {
            return;
        }
        let at = now.to_string();
        let (phase, reason) = if ending.code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
        let mut terminated = json!({"exitCode": ending.code, "reason": reason, "startedAt": at, "finishedAt": at});
        if !ending.message.is_empty() {
            terminated["message"] = Value::from(ending.message.as_str());
        }
        let statuses = containers(pod, false, &json!({"terminated": terminated}));
        let status = member(pod, "status");
        status.insert("phase".to_owned(), json!(phase));
        status.insert("containerStatuses".to_owned(), statuses);
        for condition in ["Ready", "ContainersReady"] {
            set_condition(pod, condition, "False", "PodCompleted", "", &at);
        }
    });
}

fn run(pod: &mut Value, now: Timestamp) {
    let at = now.to_string();
    let statuses = containers(pod, true, &json!({"running": {"startedAt": at}}));
    let status = member(pod, "status");
    status.insert("phase".to_owned(), json!("Running"));
    status.insert("startTime".to_owned(), json!(at));
    status.insert("podIP".to_owned(), json!("10.0.0.1"));
    status.insert("hostIP".to_owned(), json!("10.0.0.254"));
    status.insert("containerStatuses".to_owned(), statuses);
    for condition in ["PodScheduled", "Initialized", "ContainersReady", "Ready"] {
        set_condition(pod, condition, "True", "", "", &at);
    }
}

fn containers(pod: &Value, ready: bool, state: &Value) -> Value {
    let own = pod["spec"]["containers"].as_array().into_iter().flatten();
    own.map(|container| {
        json!({"name": container["name"], "image": container["image"], "imageID": "sha256:0", "ready": ready,
            "restartCount": 0, "started": ready, "state": state, "lastState": {}})
    })
    .collect()
}

/// Whether the operator that looks after the object at `key` refuses other versions, by the cluster's plan.
pub(super) fn refuses(cluster: &Arc<Cluster>, key: &Key) -> bool {
    let behaviour = cluster.behaviour();
    let refusals = behaviour.upgrades.iter().filter(|fault| fault.what == UpgradeTrouble::Refused);
    let about = |name: &Option<String>| name.as_ref().is_none_or(|name| key.name.contains(name.as_str()));
    refusals.filter(|fault| about(&fault.name)).any(|fault| claims::kind_fits(fault.kind.as_deref(), key.resource))
}
