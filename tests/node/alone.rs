//! What breaks something that all tests share: these run by themselves.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fleetlift::openebs::UpgradeTask;
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::task::JoinHandle;

use crate::attempt::IMAGE;
use crate::hub::{CALM, Hub};
use crate::operators::{Answer, Operators};
use crate::real_node::RealNode;
use crate::support::{TestCluster, openebs};
use crate::verdicts::Trouble;

/// Kills and starts the kubelet once in each step of each upgrade, as soon as it is under way.
struct Saboteur {
    struck: Arc<Mutex<BTreeSet<(String, String)>>>,
    work: JoinHandle<()>,
}

impl Saboteur {
    fn at_work(cluster: &TestCluster, node: Arc<RealNode>) -> Self {
        let struck = Arc::new(Mutex::new(BTreeSet::new()));
        let (tasks, seen) = (cluster.api::<UpgradeTask>(), Arc::clone(&struck));
        let work = tokio::spawn(async move {
            let mut changes = watcher(tasks, watcher::Config::default()).default_backoff().applied_objects().boxed();
            while let Some(change) = changes.next().await {
                let Ok(task) = change else { continue };
                let Some(step) = task.status.upgrade_detailed_statuses.last() else { continue };
                if seen.lock().unwrap().insert((task.name_any(), step.step.clone())) {
                    node.kill_kubelet();
                    node.start_kubelet();
                }
            }
        });
        Self { struck, work }
    }
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        self.work.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn a_kubelet_that_is_killed_in_each_step_costs_no_attempt() {
    let node = RealNode::shared().await;
    let cluster = TestCluster::new().await;
    let volume = format!("pvc-{}", cluster.namespace);
    let objects = openebs::on(&cluster);
    objects.csi_operators("3.6.0").await;
    objects.pool_cluster("cspc-a", "3.5.0", &["n1"]).await;
    objects.jiva_volume(&volume, "3.5.0", 1).await;
    openebs::all_rolled_out(&cluster).await;
    let _operators = Operators::looking_every(CALM, &cluster);
    let hub = Hub::over(&cluster);
    hub.register(&cluster, "3.6.0", IMAGE, "10m", 1).await;
    let plan = hub.plan(&["cspc-a", &volume], 3);
    let saboteur = Saboteur::at_work(&cluster, node);
    hub.ok(&["rollout", "start", &plan]);
    assert_eq!(hub.verdict().0, "succeeded", "{}", hub.explain());

    let struck = saboteur.struck.lock().unwrap().clone();
    let jiva = format!("upgrade-jiva-csi-volume-{volume}");
    let pool = "upgrade-cstor-cspi-cspc-a-n1".to_owned();
    let parent = "upgrade-cstor-cspc-cspc-a".to_owned();
    let expected: BTreeSet<(String, String)> = [
        (&pool, "PRE_UPGRADE"),
        (&pool, "POOL_INSTANCE_UPGRADE"),
        (&parent, "PRE_UPGRADE"),
        (&parent, "POOL_INSTANCE_UPGRADE"),
        (&parent, "VERIFY"),
        (&jiva, "PRE_UPGRADE"),
        (&jiva, "REPLICA_UPGRADE"),
        (&jiva, "TARGET_UPGRADE"),
    ]
    .into_iter()
    .map(|(task, step)| (task.clone(), step.to_owned()))
    .collect();
    assert_eq!(struck, expected);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn an_api_server_that_restarts_in_the_middle_costs_no_attempt() {
    let trouble = Trouble::awaits("10m", 1).await;
    trouble.operators.answer(Answer::Silence);
    trouble.start();
    trouble.comes_to("TARGET_UPGRADE").await;
    trouble.cluster.plane.kill_api_server();
    trouble.hub.explains(&["berlin-1"]);
    trouble.cluster.plane.start_api_server().await;
    trouble.operators.answer(Answer::Reconcile);
    trouble.ends_upgraded(1).await;
}
