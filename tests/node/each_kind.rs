//! A cluster with one resource of each kind on the real node, and a hub that is to upgrade them all.

use fleetlift::domain::ResourceKind;
use tokio::task::JoinHandle;

use crate::hub::{CALM, Hub};
use crate::operators::Operators;
use crate::real_node::follow_controller;
use crate::support::{TestCluster, openebs};

/// All of it; it stops with this value.
pub struct EachKind {
    pub cluster: TestCluster,
    pub hub: Hub,
    /// Of one task for each kind.
    pub plan: String,
    _operators: Operators,
    _routes: JoinHandle<()>,
}

impl EachKind {
    /// Arranged, registered and planned; each task gets so many attempts of `executor`.
    pub async fn awaits(executor: &str, attempts: u32) -> Self {
        let cluster = TestCluster::new().await;
        let named = |engine: &str| format!("{engine}-{}", cluster.namespace);
        let (jiva, cstor, legacy_jiva, legacy_cstor, claim) =
            (named("jiva"), named("cstor"), named("old-jiva"), named("old-cstor"), named("spc"));
        let (from, to) = ("2.11.0", "2.12.2");
        let objects = openebs::on(&cluster);
        objects.csi_operators(to).await;
        objects.maya_apiserver(to).await;
        objects.pool_cluster("cspc-a", from, &["n1"]).await;
        objects.cstor_volume(&cstor, from, "cspc-a", &["cspc-a-n1"]).await;
        objects.jiva_volume(&jiva, from, 1).await;
        objects.storage_pool_claim(&claim, from, &["n1"]).await;
        objects.legacy_cstor_volume(&legacy_cstor, from, &[&format!("{claim}-n1")]).await;
        objects.legacy_jiva_volume(&legacy_jiva, from, 1).await;
        openebs::all_rolled_out(&cluster).await;
        let routes = follow_controller(&cluster, &cluster.namespace, &legacy_jiva);
        let operators = Operators::looking_every(CALM, &cluster);
        let hub = Hub::over(&cluster);
        hub.register(&cluster, to, executor, "10m", attempts).await;
        let all = ["cspc-a", &claim, &cstor, &jiva, &legacy_cstor, &legacy_jiva];
        let plan = hub.plan(&all, ResourceKind::ALL.len());
        Self { cluster, hub, plan, _operators: operators, _routes: routes }
    }
}
