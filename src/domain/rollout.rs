//! One plan being carried out, in waves.

use serde::{Deserialize, Serialize};

use super::{PlanDigest, Revision, RolloutId, Timestamp};

/// One approved plan being carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its id.
    pub id: RolloutId,
    /// The plan that it carries out, and never leaves.
    pub plan: PlanDigest,
    /// The fleet's name.
    pub fleet: String,
    /// The group's name.
    pub group: String,
    /// The fleet revision that the plan was made from.
    pub revision: Revision,
    /// Where it stands.
    pub state: RolloutState,
    /// When it was started.
    pub started_at: Timestamp,
    /// Who started it.
    pub started_by: String,
    /// When what is not done becomes debt.
    pub deadline: Timestamp,
    /// When it finished.
    pub finished_at: Option<Timestamp>,
    /// Raised by each change; a write names the version that it read.
    pub version: i64,
}

/// Where a rollout stands. Lifecycle and outcome are separate: finished says nothing about success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum RolloutState {
    /// Targets are started as waves and limits allow.
    Running {
        /// So many failed targets, and targets that were ill while their wave soaked, were accepted by whoever resumed it
        /// last: only more than these can breach an allowance again. 0 at the start.
        accepted_failures: u32,
    },
    /// Nothing new starts; what runs goes on.
    Paused {
        /// Why.
        cause: PauseCause,
        /// As for running.
        accepted_failures: u32,
    },
    /// Nothing new starts; it finishes when nothing runs any more.
    Stopping {
        /// What it will finish with.
        verdict: Verdict,
        /// As for running.
        #[serde(default)]
        accepted_failures: u32,
    },
    /// It is over.
    Finished {
        /// With this.
        verdict: Verdict,
    },
}

impl RolloutState {
    /// The state's name in tables, metrics and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Stopping { .. } => "stopping",
            Self::Finished { .. } => "finished",
        }
    }

    /// How many bad targets are accepted by resuming it now, when so many have failed: those, and what is ill.
    pub const fn accepted_by_resuming(&self, failed: u32) -> u32 {
        match self {
            Self::Paused { cause: PauseCause::HealthLost { ill, .. }, .. } => failed + *ill,
            Self::Paused { .. } | Self::Running { .. } | Self::Stopping { .. } | Self::Finished { .. } => failed,
        }
    }

    /// The verdict, once there is one.
    pub const fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Running { .. } | Self::Paused { .. } => None,
            Self::Stopping { verdict, .. } | Self::Finished { verdict } => Some(verdict),
        }
    }
}

/// Why a rollout is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum PauseCause {
    /// A person said so.
    Operator {
        /// Who.
        by: String,
        /// Why.
        remark: String,
    },
    /// More targets failed than the strategy allows.
    FailureBudget {
        /// The wave whose allowance was exceeded; `None` for the rollout's.
        wave: Option<String>,
        /// How many failed.
        failed: u32,
        /// How many may.
        allowed: u32,
    },
    /// Something that was upgraded did not stay healthy while its wave soaked.
    HealthLost {
        /// The wave.
        wave: String,
        /// The first such cluster.
        cluster: String,
        /// Its resource and what is wrong with it.
        found: String,
        /// How many such clusters there are.
        ill: u32,
    },
    /// The store was restored from a backup.
    Restored,
}

impl std::fmt::Display for PauseCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator { by, remark } if remark.is_empty() => write!(f, "paused by {by}"),
            Self::Operator { by, remark } => write!(f, "paused by {by}: {remark}"),
            Self::FailureBudget { wave: Some(wave), failed, allowed } => {
                write!(f, "wave {wave} has {failed} failed, {allowed} allowed")
            }
            Self::FailureBudget { wave: None, failed, allowed } => {
                write!(f, "the rollout has {failed} failed, {allowed} allowed")
            }
            Self::HealthLost { wave, cluster, found, ill: 0 | 1 } => {
                write!(f, "wave {wave} did not stay healthy: cluster {cluster}: {found}")
            }
            Self::HealthLost { wave, cluster, found, ill } => {
                write!(f, "wave {wave} did not stay healthy: {ill} clusters, among them {cluster}: {found}")
            }
            Self::Restored => write!(f, "the store was restored from a backup"),
        }
    }
}

/// What a rollout came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Verdict {
    /// Every target succeeded, or failed within the allowance.
    Succeeded {
        /// Failed within the allowance.
        failed: u32,
        /// Still owed at the end.
        owed: u32,
    },
    /// More failed, or fewer succeeded, than the strategy allows.
    Failed {
        /// Why, in a sentence.
        reason: String,
    },
    /// A person stopped it: nothing new starts, and tasks under way finish unless their Jobs are cancelled, too.
    Aborted {
        /// Who.
        by: String,
        /// Why.
        remark: String,
        /// Whether running Jobs are suspended instead of being left to finish.
        cancel_jobs: bool,
    },
}

impl Verdict {
    /// The verdict's name in tables, metrics and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Succeeded { owed: 0, .. } => "succeeded",
            Self::Succeeded { .. } => "succeeded_with_debt",
            Self::Failed { .. } => "failed",
            Self::Aborted { .. } => "aborted",
        }
    }
}

/// The facts of one wave; its status is derived from them and from its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// The wave, from 0: its place in the plan.
    pub position: u32,
    /// Its name.
    pub name: String,
    /// When it opened: from then on its targets start.
    pub opened_at: Option<Timestamp>,
    /// When its last target succeeded, failed or was skipped: the soak begins.
    pub settled_at: Option<Timestamp>,
    /// When everything after it may open.
    pub passed_at: Option<Timestamp>,
    /// Who approved it.
    pub approval: Option<Approval>,
}

/// A person's consent to a wave, bound to the plan of its rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, or what was looked at.
    pub remark: String,
}

/// What a wave is doing: the sentence that the command line prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum WaveStatus {
    /// An earlier wave has not passed.
    Behind {
        /// Which.
        wave: String,
    },
    /// It starts at a time.
    Scheduled {
        /// When.
        start_at: Timestamp,
    },
    /// A person must approve, before it opens or after it is done.
    AwaitingApproval {
        /// Since when.
        since: Timestamp,
    },
    /// It is open, nothing runs, and the maintenance windows of all that is left are closed.
    OutsideWindow {
        /// When the first of them opens, if any does.
        opens_at: Option<Timestamp>,
    },
    /// Its targets start.
    Open {
        /// Targets under way.
        running: u32,
        /// Targets that have not started.
        pending: u32,
        /// Targets that are tried again later.
        deferred: u32,
    },
    /// Too many failed.
    Breached {
        /// How many failed.
        failed: u32,
        /// How many may.
        allowed: u32,
    },
    /// All its targets are done; what follows waits to see whether they stay healthy.
    Soaking {
        /// Until when.
        until: Timestamp,
    },
    /// It has soaked; whether its clusters are still healthy is read once more.
    Verifying {
        /// Since when.
        since: Timestamp,
    },
    /// What follows may open.
    Passed {
        /// Since when.
        at: Timestamp,
    },
}

impl WaveStatus {
    /// The status's name in tables, metrics and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Behind { .. } => "behind",
            Self::Scheduled { .. } => "scheduled",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::OutsideWindow { .. } => "outside_window",
            Self::Open { .. } => "open",
            Self::Breached { .. } => "breached",
            Self::Soaking { .. } => "soaking",
            Self::Verifying { .. } => "verifying",
            Self::Passed { .. } => "passed",
        }
    }
}

impl std::fmt::Display for WaveStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Behind { wave } => write!(f, "behind wave {wave}"),
            Self::Scheduled { start_at } => write!(f, "starts at {start_at}"),
            Self::AwaitingApproval { since } => write!(f, "awaiting approval since {since}"),
            Self::OutsideWindow { opens_at: Some(at) } => write!(f, "outside its window, the first opens at {at}"),
            Self::OutsideWindow { opens_at: None } => write!(f, "outside its windows, and none opens"),
            Self::Open { running, pending, deferred: 0 } => write!(f, "open: {running} running, {pending} pending"),
            Self::Open { running, pending, deferred } => {
                write!(f, "open: {running} running, {pending} pending, {deferred} deferred")
            }
            Self::Breached { failed, allowed } => write!(f, "breached: {failed} failed, {allowed} allowed"),
            Self::Soaking { until } => write!(f, "soaking until {until}"),
            Self::Verifying { since } => {
                write!(f, "soaked until {since}, reading whether its clusters are still healthy")
            }
            Self::Passed { at } => write!(f, "passed at {at}"),
        }
    }
}
