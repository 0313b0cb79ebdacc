//! OpenEBS's objects as its operators would have made them: labels, versions, Deployments and all, at a given version and
//! healthy; and what its operators do to them when an upgrade is due.

mod cstor_volume;
mod jiva_volume;
mod legacy;
mod pool_cluster;
pub mod released;
pub mod upgrade_task;
mod upgraded;
pub mod workload;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::{TestCluster, until};
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
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": self.cluster.claims_namespace,
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

/// Waits until everything in OpenEBS's namespace is rolled out at its generation, which takes a [`super::Node`].
pub async fn all_rolled_out(cluster: &TestCluster) {
    let deployments: Api<Deployment> = cluster.api();
    let sets: Api<StatefulSet> = cluster.api();
    until("every Deployment and StatefulSet is rolled out", || async {
        let deployments = deployments.list(&ListParams::default()).await.expect("they can be listed").items;
        let sets = sets.list(&ListParams::default()).await.expect("they can be listed").items;
        let done = deployments.iter().all(deployment_is_rolled_out) && sets.iter().all(set_is_rolled_out);
        done.then_some(())
    })
    .await;
}

fn deployment_is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == wanted
            && status.replicas == wanted
            && status.available_replicas == wanted
    })
}

fn set_is_rolled_out(set: &StatefulSet) -> bool {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
    set.status.as_ref().is_some_and(|status| {
        status.observed_generation == set.metadata.generation
            && status.ready_replicas == wanted
            && status.current_revision == status.update_revision
    })
}

/// What an operator leaves behind that has reconciled an object to `version`.
pub fn version_details(version: &str) -> Value {
    json!({"autoUpgrade": false, "desired": version, "status": {"current": version, "dependentsUpgraded": true,
        "state": "Reconciled", "message": "", "reason": "", "lastUpdateTime": null}})
}
