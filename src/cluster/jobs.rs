//! Jobs: created under decided names, suspended instead of deleted, swept when they are tombstones.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::core::params::PropagationPolicy;
use serde_json::json;

use super::EdgeError;
use super::edge::Edge;
use super::nouns::{JOBS, PODS};
use super::ours::{self, Created};
use crate::domain::Timestamp;
use crate::domain::observation::JobSeen;
use crate::openebs::job::{HUB, MANAGED_BY, MANAGER};

impl Edge {
    /// Creates exactly this Job. An answer that leaves open whether it was created, and a name that is taken, are settled
    /// by reading: ours is adopted, anybody else's is a [`EdgeError::Conflict`].
    pub async fn create_job(&self, job: &Job) -> Result<Created, EdgeError> {
        let error = match self.create(&JOBS, self.namespace_of(job.metadata.namespace.as_deref()), job).await {
            Ok(created) => return Ok(Created::New { uid: ours::uid(&created.metadata)? }),
            Err(error) => error,
        };
        if !error.ambiguous() && !matches!(error, EdgeError::Conflict { exists: true, .. }) {
            return Err(error);
        }
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let namespace = self.namespace_of(job.metadata.namespace.as_deref());
        let found = self.find::<Job>(&JOBS, Some(namespace), name).await.map(|found| found.map(|job| job.metadata));
        ours::settle(&JOBS, &job.metadata, found, error)
    }

    /// Takes the name of a Job whose creation was never answered, by creating that very Job suspended
    /// (`AttemptObjects::fence`): the delayed request, should it still arrive, meets a name that is taken. If the Job
    /// exists after all it is adopted, running or not, and the next look tells which.
    pub async fn fence_job(&self, fence: &Job) -> Result<Created, EdgeError> {
        if fence.spec.as_ref().and_then(|spec| spec.suspend) != Some(true) {
            return Err(EdgeError::Impossible("a fence is a suspended Job".to_owned()));
        }
        self.create_job(fence).await
    }

    /// Cancels that very Job: its Pod is killed, its name stays taken. Done when no Pod of it is left, not before.
    pub async fn suspend_job(&self, namespace: &str, name: &str, uid: &str) -> Result<(), EdgeError> {
        let merge = json!({"metadata": {"uid": uid}, "spec": {"suspend": true}});
        self.patch::<Job>(&JOBS, namespace, name, &merge).await.map(drop).map_err(|error| match error {
            // What API servers say of a merge patch that names another UID.
            EdgeError::Refused { status: 422, message, .. } if message.contains("uid") => {
                EdgeError::Conflict { resource: format!("jobs/{name}"), exists: false, message }
            }
            other => other,
        })
    }

    /// Deletes that very Job and, first, its Pods.
    pub async fn delete_job(&self, namespace: &str, name: &str, uid: &str) -> Result<(), EdgeError> {
        self.delete(&JOBS, namespace, name, uid, PropagationPolicy::Foreground).await
    }

    /// The tombstones (suspended by us, all Pods gone) of hub `hub` that were suspended before `now - kept_for`. At most
    /// `max` are returned: the rest has time.
    pub async fn old_tombstones(
        &self,
        namespace: &str,
        hub: &str,
        now: Timestamp,
        kept_for: Duration,
        max: usize,
    ) -> Result<Vec<(String, String)>, EdgeError> {
        let selector = format!("{MANAGED_BY}={MANAGER},{HUB}={hub}");
        let jobs: Vec<Job> = self.list(&JOBS, Some(namespace), &selector).await?;
        let mut old = Vec::new();
        for job in jobs {
            let (Ok(uid), Some(name)) = (ours::uid(&job.metadata), job.metadata.name.clone()) else { continue };
            if !matches!(seen(&job, uid.clone(), 0), JobSeen::Suspended { .. }) {
                continue;
            }
            let since = suspended_since(&job).or_else(|| job.metadata.creation_timestamp.as_ref().map(|at| at.0));
            let due = since.is_some_and(|since| now.since(Timestamp::from_jiff(since)) >= kept_for);
            if due && old.len() < max && !self.has_pods(namespace, &uid).await? {
                old.push((name, uid));
            }
        }
        Ok(old)
    }

    async fn has_pods(&self, namespace: &str, job_uid: &str) -> Result<bool, EdgeError> {
        let pods: Vec<serde::de::IgnoredAny> =
            self.list_metadata(&PODS, Some(namespace), &super::pods::of_job(job_uid)).await?;
        Ok(!pods.is_empty())
    }

    fn namespace_of<'a>(&'a self, namespace: Option<&'a str>) -> &'a str {
        namespace.unwrap_or(self.namespace())
    }
}

/// What a Job says of itself. `pods_left` is how many Pods with its controller UID have not ended: its own counters lag.
pub(super) fn seen(job: &Job, uid: String, pods_left: u32) -> JobSeen {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    for condition in conditions.filter(|condition| condition.status == "True") {
        // `SuccessCriteriaMet` and `FailureTarget` come first and are no end: Pods may still run.
        match condition.type_.as_str() {
            "Complete" => return JobSeen::Complete { uid },
            "Failed" => {
                let text = |text: &Option<String>, max| super::text::plain(text.as_deref().unwrap_or_default(), max);
                return JobSeen::Failed {
                    uid,
                    reason: text(&condition.reason, 100),
                    message: text(&condition.message, 1_000),
                };
            }
            _ => {}
        }
    }
    match job.spec.as_ref().and_then(|spec| spec.suspend) {
        Some(true) => JobSeen::Suspended { uid, pods_left },
        _ => JobSeen::Active { uid },
    }
}

fn suspended_since(job: &Job) -> Option<jiff::Timestamp> {
    let mut conditions = job.status.as_ref()?.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "Suspended")?.last_transition_time.as_ref().map(|at| at.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(value: serde_json::Value) -> JobSeen {
        seen(&serde_json::from_value(value).unwrap(), "u".to_owned(), 2)
    }

    #[test]
    fn only_complete_and_failed_end_a_job() {
        let uid = || "u".to_owned();
        let active = JobSeen::Active { uid: uid() };
        assert_eq!(job(json!({})), active);
        assert_eq!(job(json!({"status": {"active": 0, "succeeded": 1}})), active);
        for early in ["SuccessCriteriaMet", "FailureTarget", "Suspended"] {
            assert_eq!(job(json!({"status": {"conditions": [{"type": early, "status": "True"}]}})), active, "{early}");
        }
        assert_eq!(job(json!({"status": {"conditions": [{"type": "Complete", "status": "False"}]}})), active);
        assert_eq!(
            job(json!({"spec": {"suspend": true, "template": {}}})),
            JobSeen::Suspended { uid: uid(), pods_left: 2 }
        );
        let conditions = json!([{"type": "FailureTarget", "status": "True"}, {"type": "Failed", "status": "True",
            "reason": "DeadlineExceeded", "message": "Job was active longer\u{1b} than specified deadline"}]);
        let failed = JobSeen::Failed {
            uid: uid(),
            reason: "DeadlineExceeded".to_owned(),
            message: "Job was active longer  than specified deadline".to_owned(),
        };
        // A suspended Job that had failed before has failed.
        assert_eq!(
            job(json!({"spec": {"suspend": true, "template": {}}, "status": {"conditions": conditions}})),
            failed
        );
    }
}
