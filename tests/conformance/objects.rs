//! Creating, reading and replacing.

use serde_json::{Value, json};

use crate::worlds::{Asked, compare};

const MAPS: &str = "/api/v1/namespaces/openebs/configmaps";
pub const TASKS: &str = "/apis/openebs.io/v1alpha1/namespaces/openebs/upgradetasks";

pub fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub fn task(name: &str) -> Value {
    json!({"apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask",
        "metadata": {"name": name, "labels": {"of": "conformance"}},
        "spec": {"fromVersion": "3.5.0", "toVersion": "3.6.0", "cStorVolume": {"pvName": "pvc-1"}}})
}

#[test]
fn objects_are_created_once_under_their_names() {
    compare(|mut talk| async move {
        for (kind, path, object) in [("map", MAPS, map("made")), ("task", TASKS, task("made"))] {
            talk.post(&format!("a {kind}"), path, &object).await;
            talk.post(&format!("the {kind} again"), path, &object).await;
            talk.get(&format!("the {kind}"), &format!("{path}/made")).await;
            talk.get(&format!("no {kind}"), &format!("{path}/missing")).await;
        }
        let random = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "some-"}});
        talk.post("a random name", MAPS, &random).await;
        talk
    });
}

#[test]
fn objects_that_make_no_sense_are_refused_in_the_same_words() {
    compare(|mut talk| async move {
        let mut nameless = map("x");
        nameless["metadata"] = json!({});
        talk.post("no name", MAPS, &nameless).await;
        talk.post("a name that is none", MAPS, &map("Not_A_Name")).await;
        let mut elsewhere = map("x");
        elsewhere["metadata"]["namespace"] = json!("shop");
        talk.post("another namespace in the object", MAPS, &elsewhere).await;
        talk.post("a namespace that is not there", "/api/v1/namespaces/nowhere/configmaps", &map("x")).await;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}});
        let asked = Asked { method: "POST", path: MAPS, body: Some(&secret), ..Asked::default() };
        let answer = talk.quietly(asked).await;
        // Its converter's own words are Go's, too.
        talk.note("another kind", &json!([answer.code, answer.body["reason"], answer.body["details"]]));
        let answer = talk
            .quietly(Asked { method: "POST", path: MAPS, body: Some(&json!("{\"apiVersion\": ")), ..Asked::default() })
            .await;
        // Its parser's own words are Go's.
        talk.note(
            "no JSON",
            &json!({"code": answer.code, "reason": answer.body["reason"], "kind": answer.body["kind"]}),
        );
        talk.get("a kind that is not there", "/apis/openebs.io/v1alpha1/namespaces/openebs/nothings").await;
        talk.get("a group that is not there", "/apis/nothing.io/v1/things").await;
        talk
    });
}

#[test]
fn an_object_is_replaced_only_by_who_read_it_last() {
    compare(|mut talk| async move {
        let made = talk.post("a map", MAPS, &map("replaced")).await;
        let path = format!("{MAPS}/replaced");
        let mut new = map("replaced");
        new["data"]["a"] = json!("2");
        talk.put("without a version", &path, &new).await;
        new["metadata"]["resourceVersion"] = json!(made.version());
        new["data"]["a"] = json!("3");
        talk.put("with the version before", &path, &new).await;
        let now = talk.get("as it is", &path).await;
        new["metadata"]["resourceVersion"] = json!(now.version());
        let replaced = talk.put("with its version", &path, &new).await;
        let same = talk.put("the same again", &path, &replaced.body).await;
        talk.note("nothing changed, so no new version", &json!(same.version() == replaced.version()));
        new["metadata"] = json!({"name": "replaced", "uid": "11111111-2222-4333-8444-555555555555"});
        talk.put("another uid", &path, &new).await;
        new["metadata"] = json!({"name": "other"});
        talk.put("another name", &path, &new).await;
        let mut gone = map("gone");
        gone["metadata"]["resourceVersion"] = json!(now.version());
        talk.put("what is not there", &format!("{MAPS}/gone"), &gone).await;
        talk
    });
}

#[test]
fn a_custom_resource_counts_its_generations_and_keeps_its_status() {
    compare(|mut talk| async move {
        let mut one = task("counted");
        one["status"] = json!({"phase": "Started", "retries": 0});
        talk.post("with a status", TASKS, &one).await;
        let path = format!("{TASKS}/counted");
        talk.patch("a label", &path, "merge-patch", &json!({"metadata": {"labels": {"a": "b"}}})).await;
        talk.patch("its status", &path, "merge-patch", &json!({"status": {"phase": "Success"}})).await;
        talk.patch("its spec", &path, "merge-patch", &json!({"spec": {"toVersion": "3.6.1"}})).await;
        talk.patch(
            "its status apart",
            &format!("{path}/status"),
            "merge-patch",
            &json!({"status": {"phase": "Error"}}),
        )
        .await;
        talk
    });
}
