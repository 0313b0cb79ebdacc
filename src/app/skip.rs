//! Leave a cluster out of a rollout.

use super::steer::Steered;
use super::{App, Principal, Refusal, Remark};
use crate::domain::event::{EventType, Subject};
use crate::domain::rollout::RolloutState;
use crate::domain::target::{SkipReason, Target, TargetState};
use crate::store::RolloutChange;

impl App {
    /// Leaves a cluster out that has not started, is deferred, or failed. One that runs is let finish.
    pub async fn skip(&self, by: &Principal, rollout: &str, cluster: &str, why: Remark, read: Option<i64>) -> Steered {
        let seen = self.steerable(by, rollout, read, &why.remark).await?;
        if matches!(seen.snapshot.rollout.state, RolloutState::Finished { .. }) {
            let id = seen.snapshot.rollout.id;
            return Err(Refusal::Conflict(format!(
                "rollout {id} is finished: no cluster can be left out of it any more"
            )));
        }
        let target = &seen.snapshot.targets[seen.target_of(cluster)?];
        match &target.state {
            TargetState::Pending | TargetState::Deferred { .. } | TargetState::Failed { .. } => {}
            TargetState::Running { doing, .. } => {
                return Err(Refusal::Conflict(format!("cluster {cluster} runs ({doing}): it is let finish")));
            }
            TargetState::Succeeded { .. } | TargetState::Skipped { .. } => {
                let state = target.state.name();
                return Err(Refusal::Conflict(format!("cluster {cluster} is {state} already")));
            }
        }
        let id = seen.snapshot.rollout.id;
        let reason = SkipReason::Operator { by: by.actor.to_string(), remark: why.remark.clone() };
        let skipped = Target { state: TargetState::Skipped { at: self.clock.now(), reason }, ..target.clone() };
        let subject =
            Subject { rollout: Some(id), cluster: Some(target.cluster), target: Some(target.id), ..Subject::default() };
        let event = self.event(by, EventType::TargetSkipped, subject).because(why.remark);
        let change = RolloutChange {
            rollout: id,
            version: seen.snapshot.rollout.version,
            state: None,
            finished_at: None,
            waves: Vec::new(),
            targets: vec![skipped],
        };
        self.store.change_rollout(change, vec![event]).await?;
        self.rollout(&id.to_string()).await
    }
}
