//! What is around OpenEBS's pools and volumes: namespaces, nodes, definitions, operators, and those who use volumes.

use serde_json::json;

use super::{Item, NAMESPACE, Site, USERS, Workload, labels, nodes};
use crate::openebs::control_plane::Operator;
use crate::sim::resources::Resource;
use crate::sim::rights::{ACCOUNT, ACCOUNT_NAMESPACE};
use crate::sim::upgrade::VERSION;

impl Site<'_> {
    /// The usual namespaces; the UID of kube-system is the cluster's identity.
    pub(super) fn namespaces(&mut self, identity: &str) {
        for name in ["default", "kube-system", NAMESPACE, USERS, ACCOUNT_NAMESPACE] {
            let mut namespace = json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
            if name == "kube-system" {
                namespace["metadata"]["uid"] = json!(identity);
            }
            self.put(Resource::Namespaces, "", namespace);
        }
        for (namespace, name) in [
            (ACCOUNT_NAMESPACE, ACCOUNT),
            (NAMESPACE, "fleetlift-executor"),
            (NAMESPACE, "openebs-cstor-operator"),
            (NAMESPACE, "jiva-operator"),
            (NAMESPACE, "openebs-maya-operator"),
        ] {
            self.put(Resource::ServiceAccounts, namespace, json!({"metadata": {"name": name}}));
        }
    }

    /// That many nodes, all of one architecture.
    pub(super) fn nodes(&mut self, count: u32) {
        let architecture = *self.seed.pick(&["amd64", "amd64", "arm64"]);
        for name in nodes(count) {
            let labels = json!({"kubernetes.io/hostname": name, "kubernetes.io/arch": architecture});
            let node = json!({"metadata": {"name": name, "labels": labels}, "spec": {},
                "status": {"nodeInfo": {"architecture": architecture, "operatingSystem": "linux"},
                    "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
            self.put(Resource::Nodes, "", node);
        }
    }

    /// The definitions of the kinds that the installed engines have.
    pub(super) fn definitions(&mut self, csi: bool, legacy: bool) {
        for resource in Resource::ALL.iter().copied().filter(|resource| resource.row().custom) {
            let row = resource.row();
            let of_csi = row.group == "cstor.openebs.io" || resource == Resource::JivaVolumes;
            let wanted = if resource == Resource::UpgradeTasks {
                true
            } else if of_csi {
                csi
            } else {
                legacy
            };
            if wanted {
                self.definition(resource);
            }
        }
    }

    fn definition(&mut self, resource: Resource) {
        let row = resource.row();
        let scope = if row.namespaced { "Namespaced" } else { "Cluster" };
        let definition = json!({"metadata": {"name": resource.qualified()},
            "spec": {"group": row.group, "scope": scope, "names": {"plural": row.plural, "kind": row.kind},
                "versions": [{"name": row.version, "served": true, "storage": true}]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]}});
        self.put(Resource::Definitions, "", definition);
    }

    /// The operators of the CSPC and CSI engines.
    pub(super) fn csi_operators(&mut self, version: &str) {
        self.operator(Operator::Cspc, "openebs-cstor-operator", version);
        self.operator(Operator::Cvc, "openebs-cstor-operator", version);
        self.operator(Operator::Jiva, "jiva-operator", version);
    }

    /// The operator of the legacy engines.
    pub(super) fn maya_apiserver(&mut self, version: &str) {
        self.operator(Operator::Maya, "openebs-maya-operator", version);
    }

    fn operator(&mut self, operator: Operator, account: &str, version: &str) {
        let name = operator.name();
        let image = format!("openebs/{name}");
        let own = [(operator.label(), name)];
        let containers = [(name, image.as_str())];
        self.deployment(&Workload { name, version, labels: &own, account, containers: &containers, replicas: 1 });
        let pod = format!("{name}-{}-{}", self.seed.suffix(9), self.seed.suffix(5));
        let labels = labels(&[own[0], (VERSION, version)]);
        let pod = json!({"metadata": {"name": pod, "labels": labels},
            "spec": {"nodeName": "node-1", "serviceAccountName": account, "restartPolicy": "Always",
                "containers": [{"name": name, "image": format!("{image}:{version}")}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        self.put(Resource::Pods, NAMESPACE, pod);
    }

    /// The PersistentVolume of a volume and its claim; and the Pod that uses it, if one does.
    pub(super) fn persistent_volume(&mut self, item: &Item, mut volume: serde_json::Value) {
        let (name, claim) = (item.name.as_str(), format!("claim-of-{}", item.name));
        volume["metadata"]["name"] = json!(name);
        let spec = &mut volume["spec"];
        spec["capacity"] = json!({"storage": "5Gi"});
        spec["accessModes"] = json!(["ReadWriteOnce"]);
        spec["claimRef"] = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": USERS,
            "name": claim});
        let by_csi = !spec["csi"].is_null();
        volume["status"] = json!({"phase": "Bound"});
        self.put(Resource::PersistentVolumes, "", volume);
        self.put(
            Resource::PersistentVolumeClaims,
            USERS,
            json!({"metadata": {"name": claim}, "spec": {"volumeName": name, "accessModes": ["ReadWriteOnce"]},
                "status": {"phase": "Bound"}}),
        );
        if item.used {
            let pod = json!({"metadata": {"name": format!("user-of-{name}"), "labels": {"app": "shop"}},
                "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "shop:1"}],
                    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
            self.put(Resource::Pods, USERS, pod);
        }
        if item.used && by_csi {
            let attachment = json!({"metadata": {"name": format!("csi-{}", self.seed.suffix(20))},
                "spec": {"attacher": "openebs", "nodeName": "node-1", "source": {"persistentVolumeName": name}},
                "status": {"attached": true}});
            self.put(Resource::VolumeAttachments, "", attachment);
        }
    }
}
