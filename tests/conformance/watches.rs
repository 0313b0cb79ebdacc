//! Watches: from a version on, resumed, by selector, with bookmarks, and ended.

use serde_json::{Value, json};

use crate::objects::{TASKS, task};
use crate::worlds::{Asked, Talk, compare};

async fn change(talk: &Talk, method: &str, name: &str, labels: &Value) -> String {
    let mut object = task(name);
    object["metadata"]["labels"] = labels.clone();
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let path = if method == "POST" { TASKS.to_owned() } else { format!("{TASKS}/{name}") };
    let body = (method != "DELETE").then_some(&object);
    let answer = talk.quietly(Asked { method, path: &path, body, content_type, ..Asked::default() }).await;
    assert!(answer.code < 300, "{answer:?}");
    answer.body["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

async fn version_now(talk: &Talk) -> String {
    talk.quietly(Asked { path: TASKS, ..Asked::default() }).await.version()
}

#[test]
fn a_watch_tells_what_happened_since_a_version_and_can_be_resumed() {
    compare(|mut talk| async move {
        let before = version_now(&talk).await;
        let labels = json!({"watched": "one"});
        let made = change(&talk, "POST", "watched-1", &labels).await;
        change(&talk, "PATCH", "watched-1", &json!({"watched": "one", "more": "yes"})).await;
        change(&talk, "DELETE", "watched-1", &labels).await;
        let path = format!("{TASKS}?watch=true&labelSelector=watched%3Done&resourceVersion=");
        talk.note("everything", &json!(talk.lines(&format!("{path}{before}"), 3).await));
        talk.note("resumed", &json!(talk.lines(&format!("{path}{made}"), 2).await));
        talk
    });
}

#[test]
fn what_leaves_a_selector_is_deleted_for_who_watches_it() {
    compare(|mut talk| async move {
        let before = version_now(&talk).await;
        change(&talk, "POST", "moves-1", &json!({"moves": "in"})).await;
        change(&talk, "PATCH", "moves-1", &json!({"moves": "out"})).await;
        change(&talk, "PATCH", "moves-1", &json!({"moves": "in"})).await;
        let path = format!("{TASKS}?watch=true&labelSelector=moves%3Din&resourceVersion={before}");
        talk.note("in, out, in", &json!(talk.lines(&path, 3).await));
        talk
    });
}

#[test]
fn a_watch_without_a_version_begins_with_what_is_there_and_ends_when_its_time_is_over() {
    compare(|mut talk| async move {
        change(&talk, "POST", "there-1", &json!({"there": "yes"})).await;
        let path = format!("{TASKS}?watch=true&labelSelector=there%3Dyes&timeoutSeconds=1");
        talk.note("what is there", &json!(talk.lines(&path, usize::MAX).await));
        talk
    });
}

#[test]
fn a_watch_tells_a_bookmark_before_it_ends() {
    compare(|mut talk| async move {
        let before = version_now(&talk).await;
        change(&talk, "POST", "passed-over-1", &json!({"passed": "over"})).await;
        let path = format!("{TASKS}?watch=true&labelSelector=nobody%3Dhas&allowWatchBookmarks=true&timeoutSeconds=4");
        talk.note("a bookmark", &json!(talk.lines(&format!("{path}&resourceVersion={before}"), 1).await));
        talk
    });
}

#[test]
fn versions_that_are_none_are_refused() {
    compare(|mut talk| async move {
        let wrong = format!("{TASKS}?watch=true&resourceVersion=nonsense");
        let answer = talk.quietly(Asked { path: &wrong, ..Asked::default() }).await;
        talk.note("nonsense", &json!([answer.code, answer.body]));
        talk
    });
}
