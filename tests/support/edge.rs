//! The manifests under `deploy/edge`, as a cluster's owner would apply them, with the test's own namespaces.

use kube::Client;
use serde_json::Value;

use super::cluster::apply;

/// The documents of a YAML file.
pub fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).expect("our manifests are YAML")
}

/// Applies the hub's account and rights and the executor's, for OpenEBS in `openebs` and the hub's account in `account`.
pub async fn apply_rights(client: &Client, openebs: &str, account: &str) {
    let manifests =
        [include_str!("../../deploy/edge/hub.yaml"), include_str!("../../deploy/edge/executor.yaml")].map(documents);
    for mut document in manifests.into_iter().flatten() {
        rename(&mut document, openebs, account);
        apply(client, &document).await;
    }
}

fn rename(document: &mut Value, openebs: &str, account: &str) {
    let renamed = |name: &Value| match name.as_str() {
        Some("openebs") => Value::from(openebs),
        Some("fleetlift") => Value::from(account),
        _ => name.clone(),
    };
    match document["kind"].as_str() {
        Some("Namespace") => document["metadata"]["name"] = renamed(&document["metadata"]["name"]),
        // Bindings of several test clusters live side by side in one control plane.
        Some("ClusterRoleBinding") => {
            let name = document["metadata"]["name"].as_str().unwrap_or_default();
            document["metadata"]["name"] = Value::from(format!("{name}-{openebs}"));
        }
        _ => {}
    }
    if document["metadata"]["namespace"].is_string() {
        document["metadata"]["namespace"] = renamed(&document["metadata"]["namespace"]);
    }
    let subjects = document.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        subject["namespace"] = renamed(&subject["namespace"]);
    }
}
