//! The admission policy of `deploy/edge/admission.yaml`: what the hub sends passes, what a thief of its token would send
//! does not.

use fleetlift::domain::ResourceKind;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::hand::Hand;
use crate::jobs::job;
use crate::support::{TestCluster, until};

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
        (container, "args", json!(["resource", "--to-version-image-prefix=evil/"]), "image prefix"),
        (container, "args", json!(["resource", "--to-version-image-prefix", "evil/"]), "no flags but"),
        (container, "args", json!(["resource", "--kubeconfig=/x"]), "no flags but"),
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
    // A selector of its own would adopt other people's Pods.
    let mut adopting = ours.clone();
    let labels = ours["spec"]["template"]["metadata"]["labels"].clone();
    adopting["spec"]["manualSelector"] = true.into();
    adopting["spec"]["selector"] = json!({"matchLabels": labels});
    let refusal = jobs.create(&never, &serde_json::from_value(adopting).unwrap()).await.unwrap_err().to_string();
    assert!(refusal.contains("one attempt"), "{refusal}");
}

#[tokio::test]
async fn a_stolen_token_takes_openebs_images_from_nowhere_but_where_its_owner_allows() {
    let cluster = TestCluster::new().await;
    cluster.hold_the_hub_to_its_jobs().await;
    let hub = cluster.hub_client().await;
    let kind = GroupVersionKind::gvk("openebs.io", "v1alpha1", "UpgradeTask");
    let tasks: Api<DynamicObject> =
        Api::namespaced_with(hub.clone(), &cluster.namespace, &ApiResource::from_gvk(&kind));
    let never = PostParams { dry_run: true, ..PostParams::default() };
    let from = |prefix: &str| {
        let mut task = json!({"apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask", "metadata": {"name": "t"},
            "spec": {"fromVersion": "3.5.0", "toVersion": "3.6.0", "jivaVolume": {"pvName": "pvc-1"}}});
        if !prefix.is_empty() {
            task["spec"]["imagePrefix"] = prefix.into();
        }
        serde_json::from_value::<DynamicObject>(task).unwrap()
    };
    let refused = until("the policy is in force", || async { tasks.create(&never, &from("evil/")).await.err() }).await;
    assert!(refused.to_string().contains("image prefix"), "{refused}");
    tasks.create(&never, &from("")).await.unwrap();
    tasks.create(&never, &from("quay.io/openebs/")).await.unwrap();

    // The cluster's owner allows a registry of his own.
    let own = json!({"data": {"imagePrefixes": "registry.local:5000/openebs/\n"}});
    cluster.merge("v1", "ConfigMap", "fleetlift-allowed", &own).await;
    let own = from("registry.local:5000/openebs/");
    until("it is allowed", || async { tasks.create(&never, &own).await.ok() }).await;
    let jobs: Api<Job> = Api::namespaced(hub, &cluster.namespace);
    let mut job =
        serde_json::to_value(&Hand::on(&cluster, ResourceKind::JivaVolume, "pvc-1").await.objects.job).unwrap();
    let flag = "--to-version-image-prefix=registry.local:5000/openebs/";
    job["spec"]["template"]["spec"]["containers"][0]["args"].as_array_mut().unwrap().push(flag.into());
    jobs.create(&never, &serde_json::from_value(job).unwrap()).await.unwrap();
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
