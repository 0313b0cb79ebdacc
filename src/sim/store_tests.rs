//! What an API server promises of objects.

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn store() -> Store {
    let mut store = Store::new(Seed::new(1));
    store.furnish(Resource::Namespaces, "", json!({"metadata": {"name": "openebs"}}), NOW);
    store
}

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"v": value}})
}

fn key(name: &str) -> Key {
    Key::new(Resource::ConfigMaps, "openebs", name)
}

#[test]
fn a_name_is_taken_only_once_and_only_in_a_namespace_that_exists() {
    let mut store = store();
    store.create(Resource::ConfigMaps, "openebs", map("a", "1"), NOW).unwrap();
    let again = store.create(Resource::ConfigMaps, "openebs", map("a", "1"), NOW).unwrap_err();
    assert_eq!(again.code(), 409);
    assert_eq!(store.create(Resource::ConfigMaps, "nowhere", map("a", "1"), NOW).unwrap_err().code(), 404);
    assert_eq!(store.create(Resource::ConfigMaps, "openebs", map("A_", "1"), NOW).unwrap_err().code(), 422);
}

#[test]
fn a_generation_counts_specs_and_a_version_everything() {
    let mut store = store();
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1}});
    let made = store.create(Resource::Deployments, "openebs", deployment, NOW).unwrap();
    let key = made.key.clone();
    let generation = |object: &Object| object.value()["metadata"]["generation"].as_i64();
    let mut labelled = made.value();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let labelled = store.replace(&key, Part::Main, labelled).unwrap();
    assert_eq!(generation(&labelled), Some(1));
    assert!(labelled.version > made.version);
    let mut scaled = labelled.value();
    scaled["spec"]["replicas"] = json!(2);
    scaled["status"] = json!({"replicas": 9});
    let scaled = store.replace(&key, Part::Main, scaled).unwrap();
    assert_eq!(generation(&scaled), Some(2));
    assert_eq!(scaled.value()["status"], json!({}), "the status has a subresource of its own");
    let status = store.replace(&key, Part::Status, json!({"status": {"replicas": 2}})).unwrap();
    assert_eq!((generation(&status), &status.value()["status"]["replicas"]), (Some(2), &json!(2)));
}

#[test]
fn what_has_finalizers_waits_for_them() {
    let mut store = store();
    let mut held = map("a", "1");
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    store.create(Resource::ConfigMaps, "openebs", held, NOW).unwrap();
    assert!(matches!(store.delete(&key("a"), &Deletion::default(), NOW), Ok(Deleted::Pending(_))));
    assert!(store.get(&key("a")).unwrap().terminating);
    store.change(&key("a"), |value| set_finalizer(value, "example.com/held", false));
    assert!(store.get(&key("a")).is_none());
}

#[test]
fn preconditions_are_kept() {
    let mut store = store();
    let made = store.create(Resource::ConfigMaps, "openebs", map("a", "1"), NOW).unwrap();
    let other = Deletion { uid: Some("other".into()), ..Deletion::default() };
    assert_eq!(store.delete(&key("a"), &other, NOW).unwrap_err().code(), 409);
    let meant = Deletion { uid: Some(made.uid.to_string()), ..Deletion::default() };
    assert!(matches!(store.delete(&key("a"), &meant, NOW), Ok(Deleted::Gone(_))));
}

#[test]
fn events_are_told_in_order_until_they_are_forgotten() {
    let mut store = store();
    let begin = store.version();
    store.create(Resource::ConfigMaps, "openebs", map("a", "0"), NOW).unwrap();
    store.change(&key("a"), |value| value["data"]["v"] = json!("1"));
    let told: Vec<Change> = store.since(begin).unwrap().map(|event| event.change).collect();
    assert_eq!(told, [Change::Added, Change::Modified]);
    for number in 0..EVENTS_KEPT {
        store.change(&key("a"), |value| value["data"]["v"] = json!(format!("n{number}")));
    }
    assert!(store.since(begin).is_none());
    assert_eq!(store.since(store.version()).unwrap().count(), 0);
}

#[test]
fn nothing_written_is_no_new_version() {
    let mut store = store();
    let made = store.create(Resource::ConfigMaps, "openebs", map("a", "1"), NOW).unwrap();
    let same = store.replace(&key("a"), Part::Main, made.value()).unwrap();
    assert_eq!(same.version, made.version);
}
