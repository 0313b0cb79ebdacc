//! One look at one attempt: its Job, then its Pods and its UpgradeTask, then, once the Job has ended, the resource.
//!
//! The order is the point. Pods are listed after the Job was read: a Job seen suspended makes no new ones. The resource
//! is read after the Job was seen to have ended: until then it may still be worked on.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;

use super::nouns::JOBS;
use super::ours::{self, differs_in};
use super::pods::PodsSeen;
use super::{Edge, EdgeError, inventory, jobs, upgrade_tasks};
use crate::domain::observation::{JobSeen, Look, Observation};
use crate::domain::{Attempt, Timestamp};
use crate::openebs::job::{ATTEMPT, SPEC_HASH};

/// A Job's controller makes its Pod within a second; only when it takes longer is it worth a request to ask why.
const POD_IS_MADE_WITHIN: Duration = Duration::from_secs(3);

/// Looks. Any request that fails fails the look: half an observation would be taken for a whole one.
pub async fn observe(edge: &Edge, look: &Look<'_>) -> Result<Observation, EdgeError> {
    let Look { attempt, resource, resource_namespace } = look;
    let at = edge.clock().now();
    let namespace = edge.namespace();
    let found: Option<Job> = edge.find(&JOBS, Some(namespace), &attempt.job_name).await?;
    let mut job = found.map_or(Ok(JobSeen::Absent), |job| whose(&job, attempt))?;

    // The recorded Job's own Pods, also when it is gone or another one took its name.
    let job_uid = attempt.job_uid.as_deref().or_else(|| job.uid().filter(|_| !matches!(job, JobSeen::Foreign { .. })));
    let pods = async {
        match job_uid {
            Some(uid) => edge.pods_of_job(namespace, uid).await,
            None => Ok(PodsSeen { pods: Vec::new(), left: 0 }),
        }
    };
    let (PodsSeen { pods, left }, upgrade_task) =
        futures::try_join!(pods, edge.upgrade_task(namespace, &attempt.upgrade_task_name))?;
    if let JobSeen::Suspended { pods_left, .. } = &mut job {
        *pods_left = left;
    }
    let overdue = pods.is_empty() && at.since(attempt.intended_at) > POD_IS_MADE_WITHIN;
    let no_pod = match &job {
        JobSeen::Active { uid } if overdue => edge.why_no_pod(namespace, uid).await?,
        _ => None,
    };
    let resource = if has_ended(&job, attempt, left, at) {
        Some(inventory::read_resource(edge, resource, resource_namespace).await?)
    } else {
        None
    };
    Ok(Observation { at, job, upgrade_task: upgrade_tasks::seen(upgrade_task, attempt)?, pods, no_pod, resource })
}

/// The Job of our name: ours, or somebody else's.
fn whose(job: &Job, attempt: &Attempt) -> Result<JobSeen, EdgeError> {
    let (meta, uid) = (&job.metadata, ours::uid(&job.metadata)?);
    // The one that we created, whatever somebody wrote on it since.
    if attempt.job_uid.as_ref() == Some(&uid) {
        return Ok(jobs::seen(job, uid, 0));
    }
    // The attempt's id is the hub's as well: no other hub has it, unless its store was copied.
    let differs = differs_in(ATTEMPT, ours::label(meta, ATTEMPT), &attempt.id.to_string())
        .or_else(|| differs_in(SPEC_HASH, ours::annotation(meta, SPEC_HASH), &attempt.spec_hash));
    Ok(match differs {
        Some(why) => JobSeen::Foreign { uid, why },
        None => jobs::seen(job, uid, 0),
    })
}

/// Whether the recorded Job will do nothing more. A Job that was replaced, or is gone, counts as ended once no Pod of it
/// is left: deleting a Job may orphan its Pod. So does one that failed: older servers say so before its Pod has ended. A
/// Pod that outlives the attempt's deadline is not waited for.
fn has_ended(job: &JobSeen, attempt: &Attempt, pods_left: u32, now: Timestamp) -> bool {
    let no_pod_is_waited_for = pods_left == 0 || now >= attempt.deadline;
    if let (Some(recorded), Some(uid)) = (attempt.job_uid.as_deref(), job.uid())
        && recorded != uid
    {
        return no_pod_is_waited_for;
    }
    match job {
        JobSeen::Complete { .. } => true,
        JobSeen::Failed { .. } => no_pod_is_waited_for,
        JobSeen::Suspended { .. } => pods_left == 0,
        JobSeen::Absent => attempt.job_uid.is_some() && no_pod_is_waited_for,
        JobSeen::Active { .. } | JobSeen::Foreign { .. } | JobSeen::Unseen => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_that_we_recorded_is_ours_whatever_somebody_wrote_on_it() {
        let mut attempt: Attempt = serde_json::from_value(serde_json::json!({
            "id": "0190b3f0-0000-7000-8000-000000000001", "task": "0190b3f0-0000-7000-8000-000000000002", "number": 1,
            "job_name": "fl-x", "upgrade_task_name": "upgrade-x", "spec_hash": "5e", "intended_at": 0, "deadline": 0,
        }))
        .unwrap();
        let stripped: Job =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "fl-x", "uid": "u"}})).unwrap();
        assert!(matches!(whose(&stripped, &attempt), Ok(JobSeen::Foreign { .. })));
        attempt.job_uid = Some("u".into());
        assert_eq!(whose(&stripped, &attempt), Ok(JobSeen::Active { uid: "u".into() }));
    }

    #[test]
    fn a_job_that_is_over_has_not_ended_while_a_pod_of_it_lives() {
        let attempt: Attempt = serde_json::from_value(serde_json::json!({
            "id": "0190b3f0-0000-7000-8000-000000000001", "task": "0190b3f0-0000-7000-8000-000000000002", "number": 1,
            "job_name": "fl-x", "upgrade_task_name": "upgrade-x", "spec_hash": "5e", "intended_at": 0, "deadline": 9,
            "job_uid": "u",
        }))
        .unwrap();
        let failed = JobSeen::Failed { uid: "u".into(), reason: String::new(), message: String::new() };
        for over in [JobSeen::Absent, JobSeen::Complete { uid: "another".into() }, failed] {
            let ended = |pods_left, micros| has_ended(&over, &attempt, pods_left, Timestamp::from_micros(micros));
            assert!(!ended(1, 8) && ended(0, 8), "{over:?}");
            assert!(ended(1, 9), "it is not waited for longer than its Job may run: {over:?}");
        }
    }
}
