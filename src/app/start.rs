//! Start a rollout of a plan that the hub keeps.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, Principal, Refusal, RolloutView};
use crate::domain::event::{EventType, Subject};
use crate::domain::plan::{PLAN_FORMAT, Plan, PlannedTarget};
use crate::domain::rollout::{Rollout, RolloutState, Wave};
use crate::domain::target::{Target, TargetState, Task, TaskState};
use crate::domain::{RolloutId, TargetId, TaskId, Timestamp};
use crate::store::{NewRollout, StoredPlan};

/// The plan to be carried out.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRollout {
    /// The plan's digest.
    pub plan: String,
}

impl App {
    /// Starts a rollout. The plan must be one that this hub keeps, of the current fleet, made from recent inventories.
    pub async fn start_rollout(&self, by: &Principal, wanted: StartRollout) -> Result<RolloutView, Refusal> {
        let stored = self.stored_plan(&wanted.plan).await?;
        let plan: Plan = serde_json::from_str(&stored.body)
            .map_err(|error| Refusal::Conflict(format!("the plan was made by another version ({error})")))?;
        self.check_startable(by, &stored, &plan).await?;
        let now = self.clock.now();
        let id = RolloutId::new(now, self.entropy.as_ref());
        let rollout = Rollout {
            id,
            plan: stored.digest.clone(),
            fleet: plan.fleet.clone(),
            group: plan.group.clone(),
            revision: plan.revision.clone(),
            state: RolloutState::Running { accepted_failures: 0 },
            started_at: now,
            started_by: by.actor.to_string(),
            deadline: now + plan.strategy.deadlines.rollout.duration(),
            finished_at: None,
            version: 1,
        };
        let subject = Subject { rollout: Some(id), ..Subject::default() };
        let event = self
            .event(by, EventType::RolloutStarted, subject)
            .with("plan", stored.digest.to_string())
            .with("group", plan.group.as_str())
            .with("clusters", plan.waves.iter().map(|wave| wave.targets.len()).sum::<usize>());
        let (waves, targets) = self.rows(&plan, id, now);
        self.store.start_rollout(NewRollout { rollout, waves, targets }, vec![event]).await?;
        self.rollout(&id.to_string()).await
    }

    async fn check_startable(&self, by: &Principal, stored: &StoredPlan, plan: &Plan) -> Result<(), Refusal> {
        for target in plan.waves.iter().flat_map(|wave| &wave.targets) {
            by.must_reach(&target.name, &target.labels)?;
        }
        if plan.format != PLAN_FORMAT || plan.hub != self.hub {
            return Err(Refusal::Conflict("the plan was made by another hub or version: make a new one".to_owned()));
        }
        if self.current_revision().await?.as_ref() != Some(&plan.revision) {
            let why =
                "the fleet was changed since the plan was made: look at `fleetlift fleet show`, and make a new plan";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        if self.clock.now().since(stored.oldest_inventory_at) > self.plan_max_age {
            return Err(Refusal::Conflict(format!(
                "the plan rests on what was read at {}, which is too old: make a new plan",
                stored.oldest_inventory_at
            )));
        }
        if plan.waves.iter().all(|wave| wave.targets.is_empty()) {
            return Err(Refusal::Conflict("the plan has nothing to do".to_owned()));
        }
        Ok(())
    }

    fn rows(&self, plan: &Plan, rollout: RolloutId, now: Timestamp) -> (Vec<Wave>, Vec<(Target, Vec<Task>)>) {
        let mut waves = Vec::new();
        let mut targets = Vec::new();
        for (position, planned) in (0..).zip(&plan.waves) {
            waves.push(Wave {
                position,
                name: planned.name.clone(),
                opened_at: None,
                settled_at: None,
                passed_at: None,
                approval: None,
            });
            for (place, target) in (0..).zip(&planned.targets) {
                targets.push(self.target_rows(plan, target, rollout, (position, place), now));
            }
        }
        (waves, targets)
    }

    fn target_rows(
        &self,
        plan: &Plan,
        planned: &PlannedTarget,
        rollout: RolloutId,
        (wave, position): (u32, u32),
        now: Timestamp,
    ) -> (Target, Vec<Task>) {
        let target = Target {
            id: TargetId::new(now, self.entropy.as_ref()),
            rollout,
            cluster: planned.cluster,
            wave,
            position,
            state: TargetState::Pending,
            first_started_at: None,
            version: 1,
        };
        let task = |(position, _)| Task {
            id: TaskId::new(now, self.entropy.as_ref()),
            target: target.id,
            position,
            state: TaskState::Pending { not_before: None },
            attempts: 0,
            attempts_allowed: plan.strategy.retries.attempts,
            open_attempt: None,
        };
        let tasks = (0..).zip(&planned.tasks).map(task).collect();
        (target, tasks)
    }
}
