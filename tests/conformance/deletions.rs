//! Deleting: preconditions, propagation, and what is left behind.

use serde_json::json;

use crate::jobs::{JOBS, job, pod_of, pods_of, run};
use crate::objects::{TASKS, task};
use crate::worlds::{Asked, compare};

#[test]
fn only_the_very_object_is_deleted() {
    compare(|mut talk| async move {
        let made = talk.post("a task", TASKS, &task("doomed")).await;
        let path = format!("{TASKS}/doomed");
        let other = json!({"preconditions": {"uid": "11111111-2222-4333-8444-555555555555"}});
        talk.delete("another uid", &path, &other).await;
        talk.delete("its uid", &path, &json!({"preconditions": {"uid": made.uid()}})).await;
        talk.delete("again", &path, &json!({})).await;
        talk.get("afterwards", &path).await;
        talk
    });
}

#[test]
fn a_job_that_is_deleted_takes_its_pod_along_or_leaves_it_as_it_is_told() {
    compare(|mut talk| async move {
        for policy in ["none", "Orphan", "Background", "Foreground"] {
            let name = format!("deleted-{}", policy.to_lowercase());
            let made = talk.post("a Job", JOBS, &job(&name)).await;
            let pod = pod_of(&talk, &name).await;
            run(&talk, &pod).await;
            talk.until(&format!("{JOBS}/{name}"), |job| job.body["status"]["ready"] == 1).await;
            let options = match policy {
                "none" => json!({}),
                policy => json!({"propagationPolicy": policy}),
            };
            let path = format!("{JOBS}/{name}");
            talk.delete(&format!("with {policy}"), &path, &options).await;
            if policy == "Foreground" {
                talk.until(&pod, |answer| answer.body["metadata"]["deletionTimestamp"].is_string()).await;
                talk.get("the Job waits", &path).await;
            } else {
                talk.until(&path, |answer| answer.code == 404).await;
            }
            if matches!(policy, "none" | "Orphan") {
                talk.until(&pod, |answer| answer.body["metadata"]["ownerReferences"].is_null()).await;
                let orphan = talk.quietly(Asked { path: &pod, ..Asked::default() }).await;
                talk.note("the orphan", &json!({"metadata": orphan.body["metadata"]}));
            } else {
                talk.until(&pod, |answer| answer.body["metadata"]["deletionTimestamp"].is_string()).await;
            }
            let at_once = json!({"gracePeriodSeconds": 0});
            let asked = Asked { method: "DELETE", path: &pod, body: Some(&at_once), ..Asked::default() };
            let gone = talk.quietly(asked).await;
            talk.note("the Pod at once", &json!({"code": gone.code, "metadata": gone.body["metadata"]}));
            talk.until(&path, |answer| answer.code == 404).await;
            talk.until(&pods_of(&made.uid()), |answer| answer.body["items"].as_array().unwrap().is_empty()).await;
        }
        talk
    });
}
