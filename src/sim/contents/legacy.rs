//! Volumes of the external provisioner.

use serde_json::{Value, json};

use super::{Item, Site, Workload, labels, nodes, version_details};
use crate::sim::resources::Resource;
use crate::sim::upgrade::{VERSION, VOLUME};

impl Site<'_> {
    /// A cStor volume: CV, a replica on each of its pools, target Deployment and Service.
    pub(super) fn legacy_cstor_volume(&mut self, item: &Item) {
        let Item { name, version, width, pool, .. } = item;
        self.persistent_volume(item, legacy_volume(name, "cstor"));
        let rest = json!({"spec": {"capacity": "5G", "replicationFactor": width, "consistencyFactor": width / 2 + 1,
                "desiredReplicationFactor": width},
            "status": {"phase": "Healthy"}, "versionDetails": version_details(version)});
        self.custom(Resource::LegacyVolumes, name, &labels(&[(VOLUME, name), (VERSION, version)]), rest);
        for node in nodes(*width) {
            let pool = format!("{pool}-{node}");
            let own = labels(&[("cstorpool.openebs.io/name", &pool), (VOLUME, name), (VERSION, version)]);
            let rest = json!({"spec": {"capacity": "5G"}, "status": {"phase": "Healthy"},
                "versionDetails": version_details(version)});
            self.custom(Resource::LegacyReplicas, &format!("{name}-{pool}"), &own, rest);
        }
        self.deployment(&Workload {
            name: &format!("{name}-target"),
            version,
            labels: &[("app", "cstor-volume-manager"), ("openebs.io/target", "cstor-target"), (VOLUME, name)],
            account: "openebs-maya-operator",
            containers: &[
                ("cstor-istgt", "quay.io/openebs/cstor-istgt"),
                ("maya-volume-exporter", "quay.io/openebs/m-exporter"),
                ("cstor-volume-mgmt", "quay.io/openebs/cstor-volume-mgmt"),
            ],
            replicas: 1,
        });
        self.service(name, version, &[("openebs.io/target-service", "cstor-target-svc"), (VOLUME, name)]);
    }

    /// A Jiva volume: Deployments and a Service, nothing else.
    pub(super) fn legacy_jiva_volume(&mut self, item: &Item) {
        let Item { name, version, width, .. } = item;
        self.persistent_volume(item, legacy_volume(name, "jiva"));
        self.deployment(&Workload {
            name: &format!("{name}-ctrl"),
            version,
            labels: &[("openebs.io/controller", "jiva-controller"), (VOLUME, name), ("openebs.io/cas-type", "jiva")],
            account: "openebs-maya-operator",
            containers: &[
                ("pvc-ctrl-con", "quay.io/openebs/jiva"),
                ("maya-volume-exporter", "quay.io/openebs/m-exporter"),
            ],
            replicas: 1,
        });
        for number in 1..=*width {
            self.deployment(&Workload {
                name: &format!("{name}-rep-{number}"),
                version,
                labels: &[
                    ("openebs.io/replica", "jiva-replica"),
                    (VOLUME, name),
                    ("openebs.io/cas-type", "jiva"),
                    ("openebs.io/replica-number", &number.to_string()),
                ],
                account: "openebs-maya-operator",
                containers: &[("pvc-rep-con", "quay.io/openebs/jiva")],
                replicas: 1,
            });
        }
        let own = [("openebs.io/controller-service", "jiva-controller-svc"), (VOLUME, name.as_str())];
        self.service(&format!("{name}-ctrl-svc"), version, &own);
    }
}

fn legacy_volume(name: &str, cas_type: &str) -> Value {
    json!({"metadata": {"labels": {"openebs.io/cas-type": cas_type},
            "annotations": {"pv.kubernetes.io/provisioned-by": "openebs.io/provisioner-iscsi"}},
        "spec": {"iscsi": {"iqn": format!("iqn.2016-09.com.openebs.{cas_type}:{name}"), "lun": 0,
            "targetPortal": "10.96.7.7:3260"}}})
}
