//! A cStor volume of the CSI engine: CVC, CV, one CVR for each pool, target Deployment and Service, PersistentVolume.

use serde_json::json;

use super::workload::Workload;
use super::{OpenEbs, VERSION, VOLUME, version_details};

const CSTOR: &str = "cstor.openebs.io/v1";

impl OpenEbs<'_> {
    /// The volume `name` with a replica on each of `pools` (names of CSPIs) of `pool_cluster`, all at `version`.
    pub async fn cstor_volume(&self, name: &str, version: &str, pool_cluster: &str, pools: &[&str]) {
        let count = pools.len();
        self.persistent_volume(name, &json!({"csi": {"driver": "cstor.csi.openebs.io", "volumeHandle": name}})).await;
        let labels = [("openebs.io/cstor-pool-cluster", pool_cluster), (VERSION, version)];
        let rest = json!({"spec": {"capacity": {"storage": "5Gi"}, "policy": {},
                "provision": {"capacity": {"storage": "5Gi"}, "replicaCount": count}},
            "status": {"phase": "Bound", "poolInfo": pools}, "versionDetails": version_details(version)});
        self.custom(CSTOR, "CStorVolumeConfig", name, &labels, rest).await;
        let annotated = json!({"metadata": {"annotations": {"openebs.io/volumeID": name}}});
        self.cluster.merge(CSTOR, "CStorVolumeConfig", name, &annotated).await;
        let rest = json!({
            "spec": {"capacity": "5Gi", "iqn": format!("iqn.2016-09.com.openebs.cstor:{name}"),
                "replicationFactor": count, "consistencyFactor": count / 2 + 1, "desiredReplicationFactor": count},
            "status": {"phase": "Healthy"}, "versionDetails": version_details(version),
        });
        self.custom(CSTOR, "CStorVolume", name, &[(VOLUME, name), (VERSION, version)], rest).await;
        for pool in pools {
            let labels = [
                ("cstorpoolinstance.openebs.io/name", *pool),
                ("cstorvolume.openebs.io/name", name),
                (VOLUME, name),
                (VERSION, version),
            ];
            let rest = json!({"spec": {"capacity": "5Gi"}, "status": {"phase": "Healthy"},
                "versionDetails": version_details(version)});
            self.custom(CSTOR, "CStorVolumeReplica", &format!("{name}-{pool}"), &labels, rest).await;
        }
        let target = format!("{name}-target");
        self.workload(Workload {
            name: &target,
            version,
            labels: &[("app", "cstor-volume-manager"), ("openebs.io/target", "cstor-target"), (VOLUME, name)],
            service_account: "openebs-cstor-operator",
            containers: &[
                ("cstor-istgt", "openebs/cstor-istgt"),
                ("maya-volume-exporter", "openebs/m-exporter"),
                ("cstor-volume-mgmt", "openebs/cstor-volume-manager"),
            ],
            ..Workload::default()
        })
        .await;
        self.service(name, version, &[("openebs.io/target-service", "cstor-target-svc"), (VOLUME, name)]).await;
    }
}
