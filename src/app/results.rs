//! What came of each task, with evidence.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::explain::task_reason;
use super::{App, Page, PageRequest, Refusal, When};
use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::plan::Plan;
use crate::domain::target::TaskState;
use crate::domain::{ResourceRef, TaskId, Timestamp};
use crate::store::{ResultQuery, ResultRow};

/// What came of one task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultView {
    /// The cluster's name.
    pub cluster: String,
    /// The resource.
    pub resource: ResourceName,
    /// The version that it had.
    pub from: String,
    /// The version that it was to have.
    pub to: String,
    /// The task's state: `succeeded`, `failed`, `skipped`, `not_started`, `running` or `pending`.
    pub outcome: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Attempts made.
    pub attempts: u32,
    /// When the last attempt was begun.
    pub started_at: Option<When>,
    /// When it was over.
    pub ended_at: Option<When>,
    /// The last attempt's Job.
    pub job: Option<NamedObject>,
    /// The last attempt's UpgradeTask.
    pub upgrade_task: Option<NamedObject>,
    /// What was seen last: conditions, UpgradeTask, Pods and their logs, the resource; and how the
    /// resource was before. Only when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<serde_json::Value>,
}

/// A storage object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResourceName {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl From<&ResourceRef> for ResourceName {
    fn from(resource: &ResourceRef) -> Self {
        Self { kind: resource.kind.name().to_owned(), name: resource.name.clone() }
    }
}

/// An object of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamedObject {
    /// Its name.
    pub name: String,
    /// Its UID, once it is known.
    pub uid: Option<String>,
}

impl App {
    /// The results of a rollout (and cluster), in the plan's order.
    pub async fn results(
        &self,
        rollout: &str,
        cluster: Option<&str>,
        page: &PageRequest,
        evidence: bool,
    ) -> Result<Page<ResultView>, Refusal> {
        let seen = self.seen(rollout).await?;
        let cluster = match cluster {
            Some(name) => Some(seen.snapshot.targets[seen.target_of(name)?].cluster),
            None => None,
        };
        let after = page.after()?.map(|id| id.parse::<TaskId>()).transpose();
        let after = after.map_err(|_| Refusal::Invalid("`cursor` is not the `next` of a page".to_owned()))?;
        // Evidence has up to some tens of KiB a task.
        let limit = if evidence { page.limit().min(100) } else { page.limit() };
        let query = ResultQuery { rollout: seen.snapshot.rollout.id, cluster, after, limit };
        let rows = self.store.results(query).await?;
        let page = Page::of(rows, limit, |row: &ResultRow| row.task.id.to_string());
        let items = page.items.into_iter().filter_map(|row| view(&seen.plan, row, evidence)).collect();
        Ok(Page { items, next: page.next })
    }
}

fn view(plan: &Plan, row: ResultRow, with_evidence: bool) -> Option<ResultView> {
    let ResultRow { cluster: _, cluster_name, target, task, last_attempt } = row;
    let wave = plan.waves.get(target.wave as usize)?;
    let planned = wave.targets.get(target.position as usize)?.tasks.get(task.position as usize)?;
    let reason = task_reason(&task).or_else(|| last_attempt.as_ref().and_then(attempt_reason)).unwrap_or_default();
    let last = last_attempt.as_ref();
    let ended = last.and_then(|attempt| attempt.end.as_ref());
    let evidence = ended.filter(|_| with_evidence).and_then(|end| serde_json::to_value(&end.evidence).ok());
    let evidence = evidence.map(|seen| with_before(seen, last));
    Some(ResultView {
        cluster: cluster_name,
        resource: (&planned.resource).into(),
        from: planned.from.to_string(),
        to: planned.to.to_string(),
        outcome: task.state.name().to_owned(),
        reason,
        attempts: task.attempts,
        started_at: last.map(|attempt| When(attempt.intended_at)),
        ended_at: ended_at(&task.state).or(ended.map(|end| end.at)).map(When),
        job: last.map(|attempt| NamedObject { name: attempt.job_name.clone(), uid: attempt.job_uid.clone() }),
        upgrade_task: last.map(|attempt| NamedObject {
            name: attempt.upgrade_task_name.clone(),
            uid: attempt.upgrade_task_uid.clone(),
        }),
        evidence,
    })
}

/// What was seen last, and beside it the resource as it was before.
fn with_before(mut seen: serde_json::Value, attempt: Option<&Attempt>) -> serde_json::Value {
    let before = attempt.and_then(|attempt| serde_json::to_value(attempt.resource_before.as_ref()?).ok());
    if let (Some(before), Some(seen)) = (before, seen.as_object_mut()) {
        seen.insert("resource_before".to_owned(), before);
    }
    seen
}

const fn ended_at(state: &TaskState) -> Option<Timestamp> {
    match state {
        TaskState::Succeeded { at } | TaskState::Failed { at, .. } | TaskState::Skipped { at, .. } => Some(*at),
        TaskState::Pending { .. } | TaskState::Running { .. } | TaskState::NotStarted { .. } => None,
    }
}

/// What an attempt came to, where there is something to say.
pub(super) fn attempt_reason(attempt: &Attempt) -> Option<String> {
    match &attempt.end.as_ref()?.outcome {
        Outcome::Succeeded { warning } => warning.clone(),
        Outcome::NotBegun { reason } | Outcome::Failed { reason, .. } => Some(reason.clone()),
    }
}
