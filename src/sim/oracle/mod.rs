//! The oracle: what really happened, written down by the clusters themselves and not by whoever claims to have done it.
//! Every request that changes something, and every change of a Job, a Pod of a Job and an UpgradeTask.

mod log;
mod verify;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use log::Oracle;
pub use verify::{Limits, Summary, Violation, summary, verify};

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, in Unix microseconds.
    pub at_us: i64,
    /// In which cluster.
    pub cluster: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The fleet started with this cluster.
    Cluster {
        /// The labels that it is to be registered with.
        labels: BTreeMap<String, String>,
    },
    /// A client sent a request that would change something.
    Request(Request),
    /// A Job changed.
    Job(JobRecord),
    /// A Pod of a Job changed.
    Pod(PodRecord),
    /// An UpgradeTask changed.
    UpgradeTask(TaskRecord),
}

/// A request that would change something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The object's name.
    pub name: String,
    /// The object's UID, where it was carried out.
    pub uid: String,
    /// The object's labels, where it was carried out.
    pub labels: BTreeMap<String, String>,
    /// The annotation `fleetlift.io/epoch`.
    pub epoch: String,
    /// The HTTP status that it was answered with, or would have been.
    pub code: u16,
    /// The trouble that befell it; empty for none.
    pub trouble: String,
}

/// A Job as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// How far it is.
    pub state: JobState,
    /// What it works on, as `kind/name`; a parent's pools are listed with it.
    pub resources: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// How far a Job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It may make Pods.
    Active,
    /// It makes none, and may have one left.
    Suspended,
    /// It has ended well.
    Complete,
    /// It has ended badly.
    Failed,
    /// It is gone; its Pod may still be there.
    Deleted,
}

/// A Pod of a Job as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The UID in its label `controller-uid`, which it keeps also when it is orphaned.
    pub job_uid: String,
    /// Whether its processes may run: until it has ended or is gone.
    pub living: bool,
    /// As for its Job.
    pub resources: Vec<String>,
}

/// An UpgradeTask as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether a client wrote it, not the executor in the cluster.
    pub by_client: bool,
    /// Whether it is gone.
    pub deleted: bool,
    /// What it names, as `kind/name`.
    pub resources: Vec<String>,
    /// Its phase.
    pub phase: String,
}
