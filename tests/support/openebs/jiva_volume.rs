//! A Jiva volume of the CSI engine: JivaVolume, controller Deployment, replica StatefulSet, Service, PersistentVolume.

use serde_json::{Value, json};

use super::workload::{self, Workload};
use super::{OpenEbs, VERSION, VOLUME, version_details};

impl OpenEbs<'_> {
    /// The volume `name` with that many replicas, in sync, all at `version`.
    pub async fn jiva_volume(&self, name: &str, version: &str, replicas: u32) {
        self.persistent_volume(name, &json!({"csi": {"driver": "jiva.csi.openebs.io", "volumeHandle": name}})).await;
        let in_sync: Vec<Value> =
            (0..replicas).map(|n| json!({"address": format!("tcp://10.0.0.{n}:9502"), "mode": "RW"})).collect();
        let rest = json!({
            "spec": {"pv": name, "capacity": "5Gi", "accessType": "mount", "desiredReplicationFactor": replicas,
                "iscsiSpec": {"iqn": format!("iqn.2016-09.com.openebs.jiva:{name}"), "targetIP": "10.96.0.7",
                    "targetPort": 3260},
                "policy": {"autoScaling": false, "enableBufio": false, "target": {"replicationFactor": replicas}}},
            "status": {"phase": "Ready", "status": "RW", "replicaCount": replicas, "replicaStatus": in_sync},
            "versionDetails": version_details(version),
        });
        // No version: that is on what its operator made for it.
        let labels = [("openebs.io/component", "jiva-volume"), (VOLUME, name), ("nodeID", "n1")];
        self.custom("openebs.io/v1", "JivaVolume", name, &labels, rest).await;
        let controller = format!("{name}-jiva-ctrl");
        self.workload(Workload {
            name: &controller,
            version,
            labels: &[("openebs.io/component", "jiva-controller"), (VOLUME, name), ("openebs.io/cas-type", "jiva")],
            service_account: "jiva-operator",
            environment: &[("REPLICATION_FACTOR", &replicas.to_string())],
            containers: &[("jiva-controller", "openebs/jiva"), ("maya-volume-exporter", "openebs/m-exporter")],
            ..Workload::default()
        })
        .await;
        let replica = format!("{name}-jiva-rep");
        self.workload(Workload {
            name: &replica,
            version,
            labels: &[("openebs.io/component", "jiva-replica"), (VOLUME, name), ("openebs.io/cas-type", "jiva")],
            service_account: "jiva-operator",
            containers: &[("jiva-replica", "openebs/jiva")],
            replicas,
            stateful: true,
            ..Workload::default()
        })
        .await;
        let service = format!("{name}-jiva-ctrl-svc");
        let labels = [
            ("openebs.io/component", "jiva-controller-service"),
            ("openebs.io/cas-type", "jiva"),
            (VOLUME, name),
            (VERSION, version),
        ];
        // Some releases select so little that it leads to the replicas, too.
        let selector = workload::labels(&[("openebs.io/cas-type", "jiva"), (VOLUME, name)]);
        let ports = json!([{"name": "iscsi", "port": 3260}, {"name": "api", "port": 9501},
            {"name": "m-exporter", "port": 9500}]);
        self.cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": service, "namespace": self.cluster.namespace, "labels": workload::labels(&labels)},
                "spec": {"selector": selector, "ports": ports}}))
            .await;
    }
}
