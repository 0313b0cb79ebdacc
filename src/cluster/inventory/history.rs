//! Upgrades from before Fleetlift: finished UpgradeTasks, and UpgradeResults of the 0.8.2 to 0.9.0 era. For people to
//! read; nothing is decided by them, and nothing touches them.

use super::objects::UpgradeResult;
use crate::cluster::text::plain;
use crate::domain::ResourceRef;
use crate::domain::inventory::PastUpgrade;
use crate::openebs::UpgradeTask;
use crate::openebs::{claim, job, kinds, outcome};

/// The most that is kept: a cluster may have had years of upgrades.
const KEPT_MAX: usize = 500;

/// What other hands upgraded, by name.
pub(super) fn of(tasks: &[UpgradeTask], results: &[UpgradeResult], existing: &[ResourceRef]) -> Vec<PastUpgrade> {
    let tasks = tasks.iter().filter(|task| !is_ours(task)).filter_map(|task| past(task, existing));
    let results = results.iter().map(superseded);
    let mut all: Vec<PastUpgrade> = tasks.chain(results).take(KEPT_MAX).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn is_ours(task: &UpgradeTask) -> bool {
    let labels = task.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(job::MANAGED_BY)).is_some_and(|by| by == job::MANAGER)
}

fn past(task: &UpgradeTask, existing: &[ResourceRef]) -> Option<PastUpgrade> {
    let named = claim::named_by(task);
    let resource = named.iter().find(|one| existing.contains(one)).or(named.first());
    // Argument mode never gets beyond Started: there the steps tell that it is over.
    let all_steps_done = resource.is_some_and(|resource| {
        let (done, of) = outcome::progress(kinds::of(resource.kind), &task.status);
        of > 0 && done == of
    });
    if !outcome::finished(&task.status) && !all_steps_done {
        return None;
    }
    Some(PastUpgrade {
        name: task.metadata.name.clone()?,
        resource: resource.cloned(),
        from: plain(&task.spec.from_version, 64),
        to: plain(&task.spec.to_version, 64),
        phase: plain(&task.status.phase, 64),
        completed_at: task.status.completed_time.as_deref().map(|at| plain(at, 64)),
    })
}

fn superseded(result: &UpgradeResult) -> PastUpgrade {
    let datum =
        |name: &str| result.config.data.iter().find(|datum| datum.name == name).map(|datum| plain(&datum.value, 64));
    let status = &result.status;
    let phase = match (status.failed_count, status.actual_count >= status.desired_count && status.desired_count > 0) {
        (1.., _) => "failed",
        (_, true) => "done",
        (_, false) => "unfinished",
    };
    PastUpgrade {
        name: result.metadata.name.clone(),
        resource: None,
        from: datum("baseVersion").unwrap_or_else(|| "0.8.2".to_owned()),
        to: datum("targetVersion").unwrap_or_else(|| "0.9.0".to_owned()),
        phase: format!(
            "{phase}: an UpgradeResult of {}, superseded by UpgradeTask and left as it is",
            plain(&status.resource.name, 253)
        ),
        completed_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ResourceKind;
    use serde_json::json;

    fn task(json: serde_json::Value) -> UpgradeTask {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_argument_mode_finished_is_history_though_it_says_started() {
        let done = task(json!({"metadata": {"name": "upgrade-jiva-csi-volume-pvc-1"},
            "spec": {"fromVersion": "3.4.0", "toVersion": "3.5.0", "jivaVolume": {"pvName": "pvc-1"}},
            "status": {"phase": "Started", "upgradeDetailedStatuses": [
                {"step": "PRE_UPGRADE", "phase": "Completed"}, {"step": "REPLICA_UPGRADE", "phase": "Completed"},
                {"step": "TARGET_UPGRADE", "phase": "Completed"}]}}));
        let volume = ResourceRef { kind: ResourceKind::JivaVolume, name: "pvc-1".into() };
        let past = of(&[done], &[], std::slice::from_ref(&volume));
        assert_eq!(past.len(), 1);
        assert_eq!((past[0].resource.as_ref(), past[0].phase.as_str()), (Some(&volume), "Started"));
    }

    #[test]
    fn what_is_under_way_or_ours_is_not_history() {
        let running = task(json!({"metadata": {"name": "a"}, "spec": {"jivaVolume": {"pvName": "pvc-1"}},
            "status": {"phase": "Started", "upgradeDetailedStatuses": [{"step": "PRE_UPGRADE", "phase": "Completed"}]}}));
        let ours = task(json!({"metadata": {"name": "b", "labels": {"app.kubernetes.io/managed-by": "fleetlift"}},
            "status": {"phase": "Success", "completedTime": "2026-11-01T10:00:00Z"}}));
        assert_eq!(of(&[running, ours], &[], &[]), []);
    }

    #[test]
    fn a_result_of_the_first_era_is_told_as_superseded() {
        let result: UpgradeResult = serde_json::from_value(json!({"metadata": {"name": "job-x7"},
            "config": {"data": [{"name": "targetVersion", "value": "0.9.0"}]},
            "status": {"desiredCount": 1, "actualCount": 1, "failedCount": 0,
                       "resource": {"name": "pool-1", "kind": "cStorPool"}}}))
        .unwrap();
        let past = of(&[], &[result], &[]);
        assert_eq!(past[0].phase, "done: an UpgradeResult of pool-1, superseded by UpgradeTask and left as it is");
    }
}
