//! Where a rollout stands: what `rollout list | status | watch` show.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::eta::eta;
use super::scene::Seen;
use super::{App, Page, PageRequest, Refusal, When};
use crate::domain::rollout::{Rollout, RolloutState, Verdict, WaveStatus};
use crate::domain::target::{Target, TargetState};
use crate::domain::{RolloutId, TargetId, Timestamp};
use crate::engine::decide::rollout::{self, InUse, Limits, Questions, Scene, Tally};

/// One rollout.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// Its id.
    pub id: String,
    /// The fleet's name.
    pub fleet: String,
    /// The group's name.
    pub group: String,
    /// The version that everything in it shall have.
    pub to: String,
    /// The fleet revision that its plan was made from.
    pub revision: String,
    /// The plan's digest.
    pub plan: String,
    /// `running`, `paused`, `stopping` or `finished`.
    pub state: String,
    /// `succeeded`, `succeeded_with_debt`, `failed` or `aborted`, once there is one.
    pub verdict: Option<String>,
    /// Why it is paused, stopping, or finished so.
    pub cause: Option<String>,
    /// Its waves, in order.
    pub waves: Vec<WaveView>,
    /// All waves together.
    pub targets: TargetCounts,
    /// The limits that bind it, with what is in use.
    pub limits: Vec<LimitView>,
    /// Clusters under way.
    pub running: u32,
    /// When it was started.
    pub started_at: When,
    /// By whom.
    pub started_by: String,
    /// When what is not done becomes debt.
    pub deadline: When,
    /// When it finished.
    pub finished_at: Option<When>,
    /// When it will be done, as far as can be told from the pace so far.
    pub eta: Option<When>,
    /// The version for `If-Match`.
    pub version: i64,
}

/// One wave.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WaveView {
    /// Its name.
    pub name: String,
    /// `behind`, `scheduled`, `awaiting_approval`, `outside_window`, `open`, `breached`, `soaking`, `verifying` or
    /// `passed`.
    pub status: String,
    /// The same in a sentence, with names, numbers and times.
    pub reason: String,
    /// Its targets by state.
    pub targets: TargetCounts,
}

/// How many targets are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetCounts {
    /// Not started.
    pub pending: u32,
    /// Under way.
    pub running: u32,
    /// Succeeded.
    pub succeeded: u32,
    /// Failed.
    pub failed: u32,
    /// Tried again later.
    pub deferred: u32,
    /// Left out.
    pub skipped: u32,
}

impl From<Tally> for TargetCounts {
    fn from(tally: Tally) -> Self {
        let Tally { pending, running, deferred, succeeded, failed, skipped, owed: _ } = tally;
        Self { pending, running, succeeded, failed, deferred, skipped }
    }
}

/// One limit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LimitView {
    /// What it covers: `hub`, `fleet/retail`, `rollout/…`, `label/site=berlin`.
    pub scope: String,
    /// The most that may run.
    pub limit: u32,
    /// What runs.
    pub running: u32,
}

/// One cluster's part in a rollout.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    /// The cluster's name.
    pub cluster: String,
    /// The wave's name.
    pub wave: String,
    /// `pending`, `running`, `deferred`, `succeeded`, `failed` or `skipped`.
    pub state: String,
    /// What it is doing, waits for, or came to, in a sentence.
    pub reason: String,
    /// When it first started.
    pub started_at: Option<When>,
    /// When it is tried again.
    pub retry_at: Option<When>,
    /// How many tasks it has.
    pub tasks: usize,
}

impl App {
    /// Rollouts, newest first, each with its waves.
    pub async fn rollouts(&self, page: &PageRequest) -> Result<Page<RolloutView>, Refusal> {
        let before = page.after()?.map(|id| id.parse::<RolloutId>()).transpose();
        let before = before.map_err(|_| Refusal::Invalid("`cursor` is not the `next` of a page".to_owned()))?;
        // Each is read with all its targets: fewer a page than elsewhere.
        let limit = page.limit().min(50);
        let rows = self.store.rollouts(before, limit).await?;
        let page = Page::of(rows, limit, |rollout: &Rollout| rollout.id.to_string());
        let mut items = Vec::new();
        for row in page.items {
            items.push(self.rollout(&row.id.to_string()).await?);
        }
        Ok(Page { items, next: page.next })
    }

    /// Where one rollout stands.
    pub async fn rollout(&self, rollout: &str) -> Result<RolloutView, Refusal> {
        let seen = self.seen(rollout).await?;
        let in_use = self.in_use().await?;
        Ok(view(&seen, &in_use, self.clock.now()))
    }

    /// The parts of a rollout, by wave and position; those in `state`, when one is named.
    pub async fn targets(
        &self,
        rollout: &str,
        state: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<TargetView>, Refusal> {
        let seen = self.seen(rollout).await?;
        let scene = seen.scene();
        let after = page.after()?.map(|id| id.parse::<TargetId>()).transpose();
        let after = after.map_err(|_| Refusal::Invalid("`cursor` is not the `next` of a page".to_owned()))?;
        let targets = &seen.snapshot.targets;
        let begin = after.and_then(|id| targets.iter().position(|target| target.id == id)).map_or(0, |last| last + 1);
        let limit = page.limit();
        let wanted = targets[begin..].iter().filter(|target| state.is_none_or(|state| target.state.name() == state));
        let rows: Vec<&Target> = wanted.take(limit as usize).collect();
        let page = Page::of(rows, limit, |target: &&Target| target.id.to_string());
        let waits = self.waits(&scene, &page.items).await?;
        let view = |target: &Target| {
            let planned = rollout::planned(&scene, target)?;
            let wave = seen.plan.waves.get(target.wave as usize).map_or("", |wave| &wave.name);
            Some(TargetView {
                cluster: planned.name.clone(),
                wave: wave.to_owned(),
                state: target.state.name().to_owned(),
                reason: waits.get(&target.id).cloned().unwrap_or_else(|| reason(&target.state)),
                started_at: target.first_started_at.map(When),
                retry_at: match &target.state {
                    TargetState::Deferred { retry_at, .. } => Some(When(*retry_at)),
                    _ => None,
                },
                tasks: planned.tasks.len(),
            })
        };
        Ok(Page { items: page.items.into_iter().filter_map(view).collect(), next: page.next })
    }

    /// What those of the targets wait for that wait: the first condition that does not hold.
    async fn waits(&self, scene: &Scene<'_>, targets: &[&Target]) -> Result<HashMap<TargetId, String>, Refusal> {
        let (in_use, now) = (self.in_use().await?, self.clock.now());
        let waits = |target: &&&Target| matches!(target.state, TargetState::Pending | TargetState::Deferred { .. });
        let full = {
            let mut questions = Questions::new(scene, &in_use, now);
            targets.iter().filter(waits).flat_map(|target| questions.full_scopes(target)).collect()
        };
        let holders = self.holders(full).await?;
        let mut questions = Questions::new(scene, &in_use, now);
        let unmet = targets
            .iter()
            .filter(waits)
            .filter_map(|target| Some((target.id, questions.first_unmet(target, &holders)?.found)));
        Ok(unmet.collect())
    }
}

/// What a target is doing, waits for, or came to.
pub(super) fn reason(state: &TargetState) -> String {
    match state {
        TargetState::Pending => "it starts within a moment".to_owned(),
        TargetState::Running { doing, unseen_since: None, .. } => doing.clone(),
        TargetState::Running { doing, unseen_since: Some(since), .. } => format!("{doing}; not seen since {since}"),
        TargetState::Deferred { reason, retry_at } => format!("deferred: {reason}, next look {retry_at}"),
        TargetState::Succeeded { at } => format!("succeeded at {at}"),
        TargetState::Failed { reason, .. } => reason.clone(),
        TargetState::Skipped { reason, .. } => reason.to_string(),
    }
}

/// The rollout as the wire shows it.
pub(super) fn view(seen: &Seen, in_use: &InUse, now: Timestamp) -> RolloutView {
    let scene = seen.scene();
    let tallies = rollout::tallies(&scene);
    let rollout = &seen.snapshot.rollout;
    let total = tallies.total;
    let statuses: Vec<WaveStatus> =
        (0..seen.snapshot.waves.len()).map(|wave| rollout::status(&scene, &tallies, wave, now)).collect();
    let waves = seen.snapshot.waves.iter().zip(&tallies.waves).zip(&statuses).map(|((wave, tally), status)| WaveView {
        name: wave.name.clone(),
        status: status.name().to_owned(),
        reason: status.to_string(),
        targets: (*tally).into(),
    });
    let limits = limits(seen, in_use);
    RolloutView {
        id: rollout.id.to_string(),
        fleet: rollout.fleet.clone(),
        group: rollout.group.clone(),
        to: seen.plan.to.to_string(),
        revision: rollout.revision.to_string(),
        plan: rollout.plan.to_string(),
        state: rollout.state.name().to_owned(),
        verdict: rollout.state.verdict().map(|verdict| verdict.name().to_owned()),
        cause: cause(&rollout.state),
        waves: waves.collect(),
        targets: total.into(),
        running: total.running,
        eta: eta(&scene, &statuses, now).map(When),
        limits,
        started_at: When(rollout.started_at),
        started_by: rollout.started_by.clone(),
        deadline: When(rollout.deadline),
        finished_at: rollout.finished_at.map(When),
        version: rollout.version,
    }
}

fn cause(state: &RolloutState) -> Option<String> {
    match state {
        RolloutState::Running { .. } => None,
        RolloutState::Paused { cause, .. } => Some(cause.to_string()),
        RolloutState::Stopping { verdict, .. } | RolloutState::Finished { verdict } => match verdict {
            Verdict::Succeeded { failed: 0, owed: 0 } => None,
            Verdict::Succeeded { failed, owed } => Some(format!("{failed} failed within the allowance, {owed} owed")),
            Verdict::Failed { reason } => Some(reason.clone()),
            Verdict::Aborted { by, remark, .. } if remark.is_empty() => Some(format!("aborted by {by}")),
            Verdict::Aborted { by, remark, .. } => Some(format!("aborted by {by}: {remark}")),
        },
    }
}

/// The limits that bind the rollout's targets, but for those of single clusters.
pub(super) fn limits(seen: &Seen, in_use: &InUse) -> Vec<LimitView> {
    let scene = seen.scene();
    let shared = Limits::of(&scene).shared(&scene).into_iter().map(|claim| LimitView {
        scope: claim.scope.key(),
        limit: claim.limit,
        running: in_use.get(&claim.scope).copied().unwrap_or(0),
    });
    let mut limits: Vec<LimitView> = shared.collect();
    limits.sort_by(|one, other| one.scope.cmp(&other.scope));
    limits
}
