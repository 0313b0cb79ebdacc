//! One rollout with its plan, at one instant: what status, explanations and changes rest on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{App, Principal, Refusal};
use crate::domain::budget::Usage;
use crate::domain::{Plan, RolloutId};
use crate::engine::decide::rollout::{Holder, Holders, InUse, Scene};
use crate::store::{SlotHolder, Snapshot};

/// One rollout with its plan, at one instant.
pub(super) struct Seen {
    pub(super) plan: Arc<Plan>,
    pub(super) snapshot: Snapshot,
    hub_limit: u32,
}

impl Seen {
    /// The same as the decisions take it.
    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            plan: &self.plan,
            rollout: &self.snapshot.rollout,
            waves: &self.snapshot.waves,
            targets: &self.snapshot.targets,
            hub_limit: self.hub_limit,
            health: None,
        }
    }

    /// Refuses when some cluster of the rollout lies outside of what the principal may touch.
    pub(super) fn must_reach(&self, by: &Principal) -> Result<(), Refusal> {
        let mut targets = self.plan.waves.iter().flat_map(|wave| &wave.targets);
        targets.try_for_each(|target| by.must_reach(&target.name, &target.labels))
    }

    /// The position of the target of this cluster in the snapshot.
    pub(super) fn target_of(&self, cluster: &str) -> Result<usize, Refusal> {
        let planned = self.plan.waves.iter().flat_map(|wave| &wave.targets).find(|planned| planned.name == cluster);
        let found = planned
            .and_then(|planned| self.snapshot.targets.iter().position(|target| target.cluster == planned.cluster));
        found.ok_or_else(|| Refusal::NotFound { noun: "cluster in this rollout:", name: cluster.to_owned() })
    }
}

/// Prefixes and `latest` are looked for among so many rollouts.
const LOOKED_THROUGH: u32 = 1_000;

impl App {
    /// The id that `text` means: an id, the beginning or the end of one (four characters at least), or `latest`.
    pub(super) async fn rollout_id(&self, text: &str) -> Result<RolloutId, Refusal> {
        if let Ok(id) = text.parse::<RolloutId>() {
            return Ok(id);
        }
        let rollouts = self.store.rollouts(None, LOOKED_THROUGH).await?;
        let fits = |id: &RolloutId| {
            let id = id.to_string();
            text.len() >= 4 && (id.starts_with(text) || id.ends_with(text))
        };
        let mut found = rollouts.iter().map(|rollout| rollout.id);
        if text == "latest" {
            return found.next().ok_or_else(|| Refusal::NotFound { noun: "rollout", name: text.to_owned() });
        }
        let mut found = found.filter(fits);
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(Refusal::Invalid(format!("several rollouts fit `{text}`: give more of the id"))),
            (None, _) => Err(Refusal::NotFound { noun: "rollout", name: text.to_owned() }),
        }
    }

    /// One rollout with its plan, at this instant.
    pub(super) async fn seen(&self, rollout: &str) -> Result<Seen, Refusal> {
        self.seen_by_id(self.rollout_id(rollout).await?).await
    }

    /// The same by its id.
    pub(super) async fn seen_by_id(&self, id: RolloutId) -> Result<Seen, Refusal> {
        let snapshot = self.store.snapshot(id).await?;
        let plan = self.plans.of(&*self.store, &snapshot.rollout.plan).await?;
        Ok(Seen { plan, snapshot, hub_limit: self.hub_limit })
    }

    /// Who holds the slots of these scopes, whatever rollout it is for.
    pub(super) async fn holders(&self, full: BTreeSet<String>) -> Result<Holders, Refusal> {
        let mut holders = Holders::new();
        for SlotHolder { budget, cluster, rollout } in self.store.slot_holders(full.into_iter().collect()).await? {
            holders.entry(budget).or_default().push(Holder { cluster, rollout });
        }
        Ok(holders)
    }

    /// The slots in use.
    pub(super) async fn in_use(&self) -> Result<InUse, Refusal> {
        let usage = self.store.usage().await?;
        Ok(usage.into_iter().map(|Usage { scope, in_use }| (scope, in_use)).collect())
    }
}
