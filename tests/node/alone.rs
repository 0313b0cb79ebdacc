//! What breaks something that all tests share: these run by themselves.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fleetlift::openebs::UpgradeTask;
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::task::JoinHandle;

use crate::attempt::IMAGE;
use crate::each_kind::{EachKind, TASKS};
use crate::hub::ours;
use crate::operators::Answer;
use crate::real_node::RealNode;
use crate::support::TestCluster;
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
async fn a_kubelet_that_is_killed_in_each_step_of_each_kind_costs_no_attempt() {
    let node = RealNode::shared().await;
    let EachKind { cluster, hub, plan, .. } = &EachKind::awaits(&ours(IMAGE), 1).await;
    let saboteur = Saboteur::at_work(cluster, node);
    hub.ok(&["rollout", "start", plan]);
    assert_eq!(hub.verdict().0, "succeeded", "{}", hub.explain());

    let struck = saboteur.struck.lock().unwrap().clone();
    let tasks = cluster.api::<UpgradeTask>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(tasks.len(), TASKS);
    let steps = |task: &UpgradeTask| -> Vec<(String, String)> {
        let done = task.status.upgrade_detailed_statuses.iter();
        done.map(|step| (task.name_any(), step.step.clone())).collect()
    };
    assert!(tasks.iter().all(|task| steps(task).len() >= 2), "{tasks:#?}");
    assert_eq!(struck, tasks.iter().flat_map(steps).collect());
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
