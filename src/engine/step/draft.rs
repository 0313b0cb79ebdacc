//! What a step is about to commit: collected first, written at once.

use crate::domain::attempt::Attempt;
use crate::domain::event::{Actor, Event, EventType};
use crate::domain::target::{TargetState, Task, TaskState};
use crate::domain::{TaskId, Timestamp};
use crate::store::{Fence, Lease, Store, StoreError, TargetCommit, TargetWork};

use super::subject_of;

/// The target as it is stored plus what changes.
pub(super) struct Draft {
    /// As it will be once committed.
    pub(super) work: TargetWork,
    fence: Fence,
    at: Timestamp,
    state: Option<TargetState>,
    tasks: Vec<(TaskId, TaskState)>,
    attempt: Option<Attempt>,
    due_at: Option<Timestamp>,
    events: Vec<Event>,
    was_seen: bool,
}

impl Draft {
    pub(super) fn new(work: TargetWork, lease: Lease, at: Timestamp) -> Self {
        let fence = Fence { lease, version: work.target.version };
        Self {
            work,
            fence,
            at,
            state: None,
            tasks: Vec::new(),
            attempt: None,
            due_at: None,
            events: Vec::new(),
            was_seen: false,
        }
    }

    /// The epoch of the lease under which this is written.
    pub(super) fn epoch(&self) -> i64 {
        self.fence.lease.epoch
    }

    /// The lease under which this is written.
    pub(super) fn lease(&self) -> Lease {
        self.fence.lease
    }

    /// What the target is doing, for people; it runs on and is looked at next at `due_at`.
    pub(super) fn runs(&mut self, doing: String, due_at: Timestamp) {
        self.does(doing);
        self.due_at = Some(due_at);
    }

    /// What the target is doing, for people, in the middle of a step that goes on: its cluster answered.
    pub(super) fn does(&mut self, doing: String) {
        self.seen();
        if let TargetState::Running { since, unseen_since, doing: before } = self.work.target.state.clone()
            && before != doing
        {
            self.become_now(TargetState::Running { since, unseen_since, doing });
        }
    }

    /// The cluster answered in this step. Time in which it was not seen counts against no deadline.
    pub(super) fn seen(&mut self) {
        self.was_seen = true;
        if let TargetState::Running { since, unseen_since: Some(unseen), doing } = self.work.target.state.clone() {
            self.event(EventType::TargetSeen, |event| event);
            let since = since + self.at.since(unseen);
            self.become_now(TargetState::Running { since, unseen_since: None, doing });
        }
    }

    /// Whether the cluster answered in this step.
    pub(super) fn was_seen(&self) -> bool {
        self.was_seen
    }

    /// Its cluster is not seen while a Job may run; it is tried next at `due_at`.
    pub(super) fn unseen(&mut self, since: Timestamp, doing: String, due_at: Timestamp) {
        if let TargetState::Running { since: running_since, .. } = self.work.target.state {
            self.become_now(TargetState::Running { since: running_since, unseen_since: Some(since), doing });
        }
        self.due_at = Some(due_at);
    }

    /// The target's state as it will be; any but Running gives its slots back with the commit.
    pub(super) fn become_now(&mut self, state: TargetState) {
        self.work.target.state = state.clone();
        self.state = Some(state);
    }

    /// A task's state as it will be.
    pub(super) fn task(&mut self, id: TaskId, state: TaskState) {
        if let Some(task) = self.work.tasks.iter_mut().find(|task| task.id == id) {
            task.state = state.clone();
        }
        self.tasks.retain(|(other, _)| *other != id);
        self.tasks.push((id, state));
    }

    /// The attempt as it will be; one with an end is closed.
    pub(super) fn attempt(&mut self, attempt: Attempt) {
        if let Some(task) = self.work.tasks.iter_mut().find(|task| task.id == attempt.task) {
            task.attempts = attempt.number;
            task.open_attempt = attempt.end.is_none().then_some(attempt.id);
        }
        self.work.open_attempt = attempt.end.is_none().then(|| attempt.clone());
        self.attempt = Some(attempt);
    }

    /// An event of this moment about the target, its task and attempt.
    pub(super) fn event(&mut self, kind: EventType, tell: impl FnOnce(Event) -> Event) {
        let mut about = subject_of(&self.work.target);
        let attempt = self.attempt.as_ref().or(self.work.open_attempt.as_ref());
        about.task = attempt.map(|attempt| attempt.task);
        about.attempt = attempt.map(|attempt| attempt.id);
        self.events.push(tell(Event::new(self.at, kind, Actor::engine(), about)));
    }

    /// An event of this moment about one task without an attempt.
    pub(super) fn task_event(&mut self, kind: EventType, task: TaskId, tell: impl FnOnce(Event) -> Event) {
        let mut about = subject_of(&self.work.target);
        about.task = Some(task);
        self.events.push(tell(Event::new(self.at, kind, Actor::engine(), about)));
    }

    /// The tasks, in order.
    pub(super) fn tasks(&self) -> &[Task] {
        &self.work.tasks
    }

    /// The present of this step: taken anew for each part of it.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.at = now;
    }

    /// Writes what was collected, in one transaction. Afterwards more may be collected.
    pub(super) async fn commit(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let commit = TargetCommit {
            target: self.work.target.id,
            fence: self.fence,
            state: self.state.take(),
            tasks: std::mem::take(&mut self.tasks),
            attempt: self.attempt.take(),
            at: self.at,
            due_at: self.due_at.take(),
        };
        store.commit_target(commit, std::mem::take(&mut self.events)).await?;
        self.fence.version += 1;
        self.work.target.version += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::rollout::{Rollout, RolloutState};
    use crate::domain::target::Target;
    use crate::domain::{ClusterId, DaemonId, PlanDigest, Revision, RolloutId, TargetId};
    use crate::engine::decide::tests::{Zeros, at};

    fn draft(unseen_since: Option<Timestamp>, now: Timestamp) -> Draft {
        let rollout = Rollout {
            id: RolloutId::new(at(0), &Zeros),
            plan: PlanDigest::of(b"plan"),
            fleet: "shops".into(),
            group: "stores".into(),
            revision: Revision::of(b"fleet"),
            state: RolloutState::Running { accepted_failures: 0 },
            started_at: at(0),
            started_by: "me".into(),
            deadline: at(100_000),
            finished_at: None,
            version: 1,
        };
        let target = Target {
            id: TargetId::new(at(0), &Zeros),
            rollout: rollout.id,
            cluster: ClusterId::new(at(0), &Zeros),
            wave: 0,
            position: 0,
            state: TargetState::Running { since: at(100), unseen_since, doing: "connecting".into() },
            first_started_at: Some(at(100)),
            version: 1,
        };
        let lease = Lease { daemon: DaemonId::new(at(0), &Zeros), epoch: 1 };
        Draft::new(TargetWork { target, tasks: vec![], open_attempt: None, rollout, owner: Some(lease) }, lease, now)
    }

    #[test]
    fn time_in_which_a_cluster_is_not_seen_counts_against_no_deadline_of_its() {
        let mut draft = draft(Some(at(200)), at(5_000));
        draft.runs("looking".into(), at(5_005));
        let since = at(100) + Duration::from_mins(80);
        let running = TargetState::Running { since, unseen_since: None, doing: "looking".into() };
        assert_eq!(draft.work.target.state, running);
        let told: Vec<EventType> = draft.events.iter().map(|event| event.kind).collect();
        assert_eq!(told, [EventType::TargetSeen]);
    }

    #[test]
    fn a_cluster_that_stays_unseen_is_not_told_to_be_seen() {
        let mut draft = draft(Some(at(200)), at(5_000));
        draft.unseen(at(200), "unseen".into(), at(5_010));
        let running = TargetState::Running { since: at(100), unseen_since: Some(at(200)), doing: "unseen".into() };
        assert_eq!((draft.work.target.state.clone(), draft.was_seen()), (running, false));
        assert!(draft.events.is_empty());
    }
}
