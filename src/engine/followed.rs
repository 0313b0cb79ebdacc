//! Rollouts as they were read, kept up by what happened since. To read every target at every commit would be most of
//! what a daemon does: a rollout has a hundred thousand, and each of them some ten commits.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::{RolloutId, TargetId, Timestamp};
use crate::store::{Snapshot, Store, StoreError};

/// How old the last whole reading may grow. Every change has its event, so nothing is missed; a database that was
/// restored under a running daemon is noticed by then.
const WHOLE_EVERY: Duration = Duration::from_mins(1);

/// The rollouts that are not finished.
#[derive(Default)]
pub struct Followed(HashMap<RolloutId, Kept>);

struct Kept {
    snapshot: Snapshot,
    /// Where each target stands in the snapshot.
    places: HashMap<TargetId, usize>,
    whole_at: Timestamp,
}

impl Followed {
    /// Forgets all others.
    pub fn keep_only(&mut self, unfinished: &[RolloutId]) {
        self.0.retain(|id, _| unfinished.contains(id));
    }

    /// The rollout as it is now.
    pub async fn snapshot(
        &mut self,
        store: &dyn Store,
        id: RolloutId,
        now: Timestamp,
    ) -> Result<&Snapshot, StoreError> {
        // What fails half-way is read as a whole the next time.
        let kept = match self.0.remove(&id) {
            Some(kept) if now.since(kept.whole_at) < WHOLE_EVERY => {
                let news = store.snapshot_since(id, kept.snapshot.end).await?;
                kept.with(news)
            }
            _ => None,
        };
        let kept = match kept {
            Some(kept) => kept,
            None => Kept::whole(store.snapshot(id).await?, now),
        };
        Ok(&self.0.entry(id).insert_entry(kept).into_mut().snapshot)
    }
}

impl Kept {
    fn whole(snapshot: Snapshot, now: Timestamp) -> Self {
        let places = snapshot.targets.iter().enumerate().map(|(place, target)| (target.id, place)).collect();
        Self { snapshot, places, whole_at: now }
    }

    /// Brought up to date; `None` if that cannot be all: the chain of events is shorter than it was, or a target is new.
    fn with(mut self, news: Snapshot) -> Option<Self> {
        let Snapshot { end, rollout, waves, targets } = news;
        if end < self.snapshot.end {
            return None;
        }
        for target in targets {
            let place = *self.places.get(&target.id)?;
            self.snapshot.targets[place] = target;
        }
        self.snapshot = Snapshot { end, rollout, waves, targets: self.snapshot.targets };
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollout::{Rollout, RolloutState};
    use crate::domain::target::{Target, TargetState};
    use crate::domain::{ClusterId, PlanDigest, Revision};
    use crate::engine::decide::tests::at;
    use crate::system::SystemEntropy;

    fn snapshot(end: i64, targets: Vec<Target>) -> Snapshot {
        let rollout = Rollout {
            id: RolloutId::new(at(0), &SystemEntropy),
            plan: PlanDigest::of(b"plan"),
            fleet: "shops".into(),
            group: "stores".into(),
            revision: Revision::of(b"fleet"),
            state: RolloutState::Running { accepted_failures: 0 },
            started_at: at(0),
            started_by: "me".into(),
            deadline: at(1_000),
            finished_at: None,
            version: end,
        };
        Snapshot { end, rollout, waves: vec![], targets }
    }

    fn target(position: u32) -> Target {
        Target {
            id: TargetId::new(at(0), &SystemEntropy),
            rollout: RolloutId::new(at(0), &SystemEntropy),
            cluster: ClusterId::new(at(0), &SystemEntropy),
            wave: 0,
            position,
            state: TargetState::Pending,
            first_started_at: None,
            version: 1,
        }
    }

    #[test]
    fn news_take_their_place_and_leave_the_rest_as_it_was() {
        let before = vec![target(0), target(1), target(2)];
        let after = Target { state: TargetState::Succeeded { at: at(9) }, version: 2, ..before[1].clone() };
        let kept = Kept::whole(snapshot(7, before.clone()), at(0)).with(snapshot(9, vec![after.clone()])).unwrap();
        assert_eq!(kept.snapshot.targets, [before[0].clone(), after, before[2].clone()]);
        assert_eq!((kept.snapshot.end, kept.snapshot.rollout.version), (9, 9));
    }

    #[test]
    fn what_cannot_be_the_same_database_is_read_as_a_whole() {
        let kept = || Kept::whole(snapshot(7, vec![target(0)]), at(0));
        assert!(kept().with(snapshot(6, vec![])).is_none(), "its chain of events is shorter");
        assert!(kept().with(snapshot(8, vec![target(0)])).is_none(), "it has another target");
        assert!(kept().with(snapshot(7, vec![])).is_some());
    }
}
