//! What goes wrong is told: which step, on which object, what was seen, what was expected, what to do.

use std::time::Duration;

use fleetlift::domain::ResourceKind;
use fleetlift::executor::problem::Cause;
use fleetlift::executor::run::termination;
use fleetlift::openebs::names;
use serde_json::{Value, json};

use crate::arrange::{Site, text};
use crate::operators::Answer;
use crate::support::crds::UpgradeTaskSchema;
use crate::support::{TestCluster, openebs, until};

/// An UpgradeTask for the site's resource whose steps may take `seconds`.
async fn task_with_timeout(site: &Site, seconds: u32) {
    let (from, to) = (site.from, site.to);
    let member = match site.resource.kind {
        ResourceKind::CstorPoolInstance => json!({"cstorPoolInstance": {"cspiName": site.resource.name}}),
        ResourceKind::CstorVolume => json!({"cstorVolume": {"pvName": site.resource.name}}),
        _ => json!({"jivaVolume": {"pvName": site.resource.name}}),
    };
    let mut spec = json!({"fromVersion": from, "toVersion": to, "options": {"timeout": seconds}});
    spec.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
    site.cluster
        .apply(&json!({
            "apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask", "spec": spec,
            "metadata": {"name": names::upgrade_task(&site.resource), "namespace": site.cluster.namespace,
                "labels": {"run": "this"}},
        }))
        .await;
}

fn selected() -> [String; 2] {
    ["resource".to_owned(), "--upgrade-task-label=run=this".to_owned()]
}

async fn status(site: &Site) -> Value {
    site.upgrade_task().await.expect("there is an UpgradeTask")["status"].clone()
}

async fn last_step(site: &Site) -> Value {
    status(site).await["upgradeDetailedStatuses"].as_array().and_then(|steps| steps.last().cloned()).unwrap_or_default()
}

#[tokio::test]
async fn a_controller_that_refuses_the_version_is_quoted() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    site.operators.answer(Answer::Refuse("invalid current version 3.5.0"));
    let failure = site.upgrade().await.unwrap_err();
    assert_eq!(failure.step, "TARGET_UPGRADE");
    assert!(failure.problem.seen.contains("invalid current version 3.5.0"), "{}", failure.problem);
    let status = status(&site).await;
    assert_eq!((&status["phase"], &status["retries"]), (&json!("Error"), &json!(1)));
    let step = last_step(&site).await;
    assert_eq!((&step["step"], &step["phase"]), (&json!("TARGET_UPGRADE"), &json!("Errored")));
    assert_eq!(step["message"], "failed to verify version reconcile on JivaVolumeCR");
    assert!(text(&step["reason"]).contains("invalid current version 3.5.0"));
    // Repaired, it carries on and does not trip over the words that are still there.
    site.operators.answer(Answer::Reconcile);
    site.upgrade().await.unwrap();
    assert_eq!(self::status(&site).await["phase"], "Success");
    assert_eq!(site.left_behind().await, vec![]);
}

#[tokio::test]
async fn a_controller_that_never_answers_ends_at_the_tasks_own_timeout() {
    let site = Site::with(ResourceKind::CstorPoolInstance).await;
    site.operators.answer(Answer::Silence);
    task_with_timeout(&site, 6).await;
    let failure = site.execute(&selected()).await.unwrap_err();
    assert_eq!(failure.step, "POOL_INSTANCE_UPGRADE");
    let words = termination(&Err(failure));
    assert_eq!((words.phase.as_str(), words.object.as_str()), ("Error", "CStorPoolInstance/cspc-a-n1"));
    assert!(words.seen.contains("current is \"3.5.0\""), "{words:?}");
    assert!(words.seen.contains("read the log of container cstor-pool-mgmt in the pool's Pod"), "{words:?}");
    assert_eq!(words.expected, "versionDetails.status.current 3.6.0");
    assert!(words.remedy.contains("spec.options.timeout"), "{words:?}");
}

#[tokio::test]
async fn a_job_whose_time_is_nearly_up_ends_the_upgrade_with_a_reason() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    site.operators.answer(Answer::Silence);
    let mut command = site.command();
    command.push(format!("--pod-name={}", site.pod_of_a_job(10).await));
    let failure = site.execute(&command).await.unwrap_err();
    assert_eq!(failure.step, "TARGET_UPGRADE");
    assert!(failure.problem.seen.contains("its Job's time was up: current is \"3.5.0\""), "{}", failure.problem);
    assert!(failure.problem.remedy.contains("Job/upgrade has activeDeadlineSeconds 10, since "), "{}", failure.problem);
    assert_eq!(status(&site).await["phase"], "Error");
    assert!(text(&last_step(&site).await["reason"]).contains("its Job's time was up"));
}

#[tokio::test]
async fn while_it_waits_the_task_says_for_what() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    site.node.keep_from_ready(&site.resource.name);
    task_with_timeout(&site, 6).await;
    let selected = selected();
    let (ended, ()) = tokio::join!(site.execute(&selected), async {
        until("the task tells what it waits for", || async {
            let step = last_step(&site).await;
            let told = text(&step["message"]);
            (step["step"] == "REPLICA_UPGRADE" && told.contains("jiva-rep: ") && told.contains("of 3")).then_some(())
        })
        .await;
    });
    assert_eq!(ended.unwrap_err().step, "REPLICA_UPGRADE");
    // What was left half-way is finished by the next attempt, rollout and all.
    site.node.behave();
    site.execute(&selected).await.unwrap();
    assert_eq!(site.left_behind().await, vec![]);
}

#[tokio::test]
async fn the_control_plane_comes_first() {
    let site = Site::with(ResourceKind::CstorPoolInstance).await;
    openebs::on(&site.cluster).csi_operators("3.5.0").await;
    until("the operator is at the old version", || async {
        use k8s_openapi::api::core::v1::Pod;
        let selected = kube::api::ListParams::default().labels("openebs.io/component-name=cspc-operator");
        let pods = site.cluster.api::<Pod>().list(&selected).await.ok()?;
        pods.items
            .iter()
            .all(|pod| pod.metadata.labels.as_ref().unwrap()["openebs.io/version"] == "3.5.0")
            .then_some(())
    })
    .await;
    let failure = site.upgrade().await.unwrap_err();
    assert_eq!((failure.step.as_str(), failure.problem.object.as_str()), ("PRE_UPGRADE", "cspc-operator"));
    assert_eq!(last_step(&site).await["message"], "failed to verify cspc-operator");
    assert!(site.versions().await.iter().all(|(_, version)| version == "3.5.0"));
}

#[tokio::test]
async fn a_volume_waits_for_its_pools() {
    let site = Site::with(ResourceKind::CstorPoolInstance).await;
    let volume = format!("pvc-on-{}", site.cluster.namespace);
    let arguments = ["cstor-volume", "--from-version=3.5.0", "--to-version=3.6.0", &volume].map(str::to_owned);
    let failure = site.execute(&arguments).await.unwrap_err();
    assert_eq!(failure.step, "REPLICA_UPGRADE");
    assert!(failure.problem.seen.starts_with("cspi cspc-a-n1 not in 3.6.0 version"), "{}", failure.problem);
    assert_eq!(site.touched().await, vec![]);
}

#[tokio::test]
async fn an_ailing_pool_is_not_restarted() {
    let site = Site::with(ResourceKind::CstorPoolInstance).await;
    let read_only = json!({"status": {"readOnly": true}});
    site.cluster.merge("cstor.openebs.io/v1", "CStorPoolInstance", "cspc-a-n1", &read_only).await;
    task_with_timeout(&site, 1).await;
    let failure = site.execute(&selected()).await.unwrap_err();
    assert_eq!(failure.step, "PRE_UPGRADE");
    assert!(failure.problem.seen.contains("read-only"), "{}", failure.problem);

    let replica = format!("pvc-on-{}-cspc-a-n2", site.cluster.namespace);
    let writable = json!({"status": {"readOnly": false}});
    site.cluster.merge("cstor.openebs.io/v1", "CStorPoolInstance", "cspc-a-n1", &writable).await;
    let rebuilding = json!({"status": {"phase": "Rebuilding"}});
    site.cluster.merge("cstor.openebs.io/v1", "CStorVolumeReplica", &replica, &rebuilding).await;
    let failure = site.execute(&selected()).await.unwrap_err();
    assert!(failure.problem.seen.contains(&format!("{replica} is Rebuilding")), "{}", failure.problem);
    assert_eq!(site.touched().await, vec![]);
}

#[tokio::test]
async fn a_task_left_over_from_an_earlier_upgrade_is_refused_and_kept() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    let left_over = json!({
        "apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask",
        "metadata": {"name": names::upgrade_task(&site.resource), "namespace": site.cluster.namespace},
        "spec": {"fromVersion": "3.4.0", "toVersion": "3.5.0", "jivaVolume": {"pvName": site.resource.name}},
        "status": {"phase": "Success", "completedTime": "2026-01-01T00:00:00Z"},
    });
    site.cluster.apply(&left_over).await;
    let failure = site.upgrade().await.unwrap_err();
    assert_eq!(failure.problem.cause, Cause::Refused);
    assert!(failure.problem.seen.contains("left over from the upgrade 3.4.0 → 3.5.0"), "{}", failure.problem);
    assert_eq!(status(&site).await, left_over["status"]);
    assert_eq!(site.touched().await, vec![]);
}

#[tokio::test]
async fn ignoring_failed_steps_is_refused_on_the_task_itself() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    task_with_timeout(&site, 60).await;
    let ignore = json!({"spec": {"jivaVolume": {"options": {"ignoreStepsOnError": ["REPLICA_UPGRADE"]}}}});
    let name = names::upgrade_task(&site.resource);
    site.cluster.merge("openebs.io/v1alpha1", "UpgradeTask", &name, &ignore).await;
    let failure = site.execute(&selected()).await.unwrap_err();
    assert_eq!(failure.problem.exit_code(), 2);
    assert_eq!(status(&site).await["phase"], "Error");
    assert!(text(&last_step(&site).await["reason"]).contains("data is lost"));
}

#[tokio::test]
async fn a_volume_that_nobody_knows_is_refused_by_its_name() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    let arguments = ["jiva-volume", "--from-version=3.5.0", "--to-version=3.6.0", "pvc-nobody"].map(str::to_owned);
    let problem = site.execute(&arguments).await.unwrap_err().problem;
    assert_eq!((problem.cause, problem.object.as_str()), (Cause::Refused, "jivaVolume/pvc-nobody"));
}

#[tokio::test]
async fn a_task_that_is_deleted_stops_its_upgrade() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    site.operators.answer(Answer::Silence);
    let (ended, ()) = tokio::join!(site.upgrade(), async {
        until("the target is being upgraded", || async {
            let steps = site.upgrade_task().await?["status"]["upgradeDetailedStatuses"].as_array()?.len();
            (steps == 3).then_some(())
        })
        .await;
        let tasks = site.cluster.kind("openebs.io/v1alpha1", "UpgradeTask");
        tasks.delete(&names::upgrade_task(&site.resource), &kube::api::DeleteParams::default()).await.unwrap();
        // A new sentence to tell is what makes the executor look at its record again.
        let words = json!({"versionDetails": {"status": {"state": "ReconcileInProgress"}}});
        site.cluster.merge("openebs.io/v1", "JivaVolume", &site.resource.name, &words).await;
    });
    assert!(ended.unwrap_err().problem.seen.contains("deleted"));
}

#[tokio::test]
async fn a_second_executor_of_one_task_is_noticed() {
    let site = Site::with(ResourceKind::JivaVolume).await;
    site.operators.answer(Answer::Silence);
    let second = async {
        until("the first one waits", || async {
            let steps = site.upgrade_task().await?["status"]["upgradeDetailedStatuses"].as_array()?.len();
            (steps == 3).then_some(())
        })
        .await;
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            "SIGTERM"
        };
        site.execute_until(&site.command(), stop).await
    };
    let words = async {
        until("the second one has begun", || async {
            let steps = site.upgrade_task().await?["status"]["upgradeDetailedStatuses"].as_array()?.len();
            (steps < 3).then_some(())
        })
        .await;
        let words = json!({"versionDetails": {"status": {"state": "ReconcileInProgress"}}});
        site.cluster.merge("openebs.io/v1", "JivaVolume", &site.resource.name, &words).await;
    };
    let (first, _, ()) = tokio::join!(site.upgrade(), second, words);
    assert!(first.unwrap_err().problem.seen.contains("somebody else writes its steps"));
}

#[tokio::test]
async fn events_tell_the_story_to_whoever_describes_the_task() {
    use k8s_openapi::api::core::v1::Event;
    let site = Site::with(ResourceKind::JivaVolume).await;
    site.upgrade().await.unwrap();
    let events = site.cluster.api::<Event>().list(&kube::api::ListParams::default()).await.unwrap();
    let told = |name: &str| {
        let about = events.items.iter().filter(|event| event.involved_object.name.as_deref() == Some(name));
        let mut told: Vec<&str> = about.filter_map(|event| event.reason.as_deref()).collect();
        told.sort_unstable();
        told
    };
    let steps = ["StepCompleted"; 3];
    assert_eq!(
        told(&names::upgrade_task(&site.resource)),
        [&steps[..], &["UpgradeStarted", "UpgradeSucceeded"]].concat()
    );
    // The volume itself tells who worked on it.
    assert_eq!(told(&site.resource.name), ["UpgradeStarted", "UpgradeSucceeded"]);
}

#[tokio::test]
async fn what_its_controller_was_told_to_leave_alone_is_refused_at_once() {
    let site = Site::with(ResourceKind::CstorPoolInstance).await;
    let alone = json!({"metadata": {"annotations": {"reconcile.openebs.io/disable": "true"}}});
    site.cluster.merge("cstor.openebs.io/v1", "CStorPoolInstance", "cspc-a-n1", &alone).await;
    let failure = site.upgrade().await.unwrap_err();
    assert_eq!(failure.step, "PRE_UPGRADE");
    assert!(failure.problem.remedy.contains("annotate cstorpoolinstances.cstor.openebs.io cspc-a-n1 "), "{failure:?}");
    assert_eq!(site.touched().await, vec![]);
}

#[tokio::test]
async fn what_somebody_scaled_to_nothing_is_refused_at_once() {
    let site = Site::with(ResourceKind::CstorVolume).await;
    let target = format!("{}-target", site.resource.name);
    site.cluster.merge("apps/v1", "Deployment", &target, &json!({"spec": {"replicas": 0}})).await;
    let failure = site.upgrade().await.unwrap_err();
    assert_eq!(
        (failure.step.as_str(), failure.problem.object.clone()),
        ("PRE_UPGRADE", format!("Deployment/{target}"))
    );
    assert!(failure.problem.remedy.contains("--replicas=N"), "{failure:?}");
    assert_eq!(site.touched().await, vec![]);
}

#[tokio::test]
async fn a_parent_names_every_record_that_is_left_over_before_it_touches_a_pool() {
    let site = Site::with(ResourceKind::CstorPoolCluster).await;
    let names = ["cspc-a-n1", "cspc-a-n2"].map(|pool| format!("upgrade-cstor-cspi-{pool}"));
    for (name, pool) in names.iter().zip(["cspc-a-n1", "cspc-a-n2"]) {
        let spec = json!({"fromVersion": "3.4.0", "toVersion": "3.5.0", "cstorPoolInstance": {"cspiName": pool}});
        let metadata = json!({"name": name, "namespace": site.cluster.namespace});
        let left =
            json!({"apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask", "metadata": metadata, "spec": spec});
        site.cluster.apply(&left).await;
    }
    let failure = site.upgrade().await.unwrap_err();
    assert_eq!(failure.step, "PRE_UPGRADE");
    let remedy = format!("`kubectl delete upgradetask {} {}`", names[0], names[1]);
    assert!(failure.problem.remedy.contains(&remedy), "{}", failure.problem);
    assert_eq!(site.touched().await, vec![]);
}

#[tokio::test]
async fn the_tasks_own_timeout_counts_when_the_job_names_the_resource() {
    let site = Site::with(ResourceKind::CstorPoolInstance).await;
    site.operators.answer(Answer::Silence);
    task_with_timeout(&site, 2).await;
    let failure = site.upgrade().await.unwrap_err();
    assert_eq!(failure.step, "POOL_INSTANCE_UPGRADE");
    assert!(failure.problem.remedy.contains("spec.options.timeout"), "{}", failure.problem);
}

#[tokio::test]
async fn a_replica_at_a_third_version_is_not_overwritten_and_a_service_of_others_is_no_target() {
    let site = Site::with(ResourceKind::CstorVolume).await;
    let other = json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 9500}]},
        "metadata": {"name": "metrics", "namespace": site.cluster.namespace,
            "labels": {"openebs.io/persistent-volume": site.resource.name}}});
    site.cluster.apply(&other).await;
    let replica = format!("{}-cspc-a-n2", site.resource.name);
    let third = json!({"metadata": {"labels": {"openebs.io/version": "3.4.0"}}});
    site.cluster.merge("cstor.openebs.io/v1", "CStorVolumeReplica", &replica, &third).await;
    let failure = site.upgrade().await.unwrap_err();
    assert_eq!(
        (failure.step.as_str(), failure.problem.object.clone()),
        ("REPLICA_UPGRADE", format!("CStorVolumeReplica/{replica}"))
    );
    assert_eq!(failure.problem.seen, "label openebs.io/version is 3.4.0");
}

#[tokio::test]
async fn an_api_server_that_restarts_is_waited_for() {
    let cluster = TestCluster::alone(UpgradeTaskSchema::Fleetlift).await;
    let site = Site::on(cluster, ResourceKind::CstorPoolInstance).await;
    site.operators.answer(Answer::Silence);
    let (ended, ()) = tokio::join!(site.upgrade(), async {
        until("the pool is under way", || async {
            let steps = site.upgrade_task().await?["status"]["upgradeDetailedStatuses"].as_array()?.len();
            (steps == 2).then_some(())
        })
        .await;
        site.cluster.plane.kill_api_server();
        site.cluster.plane.start_api_server().await;
        site.operators.answer(Answer::Reconcile);
    });
    ended.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(site.left_behind().await, vec![]);
}
