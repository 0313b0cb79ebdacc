//! Stopped anywhere, begun again: it ends upgraded, and until then its UpgradeTask says that it is not.

use std::process::Stdio;

use fleetlift::domain::ResourceKind;
use fleetlift::executor::problem::Cause;

use crate::arrange::{Site, text};
use crate::operators::Answer;
use crate::support::until;

#[tokio::test]
async fn told_to_stop_it_says_so_and_the_next_run_carries_on() {
    let site = Site::with(ResourceKind::CstorPoolCluster).await;
    site.operators.answer(Answer::Silence);
    let stop = async {
        until("the first instance is under way", || async {
            let child = site.cluster.get("openebs.io/v1alpha1", "UpgradeTask", "upgrade-cstor-cspi-cspc-a-n1").await?;
            let told = text(child["status"]["upgradeDetailedStatuses"].as_array()?.get(1)?.get("message")?);
            told.contains("current is").then_some("SIGTERM")
        })
        .await
    };
    let failure = site.execute_until(&site.command(), stop).await.unwrap_err();
    assert_eq!((failure.problem.cause, failure.problem.exit_code()), (Cause::Interrupted, 3));
    assert_eq!(failure.step, "POOL_INSTANCE_UPGRADE");
    for name in ["upgrade-cstor-cspi-cspc-a-n1", "upgrade-cstor-cspc-cspc-a"] {
        let task = site.cluster.get("openebs.io/v1alpha1", "UpgradeTask", name).await.unwrap();
        assert_eq!(task["status"]["phase"], "Error", "{task}");
    }
    let instance =
        site.cluster.get("openebs.io/v1alpha1", "UpgradeTask", "upgrade-cstor-cspi-cspc-a-n1").await.unwrap();
    let reason = text(&instance["status"]["upgradeDetailedStatuses"][1]["reason"]);
    assert!(reason.contains("got SIGTERM while waiting for CStorPoolInstance/cspc-a-n1"), "{reason}");
    site.operators.answer(Answer::Reconcile);
    site.upgrade().await.unwrap();
    assert_eq!(site.left_behind().await, vec![]);
}

/// The program itself: arguments as in a Job, killed by the kernel in the middle, then run to its end.
#[tokio::test]
async fn the_program_is_killed_and_started_again() {
    let site = Site::with(ResourceKind::CstorPoolInstance).await;
    site.operators.answer(Answer::Silence);
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    std::fs::write(&kubeconfig, site.cluster.executor_kubeconfig().await).unwrap();
    let program = || {
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_fleetlift-executor"));
        program.args(site.command()).env("KUBECONFIG", &kubeconfig).env("OPENEBS_NAMESPACE", &site.cluster.namespace);
        program.stderr(Stdio::piped()).kill_on_drop(true);
        program
    };
    let mut first = program().spawn().unwrap();
    until("it has come to its last step", || async {
        let steps = site.upgrade_task().await?["status"]["upgradeDetailedStatuses"].as_array()?.len();
        (steps == 2).then_some(())
    })
    .await;
    first.kill().await.unwrap();
    site.operators.answer(Answer::Reconcile);
    let second = program().output().await.unwrap();
    let log = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(0), "{log}");
    assert_eq!(site.left_behind().await, vec![]);
    let usage = program().arg("--no-such-flag").output().await.unwrap();
    assert_eq!(usage.status.code(), Some(2));
}
