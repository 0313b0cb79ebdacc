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
}

impl Draft {
    pub(super) fn new(work: TargetWork, lease: Lease, at: Timestamp) -> Self {
        let fence = Fence { lease, version: work.target.version };
        Self { work, fence, at, state: None, tasks: Vec::new(), attempt: None, due_at: None, events: Vec::new() }
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

    /// What the target is doing, for people, in the middle of a step that goes on.
    pub(super) fn does(&mut self, doing: String) {
        if let TargetState::Running { since, unseen_since, doing: before } = self.work.target.state.clone() {
            if unseen_since.is_some() {
                self.event(EventType::TargetSeen, |event| event);
            }
            if unseen_since.is_some() || before != doing {
                self.become_now(TargetState::Running { since, unseen_since: None, doing });
            }
        }
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
