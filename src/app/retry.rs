//! Try failed clusters of a rollout again, with the same plan.

use super::steer::Steered;
use super::{App, Principal, Refusal, Remark};
use crate::domain::event::{EventType, Subject};
use crate::domain::rollout::RolloutState;
use crate::domain::target::{Target, TargetState, Task, TaskState};
use crate::engine::decide::rollout;
use crate::store::RolloutChange;

impl App {
    /// Tries the failed cluster again, or all failed ones when none is named. Each failed task gets as many further
    /// attempts as the strategy grants; a rollout that had finished runs again.
    pub async fn retry(&self, by: &Principal, rollout: &str, cluster: Option<&str>, why: Remark) -> Steered {
        let seen = self.steerable(by, rollout, None, &why.remark).await?;
        let failed: Vec<Target> = match cluster {
            Some(cluster) => vec![seen.snapshot.targets[seen.target_of(cluster)?].clone()],
            None => seen.snapshot.targets.iter().filter(|target| is_failed(target)).cloned().collect(),
        };
        if failed.is_empty() || !failed.iter().all(is_failed) {
            let which = cluster.map_or_else(|| "no cluster of it".to_owned(), |name| format!("cluster {name}"));
            return Err(Refusal::Conflict(format!("{which} has failed: there is nothing to try again")));
        }
        let id = seen.snapshot.rollout.id;
        if self.clock.now() >= seen.snapshot.rollout.deadline {
            return Err(Refusal::Conflict("the rollout's deadline has passed: make a new plan".to_owned()));
        }
        for target in &failed {
            let tasks = self.store.target_work(target.id).await?.tasks;
            let tasks: Vec<Task> =
                tasks.into_iter().filter_map(|task| again(&task, seen.plan.strategy.retries.attempts)).collect();
            let subject = Subject {
                rollout: Some(id),
                cluster: Some(target.cluster),
                target: Some(target.id),
                ..Subject::default()
            };
            let event = self.event(by, EventType::TargetRetried, subject).because(why.remark.as_str());
            let target = Target { state: TargetState::Pending, ..target.clone() };
            self.store.change_target(&target, &tasks, vec![event]).await?;
        }
        self.run_again(by, &seen.snapshot.rollout.id.to_string()).await
    }

    /// A finished rollout with targets to do runs again.
    async fn run_again(&self, by: &Principal, rollout: &str) -> Steered {
        let seen = self.seen(rollout).await?;
        if matches!(seen.snapshot.rollout.state, RolloutState::Finished { .. }) {
            let accepted_failures = rollout::total(&seen.snapshot.targets).failed;
            let change = RolloutChange {
                rollout: seen.snapshot.rollout.id,
                version: seen.snapshot.rollout.version,
                state: Some(RolloutState::Running { accepted_failures }),
                finished_at: None,
                waves: Vec::new(),
                targets: Vec::new(),
            };
            let event = self.about(by, &seen, EventType::RolloutResumed, "failed clusters are tried again");
            self.store.change_rollout(change, vec![event]).await?;
        }
        self.rollout(rollout).await
    }
}

fn is_failed(target: &Target) -> bool {
    matches!(target.state, TargetState::Failed { .. })
}

/// The task as it is tried again; `None` for one that is done.
fn again(task: &Task, attempts: u32) -> Option<Task> {
    match task.state {
        TaskState::Failed { .. } | TaskState::NotStarted { .. } => Some(Task {
            state: TaskState::Pending { not_before: None },
            attempts_allowed: task.attempts.saturating_add(attempts),
            ..task.clone()
        }),
        TaskState::Pending { .. }
        | TaskState::Running { .. }
        | TaskState::Succeeded { .. }
        | TaskState::Skipped { .. } => None,
    }
}
