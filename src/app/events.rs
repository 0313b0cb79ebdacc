//! The audit: what happened, by whom, when, why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Access, App, Principal, Refusal, When};
use crate::domain::event::{Event, EventType, StoredEvent};
use crate::domain::{ClusterId, RolloutId};

/// One event.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its place in the chain, from 1: page cursor and stream id.
    pub seq: i64,
    /// When.
    pub at: When,
    /// What: `rollout.started`, `target.deferred`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// By whom.
    pub actor: String,
    /// Why, in a sentence.
    pub reason: String,
    /// What it is about: ids of cluster, rollout, target, task, attempt.
    #[schema(value_type = Object)]
    pub subject: serde_json::Value,
    /// What else was kept.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
    /// Its hash in the chain.
    pub hash: String,
}

/// A stretch of the chain.
#[derive(Debug)]
pub struct Events {
    /// Those of its events that the principal may see.
    pub items: Vec<EventView>,
    /// The number of its last event, seen or not: where to go on.
    pub end: i64,
    /// Whether it was cut off by the limit.
    pub more: bool,
}

impl App {
    /// At most `limit` events after `after`, in order, those of them that the principal may see.
    pub async fn events(
        &self,
        by: &Principal,
        after: i64,
        rollout: Option<&str>,
        limit: u32,
    ) -> Result<Events, Refusal> {
        let rollout = match rollout {
            Some(rollout) => Some(self.rollout_id(rollout).await?),
            None => None,
        };
        let stored = self.store.events(after, rollout, limit).await?;
        let end = stored.last().map_or(after, |event| event.seq);
        let more = stored.len() >= limit as usize;
        let all = by.role.may(Access::Audit);
        let shown = stored.into_iter().filter_map(view).filter(|(kind, _)| all || is_about_work(*kind));
        Ok(Events { items: shown.map(|(_, event)| event).collect(), end, more })
    }

    /// The number of the last event; 0 while there is none.
    pub async fn last_event(&self) -> Result<i64, Refusal> {
        Ok(self.store.audit_head().await?.0)
    }

    /// Events as they are chained: the exact bytes that were hashed.
    pub async fn stored_events(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, Refusal> {
        Ok(self.store.events(after, None, limit).await?)
    }
}

impl App {
    /// The last events of a cluster in a rollout, in order, at most `limit`: about the work, for whoever may see that.
    pub(super) async fn history(
        &self,
        cluster: ClusterId,
        rollout: RolloutId,
        limit: u32,
    ) -> Result<Vec<EventView>, Refusal> {
        let stored = self.store.history(cluster, rollout, limit).await?;
        let shown = stored.into_iter().filter_map(view).filter(|(kind, _)| is_about_work(*kind));
        Ok(shown.map(|(_, event)| event).collect())
    }
}

/// Who may not see the audit follows rollouts all the same. Only what is named here is part of that: a new noun is the
/// audit's until somebody thinks of it.
const WORK: [&str; 11] =
    ["hub", "cluster", "fleet", "plan", "rollout", "wave", "target", "task", "attempt", "upgrade_task", "job"];

fn is_about_work(kind: EventType) -> bool {
    let noun = kind.as_str().split('.').next().unwrap_or_default();
    WORK.contains(&noun)
}

/// An event of this version; what a newer one wrote is left out.
fn view(stored: StoredEvent) -> Option<(EventType, EventView)> {
    let Event { at, kind, actor, subject, reason, data } = serde_json::from_str(&stored.body).ok()?;
    let view = EventView {
        seq: stored.seq,
        at: When(at),
        kind: kind.as_str().to_owned(),
        actor: actor.to_string(),
        reason,
        subject: serde_json::to_value(subject).unwrap_or_default(),
        data: data.into(),
        hash: stored.hash,
    };
    Some((kind, view))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_event_is_either_about_work_or_the_audits_alone() {
        let audit = EventType::ALL.iter().filter(|kind| !is_about_work(**kind)).map(|kind| kind.as_str());
        let expected = [
            "sealing_key.rotated",
            "credential.rotated",
            "credential.unsealed",
            "token.created",
            "token.revoked",
            "request.denied",
            "request.unauthenticated",
        ];
        assert_eq!(audit.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    }
}
