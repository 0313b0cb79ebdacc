//! Steer a rollout: approve a wave, pause, resume, abort.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::scene::Seen;
use super::{App, Principal, Refusal, RolloutView};
use crate::domain::event::{Event, EventType, Subject};
use crate::domain::fleet::ApprovalRule;
use crate::domain::rollout::{Approval, PauseCause, RolloutState, Verdict, Wave, WaveStatus};
use crate::engine::decide::rollout;
use crate::store::RolloutChange;

/// Why something is done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Remark {
    /// Why, in a sentence.
    pub remark: String,
}

/// Which wave is approved.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Approve {
    /// The wave; the one that waits without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// Why, or what was looked at.
    pub remark: String,
}

/// How a rollout is aborted.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Abort {
    /// Why.
    pub remark: String,
    /// Suspend running Jobs instead of letting them finish.
    pub cancel_jobs: bool,
}

/// Remarks are sentences, not documents.
const REMARK_CHARS_MAX: usize = 1_000;

impl App {
    /// Approves a wave of the rollout, with who and why.
    pub async fn approve(&self, by: &Principal, rollout: &str, wanted: Approve, read: Option<i64>) -> Steered {
        let seen = self.steerable(by, rollout, read, &wanted.remark).await?;
        if seen.snapshot.rollout.state.verdict().is_some() {
            return Err(Refusal::Conflict(format!(
                "rollout {} is {}: no wave of it opens any more",
                seen.snapshot.rollout.id,
                seen.snapshot.rollout.state.name()
            )));
        }
        let position = waiting_wave(&seen, wanted.wave.as_deref(), self.clock.now())?;
        let wave = &seen.snapshot.waves[position];
        let approval = Approval { by: by.actor.to_string(), at: self.clock.now(), remark: wanted.remark.clone() };
        let approved = Wave { approval: Some(approval), ..wave.clone() };
        let event = self.about(by, &seen, EventType::WaveApproved, &wanted.remark);
        let event = event.with("wave", wave.name.as_str()).with("plan", seen.snapshot.rollout.plan.to_string());
        self.change(&seen, None, vec![approved], event).await
    }

    /// Pauses the rollout: nothing new starts, what runs goes on.
    pub async fn pause(&self, by: &Principal, rollout: &str, why: Remark, read: Option<i64>) -> Steered {
        let seen = self.steerable(by, rollout, read, &why.remark).await?;
        let RolloutState::Running { accepted_failures } = seen.snapshot.rollout.state else {
            return Err(not_now(&seen, "paused"));
        };
        let cause = PauseCause::Operator { by: by.actor.to_string(), remark: why.remark.clone() };
        let event = self.about(by, &seen, EventType::RolloutPaused, &why.remark);
        self.change(&seen, Some(RolloutState::Paused { cause, accepted_failures }), Vec::new(), event).await
    }

    /// Resumes a paused rollout; the failures so far are accepted, and only further ones can pause it again.
    pub async fn resume(&self, by: &Principal, rollout: &str, why: Remark, read: Option<i64>) -> Steered {
        let seen = self.steerable(by, rollout, read, &why.remark).await?;
        if !matches!(seen.snapshot.rollout.state, RolloutState::Paused { .. }) {
            return Err(not_now(&seen, "resumed"));
        }
        let failed = rollout::total(&seen.snapshot.targets).failed;
        let accepted_failures = seen.snapshot.rollout.state.accepted_by_resuming(failed);
        let event = self.about(by, &seen, EventType::RolloutResumed, &why.remark);
        let event = event.with("accepted_failures", accepted_failures);
        self.change(&seen, Some(RolloutState::Running { accepted_failures }), Vec::new(), event).await
    }

    /// Aborts the rollout: nothing new starts; running Jobs finish, or are suspended when that is asked for.
    pub async fn abort(&self, by: &Principal, rollout: &str, wanted: Abort, read: Option<i64>) -> Steered {
        let seen = self.steerable(by, rollout, read, &wanted.remark).await?;
        if seen.snapshot.rollout.state.verdict().is_some_and(|verdict| !matches!(verdict, Verdict::Aborted { .. })) {
            return Err(not_now(&seen, "aborted"));
        }
        if matches!(seen.snapshot.rollout.state, RolloutState::Finished { .. }) {
            return Err(not_now(&seen, "aborted"));
        }
        let Abort { remark, cancel_jobs } = wanted;
        let event = self.about(by, &seen, EventType::RolloutAborted, &remark).with("cancel_jobs", cancel_jobs);
        let verdict = Verdict::Aborted { by: by.actor.to_string(), remark, cancel_jobs };
        self.change(&seen, Some(RolloutState::Stopping { verdict, accepted_failures: 0 }), Vec::new(), event).await
    }

    /// The rollout, if the principal may steer it and it is the version that was read.
    pub(super) async fn steerable(
        &self,
        by: &Principal,
        rollout: &str,
        read: Option<i64>,
        remark: &str,
    ) -> Result<Seen, Refusal> {
        if remark.chars().count() > REMARK_CHARS_MAX {
            return Err(Refusal::Invalid(format!("`remark`: at most {REMARK_CHARS_MAX} characters")));
        }
        let seen = self.seen(rollout).await?;
        seen.must_reach(by)?;
        if read.is_some_and(|version| version != seen.snapshot.rollout.version) {
            return Err(Refusal::Changed { what: format!("rollout {}", seen.snapshot.rollout.id) });
        }
        Ok(seen)
    }

    pub(super) fn about(&self, by: &Principal, seen: &Seen, kind: EventType, remark: &str) -> Event {
        let subject = Subject { rollout: Some(seen.snapshot.rollout.id), ..Subject::default() };
        self.event(by, kind, subject).because(remark)
    }

    async fn change(&self, seen: &Seen, state: Option<RolloutState>, waves: Vec<Wave>, event: Event) -> Steered {
        let id = seen.snapshot.rollout.id;
        let change = RolloutChange {
            rollout: id,
            version: seen.snapshot.rollout.version,
            state,
            finished_at: None,
            waves,
            targets: Vec::new(),
        };
        self.store.change_rollout(change, vec![event]).await?;
        // Running targets look at their rollout's state before each step: let them look now.
        self.store.wake(id, None, self.clock.now()).await?;
        self.rollout(&id.to_string()).await
    }
}

/// Where the rollout stands after the change.
pub(super) type Steered = Result<RolloutView, Refusal>;

fn not_now(seen: &Seen, done: &str) -> Refusal {
    let rollout = &seen.snapshot.rollout;
    Refusal::Conflict(format!("rollout {} is {} and can't be {done}", rollout.id, rollout.state.name()))
}

/// The wave that is meant: the named one, or the first that waits for an approval.
fn waiting_wave(seen: &Seen, name: Option<&str>, now: crate::domain::Timestamp) -> Result<usize, Refusal> {
    let waves = &seen.snapshot.waves;
    if let Some(name) = name {
        let position = waves.iter().position(|wave| wave.name == name);
        let position = position.ok_or_else(|| Refusal::NotFound { noun: "wave", name: name.to_owned() })?;
        let rule = seen.plan.strategy.waves.get(position).map(|spec| spec.approval);
        if matches!(rule, None | Some(ApprovalRule::None)) {
            return Err(Refusal::Conflict(format!("wave {name} needs no approval")));
        }
        if let Some(approval) = &waves[position].approval {
            return Err(Refusal::Conflict(format!("wave {name} was approved by {} at {}", approval.by, approval.at)));
        }
        return Ok(position);
    }
    let scene = seen.scene();
    let tallies = rollout::tallies(&scene);
    let waits =
        |wave: &usize| matches!(rollout::status(&scene, &tallies, *wave, now), WaveStatus::AwaitingApproval { .. });
    (0..waves.len())
        .find(waits)
        .ok_or_else(|| Refusal::Conflict("no wave waits for an approval now: name one to approve it ahead".to_owned()))
}
