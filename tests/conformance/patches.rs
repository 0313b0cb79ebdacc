//! Patches of every kind, and what they are refused for.

use serde_json::{Value, json};

use crate::jobs::{JOBS, job};
use crate::objects::{TASKS, map, task};
use crate::worlds::{Asked, compare};

const MAPS: &str = "/api/v1/namespaces/openebs/configmaps";

#[test]
fn each_kind_of_patch_does_the_same() {
    compare(|mut talk| async move {
        talk.post("a map", MAPS, &map("patched")).await;
        let path = format!("{MAPS}/patched");
        talk.patch("merge", &path, "merge-patch", &json!({"data": {"a": null, "b": "2"}})).await;
        talk.patch("merge of nothing", &path, "merge-patch", &json!({})).await;
        talk.patch("strategic", &path, "strategic-merge-patch", &json!({"metadata": {"labels": {"x": "y"}}})).await;
        let steps =
            json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "add", "path": "/data/c", "value": "3"}]);
        talk.patch("JSON", &path, "json-patch", &steps).await;
        let steps = json!([{"op": "remove", "path": "/data/b"}, {"op": "replace", "path": "/data/c", "value": "4"}]);
        talk.patch("JSON again", &path, "json-patch", &steps).await;
        let wrong = json!([{"op": "test", "path": "/data/c", "value": "no"}]);
        let answer = talk.quietly(patch(&path, "application/json-patch+json", &wrong)).await;
        talk.note("a test that fails", &json!([answer.code, answer.body["reason"]]));
        let answer = talk.quietly(patch(&path, "application/json", &json!({}))).await;
        talk.note("of no kind", &json!([answer.code, answer.body["reason"]]));
        talk.patch("what is not there", &format!("{MAPS}/missing"), "merge-patch", &json!({})).await;
        talk
    });
}

#[test]
fn a_patch_that_means_another_object_is_refused() {
    compare(|mut talk| async move {
        let made = talk.post("a task", TASKS, &task("meant")).await;
        let path = format!("{TASKS}/meant");
        let other = json!({"metadata": {"uid": "11111111-2222-4333-8444-555555555555", "labels": {"a": "b"}}});
        talk.patch("another uid", &path, "merge-patch", &other).await;
        let right = json!({"metadata": {"uid": made.uid(), "labels": {"a": "b"}}});
        talk.patch("its uid", &path, "merge-patch", &right).await;
        let old = json!({"metadata": {"resourceVersion": made.version(), "labels": {"a": "c"}}});
        talk.patch("the version before", &path, "merge-patch", &old).await;
        talk.patch("another name", &path, "merge-patch", &json!({"metadata": {"name": "other"}})).await;
        let answer = talk.quietly(patch(&path, "application/strategic-merge-patch+json", &json!({}))).await;
        talk.note("strategic on a custom resource", &json!([answer.code, answer.body["reason"]]));
        talk
    });
}

#[test]
fn a_job_lets_itself_be_suspended_and_not_be_made_another_one() {
    compare(|mut talk| async move {
        let mut sleeping = job("fixed");
        sleeping["spec"]["suspend"] = json!(true);
        let made = talk.post("a suspended Job", JOBS, &sleeping).await;
        let path = format!("{JOBS}/fixed");
        let other = json!({"metadata": {"uid": "11111111-2222-4333-8444-555555555555"}, "spec": {"suspend": false}});
        let answer = talk.quietly(patch(&path, "application/merge-patch+json", &other)).await;
        let first = "Job.batch \"fixed\" is invalid: ";
        let message = answer.body["message"].as_str().unwrap().trim_start_matches(first).trim_start_matches('[');
        // The real one goes on about labels that carry the UID as well.
        let message = message.split(',').next().unwrap();
        talk.note("another uid", &json!([answer.code, answer.body["reason"], message]));
        let right = json!({"metadata": {"uid": made.uid()}, "spec": {"suspend": true}});
        talk.patch("its uid", &path, "merge-patch", &right).await;
        let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "upgrade", "image": "other"}]}}}});
        let answer = talk.quietly(patch(&path, "application/strategic-merge-patch+json", &image)).await;
        talk.note("another image", &json!([answer.code, answer.body["reason"], answer.body["details"]["kind"]]));
        talk
    });
}

fn patch<'a>(path: &'a str, content_type: &'a str, body: &'a Value) -> Asked<'a> {
    Asked { method: "PATCH", path, content_type, body: Some(body), ..Asked::default() }
}
