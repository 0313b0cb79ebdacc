//! Deployments and StatefulSets as OpenEBS makes them: the version in a label, one image for each container.

use serde_json::{Value, json};

use super::VERSION;

/// A Deployment, or a StatefulSet if it says so.
pub struct Workload<'a> {
    pub name: &'a str,
    pub version: &'a str,
    /// On itself and on its Pods, beside the version.
    pub labels: &'a [(&'a str, &'a str)],
    /// How many of the labels, from the first, select its Pods and so never change.
    pub selects: usize,
    pub service_account: &'a str,
    /// Name and image without its tag, which is the version.
    pub containers: &'a [(&'a str, &'a str)],
    /// Of every container: on the real node they share one address, and the first to listen answers.
    pub environment: &'a [(&'a str, &'a str)],
    pub replicas: u32,
    pub stateful: bool,
}

impl Default for Workload<'_> {
    fn default() -> Self {
        Self {
            name: "",
            version: "",
            labels: &[],
            selects: usize::MAX,
            service_account: "default",
            containers: &[],
            environment: &[],
            replicas: 1,
            stateful: false,
        }
    }
}

impl Workload<'_> {
    /// The object, in `namespace`.
    pub fn object(&self, namespace: &str) -> Value {
        let Self { name, version, service_account, containers, replicas, stateful, labels: own, environment, .. } =
            self;
        let selector = labels(own.get(..self.selects).unwrap_or(own));
        let mut labels = labels(own);
        labels[VERSION] = Value::from(*version);
        let mut containers: Vec<Value> = containers
            .iter()
            .map(|(container, image)| {
                json!({"name": container, "image": format!("{image}:{version}"), "imagePullPolicy": "IfNotPresent"})
            })
            .collect();
        if !environment.is_empty() {
            let environment: Value =
                environment.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
            for container in &mut containers {
                container["env"] = environment.clone();
            }
        }
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": if *stateful { "StatefulSet" } else { "Deployment" },
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"serviceAccountName": service_account, "containers": containers},
                },
            },
        });
        let spec = &mut object["spec"];
        if *stateful {
            spec["serviceName"] = "jiva-replica-svc".into();
            spec["podManagementPolicy"] = "Parallel".into();
            spec["updateStrategy"] = json!({"type": "RollingUpdate"});
        } else {
            spec["strategy"] = json!({"type": "Recreate"});
        }
        object
    }
}

/// Labels as an object.
pub fn labels(pairs: &[(&str, &str)]) -> Value {
    Value::Object(pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect())
}
