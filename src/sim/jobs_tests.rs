//! The Job controller, look by look.

use super::*;
use crate::sim::seed::Seed;
use crate::sim::store::Part;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn store() -> Store {
    let mut store = Store::new(Seed::new(1));
    store.furnish(Resource::Namespaces, "", json!({"metadata": {"name": "openebs"}}), START);
    store
}

fn job(store: &mut Store, spec: &Value) -> Key {
    let mut job = json!({"metadata": {"name": "j"}, "spec": {"backoffLimit": 0, "template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "upgrade", "image": "x:1"}]}}}});
    for (field, value) in spec.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    store.create(Resource::Jobs, "openebs", job, START).unwrap().key.clone()
}

/// Looks until there is nothing more to do now.
fn settle(store: &mut Store, key: &Key, now: Timestamp) -> Again {
    loop {
        let again = look(store, key, now);
        if again != Again::Soon {
            return again;
        }
    }
}

fn pods(store: &Store) -> Vec<Arc<Object>> {
    store.list(Resource::Pods, Some("openebs"), None).cloned().collect()
}

fn end(store: &mut Store, phase: &str) {
    let pod = pods(store).remove(0);
    store.replace(&pod.key, Part::Status, json!({"status": {"phase": phase}})).unwrap();
}

fn conditions(store: &Store, key: &Key) -> Vec<String> {
    let job = store.get(key).unwrap().value();
    let all = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| format!("{}={}", text(one, "type"), text(one, "reason"))).collect()
}

#[test]
fn a_job_makes_its_pod_once_and_waits() {
    let mut store = store();
    let key = job(&mut store, &json!({"activeDeadlineSeconds": 60}));
    let until = settle(&mut store, &key, START);
    assert_eq!(until, Again::At(START + Duration::from_mins(1)));
    assert_eq!(pods(&store).len(), 1);
    settle(&mut store, &key, START + Duration::from_secs(1));
    assert_eq!(pods(&store).len(), 1);
}

#[test]
fn one_failed_pod_fails_a_job_without_retries() {
    let mut store = store();
    let key = job(&mut store, &json!({}));
    settle(&mut store, &key, START);
    end(&mut store, "Failed");
    settle(&mut store, &key, START);
    assert_eq!(conditions(&store, &key), ["FailureTarget=BackoffLimitExceeded", "Failed=BackoffLimitExceeded"]);
    assert_eq!(pods(&store).len(), 1, "the Pod stays, for its log");
}

#[test]
fn a_job_with_retries_makes_another_pod() {
    let mut store = store();
    let key = job(&mut store, &json!({"backoffLimit": 1}));
    settle(&mut store, &key, START);
    end(&mut store, "Failed");
    settle(&mut store, &key, START);
    assert_eq!(pods(&store).len(), 2);
    assert_eq!(conditions(&store, &key), Vec::<String>::new());
}

#[test]
fn a_deadline_is_no_end_while_the_pod_still_runs() {
    let mut store = store();
    let key = job(&mut store, &json!({"activeDeadlineSeconds": 60}));
    settle(&mut store, &key, START);
    let pod = pods(&store).remove(0);
    // Bound to a node, so that it is not gone at once.
    store.change(&pod.key, |pod| pod["spec"]["nodeName"] = json!("n"));
    settle(&mut store, &key, START + Duration::from_mins(1));
    assert_eq!(conditions(&store, &key), ["FailureTarget=DeadlineExceeded"]);
    assert!(store.get(&pod.key).unwrap().terminating);
    store.replace(&pod.key, Part::Status, json!({"status": {"phase": "Failed"}})).unwrap();
    settle(&mut store, &key, START + Duration::from_secs(61));
    assert_eq!(conditions(&store, &key), ["FailureTarget=DeadlineExceeded", "Failed=DeadlineExceeded"]);
}

#[test]
fn a_suspended_job_counts_no_failure() {
    let mut store = store();
    let key = job(&mut store, &json!({}));
    settle(&mut store, &key, START);
    store.change(&key, |job| job["spec"]["suspend"] = json!(true));
    settle(&mut store, &key, START);
    assert_eq!(pods(&store).len(), 0, "it was bound to no node, so nothing had to be waited for");
    assert_eq!(conditions(&store, &key), ["Suspended=JobSuspended"]);
    assert_eq!(number(&store.get(&key).unwrap().value(), "/status/failed"), 0);
}

#[test]
fn a_finished_job_is_swept_when_its_time_is_over() {
    let mut store = store();
    let key = job(&mut store, &json!({"ttlSecondsAfterFinished": 10}));
    settle(&mut store, &key, START);
    end(&mut store, "Succeeded");
    assert_eq!(settle(&mut store, &key, START), Again::At(START + Duration::from_secs(10)));
    settle(&mut store, &key, START + Duration::from_secs(10));
    assert!(store.get(&key).is_none_or(|job| job.terminating));
}
