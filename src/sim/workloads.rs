//! The controllers of Deployments and StatefulSets, as far as an upgrade can see them: a change is observed at once, and
//! rolled out after a while.

use serde_json::{Value, json};

use super::object::{Key, member, number, text};
use super::resources::Resource;
use super::seed::Seed;
use super::store::Store;

/// Whether a rollout of the object at `key` is due.
pub fn is_behind(store: &Store, key: &Key) -> bool {
    let Some(object) = store.get(key) else { return false };
    let value = object.value();
    let observed = number(&value, "/status/observedGeneration");
    observed < number(&value, "/metadata/generation") || !is_rolled_out(&value)
}

/// Whether a Deployment or StatefulSet is rolled out at its generation.
pub fn is_rolled_out(value: &Value) -> bool {
    let wanted = number(value, "/spec/replicas");
    let at = |field: &str| number(value, &format!("/status/{field}"));
    at("observedGeneration") >= number(value, "/metadata/generation")
        && at("updatedReplicas") >= wanted
        && at("replicas") == wanted
        && at("readyReplicas") >= wanted
}

/// The change was seen; the old Pods are being replaced.
pub fn begin(store: &mut Store, key: &Key) {
    store.change(key, |value| {
        let generation = number(value, "/metadata/generation");
        if number(value, "/status/observedGeneration") >= generation {
            return;
        }
        let revision = revision(value);
        let (replicas, stateful) = (number(value, "/spec/replicas"), key.resource == Resource::StatefulSets);
        let status = member(value, "status");
        status.insert("observedGeneration".to_owned(), json!(generation));
        // A Deployment of OpenEBS's stops its only Pod before it starts the new one; a StatefulSet goes one by one.
        let left = if stateful { replicas } else { 0 };
        for (field, count) in [
            ("replicas", left),
            ("updatedReplicas", 0),
            ("readyReplicas", (left - 1).max(0)),
            ("availableReplicas", (left - 1).max(0)),
        ] {
            status.insert(field.to_owned(), json!(count));
        }
        if stateful {
            status.insert("updateRevision".to_owned(), json!(revision));
        }
    });
}

/// All Pods are new and ready.
pub fn finish(store: &mut Store, key: &Key) {
    store.change(key, |value| settle(key.resource, value));
}

/// Gives `value` the status of one that is rolled out.
pub fn settle(resource: Resource, value: &mut Value) {
    let revision = revision(value);
    let generation = number(value, "/metadata/generation").max(1);
    let replicas = number(value, "/spec/replicas");
    let mut status = json!({"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas});
    if resource == Resource::StatefulSets {
        status["currentReplicas"] = json!(replicas);
        status["currentRevision"] = json!(revision);
        status["updateRevision"] = json!(revision);
    } else {
        status["conditions"] = json!([
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
    }
    value["status"] = status;
}

/// Another template, another revision.
fn revision(value: &Value) -> String {
    let template = value["spec"]["template"].to_string();
    format!("{}-{}", text(&value["metadata"], "name"), Seed::new(0).branch(&template).suffix(10))
}
