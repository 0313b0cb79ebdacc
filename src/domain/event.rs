//! Audit events: something that happened, by whom, when, why. Append-only and hash-chained by the store.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AttemptId, ClusterId, RolloutId, TargetId, TaskId, Timestamp};

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What happened: `noun.past-participle`. Never renamed, since stored events and webhooks carry the text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum EventType {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl EventType {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The text that is stored.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }

        impl std::str::FromStr for EventType {
            type Err = UnknownEventType;

            fn from_str(text: &str) -> Result<Self, UnknownEventType> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(UnknownEventType(text.chars().take(64).collect())),
                }
            }
        }
    };
}

/// The text names no event type of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no event type of this version")]
pub struct UnknownEventType(String);

event_types! {
    /// The store was made.
    HubInitialised = "hub.initialised",
    /// Every credential was sealed with another key.
    SealingKeyRotated = "sealing_key.rotated",
    /// A cluster was registered.
    ClusterRegistered = "cluster.registered",
    /// A cluster's labels, time zone or egress changed.
    ClusterChanged = "cluster.changed",
    /// A cluster's credential was replaced.
    CredentialRotated = "credential.rotated",
    /// A cluster's credential was used; counted for each cluster, purpose and hour.
    CredentialUnsealed = "credential.unsealed",
    /// A cluster that was registered unseen answered: from now on it must be that one.
    ClusterIdentified = "cluster.identified",
    /// A cluster answered as another one, or as one with another name, or its credential does not open.
    ClusterQuarantined = "cluster.quarantined",
    /// A quarantine was lifted.
    ClusterReleased = "cluster.released",
    /// A cluster was removed.
    ClusterRemoved = "cluster.removed",
    /// A fleet configuration became the current one.
    FleetApplied = "fleet.applied",
    /// A plan was made and kept.
    PlanMade = "plan.made",
    /// A rollout was started.
    RolloutStarted = "rollout.started",
    /// A rollout was paused, by a person or by its failure budget.
    RolloutPaused = "rollout.paused",
    /// A rollout was resumed.
    RolloutResumed = "rollout.resumed",
    /// A rollout was aborted.
    RolloutAborted = "rollout.aborted",
    /// A rollout's deadline passed: nothing new starts.
    RolloutExpired = "rollout.expired",
    /// A rollout finished.
    RolloutFinished = "rollout.finished",
    /// A wave opened.
    WaveOpened = "wave.opened",
    /// A wave's last target ended.
    WaveSettled = "wave.settled",
    /// A wave was approved.
    WaveApproved = "wave.approved",
    /// What follows a wave may open.
    WavePassed = "wave.passed",
    /// A target started and took its slots.
    TargetStarted = "target.started",
    /// A target gave its slots back and is tried again later.
    TargetDeferred = "target.deferred",
    /// A target's cluster is not seen while its Job may run.
    TargetUnseen = "target.unseen",
    /// A target's cluster is seen again.
    TargetSeen = "target.seen",
    /// A target succeeded.
    TargetSucceeded = "target.succeeded",
    /// A target failed.
    TargetFailed = "target.failed",
    /// A target was left out.
    TargetSkipped = "target.skipped",
    /// A failed target is tried again.
    TargetRetried = "target.retried",
    /// A task was not needed.
    TaskSkipped = "task.skipped",
    /// A task failed without an attempt.
    TaskFailed = "task.failed",
    /// An attempt's names were committed, before anything was created.
    AttemptIntended = "attempt.intended",
    /// It was decided that an attempt's Job shall not run, or not run on.
    AttemptCancelled = "attempt.cancelled",
    /// An UpgradeTask was created.
    UpgradeTaskCreated = "upgrade_task.created",
    /// A left-over UpgradeTask was deleted, with what it said.
    UpgradeTaskDeleted = "upgrade_task.deleted",
    /// An UpgradeTask has another UID than was recorded.
    UpgradeTaskReplaced = "upgrade_task.replaced",
    /// A Job was created.
    JobCreated = "job.created",
    /// A Job of ours was found and taken over.
    JobAdopted = "job.adopted",
    /// A Job's name was taken by a Job that never runs, so that a creation still on its way comes to nothing.
    JobFenced = "job.fenced",
    /// A Job was suspended.
    JobSuspended = "job.suspended",
    /// A suspended Job of ours was taken away, long after its attempt.
    JobSwept = "job.swept",
    /// A Job has another UID than was recorded.
    JobReplaced = "job.replaced",
    /// An attempt was judged.
    AttemptJudged = "attempt.judged",
    /// An API token was created.
    TokenCreated = "token.created",
    /// An API token was revoked.
    TokenRevoked = "token.revoked",
    /// A known principal asked for what it may not do.
    RequestDenied = "request.denied",
    /// Somebody asked without a valid token; counted for each source and minute.
    RequestUnauthenticated = "request.unauthenticated",
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(String);

impl Actor {
    /// The engine itself.
    pub fn engine() -> Self {
        Self("engine".to_owned())
    }

    /// The holder of an API token, by the token's name.
    pub fn token(name: &str) -> Self {
        Self(format!("token:{name}"))
    }

    /// Nobody who proved who they are.
    pub fn unknown() -> Self {
        Self("unknown".to_owned())
    }

    /// Somebody on the daemon's own machine.
    pub fn local(what: &str) -> Self {
        Self(format!("local:{what}"))
    }

    /// The text that is stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an event is about. A rollout's events name it, so that its history is one query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
    /// The rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// The target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetId>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
}

/// An event to be written with the change that it tells of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// By whom.
    pub actor: Actor,
    /// About what.
    pub subject: Subject,
    /// Why, in a sentence; empty when the type says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What else is worth keeping; never secrets, bounded by whoever makes it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

impl Event {
    /// An event without a reason and data.
    pub fn new(at: Timestamp, kind: EventType, actor: Actor, subject: Subject) -> Self {
        Self { at, kind, actor, subject, reason: String::new(), data: Map::new() }
    }

    /// The same with a reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// The same with one more fact.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }
}

/// An event as it is stored and chained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Its place in the chain, from 1 without gaps: page cursor and stream id.
    pub seq: i64,
    /// The layout of `body`.
    pub schema: i64,
    /// The exact text that was hashed: the JSON of an [`Event`].
    pub body: String,
    /// The hash of the event before it, 64 hexadecimal characters; zeros for the first.
    pub previous: String,
    /// Its own hash over `previous`, `seq`, `schema` and `body`.
    pub hash: String,
}
