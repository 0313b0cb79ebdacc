//! The Job controller: one look at one Job and its Pods, one step towards what the Job asks for, in the order in which
//! the real controller shows it. As there, a deadline counts from the start time as it is shown: in whole seconds.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::admission::JOB_TRACKING;
use super::object::{Key, Object, condition, finalizers, member, number, set_condition, set_finalizer, text};
use super::resources::Resource;
use super::store::{Deletion, Propagation, Store};
use crate::domain::Timestamp;

/// What the controller wants after one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It changed something, and more may follow from it.
    Soon,
    /// At this instant something is due: a deadline, or the end of a finished Job's stay.
    At(Timestamp),
    /// When the Job or its Pods change.
    WhenChanged,
}

/// A Job's Pods by how far they are.
#[derive(Default)]
struct Pods {
    /// May run, and are not being deleted.
    active: Vec<Arc<Object>>,
    /// May run, and are being deleted.
    terminating: usize,
    ready: usize,
    /// Have ended, and are not counted yet.
    succeeded: Vec<Key>,
    failed: Vec<Key>,
}

impl Pods {
    fn of(store: &Store, uid: &str, namespace: &str, job: &Value) -> Self {
        let mut pods = Self::default();
        let own = |object: &&Arc<Object>| object.owners.iter().any(|owner| **owner == *uid);
        for pod in store.list(Resource::Pods, Some(namespace), None).filter(own) {
            let value = pod.value();
            let uncounted = finalizers(&value).contains(&JOB_TRACKING);
            match text(&value["status"], "phase") {
                "Succeeded" if uncounted => pods.succeeded.push(pod.key.clone()),
                "Failed" if uncounted => pods.failed.push(pod.key.clone()),
                "Succeeded" | "Failed" => {}
                _ if pod.terminating => {
                    pods.terminating += 1;
                    // One that is being deleted will never end well: it counts as failed at once.
                    if uncounted && !replaces_only_failed(job) {
                        pods.failed.push(pod.key.clone());
                    }
                }
                _ => {
                    pods.ready += usize::from(condition(&value, "Ready").is_some());
                    pods.active.push(Arc::clone(pod));
                }
            }
        }
        pods
    }
}

/// One look at the Job at `key`.
pub fn look(store: &mut Store, key: &Key, now: Timestamp) -> Again {
    let Some(object) = store.get(key).cloned() else { return Again::WhenChanged };
    let job = object.value();
    if object.terminating {
        return Again::WhenChanged;
    }
    if let Some(end) = condition(&job, "Complete").or_else(|| condition(&job, "Failed")) {
        return sweep(store, key, &job, end, now);
    }
    let pods = Pods::of(store, &object.uid, &key.namespace, &job);
    if !pods.succeeded.is_empty() || !pods.failed.is_empty() {
        count(store, key, &pods);
        return Again::Soon;
    }
    if let Some(target) = condition(&job, "FailureTarget").cloned() {
        return fail(store, key, &pods, &target, now);
    }
    if condition(&job, "SuccessCriteriaMet").is_some() {
        return complete(store, key, &pods, now);
    }
    let deadline = deadline(&job);
    if number(&job, "/status/succeeded") >= number(&job, "/spec/completions") {
        set(store, key, "SuccessCriteriaMet", "CompletionsReached", REACHED, now);
        return Again::Soon;
    }
    if number(&job, "/status/failed") > number(&job, "/spec/backoffLimit") {
        set(store, key, "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit", now);
        return Again::Soon;
    }
    if deadline.is_some_and(|deadline| deadline <= now) {
        set(store, key, "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline", now);
        return Again::Soon;
    }
    if job["spec"]["suspend"] == true {
        suspend(store, key, &job, &pods, now)
    } else {
        run(store, &object, &job, &pods, now)
    }
}

const REACHED: &str = "Reached expected number of succeeded pods";

/// None while it is suspended.
fn deadline(job: &Value) -> Option<Timestamp> {
    if job["spec"]["suspend"] == true {
        return None;
    }
    let seconds = job["spec"]["activeDeadlineSeconds"].as_u64()?;
    let started: jiff::Timestamp = text(&job["status"], "startTime").parse().ok()?;
    Some(Timestamp::from_jiff(started) + Duration::from_secs(seconds))
}

/// Deletes a finished Job whose time to stay is over.
fn sweep(store: &mut Store, key: &Key, job: &Value, end: &Value, now: Timestamp) -> Again {
    let Some(seconds) = job["spec"]["ttlSecondsAfterFinished"].as_u64() else { return Again::WhenChanged };
    let ended: Option<jiff::Timestamp> = text(end, "lastTransitionTime").parse().ok();
    let Some(ended) = ended else { return Again::WhenChanged };
    let due = Timestamp::from_jiff(ended) + Duration::from_secs(seconds);
    if now < due {
        return Again::At(due);
    }
    let foreground = Deletion { propagation: Some(Propagation::Foreground), ..Deletion::default() };
    // Gone already is what is wanted, too.
    let _ = store.delete(key, &foreground, now);
    Again::Soon
}

/// Adds the Pods that have ended to the counters, and lets them go.
fn count(store: &mut Store, key: &Key, pods: &Pods) {
    let (succeeded, failed) = (pods.succeeded.len(), pods.failed.len());
    let (active, ready, terminating) = (pods.active.len(), pods.ready, pods.terminating);
    store.change(key, |job| {
        for (counter, more) in [("succeeded", succeeded), ("failed", failed)] {
            let all = number(job, &format!("/status/{counter}")) + i64::try_from(more).unwrap_or(0);
            put_counter(job, counter, all);
        }
        counters(job, active, ready, terminating);
    });
    for pod in pods.succeeded.iter().chain(&pods.failed) {
        store.change(pod, |pod| set_finalizer(pod, JOB_TRACKING, false));
    }
}

fn fail(store: &mut Store, key: &Key, pods: &Pods, target: &Value, now: Timestamp) -> Again {
    for pod in &pods.active {
        let _ = store.delete(&pod.key, &Deletion::default(), now);
    }
    if !pods.active.is_empty() {
        return Again::Soon;
    }
    if pods.terminating > 0 {
        store.change(key, |job| counters(job, 0, 0, pods.terminating));
        return Again::WhenChanged;
    }
    let at = now.to_string();
    store.change(key, |job| {
        counters(job, 0, 0, 0);
        set_condition(job, "Failed", "True", text(target, "reason"), text(target, "message"), &at);
    });
    Again::Soon
}

fn complete(store: &mut Store, key: &Key, pods: &Pods, now: Timestamp) -> Again {
    for pod in &pods.active {
        let _ = store.delete(&pod.key, &Deletion::default(), now);
    }
    if !pods.active.is_empty() || pods.terminating > 0 {
        return Again::WhenChanged;
    }
    let at = now.to_string();
    store.change(key, |job| {
        counters(job, 0, 0, 0);
        member(job, "status").insert("completionTime".to_owned(), Value::from(at.as_str()));
        set_condition(job, "Complete", "True", "CompletionsReached", REACHED, &at);
    });
    Again::Soon
}

/// Kills the Pods without counting them, and says so.
fn suspend(store: &mut Store, key: &Key, job: &Value, pods: &Pods, now: Timestamp) -> Again {
    for pod in &pods.active {
        store.change(&pod.key, |pod| set_finalizer(pod, JOB_TRACKING, false));
        let _ = store.delete(&pod.key, &Deletion::default(), now);
    }
    if !pods.active.is_empty() {
        return Again::Soon;
    }
    let at = now.to_string();
    let told = condition(job, "Suspended").is_some();
    store.change(key, |job| {
        counters(job, 0, 0, pods.terminating);
        if !told {
            set_condition(job, "Suspended", "True", "JobSuspended", "Job suspended", &at);
        }
    });
    Again::WhenChanged
}

/// Starts the Job's Pod if there is none.
fn run(store: &mut Store, object: &Object, job: &Value, pods: &Pods, now: Timestamp) -> Again {
    let key = &object.key;
    let resumed = condition(job, "Suspended").is_some();
    if resumed || job["status"].get("startTime").is_none() {
        let at = now.to_string();
        store.change(key, |job| {
            member(job, "status").insert("startTime".to_owned(), Value::from(at.as_str()));
            if resumed {
                set_condition(job, "Suspended", "False", "JobResumed", "Job resumed", &at);
            }
        });
        return Again::Soon;
    }
    let wanted =
        number(job, "/spec/parallelism").min(number(job, "/spec/completions") - number(job, "/status/succeeded"));
    let taken = pods.active.len() + if replaces_only_failed(job) { pods.terminating } else { 0 };
    let missing = usize::try_from(wanted).unwrap_or(0).saturating_sub(taken);
    for _ in 0..missing {
        let made = store.create(Resource::Pods, &key.namespace, pod_of(object, job), now);
        if made.is_err() {
            break;
        }
    }
    let active = pods.active.len() + missing;
    store.change(key, |job| counters(job, active, pods.ready, pods.terminating));
    deadline(job).map_or(Again::WhenChanged, Again::At)
}

fn replaces_only_failed(job: &Value) -> bool {
    text(&job["spec"], "podReplacementPolicy") == "Failed"
}

fn pod_of(object: &Object, job: &Value) -> Value {
    let template = &job["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["generateName"] = format!("{}-", object.name()).into();
    metadata["finalizers"] = json!([JOB_TRACKING]);
    metadata["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": object.name(),
        "uid": &*object.uid, "controller": true, "blockOwnerDeletion": true}]);
    json!({"metadata": metadata, "spec": template["spec"]})
}

fn set(store: &mut Store, key: &Key, name: &str, reason: &str, message: &str, now: Timestamp) {
    let at = now.to_string();
    store.change(key, |job| set_condition(job, name, "True", reason, message, &at));
}

fn counters(job: &mut Value, active: usize, ready: usize, terminating: usize) {
    put_counter(job, "active", i64::try_from(active).unwrap_or(i64::MAX));
    let status = member(job, "status");
    status.insert("ready".to_owned(), json!(ready));
    status.insert("terminating".to_owned(), json!(terminating));
    status.insert("uncountedTerminatedPods".to_owned(), json!({}));
}

/// Go leaves out counters that are zero.
fn put_counter(job: &mut Value, counter: &str, value: i64) {
    let status = member(job, "status");
    if value == 0 {
        status.remove(counter);
    } else {
        status.insert(counter.to_owned(), json!(value));
    }
}

/// Which Job a changed Pod belongs to.
pub fn owner(store: &Store, pod: &Object) -> Option<Key> {
    let uid = pod.owners.first()?;
    let mut jobs = store.list(Resource::Jobs, Some(&pod.key.namespace), None);
    jobs.find(|job| job.uid == *uid).map(|job| job.key.clone())
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
