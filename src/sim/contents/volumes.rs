//! Volumes of the CSI engines.

use serde_json::{Value, json};

use super::{Item, Site, Workload, labels, nodes, version_details};
use crate::sim::resources::Resource;
use crate::sim::upgrade::{VERSION, VOLUME};

impl Site<'_> {
    /// A cStor volume: CVC, CV, a replica on each of its pools, target Deployment and Service.
    pub(super) fn cstor_volume(&mut self, item: &Item) {
        let Item { name, version, width, pool, .. } = item;
        let volume = json!({"spec": {"csi": {"driver": "cstor.csi.openebs.io", "volumeHandle": name}}});
        self.persistent_volume(item, volume);
        let pools: Vec<String> = nodes(*width).map(|node| format!("{pool}-{node}")).collect();
        let own = labels(&[("openebs.io/cstor-pool-cluster", pool), (VERSION, version)]);
        let rest = json!({"spec": {"capacity": {"storage": "5Gi"}, "provision": {"replicaCount": width}},
            "status": {"phase": "Bound", "poolInfo": pools}, "versionDetails": version_details(version)});
        self.custom(Resource::VolumeConfigs, name, &own, rest);
        let rest = json!({"spec": {"capacity": "5Gi", "iqn": format!("iqn.2016-09.com.openebs.cstor:{name}"),
                "replicationFactor": width, "consistencyFactor": width / 2 + 1, "desiredReplicationFactor": width},
            "status": {"phase": "Healthy"}, "versionDetails": version_details(version)});
        self.custom(Resource::Volumes, name, &labels(&[(VOLUME, name), (VERSION, version)]), rest);
        for pool in &pools {
            let own = labels(&[
                ("cstorpoolinstance.openebs.io/name", pool),
                ("cstorvolume.openebs.io/name", name),
                (VOLUME, name),
                (VERSION, version),
            ]);
            let rest = json!({"spec": {"capacity": "5Gi"}, "status": {"phase": "Healthy"},
                "versionDetails": version_details(version)});
            self.custom(Resource::Replicas, &format!("{name}-{pool}"), &own, rest);
        }
        self.deployment(&Workload {
            name: &format!("{name}-target"),
            version,
            labels: &[("app", "cstor-volume-manager"), ("openebs.io/target", "cstor-target"), (VOLUME, name)],
            account: "openebs-cstor-operator",
            containers: &[
                ("cstor-istgt", "openebs/cstor-istgt"),
                ("maya-volume-exporter", "openebs/m-exporter"),
                ("cstor-volume-mgmt", "openebs/cstor-volume-manager"),
            ],
            replicas: 1,
        });
        self.service(name, version, &[("openebs.io/target-service", "cstor-target-svc"), (VOLUME, name)]);
    }

    /// A Jiva volume: JivaVolume, controller Deployment, replica StatefulSet and Service.
    pub(super) fn jiva_volume(&mut self, item: &Item) {
        let Item { name, version, width, .. } = item;
        let volume = json!({"spec": {"csi": {"driver": "jiva.csi.openebs.io", "volumeHandle": name}}});
        self.persistent_volume(item, volume);
        let in_sync: Vec<Value> =
            (0..*width).map(|number| json!({"address": format!("tcp://10.0.0.{number}:9502"), "mode": "RW"})).collect();
        let own = labels(&[("openebs.io/component", "jiva-volume"), (VOLUME, name), (VERSION, version)]);
        let rest = json!({
            "spec": {"pv": name, "capacity": 5_368_709_120_u64, "desiredReplicationFactor": width,
                "policy": {"target": {"replicationFactor": width}}},
            "status": {"phase": "Ready", "status": "RW", "replicaCount": width, "replicaStatus": in_sync},
            "versionDetails": version_details(version)});
        self.custom(Resource::JivaVolumes, name, &own, rest);
        self.deployment(&Workload {
            name: &format!("{name}-jiva-ctrl"),
            version,
            labels: &[("openebs.io/component", "jiva-controller"), (VOLUME, name), ("openebs.io/cas-type", "jiva")],
            account: "jiva-operator",
            containers: &[("jiva-controller", "openebs/jiva"), ("maya-volume-exporter", "openebs/m-exporter")],
            replicas: 1,
        });
        self.stateful_set(&Workload {
            name: &format!("{name}-jiva-rep"),
            version,
            labels: &[("openebs.io/component", "jiva-replica"), (VOLUME, name), ("openebs.io/cas-type", "jiva")],
            account: "jiva-operator",
            containers: &[("jiva-replica", "openebs/jiva")],
            replicas: *width,
        });
        let own = [("openebs.io/component", "jiva-controller-service"), (VOLUME, name.as_str())];
        self.service(&format!("{name}-jiva-ctrl-svc"), version, &own);
    }
}
