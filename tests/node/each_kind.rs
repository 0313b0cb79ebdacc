//! A cluster with resources of each kind on the real node, as OpenEBS's operators made them, and a hub that is to upgrade
//! them all.

use fleetlift::domain::ResourceKind;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::hub::{CALM, Hub};
use crate::operators::Operators;
use crate::real_node::follow_controller;
use crate::support::openebs::released::released_on_one_node;
use crate::support::{TestCluster, openebs};

/// One for each kind, and one more for each second pool.
pub const TASKS: usize = ResourceKind::ALL.len() + 2;

/// All of it; it stops with this value.
pub struct EachKind {
    pub cluster: TestCluster,
    pub hub: Hub,
    /// Of [`TASKS`].
    pub plan: String,
    _operators: Operators,
    _routes: JoinHandle<()>,
    _data: TempDir,
}

impl EachKind {
    /// Arranged, registered and planned; each task gets so many attempts of `executor`.
    pub async fn awaits(executor: &str, attempts: u32) -> Self {
        let cluster = TestCluster::new().await;
        let named = |engine: &str| format!("{engine}-{}", cluster.namespace);
        let (jiva, cstor, legacy_jiva, legacy_cstor, claim) =
            (named("jiva"), named("cstor"), named("old-jiva"), named("old-cstor"), named("spc"));
        let (from, to) = ("2.11.0", "2.12.2");
        let operators = openebs::on(&cluster);
        operators.csi_operators(to).await;
        operators.maya_apiserver(to).await;
        let data = tempfile::tempdir().unwrap();
        let objects = released_on_one_node(&cluster, data.path());
        objects.pool_cluster("cspc-a", from).await;
        objects.cstor_volume(&cstor, "cspc-a", from).await;
        objects.jiva_volume(&jiva, from).await;
        objects.storage_pool_claim(&claim, from).await;
        objects.legacy_cstor_volume(&legacy_cstor, &claim, from).await;
        objects.legacy_jiva_volume(&legacy_jiva, from).await;
        openebs::all_rolled_out(&cluster).await;
        let routes = follow_controller(&cluster, &cluster.namespace, &legacy_jiva);
        let operators = Operators::looking_every(CALM, &cluster);
        let hub = Hub::over(&cluster);
        hub.register(&cluster, to, executor, "10m", attempts).await;
        let all = ["cspc-a", &claim, &cstor, &jiva, &legacy_cstor, &legacy_jiva];
        let plan = hub.plan(&all, TASKS);
        Self { cluster, hub, plan, _operators: operators, _routes: routes, _data: data }
    }
}
