//! The Job that the executor runs in: the moment at which Kubernetes ends it, whatever it is doing.
//!
//! The Job's own `startTime` and `activeDeadlineSeconds` are read, rather than a moment that the hub writes into the
//! environment: this way it also holds for Jobs that people write by hand, it counts the minutes in which the Pod was
//! scheduled and its image pulled, and it follows a Job that was suspended, for which Kubernetes counts anew. Who the
//! executor is, official Jobs tell it in POD_NAME; where they don't, a Pod's host name is its name.

use std::time::Duration;

use super::api::Api;
use super::object::{JOBS, Object, PODS, text};
use super::problem::Problem;
use crate::domain::Timestamp;

/// What is left of the time, at most, when waiting ends: enough to write down why, and for clocks that differ a little.
const LAST_WORDS: Duration = Duration::from_mins(1);

/// When a wait has to end because what it runs in will be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// No wait goes beyond this moment: it is a little before the end itself.
    pub at: Timestamp,
    /// What ends it, in words: `Job/x has activeDeadlineSeconds 600, since 2026-…`.
    pub why: String,
}

/// The end of the Job of Pod `pod`; `None` if it has none, or if that cannot be seen: an upgrade without this knowledge is
/// still a good one, the signal is then its end.
pub async fn end(api: &Api, namespace: &str, pod: &str) -> Option<End> {
    match look(api, namespace, pod).await {
        Ok(end) => end,
        Err(problem) => {
            tracing::warn!("when this Job will be ended cannot be seen: {problem}");
            None
        }
    }
}

async fn look(api: &Api, namespace: &str, pod: &str) -> Result<Option<End>, Problem> {
    let Some(pod) = api.find(&PODS.named(namespace, pod)).await? else { return Ok(None) };
    let owner = pod.list("/metadata/ownerReferences").iter().find(|owner| text(owner, "/kind") == "Job");
    let job = match owner {
        Some(owner) => api.find(&JOBS.named(namespace, text(owner, "/name"))).await?,
        None => None,
    };
    Ok([Some(&pod), job.as_ref()].into_iter().flatten().filter_map(end_of).min_by_key(|end| end.at))
}

/// Jobs and Pods say it alike.
fn end_of(object: &Object) -> Option<End> {
    let seconds = object.number("/spec/activeDeadlineSeconds").and_then(|seconds| u64::try_from(seconds).ok())?;
    let since = Timestamp::from_jiff(object.text("/status/startTime").parse().ok()?);
    let whole = Duration::from_secs(seconds);
    let at = since + whole.saturating_sub((whole / 10).min(LAST_WORDS));
    Some(End { at, why: format!("{} has activeDeadlineSeconds {seconds}, since {since}", object.place) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(deadline: Option<i64>, since: &str) -> Object {
        let metadata = json!({"name": "j", "namespace": "openebs"});
        let body =
            json!({"metadata": metadata, "spec": {"activeDeadlineSeconds": deadline}, "status": {"startTime": since}});
        Object::read(&JOBS, body)
    }

    #[test]
    fn waits_end_a_tenth_or_a_minute_before_the_job() {
        let since = "2026-11-23T10:00:00Z";
        let at = |seconds| end_of(&job(Some(seconds), since)).unwrap().at;
        assert_eq!(at(100).to_string(), "2026-11-23T10:01:30Z");
        assert_eq!(at(3600).to_string(), "2026-11-23T10:59:00Z");
        let words = end_of(&job(Some(100), since)).unwrap().why;
        assert!(words.starts_with("Job/j has activeDeadlineSeconds 100, since 2026-11-23T10:00:00"), "{words}");
    }

    #[test]
    fn a_job_without_a_deadline_or_a_start_has_no_end() {
        assert_eq!(end_of(&job(None, "2026-11-23T10:00:00Z")), None);
        assert_eq!(end_of(&job(Some(100), "")), None);
        assert_eq!(end_of(&job(Some(-1), "2026-11-23T10:00:00Z")), None);
    }
}
