//! One cluster's part in one rollout, and the tasks inside it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AttemptId, ClusterId, RolloutId, TargetId, TaskId, Timestamp};

/// One cluster's part in one rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its id.
    pub id: TargetId,
    /// The rollout that it belongs to.
    pub rollout: RolloutId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The wave, from 0.
    pub wave: u32,
    /// Its place inside the wave, from 0.
    pub position: u32,
    /// Where it stands.
    pub state: TargetState,
    /// When it first started, if it did.
    pub first_started_at: Option<Timestamp>,
    /// Raised by each change; a write names the version that it read.
    pub version: i64,
}

/// Where a target stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum TargetState {
    /// It has not started.
    Pending,
    /// It holds a slot.
    Running {
        /// Since when; time in which its cluster was not seen moves it on.
        since: Timestamp,
        /// Its cluster has not been seen since then, while a Job may run.
        unseen_since: Option<Timestamp>,
        /// What it is doing or waiting for, in a sentence.
        doing: String,
    },
    /// It holds no slot, is no failure, and stays owed.
    Deferred {
        /// Why.
        reason: Deferral,
        /// When it is tried again.
        retry_at: Timestamp,
    },
    /// All its tasks succeeded or were not needed.
    Succeeded {
        /// When.
        at: Timestamp,
    },
    /// A task failed, or its deadline passed.
    Failed {
        /// When.
        at: Timestamp,
        /// Why, in a sentence.
        reason: String,
    },
    /// It was left out.
    Skipped {
        /// When.
        at: Timestamp,
        /// Why.
        reason: SkipReason,
    },
}

impl TargetState {
    /// The state's name in tables, metrics and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running { .. } => "running",
            Self::Deferred { .. } => "deferred",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Whether it will not change by itself any more.
    pub const fn is_settled(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. } | Self::Skipped { .. })
    }
}

/// Why a target is deferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Deferral {
    /// The cluster did not answer.
    Unreachable {
        /// Since when.
        since: Timestamp,
        /// What happened.
        error: String,
    },
    /// Its Job must have ended unseen; what it did is looked at when the cluster is back.
    Unverified {
        /// Not seen since then.
        unseen_since: Timestamp,
    },
    /// The cluster answered and refused us, or is another one: nothing can be done until somebody repairs that.
    Refused {
        /// What happened.
        error: String,
    },
    /// An operator is not at the target version.
    ControlPlane {
        /// The component, what was found and what is wanted.
        found: String,
    },
    /// Somebody else is upgrading the resource.
    Busy {
        /// Who.
        by: String,
    },
    /// Replicas are not healthy or still rebuild.
    Unsettled {
        /// What.
        what: String,
    },
    /// A volume is in use, or may be, and the strategy says `attached: refuse`.
    InUse {
        /// By whom, or why that is not known.
        why: String,
    },
    /// Its maintenance window is closed.
    OutsideWindow {
        /// When it opens, if ever.
        opens_at: Option<Timestamp>,
    },
}

impl Deferral {
    /// A bounded name for metrics and tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Unverified { .. } => "unverified",
            Self::Refused { .. } => "refused",
            Self::ControlPlane { .. } => "control_plane",
            Self::Busy { .. } => "busy",
            Self::Unsettled { .. } => "unsettled",
            Self::InUse { .. } => "in_use",
            Self::OutsideWindow { .. } => "outside_window",
        }
    }
}

impl std::fmt::Display for Deferral {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable { since, error } => write!(f, "unreachable since {since} ({error})"),
            Self::Unverified { unseen_since } => {
                write!(f, "its Job ended unseen: the cluster has not answered since {unseen_since}")
            }
            Self::Refused { error } => write!(f, "the cluster refused us: {error}"),
            Self::ControlPlane { found } => write!(f, "the control plane is not at the target: {found}"),
            Self::Busy { by } => write!(f, "{by} is working on it"),
            Self::Unsettled { what } => write!(f, "not settled: {what}"),
            Self::InUse { why } => write!(f, "{why}, and the strategy says `attached: refuse`"),
            Self::OutsideWindow { opens_at: Some(at) } => write!(f, "its maintenance window opens at {at}"),
            Self::OutsideWindow { opens_at: None } => write!(f, "its maintenance windows never open"),
        }
    }
}

/// Why a target or task was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum SkipReason {
    /// The cluster was removed, or the resource was before its Job was created.
    Removed,
    /// A person said so.
    Operator {
        /// Who.
        by: String,
        /// Why.
        remark: String,
    },
    /// It was at the target version already.
    AlreadyThere,
    /// The rollout was aborted before it was done.
    Aborted,
    /// The rollout's deadline passed before it was done: it is owed.
    Owed {
        /// Why it was not done before.
        reason: String,
    },
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Removed => write!(f, "it was removed"),
            Self::Operator { by, remark } if remark.is_empty() => write!(f, "skipped by {by}"),
            Self::Operator { by, remark } => write!(f, "skipped by {by}: {remark}"),
            Self::AlreadyThere => write!(f, "already at the target version"),
            Self::Aborted => write!(f, "the rollout was aborted before it was done"),
            Self::Owed { reason } => write!(f, "owed: {reason}"),
        }
    }
}

/// One resource to upgrade inside a target; what to do is the plan's task at the same position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The target that it belongs to.
    pub target: TargetId,
    /// Its place in the target, from 0: the order of execution.
    pub position: u32,
    /// Where it stands.
    pub state: TaskState,
    /// Attempts made so far.
    pub attempts: u32,
    /// Attempts that may be made; a person's retry raises it.
    pub attempts_allowed: u32,
    /// The attempt that has not ended, if any.
    pub open_attempt: Option<AttemptId>,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum TaskState {
    /// It has not started; after a failed attempt, not before `not_before`.
    Pending {
        /// The earliest time of the next attempt.
        not_before: Option<Timestamp>,
    },
    /// An attempt is under way.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// An attempt succeeded.
    Succeeded {
        /// When.
        at: Timestamp,
    },
    /// The last attempt that was allowed failed.
    Failed {
        /// When.
        at: Timestamp,
        /// Why, in a sentence.
        reason: String,
    },
    /// It was not needed.
    Skipped {
        /// When.
        at: Timestamp,
        /// Why.
        reason: SkipReason,
    },
    /// An earlier task failed.
    NotStarted {
        /// Which, as `kind/name`.
        blocked_by: String,
    },
}

impl TaskState {
    /// The state's name in tables, metrics and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Running { .. } => "running",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::NotStarted { .. } => "not_started",
        }
    }

    /// Whether it will not change by itself any more.
    pub const fn is_settled(&self) -> bool {
        !matches!(self, Self::Pending { .. } | Self::Running { .. })
    }
}

/// How long to wait after the `failed`-th failed attempt (from 1): `first`, doubled each time, at most `longest`.
pub fn backoff(first: Duration, longest: Duration, failed: u32) -> Duration {
    let doublings = failed.saturating_sub(1).min(30);
    first.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let (first, longest) = (Duration::from_secs(30), Duration::from_secs(100));
        let waits: Vec<u64> = (1..=4).map(|n| backoff(first, longest, n).as_secs()).collect();
        assert_eq!(waits, [30, 60, 100, 100]);
        assert_eq!(backoff(first, longest, u32::MAX), longest);
    }
}
