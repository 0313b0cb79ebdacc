//! A cStor pool cluster (CSPC) with a pool instance (CSPI) on each of its nodes.

use serde_json::{Value, json};

use super::workload::Workload;
use super::{OpenEbs, VERSION, version_details};

const CSTOR: &str = "cstor.openebs.io/v1";

impl OpenEbs<'_> {
    /// A pool cluster with the pools `<name>-<node>`, all at `version`.
    pub async fn pool_cluster(&self, name: &str, version: &str, nodes: &[&str]) {
        let pools: Vec<Value> = nodes
            .iter()
            .map(|node| {
                json!({"nodeSelector": {"kubernetes.io/hostname": node}, "poolConfig": {"dataRaidGroupType": "stripe"},
                    "dataRaidGroups": [{"blockDevices": [{"blockDeviceName": format!("blockdevice-{node}")}]}]})
            })
            .collect();
        let count = nodes.len();
        let rest = json!({"spec": {"pools": pools}, "versionDetails": version_details(version),
            "status": {"provisionedInstances": count, "desiredInstances": count, "healthyInstances": count}});
        self.custom(CSTOR, "CStorPoolCluster", name, &[], rest).await;
        for node in nodes {
            self.pool_instance(name, &format!("{name}-{node}"), node, version).await;
        }
    }

    async fn pool_instance(&self, cluster: &str, name: &str, node: &str, version: &str) {
        let labels = [
            ("kubernetes.io/hostname", node),
            ("openebs.io/cas-type", "cstor"),
            ("openebs.io/cstor-pool-cluster", cluster),
            (VERSION, version),
        ];
        let rest = json!({
            "spec": {"hostName": node, "nodeSelector": {"kubernetes.io/hostname": node},
                "dataRaidGroups": [{"blockDevices": [{"blockDeviceName": format!("blockdevice-{node}")}]}],
                "poolConfig": {"dataRaidGroupType": "stripe", "roThresholdLimit": 85}},
            "status": {"phase": "ONLINE", "readOnly": false, "healthyReplicas": 0, "provisionedReplicas": 0,
                "capacity": {"free": "9630M", "total": "9630M", "used": "1M", "zfs": {"logicalUsed": "1M"}}},
            "versionDetails": version_details(version),
        });
        self.custom(CSTOR, "CStorPoolInstance", name, &labels, rest).await;
        self.workload(Workload {
            name,
            version,
            labels: &[
                ("app", "cstor-pool"),
                ("openebs.io/cstor-pool-cluster", cluster),
                ("openebs.io/cstor-pool-instance", name),
            ],
            // All pools of a namespace are selected alike.
            selects: 1,
            service_account: "openebs-cstor-operator",
            containers: &[
                ("cstor-pool-mgmt", "openebs/cstor-pool-manager"),
                ("cstor-pool", "openebs/cstor-pool"),
                ("maya-exporter", "openebs/m-exporter"),
            ],
            ..Workload::default()
        })
        .await;
    }
}
