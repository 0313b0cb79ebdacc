//! The admission policy of `deploy/edge/admission.yaml`: what the hub sends passes, what a thief of its token would send
//! does not.

use fleetlift::domain::ResourceKind;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::hand::Hand;
use crate::jobs::job;
use crate::support::TestCluster;

#[tokio::test]
async fn every_job_that_the_hub_makes_is_let_through_suspended_and_swept() {
    let cluster = TestCluster::new().await;
    cluster.hold_the_hub_to_its_jobs().await;
    for (number, kind) in ResourceKind::ALL.into_iter().enumerate() {
        let mut hand = Hand::on(&cluster, kind, &format!("resource-{number}")).await;
        hand.until_waiting().await;
        let (job, uid) = (hand.attempt.job_name.clone(), hand.attempt.job_uid.clone().unwrap());
        hand.edge.suspend_job(&cluster.namespace, &job, &uid).await.unwrap();
        hand.edge.delete_job(&cluster.namespace, &job, &uid).await.unwrap();
    }
}

#[tokio::test]
async fn a_stolen_token_runs_nothing_but_upgrades() {
    let cluster = TestCluster::new().await;
    cluster.hold_the_hub_to_its_jobs().await;
    let jobs: Api<Job> = Api::namespaced(cluster.hub_client().await, &cluster.namespace);
    let ours = serde_json::to_value(&Hand::on(&cluster, ResourceKind::JivaVolume, "pvc-1").await.objects.job).unwrap();
    let never = PostParams { dry_run: true, ..PostParams::default() };
    jobs.create(&never, &serde_json::from_value(ours.clone()).unwrap()).await.unwrap();

    let container = "/spec/template/spec/containers/0";
    let pod = "/spec/template/spec";
    for (place, field, value, word) in [
        (container, "image", json!("attacker/shell:1"), "attacker/shell:1"),
        (container, "image", json!("openebs/upgrade-evil:3.6.0"), "openebs/upgrade-evil"),
        (pod, "serviceAccountName", json!("cluster-admin"), "cluster-admin"),
        (pod, "volumes", json!([{"name": "host", "hostPath": {"path": "/"}}]), "no volumes"),
        (pod, "hostNetwork", json!(true), "host"),
        (pod, "hostPID", json!(true), "host"),
        (pod, "initContainers", json!([{"name": "first", "image": "openebs/upgrade:3.6.0"}]), "one container"),
        (container, "name", json!("other"), "one container"),
        (container, "securityContext", json!({"privileged": true}), "no privileges"),
        (container, "securityContext", json!({"capabilities": {"add": ["SYS_ADMIN"]}}), "no privileges"),
        (container, "command", json!(["sh", "-c", "true"]), "own program"),
        (container, "lifecycle", json!({"postStart": {"exec": {"command": ["sh"]}}}), "own program"),
        (container, "args", json!(["shell"]), "sub-commands"),
        (container, "env", json!([{"name": "LD_PRELOAD", "value": "/x"}]), "environment"),
        (container, "envFrom", json!([{"secretRef": {"name": "any"}}]), "environment"),
        ("/spec", "backoffLimit", json!(6), "one attempt"),
        ("/spec", "activeDeadlineSeconds", Value::Null, "one attempt"),
        // (Without any label it would get those of its Pods.)
        ("/metadata", "labels", json!({"app": "x"}), "its own"),
    ] {
        let mut changed = ours.clone();
        changed.pointer_mut(place).unwrap()[field] = value.clone();
        let changed: Job = serde_json::from_value(changed).unwrap();
        let answer = jobs.create(&never, &changed).await;
        let Err(kube::Error::Api(refusal)) = answer else { panic!("{field} = {value} was let through") };
        assert!(refusal.message.contains(word), "{field} = {value}: {}", refusal.message);
    }
}

#[tokio::test]
async fn a_tombstone_is_not_resumed_and_other_peoples_jobs_are_not_touched() {
    let cluster = TestCluster::new().await;
    cluster.hold_the_hub_to_its_jobs().await;
    let mut hand = Hand::on(&cluster, ResourceKind::JivaVolume, "pvc-1").await;
    hand.until_waiting().await;
    let (name, uid) = (hand.attempt.job_name.clone(), hand.attempt.job_uid.clone().unwrap());
    hand.edge.suspend_job(&cluster.namespace, &name, &uid).await.unwrap();
    let jobs: Api<Job> = Api::namespaced(cluster.hub_client().await, &cluster.namespace);
    let resume = Patch::Merge(json!({"spec": {"suspend": false}}));
    let refusal = jobs.patch(&name, &PatchParams::default(), &resume).await.unwrap_err().to_string();
    assert!(refusal.contains("stays suspended"), "{refusal}");

    cluster.api::<Job>().create(&PostParams::default(), &job("theirs")).await.unwrap();
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    let refusal = jobs.patch("theirs", &PatchParams::default(), &suspend).await.unwrap_err().to_string();
    assert!(refusal.contains("its own"), "{refusal}");
    let refusal = jobs.delete("theirs", &DeleteParams::default()).await.unwrap_err().to_string();
    assert!(refusal.contains("its own"), "{refusal}");
    // Its owner may do with it what he likes: the policy is about the hub's account alone.
    cluster.api::<Job>().delete("theirs", &DeleteParams::default()).await.unwrap();
}
