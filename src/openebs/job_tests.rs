//! What an attempt sends, looked at as the API server would see it.

use super::*;
use crate::domain::{Entropy, ResourceKind, ResourceRef, Timestamp, Version};
use serde_json::json;

struct Counting;

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn planned(kind: ResourceKind) -> PlannedTask {
    PlannedTask {
        resource: ResourceRef { kind, name: "pvc-1".into() },
        resource_namespace: "openebs".into(),
        namespace: "openebs".into(),
        from: Version::new(3, 5, 0),
        to: Version::new(3, 6, 0),
        image: "openebs/upgrade:3.6.0".into(),
        pull_secrets: vec![],
        own_executor: false,
        service_account: "jiva-operator".into(),
        image_prefix: String::new(),
        image_tag: String::new(),
        pools: vec![],
        workloads: vec![],
        repair: false,
        expected_seconds: 60,
    }
}

fn order(planned: &PlannedTask) -> AttemptOrder<'_> {
    let at = Timestamp::from_micros(1_800_000_000_000_000);
    AttemptOrder {
        hub: HubId::new(at, &Counting),
        rollout: RolloutId::new(at, &Counting),
        task: TaskId::new(at, &Counting),
        attempt: AttemptId::new(at, &Counting),
        number: 1,
        epoch: 3,
        deadline: Duration::from_mins(45),
        planned,
    }
}

#[test]
fn the_job_allows_one_pod_and_ends_by_itself() {
    let planned = planned(ResourceKind::JivaVolume);
    let objects = build(&order(&planned)).unwrap();
    let job = serde_json::to_value(&objects.job).unwrap();
    assert_eq!(job["spec"]["backoffLimit"], json!(0));
    assert_eq!(job["spec"]["activeDeadlineSeconds"], json!(2700));
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], json!(604_800));
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["restartPolicy"], json!("Never"));
    assert_eq!(pod["serviceAccountName"], json!("jiva-operator"));
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    let container = &pod["containers"][0];
    assert_eq!(container["name"], json!("upgrade"));
    assert_eq!(container["args"], json!(["resource", "--v=4"]));
    assert_eq!(pod["securityContext"], json!(null), "the official images run as root");
}

#[test]
fn the_executor_selects_exactly_the_upgrade_task_of_its_attempt() {
    let planned = planned(ResourceKind::JivaVolume);
    let order = order(&planned);
    let objects = build(&order).unwrap();
    let job = serde_json::to_value(&objects.job).unwrap();
    let env = &job["spec"]["template"]["spec"]["containers"][0]["env"];
    let expected = json!([
        {"name": "OPENEBS_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "UPGRADE_TASK_LABEL", "value": format!("fleetlift.io/attempt={}", order.attempt)},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    assert_eq!(env, &expected);
    let task = serde_json::to_value(&objects.upgrade_task).unwrap();
    assert_eq!(task["metadata"]["name"], json!("upgrade-jiva-csi-volume-pvc-1"));
    assert_eq!(task["metadata"]["labels"]["fleetlift.io/attempt"], json!(order.attempt.to_string()));
    let spec = json!({"fromVersion": "3.5.0", "toVersion": "3.6.0", "jivaVolume": {"pvName": "pvc-1"}});
    assert_eq!(task["spec"], spec);
}

#[test]
fn whoever_takes_over_sends_the_same_and_another_attempt_something_else() {
    let planned = planned(ResourceKind::CstorVolume);
    let first = build(&order(&planned)).unwrap();
    let taken_over = build(&AttemptOrder { epoch: 4, ..order(&planned) }).unwrap();
    assert_eq!(first.spec_hash, taken_over.spec_hash);
    assert_eq!(first.job.metadata.name, taken_over.job.metadata.name);
    let again = build(&AttemptOrder { number: 2, ..order(&planned) }).unwrap();
    assert_ne!(first.spec_hash, again.spec_hash);
    assert_ne!(first.job.metadata.name, again.job.metadata.name);
    let mut otherwise = planned.clone();
    otherwise.image = "openebs/upgrade:3.6.0-1".into();
    assert_ne!(first.spec_hash, build(&order(&otherwise)).unwrap().spec_hash);
}

#[test]
fn a_job_is_named_by_its_attempt() {
    let planned = planned(ResourceKind::CstorVolume);
    let name = build(&order(&planned)).unwrap().job.metadata.name.unwrap();
    assert_eq!(name.len(), "fl-".len() + 26);
    assert!(name.strip_prefix("fl-").unwrap().bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)));
}

#[test]
fn base32_is_that_of_the_standard() {
    assert_eq!(base32(b"foobar", 9), "mzxw6ytbo");
}

#[test]
fn our_own_executor_gets_no_rights_that_it_does_not_need() {
    let mut planned = planned(ResourceKind::CstorVolume);
    planned.own_executor = true;
    let objects = build(&order(&planned)).unwrap();
    let job = serde_json::to_value(&objects.job).unwrap();
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], json!(true));
    assert_eq!(pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"], json!(true));
    assert_eq!(pod["containers"][0]["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    let resources = &pod["containers"][0]["resources"];
    assert_eq!(resources["requests"], json!({"cpu": "10m", "memory": "32Mi"}));
    assert_eq!(resources["limits"], json!({"memory": "512Mi"}));
}

#[test]
fn the_oldest_executors_are_told_by_arguments() {
    let mut planned = planned(ResourceKind::StoragePoolClaim);
    (planned.from, planned.to) = (Version::new(1, 0, 0), Version::new(1, 1, 0));
    let args = args(&planned);
    assert_eq!(args, ["cstor-spc", "--from-version=1.0.0", "--to-version=1.1.0", "--spc-name=pvc-1", "--v=4"]);
}

#[test]
fn an_image_of_one_architecture_runs_on_a_node_that_has_it() {
    let mut planned = planned(ResourceKind::CstorVolume);
    planned.image = "openebs/upgrade-arm64:2.3.0".into();
    let objects = build(&order(&planned)).unwrap();
    let pod = objects.job.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.node_selector.unwrap().get("kubernetes.io/arch").map(String::as_str), Some("arm64"));
}

#[test]
fn a_fence_is_the_same_job_that_never_runs() {
    let planned = planned(ResourceKind::CstorVolume);
    let objects = build(&order(&planned)).unwrap();
    let fence = objects.fence();
    assert_eq!(fence.metadata, objects.job.metadata);
    assert_eq!(fence.spec.unwrap().suspend, Some(true));
}

#[test]
fn what_could_smuggle_something_in_is_refused_by_field() {
    type Spoil = fn(&mut PlannedTask);
    let cases: [(&str, Spoil); 7] = [
        ("resource", |task| task.resource.name = "pvc-1\nargs: x".into()),
        ("namespace", |task| task.namespace = "a/../kube-system".into()),
        ("serviceAccount", |task| task.service_account = String::new()),
        ("image", |task| task.image = "openebs/upgrade".into()),
        ("image", |task| task.image = "openebs/upgrade:3.6.0 --privileged".into()),
        ("imagePrefix", |task| task.image_prefix = "registry.example.com".into()),
        ("pullSecrets", |task| task.pull_secrets = vec!["Not A Name".into()]),
    ];
    for (field, spoil) in cases {
        let mut task = planned(ResourceKind::JivaVolume);
        spoil(&mut task);
        assert_eq!(build(&order(&task)).unwrap_err().field, field);
    }
    let sound = planned(ResourceKind::JivaVolume);
    let instantly = AttemptOrder { deadline: Duration::from_millis(1), ..order(&sound) };
    assert_eq!(build(&instantly).unwrap_err().field, "deadline");
}
