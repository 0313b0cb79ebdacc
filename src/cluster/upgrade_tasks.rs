//! UpgradeTasks: one an attempt, under the name that OpenEBS's executors compute. Never written while a Job runs.

use kube::core::params::PropagationPolicy;

use super::EdgeError;
use super::edge::Edge;
use super::nouns::UPGRADE_TASKS;
use super::ours::{self, Created};
use super::text::plain;
use crate::domain::Attempt;
use crate::domain::observation::UpgradeTaskSeen;
use crate::openebs::UpgradeTask;
use crate::openebs::job::{ATTEMPT, MANAGED_BY};
use crate::openebs::upgrade_task::{StepStatus, UpgradeTaskStatus};

/// Steps of one UpgradeTask that are kept: the longest official upgrade has four.
const STEPS_MAX: usize = 32;
/// Characters of each text in a status.
const TEXT_CHARS_MAX: usize = 1_000;

impl Edge {
    /// The UpgradeTask of that name.
    pub async fn upgrade_task(&self, namespace: &str, name: &str) -> Result<Option<UpgradeTask>, EdgeError> {
        self.find(&UPGRADE_TASKS, Some(namespace), name).await
    }

    /// Creates exactly this UpgradeTask; ambiguity and conflicts are settled as for a Job.
    pub async fn create_upgrade_task(&self, task: &UpgradeTask) -> Result<Created, EdgeError> {
        let namespace = task.metadata.namespace.as_deref().unwrap_or(self.namespace());
        let error = match self.create(&UPGRADE_TASKS, namespace, task).await {
            Ok(created) => return Ok(Created::New { uid: ours::uid(&created.metadata)? }),
            Err(error) => error,
        };
        if !error.ambiguous() && !matches!(error, EdgeError::Conflict { exists: true, .. }) {
            return Err(error);
        }
        let name = task.metadata.name.as_deref().unwrap_or_default();
        let found = self.upgrade_task(namespace, name).await.map(|found| found.map(|task| task.metadata));
        ours::settle(&UPGRADE_TASKS, &task.metadata, found, error)
    }

    /// Deletes that very UpgradeTask, once its evidence is stored and all Pods are gone.
    pub async fn delete_upgrade_task(&self, namespace: &str, name: &str, uid: &str) -> Result<(), EdgeError> {
        self.delete(&UPGRADE_TASKS, namespace, name, uid, PropagationPolicy::Background).await
    }
}

/// Whose an UpgradeTask is, and what it says. One of another UID than recorded counts as somebody else's.
pub(super) fn seen(task: Option<UpgradeTask>, attempt: &Attempt) -> Result<UpgradeTaskSeen, EdgeError> {
    let Some(task) = task else { return Ok(UpgradeTaskSeen::Absent) };
    let uid = ours::uid(&task.metadata)?;
    let status = bounded(task.status);
    let theirs = ours::label(&task.metadata, ATTEMPT);
    let labelled = theirs == Some(&attempt.id.to_string());
    let replaces = attempt.upgrade_task_uid.as_deref().filter(|recorded| *recorded != uid);
    if labelled && replaces.is_none() {
        return Ok(UpgradeTaskSeen::Ours { uid, status });
    }
    let whose = match (theirs, ours::label(&task.metadata, MANAGED_BY)) {
        (Some(_), _) if labelled => format!("made in place of ours, which had UID {}", replaces.unwrap_or_default()),
        (Some(theirs), _) => format!("attempt {}", plain(theirs, 80)),
        (None, Some(manager)) => format!("managed by {}", plain(manager, 80)),
        (None, None) => "made by an upgrade Job or by hand".to_owned(),
    };
    Ok(UpgradeTaskSeen::Other { uid, whose, status })
}

/// A status as it is kept: an executor, or whoever can write it, chose these texts.
fn bounded(status: UpgradeTaskStatus) -> UpgradeTaskStatus {
    let UpgradeTaskStatus { phase, start_time, completed_time, retries, upgrade_detailed_statuses } = status;
    let short = |text: String| plain(&text, 64);
    let long = |text: String| plain(&text, TEXT_CHARS_MAX);
    // The last steps are what a verdict quotes.
    let skipped = upgrade_detailed_statuses.len().saturating_sub(STEPS_MAX);
    let steps = upgrade_detailed_statuses.into_iter().skip(skipped).map(|step| {
        let StepStatus { step, phase, message, reason, start_time, last_updated_at } = step;
        StepStatus {
            step: short(step),
            phase: short(phase),
            message: long(message),
            reason: long(reason),
            start_time: start_time.map(short),
            last_updated_at: last_updated_at.map(short),
        }
    });
    UpgradeTaskStatus {
        phase: short(phase),
        start_time: start_time.map(short),
        completed_time: completed_time.map(short),
        retries,
        upgrade_detailed_statuses: steps.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> Attempt {
        serde_json::from_value(serde_json::json!({
            "id": "0190b3f0-0000-7000-8000-000000000001", "task": "0190b3f0-0000-7000-8000-000000000002", "number": 1,
            "job_name": "fl-x", "upgrade_task_name": "upgrade-x", "spec_hash": "5e", "intended_at": 0, "deadline": 0,
        }))
        .unwrap()
    }

    fn task(labels: &serde_json::Value) -> UpgradeTask {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask",
            "metadata": {"name": "upgrade-x", "uid": "u", "labels": labels},
            "spec": {"fromVersion": "3.5.0", "toVersion": "3.6.0"},
        }))
        .unwrap()
    }

    #[test]
    fn an_upgrade_task_is_ours_only_with_this_attempts_label() {
        let mut attempt = attempt();
        let id = attempt.id.to_string();
        let whose = |attempt: &Attempt, labels| match seen(Some(task(&labels)), attempt).unwrap() {
            UpgradeTaskSeen::Other { whose, .. } => whose,
            UpgradeTaskSeen::Ours { .. } => "ours".to_owned(),
            UpgradeTaskSeen::Absent => "nobody's".to_owned(),
        };
        let labelled = serde_json::json!({ATTEMPT: id});
        assert_eq!(whose(&attempt, labelled.clone()), "ours");
        assert_eq!(whose(&attempt, serde_json::json!({ATTEMPT: "other"})), "attempt other");
        assert_eq!(whose(&attempt, serde_json::json!({MANAGED_BY: "kurl"})), "managed by kurl");
        assert_eq!(whose(&attempt, serde_json::json!({})), "made by an upgrade Job or by hand");
        assert_eq!(seen(None, &attempt), Ok(UpgradeTaskSeen::Absent));
        attempt.upgrade_task_uid = Some("u".into());
        assert_eq!(whose(&attempt, labelled.clone()), "ours");
        attempt.upgrade_task_uid = Some("v".into());
        assert_eq!(whose(&attempt, labelled), "made in place of ours, which had UID v");
    }

    #[test]
    fn a_hostile_status_is_kept_short_and_plain() {
        let step = StepStatus { step: "S".into(), message: "x\u{1b}".repeat(5_000), ..StepStatus::default() };
        let status = UpgradeTaskStatus { upgrade_detailed_statuses: vec![step; 1_000], ..UpgradeTaskStatus::default() };
        let kept = bounded(status);
        assert_eq!(kept.upgrade_detailed_statuses.len(), STEPS_MAX);
        assert!(kept.upgrade_detailed_statuses.iter().all(|step| step.message.chars().count() <= TEXT_CHARS_MAX + 1));
        assert!(!kept.upgrade_detailed_statuses[0].message.contains('\u{1b}'));
    }
}
