//! Upgrades that have not ended, of whomever: unfinished Jobs and living Pods whose arguments or UpgradeTasks name
//! something. UpgradeTasks alone say nothing: those of argument mode stay `Started` for ever.

use std::collections::{BTreeMap, BTreeSet};

use futures::try_join;

use super::listing::{Listing, Reader};
use super::objects::{JOBS, Job, PODS, Pod, PodSpec, UPGRADE_TASKS};
use crate::cluster::EdgeError;
use crate::domain::ResourceRef;
use crate::domain::inventory::UnderWay;
use crate::openebs::UpgradeTask;
use crate::openebs::claim::{self, Claim};

/// All Pods but those of pools and volumes, which are by far the most: no executor's Pod carries their labels.
const NOT_DATA_PLANE: &str = "!openebs.io/persistent-volume,!openebs.io/cstor-pool-instance,!openebs.io/cstor-pool";

/// More upgrades at once than one cluster can bear.
const UNFINISHED_MAX: usize = 500;

/// Jobs, Pods and UpgradeTasks of the OpenEBS namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Executors {
    pub jobs: Listing<Job>,
    pub pods: Listing<Pod>,
    pub tasks: Listing<UpgradeTask>,
}

/// An upgrade that has not ended; `None` for resources means that it may be any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub by: String,
    pub resources: Option<Vec<ResourceRef>>,
}

impl Executors {
    pub async fn read(reader: Reader<'_>, namespace: &str) -> Result<Self, EdgeError> {
        let ns = Some(namespace);
        let (jobs, pods, tasks) = try_join!(
            reader.list(&JOBS, ns, ""),
            reader.list(&PODS, ns, NOT_DATA_PLANE),
            reader.list(&UPGRADE_TASKS, ns, ""),
        )?;
        Ok(Self { jobs, pods, tasks })
    }

    /// What could not be read.
    pub fn gaps(&self) -> impl Iterator<Item = &String> {
        self.hiding().chain(&self.tasks.gap)
    }

    /// What could not be read and may hide somebody at work.
    pub fn hiding(&self) -> impl Iterator<Item = &String> {
        [&self.jobs.gap, &self.pods.gap].into_iter().flatten()
    }

    /// Every upgrade that has not ended. Beyond [`UNFINISHED_MAX`] one more stands for all others, and for anything.
    pub fn unfinished(&self) -> Vec<Unfinished> {
        let living: Vec<&Pod> = self.pods.items.iter().filter(|pod| !pod.status.pod_ended()).collect();
        let with_pods: BTreeSet<&str> = living.iter().filter_map(|pod| controller(pod)).collect();
        let jobs = self.jobs.items.iter().filter(|job| !has_ended(job, &with_pods));
        let jobs =
            jobs.map(|job| (format!("Job/{}", job.metadata.name), job.metadata.uid.as_str(), &job.spec.template.spec));
        // A Pod outlives its Job when that was deleted without it; and Pods may be made by hand.
        let pods = living
            .iter()
            .map(|pod| (format!("Pod/{}", pod.metadata.name), controller(pod).unwrap_or_default(), &pod.spec));
        let mut found = Vec::new();
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for (by, uid, pod) in jobs.chain(pods) {
            if !uid.is_empty() && told.contains(uid) {
                continue;
            }
            let Some(resources) = self.claimed(pod) else { continue };
            if found.len() == UNFINISHED_MAX {
                found.push(Unfinished { by: format!("{by}, one of many"), resources: None });
                break;
            }
            told.insert(uid);
            found.push(Unfinished { by, resources });
        }
        found
    }

    /// What a Pod claims; outer `None` for nothing, inner `None` for anything.
    #[expect(clippy::option_option, reason = "no claim and a claim on anything are different answers")]
    fn claimed(&self, pod: &PodSpec) -> Option<Option<Vec<ResourceRef>>> {
        let claims: Vec<Claim> = pod.all_containers().filter_map(|container| claim::of(&container.seen())).collect();
        if claims.is_empty() {
            return None;
        }
        // Which UpgradeTasks it selects is only known when all could be read.
        let by_task = claims.iter().any(|claim| matches!(claim, Claim::Selected(_) | Claim::Task(_)));
        if by_task && self.tasks.gap.is_some() {
            return Some(None);
        }
        let each = claims.iter().map(|claim| claim::resources(claim, &self.tasks.items));
        let mut all: Vec<ResourceRef> = match each.collect::<Option<Vec<_>>>() {
            Some(resources) => resources.into_iter().flatten().collect(),
            None => return Some(None),
        };
        all.sort_unstable();
        all.dedup();
        Some(Some(all))
    }
}

fn controller(pod: &Pod) -> Option<&str> {
    pod.metadata.owner_references.iter().find(|owner| owner.controller).map(|owner| owner.uid.as_str())
}

/// Complete, Failed, or suspended without a Pod left: a tombstone.
fn has_ended(job: &Job, with_pods: &BTreeSet<&str>) -> bool {
    let terminal = job
        .status
        .conditions
        .iter()
        .any(|condition| matches!(condition.kind.as_str(), "Complete" | "Failed") && condition.status == "True");
    terminal || (job.spec.suspend && !with_pods.contains(job.metadata.uid.as_str()))
}

/// For the inventory: only what exists of what is named, with the pools of a parent that is named. Of several that may
/// work on anything, the first is told with everything.
pub(super) fn under_way(unfinished: Vec<Unfinished>, existing: &[(ResourceRef, Option<ResourceRef>)]) -> Vec<UnderWay> {
    let mut known: BTreeSet<&ResourceRef> = BTreeSet::new();
    let mut pools_of: BTreeMap<&ResourceRef, Vec<&ResourceRef>> = BTreeMap::new();
    for (id, parent) in existing {
        known.insert(id);
        if let Some(parent) = parent {
            pools_of.entry(parent).or_default().push(id);
        }
    }
    let mut anything_told = false;
    let mut one = |unfinished: Unfinished| {
        let resources: BTreeSet<&ResourceRef> = match &unfinished.resources {
            None if anything_told => BTreeSet::new(),
            None => known.clone(),
            Some(named) => {
                let pools = named.iter().filter_map(|parent| pools_of.get(parent)).flatten().copied();
                named.iter().filter(|id| known.contains(id)).chain(pools).collect()
            }
        };
        anything_told |= unfinished.resources.is_none();
        UnderWay { resources: resources.into_iter().cloned().collect(), by: unfinished.by }
    };
    unfinished.into_iter().map(&mut one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ResourceKind as K;
    use serde_json::{Value, json};

    fn resource(kind: K, name: &str) -> ResourceRef {
        ResourceRef { kind, name: name.into() }
    }

    fn listed<T: serde::de::DeserializeOwned>(items: &Value) -> Listing<T> {
        Listing { items: serde_json::from_value(items.clone()).unwrap(), ..Listing::default() }
    }

    fn executors(jobs: &Value, pods: &Value, tasks: &Value) -> Executors {
        Executors { jobs: listed(jobs), pods: listed(pods), tasks: listed(tasks) }
    }

    fn job(name: &str, args: &[&str], suspend: bool, conditions: &Value) -> Value {
        json!({"metadata": {"name": name, "uid": format!("uid-{name}")},
            "spec": {"suspend": suspend, "template": {"spec": {"containers": [
                {"name": "upgrade", "image": "openebs/upgrade:3.6.0", "args": args}]}}},
            "status": {"conditions": conditions}})
    }

    #[test]
    fn only_complete_and_failed_end_a_job_and_a_tombstone_has_ended() {
        let args = ["cstor-cspc", "a"];
        let seen = executors(
            &json!([
                job("runs", &args, false, &json!([])),
                job("fails-soon", &args, false, &json!([{"type": "FailureTarget", "status": "True"}])),
                job("failed", &args, false, &json!([{"type": "Failed", "status": "True"}])),
                job("done", &args, false, &json!([{"type": "Complete", "status": "True"}])),
                job("tombstone", &args, true, &json!([{"type": "Suspended", "status": "True"}])),
            ]),
            &json!([]),
            &json!([]),
        );
        let by: Vec<String> = seen.unfinished().into_iter().map(|one| one.by).collect();
        assert_eq!(by, ["Job/runs", "Job/fails-soon"]);
    }

    #[test]
    fn a_suspended_job_whose_pod_still_ends_has_not_ended() {
        let pod = json!({"metadata": {"name": "p", "ownerReferences": [{"uid": "uid-s", "controller": true}]},
            "spec": {"containers": [{"image": "openebs/upgrade:3.6.0", "args": ["cstor-cspc", "a"]}]},
            "status": {"phase": "Running"}});
        let seen = executors(&json!([job("s", &["cstor-cspc", "a"], true, &json!([]))]), &json!([pod]), &json!([]));
        let by: Vec<String> = seen.unfinished().into_iter().map(|one| one.by).collect();
        assert_eq!(by, ["Job/s"], "the Pod is told with its Job");
    }

    #[test]
    fn a_pod_whose_job_is_gone_still_counts() {
        let pod = json!({"metadata": {"name": "orphan", "ownerReferences": [{"uid": "gone", "controller": true}]},
            "spec": {"containers": [{"image": "openebs/upgrade:3.6.0", "args": ["resource"],
                "env": [{"name": "UPGRADE_TASK_LABEL", "value": "x=1"}]}]}, "status": {"phase": "Running"}});
        let task = json!({"metadata": {"name": "t", "labels": {"x": "1"}},
            "spec": {"cstorPoolInstance": {"cspiName": "cspi-a"}}});
        let seen = executors(&json!([]), &json!([pod]), &json!([task]));
        let cspi = resource(K::CstorPoolInstance, "cspi-a");
        assert_eq!(seen.unfinished(), [Unfinished { by: "Pod/orphan".into(), resources: Some(vec![cspi]) }]);
    }

    #[test]
    fn more_upgrades_than_are_kept_leave_open_what_they_work_on() {
        let jobs: Vec<Value> =
            (0..600).map(|n| job(&format!("j{n}"), &["cstor-cspc", "a"], false, &json!([]))).collect();
        let unfinished = executors(&json!(jobs), &json!([]), &json!([])).unfinished();
        assert_eq!(unfinished.len(), UNFINISHED_MAX + 1);
        assert_eq!(unfinished[UNFINISHED_MAX].resources, None);
    }

    #[test]
    fn an_upgrade_task_that_cannot_be_read_leaves_open_what_is_selected() {
        let pod = json!({"metadata": {"name": "p"}, "status": {"phase": "Running"}, "spec": {"containers": [
            {"image": "openebs/upgrade:3.6.0", "args": ["resource"],
             "env": [{"name": "UPGRADE_TASK_LABEL", "value": "x=1"}]}]}});
        let mut seen = executors(&json!([]), &json!([pod]), &json!([]));
        assert_eq!(seen.unfinished()[0].resources, Some(vec![]));
        seen.tasks.gap = Some("an UpgradeTask cannot be read".into());
        assert_eq!(seen.unfinished()[0].resources, None);
    }

    #[test]
    fn a_parent_that_is_named_stands_for_its_pools() {
        let parent = resource(K::CstorPoolCluster, "a");
        let existing = [
            (parent.clone(), None),
            (resource(K::CstorPoolInstance, "a-1"), Some(parent.clone())),
            (resource(K::CstorPoolInstance, "b-1"), Some(resource(K::CstorPoolCluster, "b"))),
        ];
        let named = vec![Unfinished { by: "Job/j".into(), resources: Some(vec![parent.clone()]) }];
        let told = under_way(named, &existing);
        assert_eq!(told[0].resources, [resource(K::CstorPoolInstance, "a-1"), parent]);
    }
}
