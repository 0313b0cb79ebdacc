//! Try failed clusters of a rollout again, with the same plan.

use super::scene::Seen;
use super::steer::Steered;
use super::{App, Principal, Refusal, Remark};
use crate::domain::event::{Event, EventType, Subject};
use crate::domain::rollout::{RolloutState, Verdict, Wave};
use crate::domain::target::{Target, TargetState, Task, TaskState};
use crate::engine::decide::rollout;
use crate::store::Retry;

impl App {
    /// Tries the failed cluster again, or all failed ones when none is named. Each failed task gets as many further
    /// attempts as the strategy grants. A rollout that had finished runs again, and accepts the failures that are not
    /// tried again: those had its verdict already, and shall not pause it before the others had their turn.
    pub async fn retry(
        &self,
        by: &Principal,
        rollout: &str,
        cluster: Option<&str>,
        why: Remark,
        read: Option<i64>,
    ) -> Steered {
        let seen = self.steerable(by, rollout, read, &why.remark).await?;
        self.check_open_to_retries(&seen)?;
        let failed = failed(&seen, cluster)?;
        let id = seen.snapshot.rollout.id;
        let (mut targets, mut tasks, mut events) = (Vec::new(), Vec::new(), Vec::new());
        let reopened = reopened(&seen, failed.len());
        if let Some(RolloutState::Running { accepted_failures }) = reopened {
            let event = self.about(by, &seen, EventType::RolloutResumed, "failed clusters are tried again");
            events.push(event.with("accepted_failures", accepted_failures));
        }
        for target in &failed {
            let of_target = self.store.target_work(target.id).await?.tasks;
            tasks.extend(of_target.iter().filter_map(|task| again(task, seen.plan.strategy.retries.attempts)));
            targets.push(Target { state: TargetState::Pending, ..target.clone() });
            events.push(self.tried_again(by, target, &why.remark));
        }
        let retry = Retry {
            rollout: id,
            version: seen.snapshot.rollout.version,
            reopened,
            waves: open_again(&seen.snapshot.waves, &failed),
            targets,
            tasks,
        };
        self.store.retry(retry, events).await?;
        self.rollout(&id.to_string()).await
    }

    fn check_open_to_retries(&self, seen: &Seen) -> Result<(), Refusal> {
        let rollout = &seen.snapshot.rollout;
        let refused = |why: String| Err(Refusal::Conflict(why));
        match &rollout.state {
            RolloutState::Finished { verdict: Verdict::Aborted { by, .. } } => {
                refused(format!("rollout {} was aborted by {by}: make a new plan for what is left of it", rollout.id))
            }
            RolloutState::Stopping { verdict, .. } => {
                let verdict = verdict.name();
                refused(format!("rollout {} is stopping ({verdict}): nothing of it is tried again", rollout.id))
            }
            _ if self.clock.now() >= rollout.deadline => {
                refused(format!("the rollout's deadline passed at {}: make a new plan", rollout.deadline))
            }
            RolloutState::Running { .. } | RolloutState::Paused { .. } | RolloutState::Finished { .. } => Ok(()),
        }
    }

    fn tried_again(&self, by: &Principal, target: &Target, remark: &str) -> Event {
        let subject = Subject {
            rollout: Some(target.rollout),
            cluster: Some(target.cluster),
            target: Some(target.id),
            ..Subject::default()
        };
        self.event(by, EventType::TargetRetried, subject).because(remark)
    }
}

/// The failed targets that are meant: of this cluster, or all.
fn failed(seen: &Seen, cluster: Option<&str>) -> Result<Vec<Target>, Refusal> {
    let targets = &seen.snapshot.targets;
    let Some(cluster) = cluster else {
        let failed: Vec<Target> = targets.iter().filter(|target| is_failed(target)).cloned().collect();
        if failed.is_empty() {
            return Err(Refusal::Conflict("no cluster of it has failed: there is nothing to try again".to_owned()));
        }
        return Ok(failed);
    };
    let target = &targets[seen.target_of(cluster)?];
    if is_failed(target) {
        return Ok(vec![target.clone()]);
    }
    Err(Refusal::Conflict(format!(
        "cluster {cluster} is {}, not failed: there is nothing to try again",
        target.state.name()
    )))
}

/// The state in which a finished rollout runs again; `None` of one that is not finished.
fn reopened(seen: &Seen, tried_again: usize) -> Option<RolloutState> {
    let finished = matches!(seen.snapshot.rollout.state, RolloutState::Finished { .. });
    let tried_again = u32::try_from(tried_again).unwrap_or(u32::MAX);
    let accepted_failures = rollout::total(&seen.snapshot.targets).failed.saturating_sub(tried_again);
    finished.then_some(RolloutState::Running { accepted_failures })
}

/// The waves of these targets, open once more: they settle, soak and pass again. One stays as it is while a later wave
/// is under way: that one opened because this one had passed, and is not stopped half-way.
fn open_again(waves: &[Wave], tried_again: &[Target]) -> Vec<Wave> {
    let under_way = |wave: &Wave| wave.opened_at.is_some() && wave.passed_at.is_none();
    let last_under_way = waves.iter().rposition(under_way).unwrap_or(0);
    let reopens = |wave: &Wave| {
        wave.settled_at.is_some()
            && wave.position as usize >= last_under_way
            && tried_again.iter().any(|target| target.wave == wave.position)
    };
    let open = |wave: &Wave| Wave { settled_at: None, passed_at: None, ..wave.clone() };
    waves.iter().filter(|wave| reopens(wave)).map(open).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClusterId, RolloutId, TargetId, Timestamp};
    use crate::system::SystemEntropy;

    const NOW: Timestamp = Timestamp::from_micros(2_000_000_000_000_000);

    fn wave(position: u32, opened: bool, settled: bool, passed: bool) -> Wave {
        Wave {
            position,
            name: format!("wave-{position}"),
            opened_at: opened.then_some(NOW),
            settled_at: settled.then_some(NOW),
            passed_at: passed.then_some(NOW),
            approval: None,
        }
    }

    fn failed_in(wave: u32) -> Target {
        Target {
            id: TargetId::new(NOW, &SystemEntropy),
            rollout: RolloutId::new(NOW, &SystemEntropy),
            cluster: ClusterId::new(NOW, &SystemEntropy),
            wave,
            position: 0,
            state: TargetState::Failed { at: NOW, reason: "its Job failed".to_owned() },
            first_started_at: None,
            version: 1,
        }
    }

    #[test]
    fn the_waves_of_what_is_tried_again_are_open_again_and_no_others() {
        let passed = [wave(0, true, true, true), wave(1, true, true, true)];
        assert_eq!(open_again(&passed, &[failed_in(0)]), [wave(0, true, false, false)]);
        let breached = [wave(0, true, true, true), wave(1, true, true, false), wave(2, false, false, false)];
        assert_eq!(open_again(&breached, &[failed_in(1)]), [wave(1, true, false, false)]);
    }

    #[test]
    fn a_wave_stays_passed_while_a_later_one_is_under_way() {
        let waves = [wave(0, true, true, true), wave(1, true, true, false)];
        assert_eq!(open_again(&waves, &[failed_in(0), failed_in(1)]), [wave(1, true, false, false)]);
        let behind = [wave(0, true, true, true), wave(1, false, false, false)];
        assert_eq!(open_again(&behind, &[failed_in(0)]), [wave(0, true, false, false)], "the next has not begun");
    }
}
