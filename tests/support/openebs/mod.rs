//! OpenEBS's objects as its operators would have made them: labels, versions, Deployments and all, at a given version and
//! healthy; and what its operators do to them when an upgrade is due.

mod cstor_volume;
mod jiva_volume;
mod legacy;
mod pool_cluster;
pub mod upgrade_task;
mod upgraded;
pub mod workload;

use serde_json::{Value, json};

use super::TestCluster;
use workload::Workload;

pub use upgraded::bring_to;

/// The label that says which version an object is at.
pub const VERSION: &str = "openebs.io/version";
/// The label of everything that serves one volume.
pub const VOLUME: &str = "openebs.io/persistent-volume";

/// Makes OpenEBS's objects in a cluster.
pub struct OpenEbs<'a> {
    cluster: &'a TestCluster,
}

/// `cluster`'s OpenEBS.
pub fn on(cluster: &TestCluster) -> OpenEbs<'_> {
    OpenEbs { cluster }
}

impl OpenEbs<'_> {
    /// The operators of the CSPC and CSI engines, or brings them to `version`.
    pub async fn csi_operators(&self, version: &str) {
        for (name, account) in [
            ("cspc-operator", "openebs-cstor-operator"),
            ("cvc-operator", "openebs-cstor-operator"),
            ("jiva-operator", "jiva-operator"),
        ] {
            self.operator(name, ("openebs.io/component-name", name), account, version).await;
        }
    }

    /// The operator of the legacy engines, or brings it to `version`.
    pub async fn maya_apiserver(&self, version: &str) {
        self.operator("maya-apiserver", ("name", "maya-apiserver"), "openebs-maya-operator", version).await;
    }

    async fn operator(&self, name: &str, label: (&str, &str), account: &str, version: &str) {
        self.workload(Workload {
            name,
            version,
            labels: &[label],
            service_account: account,
            containers: &[(name, &format!("openebs/{name}"))],
            ..Workload::default()
        })
        .await;
    }

    async fn workload(&self, workload: Workload<'_>) {
        self.cluster.apply(&workload.object(&self.cluster.namespace)).await;
    }

    async fn service(&self, name: &str, version: &str, labels: &[(&str, &str)]) {
        let mut labels = workload::labels(labels);
        labels[VERSION] = Value::from(version);
        self.cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": self.cluster.namespace, "labels": labels},
                "spec": {"ports": [{"name": "iscsi", "port": 3260}]}}))
            .await;
    }

    async fn persistent_volume(&self, name: &str, source: &Value) {
        let mut volume = json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {}},
            "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "openebs",
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "default",
                    "name": format!("claim-of-{name}"), "uid": "00000000-0000-0000-0000-000000000000"}}});
        if let (Value::Object(spec), Value::Object(source)) = (&mut volume["spec"], source.clone()) {
            spec.extend(source);
        }
        self.cluster.apply(&volume).await;
    }

    /// An object of one of OpenEBS's own kinds.
    async fn custom(&self, api_version: &str, kind: &str, name: &str, labels: &[(&str, &str)], rest: Value) {
        let mut object = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": self.cluster.namespace, "labels": workload::labels(labels)}});
        if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
            object.extend(rest);
        }
        self.cluster.apply(&object).await;
    }
}

/// What an operator leaves behind that has reconciled an object to `version`.
pub fn version_details(version: &str) -> Value {
    json!({"autoUpgrade": false, "desired": version, "status": {"current": version, "dependentsUpgraded": true,
        "state": "Reconciled", "message": "", "reason": "", "lastUpdateTime": null}})
}
