//! The edge manifest, as a cluster's owner would apply it, with the test's own namespaces.

use fleetlift::cluster::manifest::Manifest;
use kube::Client;
use serde_json::Value;

use super::cluster::apply;

/// The documents of a YAML file.
pub fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).expect("our manifests are YAML")
}

/// Applies what `manifest` says.
pub async fn apply_manifest(client: &Client, manifest: Manifest<'_>) {
    for mut document in documents(&manifest.yaml()) {
        // What has no namespace is told apart by name, since several test clusters share a control plane.
        let kind = document["kind"].as_str().unwrap_or_default();
        if matches!(kind, "ClusterRoleBinding" | "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding") {
            let mine =
                |name: &Value| Value::from(format!("{}-{}", name.as_str().unwrap_or_default(), manifest.openebs));
            document["metadata"]["name"] = mine(&document["metadata"]["name"]);
            if let Some(policy) = document.pointer_mut("/spec/policyName") {
                *policy = mine(policy);
            }
        }
        apply(client, &document).await;
    }
}
