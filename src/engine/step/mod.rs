//! One step of one running target: read what is stored, look at the cluster, decide, act, commit.
//!
//! Nothing here loops for ever, sleeps, or tries again: a step ends by saying when the target is looked at next. Every
//! effect has its intent committed before it, and whatever a crash leaves behind is found by the next look.

mod attempt;
mod draft;
mod task;
mod unseen;

use std::sync::Arc;

use draft::Draft;
use tokio::sync::watch;

use super::Engine;
use super::decide::Rules;
use super::lease::Held;
use crate::cluster::{Edge, EdgeError};
use crate::connections::{NotConnectable, Purpose, Unrecognised};
use crate::domain::cluster::Cluster;
use crate::domain::event::{EventType, Subject};
use crate::domain::plan::PlannedTarget;
use crate::domain::target::{Deferral, SkipReason, Target, TargetState, TaskState};
use crate::domain::{Plan, TargetId, TaskId, Timestamp};
use crate::store::{Lease, StoreError};

/// A Job to be followed by watch, so that its end is noticed before the next look is due.
pub struct Follow {
    /// The target to step when something changes.
    pub target: TargetId,
    /// The way to its cluster.
    pub edge: Edge,
    /// The Job's namespace.
    pub namespace: String,
    /// The Job's name.
    pub job: String,
}

/// What a step left behind.
pub enum Left {
    /// The target runs on, and nothing is there to be followed.
    Running,
    /// The target runs on, and this Job is under way.
    Following(Box<Follow>),
    /// The target does not run any more.
    Ended,
}

/// Everything that one step works with.
struct Scene<'a> {
    engine: &'a Engine,
    plan: Arc<Plan>,
    rules: Rules,
    cluster: Cluster,
    draft: Draft,
    held: &'a watch::Receiver<Option<Held>>,
}

impl Scene<'_> {
    fn planned(&self) -> &PlannedTarget {
        let target = &self.draft.work.target;
        &self.plan.waves[target.wave as usize].targets[target.position as usize]
    }

    fn now(&self) -> Timestamp {
        self.engine.clock.now()
    }

    /// Asked before each request that changes something: a step may outlive its lease. What still slips through (a
    /// process that is stopped right here) is caught by the objects' names and UIDs.
    fn still_ours(&self) -> Result<(), StoreError> {
        let held = *self.held.borrow();
        match held {
            Some(held) if held.lease == self.draft.lease() && self.now() < held.until => Ok(()),
            _ => Err(StoreError::Conflict { what: "the lease of this daemon".to_owned() }),
        }
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.draft.commit(&*self.engine.store).await
    }
}

/// Takes a target one step further.
pub async fn take(
    engine: &Engine,
    target: TargetId,
    lease: Lease,
    held: &watch::Receiver<Option<Held>>,
) -> Result<Left, StoreError> {
    let work = engine.store.target_work(target).await?;
    // Another daemon's: its steps are its own business, whatever a watch of ours told.
    if !matches!(work.target.state, TargetState::Running { .. }) || work.owner != Some(lease) {
        return Ok(Left::Ended);
    }
    let plan = engine.plans.of(&*engine.store, &work.rollout.plan).await?;
    let cluster = engine.store.cluster(work.target.cluster).await?;
    let span = tracing::Span::current();
    span.record("cluster", cluster.name.as_str()).record("rollout", tracing::field::display(work.rollout.id));
    let draft = Draft::new(work, lease, engine.clock.now());
    let rules = Rules::of(&plan.strategy);
    let mut scene = Scene { engine, plan, rules, cluster, draft, held };
    let planned = scene.plan.waves.get(scene.draft.work.target.wave as usize);
    if planned.and_then(|wave| wave.targets.get(scene.draft.work.target.position as usize)).is_none() {
        let what = format!("target {target}");
        return Err(StoreError::Corrupt { what, why: "its plan has no such place".to_owned() });
    }
    let edge = match engine.connections.to(&scene.cluster, Purpose::Rollout).await {
        Ok(edge) => match scene.planned().tasks.first() {
            // The plan's namespace, whatever the cluster is registered with by now: that is where its Jobs are.
            Some(task) => edge.within(&task.namespace),
            None => edge,
        },
        Err(NotConnectable::Store(error)) => return Err(error),
        Err(error) => return without_connection(scene, &error).await,
    };
    match engine.connections.recognise(&scene.cluster, &edge).await {
        Ok(cluster) => scene.cluster = cluster,
        Err(Unrecognised::Store(error)) => return Err(error),
        Err(Unrecognised::Connection(error)) => return without_connection(scene, &error).await,
        Err(Unrecognised::Edge(error)) => return cluster_failed(scene, error).await,
    }
    // Boxed: a step holds whole observations, and many are under way.
    // Each part asks the cluster and answers with its error, and only here it is judged what the silence means.
    let before = scene.draft.work.open_attempt.is_some();
    let went = match before {
        true => Box::pin(attempt::further(&mut scene, &edge)).await,
        false => Box::pin(task::next_task(&mut scene, &edge)).await,
    };
    match went {
        Ok(left) => {
            engine.connections.note_answer(&scene.cluster).await?;
            if matches!(left, Left::Ended) {
                engine.connections.done_with(scene.cluster.id);
            }
            Ok(left)
        }
        Err(Broken::Store(error)) => Err(error),
        Err(Broken::Edge(error)) => {
            span.record("error", tracing::field::display(&error));
            cluster_failed(scene, error).await
        }
    }
}

/// Why a step could not go on.
enum Broken {
    /// The store refused or did not answer: the step is void.
    Store(StoreError),
    /// The cluster refused or did not answer.
    Edge(EdgeError),
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<EdgeError> for Broken {
    fn from(error: EdgeError) -> Self {
        Self::Edge(error)
    }
}

/// The cluster was removed or quarantined, or its credential cannot be used: nothing is sent.
async fn without_connection(mut scene: Scene<'_>, error: &NotConnectable) -> Result<Left, StoreError> {
    let at = scene.now();
    let surely_ended = scene.draft.work.open_attempt.as_ref().map(|attempt| attempt.deadline + unseen::SURELY_ENDED);
    if matches!(error, NotConnectable::Removed) && surely_ended.is_none_or(|ended| at >= ended) {
        scene.draft.tick(at);
        attempt::lost_from_sight(&mut scene, at);
        let open: Vec<TaskId> =
            scene.draft.tasks().iter().filter(|task| !task.state.is_settled()).map(|task| task.id).collect();
        for task in open {
            scene.draft.task(task, TaskState::Skipped { at, reason: SkipReason::Removed });
        }
        scene.draft.become_now(TargetState::Skipped { at, reason: SkipReason::Removed });
        scene.draft.event(EventType::TargetSkipped, |event| event.because("the cluster was removed"));
        scene.commit().await?;
        return Ok(Left::Ended);
    }
    unseen::go_on_without(&mut scene, Deferral::Refused { error: error.to_string() }, None).await
}

/// The cluster did not answer, or not as it should: never a failure of the target's by itself.
async fn cluster_failed(mut scene: Scene<'_>, error: EdgeError) -> Result<Left, StoreError> {
    let now = scene.now();
    scene.engine.connections.note_error(&scene.cluster, &error).await?;
    let since = scene.cluster.reach.failing.as_ref().map_or(now, |failing| failing.since);
    let error_text = error.to_string();
    let reason = match error.reached() || matches!(error, EdgeError::AnotherCluster { .. }) {
        true => Deferral::Refused { error: error_text },
        false => Deferral::Unreachable { since, error: error_text },
    };
    unseen::go_on_without(&mut scene, reason, error.passes_within()).await
}

/// The subject of a target's events.
pub(super) fn subject_of(target: &Target) -> Subject {
    Subject {
        cluster: Some(target.cluster),
        rollout: Some(target.rollout),
        target: Some(target.id),
        task: None,
        attempt: None,
    }
}
