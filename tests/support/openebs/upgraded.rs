//! What executors and operators together do to a resource: everything of it at another version.

use fleetlift::domain::{ResourceKind, ResourceRef};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{VERSION, VOLUME, version_details};
use crate::support::TestCluster;

const CSTOR: &str = "cstor.openebs.io/v1";
const V1ALPHA1: &str = "openebs.io/v1alpha1";

/// Brings the resource to `version`: labels, `versionDetails`, images. Its Deployments then roll out if the node lets
/// them.
pub async fn bring_to(cluster: &TestCluster, resource: &ResourceRef, version: &str) {
    let name = resource.name.as_str();
    let of_volume = format!("{VOLUME}={name}");
    let up = Upgrade { cluster, version };
    match resource.kind {
        ResourceKind::CstorPoolInstance => {
            up.workloads("Deployment", &format!("openebs.io/cstor-pool-instance={name}")).await;
            up.custom(CSTOR, "CStorPoolInstance", name).await;
        }
        ResourceKind::CstorPoolCluster => up.custom(CSTOR, "CStorPoolCluster", name).await,
        ResourceKind::CstorPool => {
            up.workloads("Deployment", &format!("openebs.io/cstor-pool={name}")).await;
            up.custom(V1ALPHA1, "CStorPool", name).await;
        }
        ResourceKind::StoragePoolClaim => up.custom(V1ALPHA1, "StoragePoolClaim", name).await,
        ResourceKind::CstorVolume => {
            up.all(CSTOR, "CStorVolumeReplica", &of_volume).await;
            up.workloads("Deployment", &of_volume).await;
            up.services(&of_volume).await;
            up.custom(CSTOR, "CStorVolume", name).await;
            up.custom(CSTOR, "CStorVolumeConfig", name).await;
        }
        ResourceKind::LegacyCstorVolume => {
            up.all(V1ALPHA1, "CStorVolumeReplica", &of_volume).await;
            up.workloads("Deployment", &of_volume).await;
            up.services(&of_volume).await;
            up.custom(V1ALPHA1, "CStorVolume", name).await;
        }
        ResourceKind::JivaVolume => {
            up.workloads("StatefulSet", &of_volume).await;
            up.workloads("Deployment", &of_volume).await;
            up.services(&of_volume).await;
            up.custom("openebs.io/v1", "JivaVolume", name).await;
        }
        ResourceKind::LegacyJivaVolume => {
            up.workloads("Deployment", &of_volume).await;
            up.services(&of_volume).await;
        }
    }
}

struct Upgrade<'a> {
    cluster: &'a TestCluster,
    version: &'a str,
}

impl Upgrade<'_> {
    async fn custom(&self, api_version: &str, kind: &str, name: &str) {
        let patch = json!({"metadata": {"labels": {VERSION: self.version}},
            "versionDetails": version_details(self.version)});
        self.patch(api_version, kind, name, &patch).await;
    }

    async fn all(&self, api_version: &str, kind: &str, selector: &str) {
        for name in self.names(api_version, kind, selector).await {
            self.custom(api_version, kind, &name).await;
        }
    }

    async fn services(&self, selector: &str) {
        for name in self.names("v1", "Service", selector).await {
            self.patch("v1", "Service", &name, &json!({"metadata": {"labels": {VERSION: self.version}}})).await;
        }
    }

    /// Labels on the object and its Pods, and the tag of every image.
    async fn workloads(&self, kind: &str, selector: &str) {
        for name in self.names("apps/v1", kind, selector).await {
            let seen = self.cluster.get("apps/v1", kind, &name).await.expect("it was listed just now");
            let mut containers = seen["spec"]["template"]["spec"]["containers"].clone();
            for container in containers.as_array_mut().into_iter().flatten() {
                let image = container["image"].as_str().unwrap_or_default();
                let path = image.rsplit_once(':').map_or(image, |(path, _)| path);
                container["image"] = Value::from(format!("{path}:{}", self.version));
            }
            let labels = json!({VERSION: self.version});
            let patch = json!({"metadata": {"labels": labels},
                "spec": {"template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}}});
            self.patch("apps/v1", kind, &name, &patch).await;
        }
    }

    async fn names(&self, api_version: &str, kind: &str, selector: &str) -> Vec<String> {
        let own = ListParams::default().labels(selector);
        let found = self.cluster.kind(api_version, kind).list(&own).await.expect("it can be listed");
        found.items.into_iter().filter_map(|item| item.metadata.name).collect()
    }

    async fn patch(&self, api_version: &str, kind: &str, name: &str, patch: &Value) {
        let mut example = json!({"apiVersion": api_version, "kind": kind});
        if !matches!(kind, "CStorPool" | "StoragePoolClaim") {
            example["metadata"] = json!({"namespace": self.cluster.namespace});
        }
        let patched = self.cluster.like(&example).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.unwrap_or_else(|error| panic!("{kind} {name} can be patched: {error}"));
    }
}
