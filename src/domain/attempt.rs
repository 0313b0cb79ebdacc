//! One try at a task. What to do next is never remembered: it follows from the stored intent and what is seen now.

use serde::{Deserialize, Serialize};

use super::observation::{Observation, ResourceSeen};
use super::{AttemptId, TaskId, Timestamp};

/// One try at a task; its names are stored before anything is created in the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id: also the value of the label `fleetlift.io/attempt`.
    pub id: AttemptId,
    /// The task that it tries.
    pub task: TaskId,
    /// The how-manieth try, from 1.
    pub number: u32,
    /// The Job's name.
    pub job_name: String,
    /// The UpgradeTask's name.
    pub upgrade_task_name: String,
    /// SHA-256 over the Job and UpgradeTask as sent, before server defaults.
    pub spec_hash: String,
    /// When the intent was committed.
    pub intended_at: Timestamp,
    /// When the Job must have ended by itself: from then on it is suspended. Counts from the Job's creation, and not
    /// while nothing was created and the cluster is not seen.
    pub deadline: Timestamp,
    /// The Job's UID, once it is known that it was created.
    pub job_uid: Option<String>,
    /// The UpgradeTask's UID, once it is known that it was created.
    pub upgrade_task_uid: Option<String>,
    /// Why the hub suspends, or suspended, the Job.
    pub cancelled: Option<CancelCause>,
    /// Since when its Job is known to have completed, if the resource did not prove the rest at once. Time in which the
    /// cluster is not seen moves it on.
    pub completed_seen_at: Option<Timestamp>,
    /// Why its Job last had no running Pod, while no executor had said a word: a Job that its deadline ends takes its Pod
    /// along, and with it the reason.
    pub held_up: Option<String>,
    /// The resource as it was read before the attempt.
    pub resource_before: Option<ResourceSeen>,
    /// How it ended; `None` while it has not.
    pub end: Option<AttemptEnd>,
}

/// Why an attempt's Job is suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum CancelCause {
    /// Its deadline passed while we watched.
    Deadline,
    /// Somebody aborted the rollout or skipped the cluster.
    Operator {
        /// Who.
        by: String,
    },
    /// Somebody else was at work on the resource before its Job was created: the name is taken, and nothing was begun.
    Busy {
        /// Who.
        by: String,
    },
}

/// How an attempt ended: the verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// When it was judged.
    pub at: Timestamp,
    /// The verdict.
    pub outcome: Outcome,
    /// What was seen last; bounded by the observation's own limits.
    pub evidence: Observation,
}

/// The verdict on one attempt. Unknown is never success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Outcome {
    /// Our Job completed and the resource, read afterwards, is at the target, rolled out and healthy.
    Succeeded {
        /// What the UpgradeTask said against it.
        warning: Option<String>,
    },
    /// Its Job was surely never created: it counts as no attempt.
    NotBegun {
        /// Why, in a sentence.
        reason: String,
    },
    /// It failed.
    Failed {
        /// Why, in a sentence.
        reason: String,
        /// What kind of failure.
        class: FailureClass,
    },
}

/// What kind of failure: decides whether another attempt may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The Job failed.
    Job,
    /// The Job completed, but the resource says otherwise.
    Contradiction,
    /// The Job that we had created is gone.
    Lost,
    /// It did not end in time.
    Deadline,
    /// It was cancelled by a person: no further attempt.
    Cancelled,
    /// An object of our name belongs to somebody else: no further attempt, a person must look.
    Conflict,
    /// The cluster refused the objects (quota, admission, rights): no Job exists.
    Refused,
    /// The resource vanished.
    Vanished,
}

impl FailureClass {
    /// Whether another attempt may help.
    pub const fn may_be_retried(self) -> bool {
        match self {
            Self::Job | Self::Contradiction | Self::Lost | Self::Deadline | Self::Refused => true,
            Self::Cancelled | Self::Conflict | Self::Vanished => false,
        }
    }
}
