//! What `/metrics` shows of the store at this moment. (The api makes metrics of it: `app` knows nothing of them.)

use super::clusters::standing;
use super::status::{LimitView, view};
use super::{App, Refusal, RolloutView};
use crate::domain::cluster::Cluster;
use crate::domain::target::TargetState;
use crate::domain::{Timestamp, budget::Scope};
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
    /// The audit chain's last entry.
    pub head: (i64, String),
}

/// Finished rollouts are shown for so many: dashboards see how the last ones ended.
const FINISHED_SHOWN: u32 = 20;

impl App {
    /// Reads everything that a scrape shows.
    pub async fn readings(&self) -> Result<Readings, Refusal> {
        let now = self.clock.now();
        let mut readings = Readings { head: self.store.audit_head().await?, ..Readings::default() };
        self.read_clusters(&mut readings).await?;
        let in_use = self.in_use().await?;
        let hub = in_use.get(&Scope::Hub).copied().unwrap_or(0);
        readings.limits.push(LimitView { scope: "hub".to_owned(), limit: self.hub_limit, running: hub });
        for row in self.store.rollouts(None, FINISHED_SHOWN).await? {
            let seen = self.seen_by_id(row.id).await?;
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

    async fn read_clusters(&self, readings: &mut Readings) -> Result<(), Refusal> {
        let mut after: Option<String> = None;
        loop {
            let clusters = self.store.clusters(after.as_deref(), 1_000).await?;
            let Some(last) = clusters.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for cluster in clusters {
                let release = self.release(&cluster).await?;
                let state = standing(&cluster);
                readings.clusters.push((cluster.name, state, cluster.credential_expires_at, release));
            }
        }
    }

    /// The release that the cluster's control plane runs, if all of it agrees.
    async fn release(&self, cluster: &Cluster) -> Result<Option<String>, Refusal> {
        let Some(stored) = self.store.inventory(cluster.id).await? else { return Ok(None) };
        let Ok(inventory) = super::known::understood(&stored) else { return Ok(None) };
        let mut versions = inventory.control_plane.into_iter().flat_map(|component| component.versions);
        let first = versions.next();
        Ok(first.filter(|first| versions.all(|version| version == *first)))
    }
}

fn count(counts: &mut Vec<(&'static str, u64)>, name: &'static str) {
    match counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, count)) => *count += 1,
        None => counts.push((name, 1)),
    }
}
