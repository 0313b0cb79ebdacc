//! Pools: pool clusters (CSPC) with their instances, and pool claims (SPC) with their pools.

use serde_json::{Value, json};

use super::{Item, Site, Workload, labels, nodes, version_details};
use crate::sim::resources::Resource;
use crate::sim::upgrade::VERSION;

impl Site<'_> {
    /// A pool cluster with an instance on each of its nodes.
    pub(super) fn pool_cluster(&mut self, item: &Item) {
        let Item { name, version, width, .. } = item;
        let pools: Vec<Value> = nodes(*width)
            .map(|node| {
                json!({"nodeSelector": {"kubernetes.io/hostname": node}, "poolConfig": {"dataRaidGroupType": "stripe"}})
            })
            .collect();
        let rest = json!({"spec": {"pools": pools}, "versionDetails": version_details(version),
            "status": {"provisionedInstances": width, "desiredInstances": width, "healthyInstances": width}});
        self.custom(Resource::PoolClusters, name, &json!({}), rest);
        for node in nodes(*width) {
            self.pool_instance(name, &format!("{name}-{node}"), &node, version);
        }
    }

    fn pool_instance(&mut self, cluster: &str, name: &str, node: &str, version: &str) {
        let own = [
            ("kubernetes.io/hostname", node),
            ("openebs.io/cas-type", "cstor"),
            ("openebs.io/cstor-pool-cluster", cluster),
            (VERSION, version),
        ];
        let rest = json!({"spec": {"hostName": node, "nodeSelector": {"kubernetes.io/hostname": node},
                "poolConfig": {"dataRaidGroupType": "stripe", "roThresholdLimit": 85}},
            "status": {"phase": "ONLINE", "readOnly": false, "capacity": {"free": "9630M", "total": "9630M"}},
            "versionDetails": version_details(version)});
        self.custom(Resource::PoolInstances, name, &labels(&own), rest);
        self.deployment(&Workload {
            name,
            version,
            labels: &[
                ("app", "cstor-pool"),
                ("openebs.io/cstor-pool-cluster", cluster),
                ("openebs.io/cstor-pool-instance", name),
            ],
            account: "openebs-cstor-operator",
            containers: &[
                ("cstor-pool", "openebs/cstor-pool"),
                ("cstor-pool-mgmt", "openebs/cstor-pool-manager"),
                ("maya-exporter", "openebs/m-exporter"),
            ],
            replicas: 1,
        });
    }

    /// A pool claim with a pool on each of its nodes; both are cluster-wide.
    pub(super) fn pool_claim(&mut self, item: &Item) {
        let Item { name, version, width, .. } = item;
        let rest = json!({"spec": {"name": name, "type": "disk", "poolSpec": {"poolType": "striped"}},
            "status": {"phase": "Online"}, "versionDetails": version_details(version)});
        self.custom(Resource::PoolClaims, name, &labels(&[(VERSION, version)]), rest);
        for node in nodes(*width) {
            self.pool(name, &format!("{name}-{node}"), &node, version);
        }
    }

    fn pool(&mut self, claim: &str, name: &str, node: &str, version: &str) {
        let own = [
            ("kubernetes.io/hostname", node),
            ("openebs.io/cas-type", "cstor"),
            ("openebs.io/storage-pool-claim", claim),
            (VERSION, version),
        ];
        let rest = json!({"spec": {"poolSpec": {"poolType": "striped", "roThresholdLimit": 85}},
            "status": {"phase": "Healthy", "readOnly": false}, "versionDetails": version_details(version)});
        self.custom(Resource::Pools, name, &labels(&own), rest);
        self.deployment(&Workload {
            name,
            version,
            labels: &[("app", "cstor-pool"), ("openebs.io/cstor-pool", name), ("openebs.io/storage-pool-claim", claim)],
            account: "openebs-maya-operator",
            containers: &[
                ("cstor-pool", "quay.io/openebs/cstor-pool"),
                ("cstor-pool-mgmt", "quay.io/openebs/cstor-pool-mgmt"),
                ("maya-exporter", "quay.io/openebs/m-exporter"),
            ],
            replicas: 1,
        });
    }
}
