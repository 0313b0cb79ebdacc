//! A cStor pool cluster (CSPC) with a pool instance (CSPI) on each of its nodes.

use serde_json::{Value, json};

use super::workload::Workload;
use super::{OpenEbs, VERSION, VOLUME, version_details};

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

    /// What older releases kept of a backup of `volume`, whose replica is on the pool instance `pool`: one record of
    /// each kind, all called `<backup>-<volume>`.
    pub async fn old_backups(&self, pool: &str, backup: &str, volume: &str) {
        let snapshot = |number: u32| format!("{backup}-{number}");
        // A completed backup borrowed the fields of one under way: the previous snapshot is the last that was completed.
        let completed = json!({"backupName": backup, "volumeName": volume, "prevSnapName": snapshot(3),
            "snapName": snapshot(2), "backupDest": "", "localSnap": false});
        let under_way = json!({"backupName": backup, "volumeName": volume, "snapName": snapshot(3),
            "prevSnapName": snapshot(2), "backupDest": "10.0.0.9:9000", "localSnap": false});
        let restore = json!({"restoreName": backup, "volumeName": volume, "restoreSrc": "10.0.0.9:9000",
            "maxretrycount": 0, "retrycount": 0, "storageClass": "openebs", "size": "0", "localRestore": false});
        for (kind, rest) in [
            ("CStorBackup", json!({"spec": under_way, "status": "Done"})),
            ("CStorRestore", json!({"spec": restore, "status": "Done"})),
            ("CStorCompletedBackup", json!({"spec": completed})),
        ] {
            let labels = [("cstorpoolinstance.openebs.io/name", pool), (VOLUME, volume)];
            self.custom("openebs.io/v1alpha1", kind, &format!("{backup}-{volume}"), &labels, rest).await;
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
