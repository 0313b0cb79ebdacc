//! Stopped anywhere, begun again: it ends upgraded, and until then its UpgradeTask says that it is not.

use std::process::Stdio;
use std::time::Duration;

use fleetlift::domain::ResourceKind;
use fleetlift::executor::problem::Cause;

use crate::arrange::{Site, text};
use crate::operators::Answer;
use crate::support::until;

/// Enough for every kind to be stopped in each of its steps; with `FLEETLIFT_KILLS` more.
const KILLS: u32 = 8;

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

/// Drops the run at some moment, as a lost Pod would; what it touched until then must be covered by its record.
async fn survives_kills(kind: ResourceKind) {
    let site = Site::with(kind).await;
    let kills = kills_wanted().unwrap_or(KILLS);
    let mut seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut survived = 0;
    for kill in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Early enough to leave work to the next one, late enough to get somewhere.
        let after = Duration::from_millis(5 * u64::from(kill) + (seed >> 33) % 120);
        let Err(_lost) = tokio::time::timeout(after, site.upgrade()).await else { break };
        survived += 1;
        let touched = site.touched().await;
        let status = site.upgrade_task().await.map(|task| task["status"].clone()).unwrap_or_default();
        // Touched: whoever reads the record knows that it is under way, or that all is done.
        let told = match status["phase"].as_str() {
            Some("Success") => site.left_behind().await.is_empty(),
            phase => touched.is_empty() || phase == Some("Started"),
        };
        assert!(told, "killed after {after:?}: {status}, {touched:?}");
    }
    println!("{kind}: {survived} kills");
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(site.left_behind().await, vec![]);
    assert_eq!(site.upgrade_task().await.unwrap()["status"]["phase"], "Success");
}

fn kills_wanted() -> Option<u32> {
    #[expect(clippy::disallowed_methods, reason = "a test is its own composition root")]
    let wanted = std::env::var("FLEETLIFT_KILLS").ok()?;
    wanted.parse().ok()
}

macro_rules! resumes {
    ($($test:ident: $kind:ident;)*) => {$(
        #[tokio::test]
        async fn $test() {
            survives_kills(ResourceKind::$kind).await;
        }
    )*};
}

resumes! {
    a_jiva_volume_survives_lost_executors: JivaVolume;
    a_pool_instance_survives_lost_executors: CstorPoolInstance;
    a_pool_cluster_survives_lost_executors: CstorPoolCluster;
    a_cstor_volume_survives_lost_executors: CstorVolume;
    a_legacy_pool_survives_lost_executors: CstorPool;
    a_storage_pool_claim_survives_lost_executors: StoragePoolClaim;
    a_legacy_cstor_volume_survives_lost_executors: LegacyCstorVolume;
    a_legacy_jiva_volume_survives_lost_executors: LegacyJivaVolume;
}

/// The program itself: arguments as in a Job, killed by the kernel in the middle, then run to its end.
#[tokio::test]
async fn the_program_is_killed_and_started_again() {
    let site = Site::with(ResourceKind::JivaVolume).await;
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
        (steps == 3).then_some(())
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
