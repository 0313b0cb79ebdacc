//! Why a cluster of a rollout waits, runs, or failed: from the function that decides, so it cannot drift.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::results::attempt_reason;
use super::status::reason;
use super::{App, EventView, Refusal, When};
use crate::domain::target::{TargetState, Task, TaskState};
use crate::engine::decide::rollout::{self, Predicate, Questions};

/// Events of the past that explain the present; the whole of it is in the audit.
const HISTORY: u32 = 12;

/// Why a cluster waits, runs, or failed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The rollout.
    pub rollout: String,
    /// The cluster's name.
    pub cluster: String,
    /// The wave's name.
    pub wave: String,
    /// The state's name.
    pub state: String,
    /// The answer in one sentence.
    pub answer: String,
    /// Everything that must hold before it starts, in order; empty once it is over.
    pub predicates: Vec<PredicateView>,
    /// Its tasks, in order.
    pub tasks: Vec<ExplainedTask>,
    /// What happened to it in this rollout, the last of it, in order.
    pub history: Vec<EventView>,
}

/// One condition.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PredicateView {
    /// What is asked.
    pub what: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was found, with names, numbers and times.
    pub found: String,
    /// When the answer may change by itself.
    pub changes_at: Option<When>,
}

/// One task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExplainedTask {
    /// Its resource, as `kind/name`.
    pub resource: String,
    /// The state's name.
    pub state: String,
    /// Attempts made, of those that may be made.
    pub attempts: String,
    /// What it is doing, waits for, or came to.
    pub reason: String,
}

impl From<Predicate> for PredicateView {
    fn from(Predicate { what, holds, found, changes_at }: Predicate) -> Self {
        Self { what: what.to_owned(), holds, found, changes_at: changes_at.map(When) }
    }
}

impl App {
    /// Why this cluster of this rollout waits, runs, or failed.
    pub async fn explain(&self, rollout: &str, cluster: &str) -> Result<Explanation, Refusal> {
        let seen = self.seen(rollout).await?;
        let target = &seen.snapshot.targets[seen.target_of(cluster)?];
        let in_use = self.in_use().await?;
        let scene = seen.scene();
        let waits = matches!(target.state, TargetState::Pending | TargetState::Deferred { .. });
        let (now, mut predicates) = (self.clock.now(), Vec::new());
        if waits {
            let full = Questions::new(&scene, &in_use, now).full_scopes(target);
            let holders = self.holders(full.into_iter().collect()).await?;
            predicates = Questions::new(&scene, &in_use, now).predicates(target, &holders);
        }
        let unmet = predicates.iter().find(|predicate| !predicate.holds);
        let answer = match (unmet, waits) {
            (Some(unmet), _) => format!("waiting: {}", unmet.found),
            (None, true) => "everything holds: it starts within a moment".to_owned(),
            (None, false) => reason(&target.state),
        };
        let work = self.store.target_work(target.id).await?;
        let planned = rollout::planned(&scene, target);
        let mut tasks = Vec::new();
        for task in &work.tasks {
            let resource = planned.and_then(|planned| planned.tasks.get(task.position as usize));
            let last = self.store.attempts(task.id).await?.pop();
            tasks.push(ExplainedTask {
                resource: resource.map_or_else(String::new, |planned| planned.resource.to_string()),
                state: task.state.name().to_owned(),
                attempts: format!("{} of {}", task.attempts, task.attempts_allowed),
                reason: task_reason(task).or_else(|| last.as_ref().and_then(attempt_reason)).unwrap_or_default(),
            });
        }
        let wave = seen.snapshot.waves.get(target.wave as usize).map_or("", |wave| &wave.name);
        Ok(Explanation {
            rollout: seen.snapshot.rollout.id.to_string(),
            cluster: cluster.to_owned(),
            wave: wave.to_owned(),
            state: target.state.name().to_owned(),
            answer,
            predicates: predicates.into_iter().map(PredicateView::from).collect(),
            tasks,
            history: self.history(target.cluster, seen.snapshot.rollout.id, HISTORY).await?,
        })
    }
}

/// What a task waits for or came to, as far as its own state says it.
pub(super) fn task_reason(task: &Task) -> Option<String> {
    match &task.state {
        TaskState::Pending { not_before: Some(at) } => Some(format!("tried again from {at} on")),
        TaskState::Failed { reason, .. } => Some(reason.clone()),
        TaskState::Skipped { reason, .. } => Some(reason.to_string()),
        TaskState::NotStarted { blocked_by } => Some(format!("not started: blocked by {blocked_by}")),
        TaskState::Pending { not_before: None } | TaskState::Running { .. } | TaskState::Succeeded { .. } => None,
    }
}
