//! What the external provisioner made: storage pool claims with pools (both cluster-wide), cStor and Jiva volumes.

use serde_json::json;

use super::workload::Workload;
use super::{OpenEbs, VERSION, VOLUME, version_details};
use crate::support::openebs::workload::labels;

const V1ALPHA1: &str = "openebs.io/v1alpha1";

impl OpenEbs<'_> {
    /// A storage pool claim with the pools `<name>-<node>`, all at `version`. Its kinds are cluster-wide: a test that
    /// uses them has a control plane of its own.
    pub async fn storage_pool_claim(&self, name: &str, version: &str, nodes: &[&str]) {
        self.cluster
            .apply(&json!({"apiVersion": V1ALPHA1, "kind": "StoragePoolClaim",
                "metadata": {"name": name},
                "spec": {"name": name, "type": "disk", "poolSpec": {"poolType": "striped"}},
                "status": {"phase": "Online"}, "versionDetails": version_details(version)}))
            .await;
        for node in nodes {
            self.pool(name, &format!("{name}-{node}"), node, version).await;
        }
    }

    async fn pool(&self, claim: &str, name: &str, node: &str, version: &str) {
        let own = [
            ("kubernetes.io/hostname", node),
            ("openebs.io/cas-type", "cstor"),
            ("openebs.io/storage-pool-claim", claim),
            (VERSION, version),
        ];
        self.cluster
            .apply(
                &json!({"apiVersion": V1ALPHA1, "kind": "CStorPool", "metadata": {"name": name, "labels": labels(&own)},
                "spec": {"poolSpec": {"poolType": "striped", "roThresholdLimit": 85}},
                "status": {"phase": "Healthy", "readOnly": false}, "versionDetails": version_details(version)}),
            )
            .await;
        self.workload(Workload {
            name,
            version,
            labels: &[("app", "cstor-pool"), ("openebs.io/cstor-pool", name), ("openebs.io/storage-pool-claim", claim)],
            // All pools of a namespace are selected alike.
            selects: 1,
            service_account: "openebs-maya-operator",
            containers: &[
                ("cstor-pool", "quay.io/openebs/cstor-pool"),
                ("cstor-pool-mgmt", "quay.io/openebs/cstor-pool-mgmt"),
                ("maya-exporter", "quay.io/openebs/m-exporter"),
            ],
            ..Workload::default()
        })
        .await;
    }

    /// A cStor volume of the external provisioner, in OpenEBS's namespace.
    pub async fn legacy_cstor_volume(&self, name: &str, version: &str, pools: &[&str]) {
        self.legacy_cstor_volume_in(&self.cluster.namespace, name, version, pools).await;
    }

    /// The same with its volume, target and Service in `home`; the replicas stay with their pools.
    pub async fn legacy_cstor_volume_in(&self, home: &str, name: &str, version: &str, pools: &[&str]) {
        let count = pools.len();
        self.legacy_volume(name, "cstor").await;
        let in_home =
            |name: &str, own: &[(&str, &str)]| json!({"name": name, "namespace": home, "labels": labels(own)});
        self.cluster
            .apply(&json!({"apiVersion": V1ALPHA1, "kind": "CStorVolume",
                "metadata": in_home(name, &[(VOLUME, name), (VERSION, version)]),
                "spec": {"capacity": "5G", "replicationFactor": count, "consistencyFactor": count / 2 + 1,
                    "desiredReplicationFactor": count},
                "status": {"phase": "Healthy"}, "versionDetails": version_details(version)}))
            .await;
        for pool in pools {
            let labels = [("cstorpool.openebs.io/name", *pool), (VOLUME, name), (VERSION, version)];
            let rest = json!({"spec": {"capacity": "5G"}, "status": {"phase": "Healthy"},
                "versionDetails": version_details(version)});
            self.custom(V1ALPHA1, "CStorVolumeReplica", &format!("{name}-{pool}"), &labels, rest).await;
        }
        let target = format!("{name}-target");
        let target = Workload {
            name: &target,
            version,
            labels: &[("app", "cstor-volume-manager"), ("openebs.io/target", "cstor-target"), (VOLUME, name)],
            // As in its claim's namespace, which has no other.
            service_account: if home == self.cluster.namespace { "openebs-maya-operator" } else { "default" },
            containers: &[
                ("cstor-istgt", "quay.io/openebs/cstor-istgt"),
                ("maya-volume-exporter", "quay.io/openebs/m-exporter"),
                ("cstor-volume-mgmt", "quay.io/openebs/cstor-volume-mgmt"),
            ],
            ..Workload::default()
        };
        self.cluster.apply(&target.object(home)).await;
        let own = [("openebs.io/target-service", "cstor-target-svc"), (VOLUME, name), (VERSION, version)];
        self.cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": in_home(name, &own),
                "spec": {"ports": [{"name": "iscsi", "port": 3260}]}}))
            .await;
    }

    /// A Jiva volume of the external provisioner, in OpenEBS's namespace: Deployments and a Service, nothing else.
    pub async fn legacy_jiva_volume(&self, name: &str, version: &str, replicas: u32) {
        self.legacy_volume(name, "jiva").await;
        let controller = format!("{name}-ctrl");
        self.workload(Workload {
            name: &controller,
            version,
            labels: &[("openebs.io/controller", "jiva-controller"), (VOLUME, name), ("openebs.io/cas-type", "jiva")],
            selects: 2,
            service_account: "openebs-maya-operator",
            containers: &[
                ("pvc-ctrl-con", "quay.io/openebs/jiva"),
                ("maya-volume-exporter", "quay.io/openebs/m-exporter"),
            ],
            environment: &[("REPLICATION_FACTOR", &replicas.to_string())],
            ..Workload::default()
        })
        .await;
        for number in 1..=replicas {
            let replica = format!("{name}-rep-{number}");
            self.workload(Workload {
                name: &replica,
                version,
                // The replicas of a volume differ in name and node only.
                labels: &[("openebs.io/replica", "jiva-replica"), (VOLUME, name), ("openebs.io/cas-type", "jiva")],
                selects: 2,
                service_account: "openebs-maya-operator",
                containers: &[("pvc-rep-con", "quay.io/openebs/jiva")],
                ..Workload::default()
            })
            .await;
        }
        let service = format!("{name}-ctrl-svc");
        self.service(&service, version, &[("openebs.io/controller-service", "jiva-controller-svc"), (VOLUME, name)])
            .await;
    }

    /// A Jiva volume as releases before 1.9 made it in `namespace`: one Deployment for the replicas on all `nodes`.
    pub async fn jiva_volume_to_split(&self, name: &str, version: &str, nodes: &[&str], namespace: &str) {
        let service = format!("{name}-ctrl-svc");
        self.cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": service, "namespace": namespace, "labels": labels(&[
                    ("openebs.io/controller-service", "jiva-controller-svc"), (VOLUME, name), (VERSION, version)])},
                "spec": {"selector": labels(&[("openebs.io/controller", "jiva-controller"), (VOLUME, name)]),
                    "ports": [{"name": "iscsi", "port": 3260}, {"name": "api", "port": 9501}]}}))
            .await;
        let there = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace}});
        let made = self.cluster.like(&there).get(&service).await.expect("it was made just now");
        let address = made.data["spec"]["clusterIP"].as_str().expect("it was given an address").to_owned();
        self.legacy_volume_at(name, "jiva", &address).await;
        let controller = format!("{name}-ctrl");
        let container = format!("{name}-ctrl-con");
        let mut controller = Workload {
            name: &controller,
            version,
            labels: &[("openebs.io/controller", "jiva-controller"), (VOLUME, name)],
            containers: &[
                (container.as_str(), "quay.io/openebs/jiva"),
                ("maya-volume-exporter", "quay.io/openebs/m-exporter"),
            ],
            ..Workload::default()
        }
        .object(namespace);
        let pod = &mut controller["spec"]["template"]["spec"];
        pod["containers"][0]["env"] = json!([{"name": "REPLICATION_FACTOR", "value": nodes.len().to_string()}]);
        pod["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
            "labelSelector": {"matchLabels": {"openebs.io/target-affinity": "shop"}},
            "topologyKey": "kubernetes.io/hostname"}]}});
        self.cluster.apply(&controller).await;
        let replicas = format!("{name}-rep");
        let container = format!("{name}-rep-con");
        let mut replicas = Workload {
            name: &replicas,
            version,
            labels: &[("openebs.io/replica", "jiva-replica"), (VOLUME, name)],
            containers: &[(container.as_str(), "quay.io/openebs/jiva")],
            replicas: u32::try_from(nodes.len()).expect("a few"),
            ..Workload::default()
        }
        .object(namespace);
        let pod = &mut replicas["spec"]["template"]["spec"];
        pod["containers"][0]["volumeMounts"] = json!([{"name": "openebs", "mountPath": "/openebs"}]);
        pod["volumes"] = json!([{"name": "openebs", "hostPath": {"path": format!("/var/openebs/{name}")}}]);
        pod["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}]}]}}});
        self.cluster.apply(&replicas).await;
    }

    async fn legacy_volume(&self, name: &str, cas_type: &str) {
        self.legacy_volume_at(name, cas_type, "10.96.7.7").await;
    }

    async fn legacy_volume_at(&self, name: &str, cas_type: &str, address: &str) {
        let source = json!({"iscsi": {"iqn": format!("iqn.2016-09.com.openebs.{cas_type}:{name}"), "lun": 0,
            "targetPortal": format!("{address}:3260")}});
        self.persistent_volume(name, &source).await;
        let marks = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name,
            "labels": {"openebs.io/cas-type": cas_type},
            "annotations": {"pv.kubernetes.io/provisioned-by": "openebs.io/provisioner-iscsi"}}});
        let volumes = self.cluster.like(&marks);
        let patch = kube::api::Patch::Merge(marks);
        volumes.patch(name, &kube::api::PatchParams::default(), &patch).await.expect("the volume is there");
    }
}
