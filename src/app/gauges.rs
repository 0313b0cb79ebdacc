//! What `/metrics` shows of the store at this moment. (The api makes metrics of it: `app` knows nothing of them.)

use std::collections::BTreeSet;

use super::clusters::standing;
use super::status::{LimitView, view};
use super::{App, Refusal, RolloutView};
use crate::domain::target::TargetState;
use crate::domain::{RolloutId, Timestamp, budget::Scope};
use crate::engine::decide::rollout;

/// What is read from the store for one scrape.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// The registered clusters: name, standing, end of the credential, release of the control plane.
    pub clusters: Vec<(String, &'static str, Option<Timestamp>, Option<String>)>,
    /// Rollouts that have not finished, and the newest that have.
    pub rollouts: Vec<RolloutView>,
    /// Limits and what is in use.
    pub limits: Vec<LimitView>,
    /// Deferred targets by reason.
    pub deferred: Vec<(&'static str, u64)>,
    /// Running targets past the deadline of their cluster.
    pub stuck: u64,
    /// The number of the audit chain's last entry.
    pub head: i64,
}

/// So many of the newest rollouts are shown although they have finished: dashboards see how the last ones ended.
const FINISHED_SHOWN: u32 = 5;

impl App {
    /// Reads everything that a scrape shows.
    pub async fn readings(&self) -> Result<Readings, Refusal> {
        let now = self.clock.now();
        let mut readings = Readings { head: self.store.audit_head().await?.0, ..Readings::default() };
        self.read_clusters(&mut readings).await?;
        let in_use = self.in_use().await?;
        let hub = in_use.get(&Scope::Hub).copied().unwrap_or(0);
        readings.limits.push(LimitView { scope: "hub".to_owned(), limit: self.hub_limit, running: hub });
        for id in self.shown().await? {
            let seen = self.seen_by_id(id).await?;
            let shown = view(&seen, &in_use, now);
            if shown.state != "finished" {
                for limit in &shown.limits {
                    if readings.limits.iter().all(|known| known.scope != limit.scope) {
                        readings.limits.push(limit.clone());
                    }
                }
                let scene = seen.scene();
                let longest = seen.plan.strategy.deadlines.cluster.duration();
                for target in &seen.snapshot.targets {
                    match &target.state {
                        TargetState::Deferred { reason, .. } => count(&mut readings.deferred, reason.name()),
                        TargetState::Running { since, .. }
                            if now.since(*since) > longest && rollout::planned(&scene, target).is_some() =>
                        {
                            readings.stuck += 1;
                        }
                        _ => {}
                    }
                }
            }
            readings.rollouts.push(shown);
        }
        Ok(readings)
    }

    /// Every rollout that has not finished, however old, and the newest.
    async fn shown(&self) -> Result<BTreeSet<RolloutId>, Refusal> {
        let mut shown: BTreeSet<RolloutId> = self.store.unfinished_rollouts().await?.into_iter().collect();
        shown.extend(self.store.rollouts(None, FINISHED_SHOWN).await?.into_iter().map(|rollout| rollout.id));
        Ok(shown)
    }

    async fn read_clusters(&self, readings: &mut Readings) -> Result<(), Refusal> {
        let mut releases = self.releases().await?;
        let mut after: Option<String> = None;
        loop {
            let clusters = self.store.clusters(after.as_deref(), 1_000).await?;
            let Some(last) = clusters.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for cluster in clusters {
                let release = releases.remove(&cluster.id);
                let state = standing(&cluster);
                readings.clusters.push((cluster.name, state, cluster.credential_expires_at, release));
            }
        }
    }
}

fn count(counts: &mut Vec<(&'static str, u64)>, name: &'static str) {
    match counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, count)) => *count += 1,
        None => counts.push((name, 1)),
    }
}
