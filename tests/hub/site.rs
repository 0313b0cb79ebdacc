//! One cluster that needs upgrades, with a node, a crew of played executors and a witness.

use std::sync::Arc;

use crate::support::crew::Crew;
use crate::support::witness::Witness;
use crate::support::{ControlPlane, Node, TestCluster, openebs};

pub struct Site {
    pub cluster: Arc<TestCluster>,
    pub node: Arc<Node>,
    pub crew: Crew,
    pub witness: Witness,
}

impl Site {
    /// Operators at 3.6.0; at 3.5.0 a pool cluster `cspc` with two pools, on it the volume of that name (replicated over
    /// both), and the Jiva volume of the other name.
    pub async fn with_everything(cstor_volume: &str, jiva_volume: &str) -> Self {
        let site = Self::empty(TestCluster::new().await).await;
        let openebs = openebs::on(&site.cluster);
        openebs.csi_operators("3.6.0").await;
        openebs.pool_cluster("cspc", "3.5.0", &["n1", "n2"]).await;
        openebs.cstor_volume(cstor_volume, "3.5.0", "cspc", &["cspc-n1", "cspc-n2"]).await;
        openebs.jiva_volume(jiva_volume, "3.5.0", 1).await;
        openebs::all_rolled_out(&site.cluster).await;
        site
    }

    /// Operators at 3.6.0, and at 3.5.0 the Jiva volumes of these names.
    pub async fn with_volumes(volumes: &[&str]) -> Self {
        Self::on(TestCluster::new().await, volumes).await
    }

    /// The same on a control plane that no other test has.
    pub async fn alone(volumes: &[&str]) -> (Self, Arc<ControlPlane>) {
        let cluster = TestCluster::alone(crate::support::crds::UpgradeTaskSchema::Structural).await;
        let plane = Arc::clone(&cluster.plane);
        (Self::on(cluster, volumes).await, plane)
    }

    async fn on(cluster: TestCluster, volumes: &[&str]) -> Self {
        let site = Self::empty(cluster).await;
        let openebs = openebs::on(&site.cluster);
        openebs.csi_operators("3.6.0").await;
        for volume in volumes {
            openebs.jiva_volume(volume, "3.5.0", 1).await;
        }
        openebs::all_rolled_out(&site.cluster).await;
        site
    }

    async fn empty(cluster: TestCluster) -> Self {
        let cluster = Arc::new(cluster);
        let node = Arc::new(Node::join(&cluster).await);
        let crew = Crew::on(Arc::clone(&cluster), Arc::clone(&node));
        let witness = Witness::of(&cluster);
        Self { cluster, node, crew, witness }
    }
}
