//! Jobs as their controller moves them; the scenarios play the node.

use serde_json::{Value, json};

use crate::worlds::{Answer, Asked, Talk, compare};

pub const JOBS: &str = "/apis/batch/v1/namespaces/openebs/jobs";
const PODS: &str = "/api/v1/namespaces/openebs/pods";

/// A Job as the hub makes them.
pub fn job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "fleetlift"}},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": {"fleetlift.io/attempt": name}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "upgrade", "image": "upgrade:1"}]}}}})
}

/// The Pods of the Job with that UID.
pub fn pods_of(uid: &str) -> String {
    format!("{PODS}?labelSelector=batch.kubernetes.io%2Fcontroller-uid%3D{uid}")
}

/// The path of the only Pod of that Job, once there is one.
pub async fn pod_of(talk: &Talk, job: &str) -> String {
    let path = format!("{PODS}?labelSelector=job-name%3D{job}");
    let found = talk.until(&path, |answer| !answer.body["items"].as_array().unwrap().is_empty()).await;
    format!("{PODS}/{}", found.body["items"][0]["metadata"]["name"].as_str().unwrap())
}

/// Binds the Pod and lets it run, as a kubelet would.
pub async fn run(talk: &Talk, pod: &str) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "played"}});
    talk.quietly(Asked { method: "POST", path: "/api/v1/nodes", body: Some(&node), ..Asked::default() }).await;
    let name = pod.rsplit('/').next().unwrap();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"kind": "Node", "name": "played"}});
    let path = format!("{pod}/binding");
    let bound = talk.quietly(Asked { method: "POST", path: &path, body: Some(&binding), ..Asked::default() }).await;
    assert_eq!(bound.code, 201, "{bound:?}");
    set_phase(talk, pod, "Running", &json!({"running": {}})).await;
}

async fn set_phase(talk: &Talk, pod: &str, phase: &str, state: &Value) {
    let ready = phase == "Running";
    let status = json!({"status": {"phase": phase,
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        "containerStatuses": [{"name": "upgrade", "image": "upgrade:1", "imageID": "", "ready": ready, "restartCount": 0,
            "state": state}]}});
    let path = format!("{pod}/status");
    let content_type = "application/merge-patch+json";
    let patch = Asked { method: "PATCH", path: &path, body: Some(&status), content_type, ..Asked::default() };
    let answer = talk.quietly(patch).await;
    assert_eq!(answer.code, 200, "{answer:?}");
}

async fn end(talk: &Talk, pod: &str, code: i32) {
    let terminated = json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }}});
    set_phase(talk, pod, if code == 0 { "Succeeded" } else { "Failed" }, &terminated).await;
}

fn has(answer: &Answer, condition: &str) -> bool {
    let mut conditions = answer.body["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == condition && one["status"] == "True")
}

#[test]
fn a_job_ends_as_its_pod_does() {
    compare(|mut talk| async move {
        for (name, code, condition) in [("ends-well", 0, "Complete"), ("ends-badly", 1, "Failed")] {
            talk.post("a Job", JOBS, &job(name)).await;
            let path = format!("{JOBS}/{name}");
            let pod = pod_of(&talk, name).await;
            let waiting = talk.until(&path, |job| job.body["status"]["active"] == 1).await;
            talk.note("active", &json!({"job": waiting.body}));
            let new = talk.quietly(Asked { path: &pod, ..Asked::default() }).await;
            talk.note("its Pod", &json!({"metadata": new.body["metadata"], "phase": new.body["status"]["phase"]}));
            run(&talk, &pod).await;
            let running = talk.until(&path, |job| job.body["status"]["ready"] == 1).await;
            talk.note("ready", &json!({"job": running.body}));
            end(&talk, &pod, code).await;
            let ended = talk.until(&path, |job| has(job, condition)).await;
            talk.note("ended", &json!({"job": ended.body}));
            let pod = talk.until(&pod, |pod| pod.body["metadata"]["finalizers"].is_null()).await;
            talk.note("what is left of its Pod", &json!({"metadata": pod.body["metadata"]}));
        }
        talk
    });
}

#[test]
fn a_suspended_job_loses_its_pod_and_makes_one_again_when_resumed() {
    compare(|mut talk| async move {
        talk.post("a Job", JOBS, &job("sleeps")).await;
        let path = format!("{JOBS}/sleeps");
        let pod = pod_of(&talk, "sleeps").await;
        run(&talk, &pod).await;
        talk.until(&path, |job| job.body["status"]["ready"] == 1).await;
        talk.patch("suspended", &path, "merge-patch", &json!({"spec": {"suspend": true}})).await;
        let told = talk.until(&path, |job| has(job, "Suspended")).await;
        talk.note("says so", &json!({"job": told.body}));
        talk.until(&pod, |pod| pod.body["metadata"]["deletionTimestamp"].is_string()).await;
        talk.quietly(Asked {
            method: "DELETE",
            path: &pod,
            body: Some(&json!({"gracePeriodSeconds": 0})),
            ..Asked::default()
        })
        .await;
        talk.until(&pod, |pod| pod.code == 404).await;
        let quiet = talk.until(&path, |job| job.body["status"]["terminating"] == 0).await;
        talk.note("quiet", &json!({"job": quiet.body}));
        talk.patch("resumed", &path, "merge-patch", &json!({"spec": {"suspend": false}})).await;
        let again = talk.until(&path, |job| job.body["status"]["active"] == 1).await;
        talk.note("again", &json!({"job": again.body}));
        talk
    });
}

#[test]
fn a_job_past_its_deadline_fails_and_its_pod_goes() {
    compare(|mut talk| async move {
        let mut late = job("late");
        late["spec"]["activeDeadlineSeconds"] = json!(1);
        talk.post("a Job", JOBS, &late).await;
        let path = format!("{JOBS}/late");
        let pod = pod_of(&talk, "late").await;
        let failed = talk.until(&path, |job| has(job, "Failed")).await;
        talk.note("failed", &json!({"job": failed.body}));
        talk.until(&pod, |pod| pod.code == 404).await;
        talk
    });
}

#[test]
fn status_is_written_apart_from_the_rest() {
    compare(|mut talk| async move {
        let mut sleeping = job("apart");
        sleeping["spec"]["suspend"] = json!(true);
        sleeping["status"] = json!({"succeeded": 5});
        talk.post("with a status", JOBS, &sleeping).await;
        let path = format!("{JOBS}/apart");
        let told = talk.until(&path, |job| has(job, "Suspended")).await;
        talk.note("its own", &json!({"job": told.body}));
        let patch = json!({"metadata": {"labels": {"a": "b"}}, "status": {"succeeded": 7}});
        talk.patch("a status beside a label", &path, "merge-patch", &patch).await;
        talk.get("the status subresource", &format!("{path}/status")).await;
        talk
    });
}
