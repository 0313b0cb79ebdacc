//! From a change of an object to the line that the oracle keeps of it.

use super::claims;
use super::object::{Object, condition, text};
use super::oracle::{JobRecord, JobState, PodRecord, Record, TaskRecord, What};
use super::resources::Resource;
use super::store::{Change, Event, Store};
use crate::domain::Timestamp;
use crate::openebs::UpgradeTask;

/// The records of `events`; most objects leave none.
pub fn of(store: &Store, cluster: &str, events: &[Event], by_client: bool, now: Timestamp) -> Vec<Record> {
    let record = |what| Record { at_us: now.as_micros(), cluster: cluster.to_owned(), what };
    events.iter().filter_map(|event| what(store, event, by_client)).map(record).collect()
}

fn what(store: &Store, event: &Event, by_client: bool) -> Option<What> {
    let Event { change, object, .. } = event;
    let deleted = *change == Change::Deleted;
    match object.key.resource {
        Resource::Jobs => Some(What::Job(job(store, object, deleted))),
        Resource::Pods => pod(store, object, deleted).map(What::Pod),
        Resource::UpgradeTasks => Some(What::UpgradeTask(task(store, object, deleted, by_client))),
        _ => None,
    }
}

fn job(store: &Store, object: &Object, deleted: bool) -> JobRecord {
    let value = object.value();
    let state = if deleted {
        JobState::Deleted
    } else if condition(&value, "Complete").is_some() {
        JobState::Complete
    } else if condition(&value, "Failed").is_some() {
        JobState::Failed
    } else if value["spec"]["suspend"] == true {
        JobState::Suspended
    } else {
        JobState::Active
    };
    let namespace = &object.key.namespace;
    let claimed = claims::of_pod(store, namespace, &value["spec"]["template"]["spec"]);
    JobRecord {
        name: object.name().to_owned(),
        uid: object.uid.to_string(),
        state,
        resources: claims::told(store, namespace, claimed, &value),
        labels: object.labels.clone(),
    }
}

fn pod(store: &Store, object: &Object, deleted: bool) -> Option<PodRecord> {
    // An orphaned Pod has no owner any more, and runs all the same.
    let job_uid = object.label("controller-uid");
    if job_uid.is_empty() {
        return None;
    }
    let value = object.value();
    let ended = matches!(text(&value["status"], "phase"), "Succeeded" | "Failed");
    let namespace = &object.key.namespace;
    let claimed = claims::of_pod(store, namespace, &value["spec"]);
    Some(PodRecord {
        name: object.name().to_owned(),
        uid: object.uid.to_string(),
        job_uid: job_uid.to_owned(),
        living: !deleted && !ended,
        resources: claims::told(store, namespace, claimed, &value),
    })
}

fn task(store: &Store, object: &Object, deleted: bool, by_client: bool) -> TaskRecord {
    let task: UpgradeTask = serde_json::from_slice(object.bytes()).unwrap_or_default();
    let resources = claims::of_task(store, &object.key.namespace, &task);
    TaskRecord {
        name: object.name().to_owned(),
        uid: object.uid.to_string(),
        by_client,
        deleted,
        resources: resources.iter().map(ToString::to_string).collect(),
        phase: task.status.phase,
    }
}
