//! The Pods of a Job: how far they are, how they ended, the end of their logs.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use kube::core::subresource::LogParams;

use super::EdgeError;
use super::edge::{Edge, at, checked, impossible};
use super::nouns::PODS;
use super::text::{plain, plain_lines};
use crate::domain::Timestamp;
use crate::domain::observation::PodSeen;
use crate::openebs::job::CONTAINER;

/// Pods of one Job that are looked at. Ours have one; a stranger's may have made one after another.
const PODS_MAX: usize = 10;
/// Bytes of a log that are kept: its end says why it failed.
const LOG_BYTES_MAX: usize = 16 * 1024;
/// Lines that are asked for. (The API's own limit in bytes keeps a log's beginning, not its end.)
const LOG_LINES: i64 = 120;
/// Characters of a termination message: Kubernetes itself cuts it at 4 KiB.
const TERMINATION_CHARS_MAX: usize = 4_096;

/// Selects the Pods that a Job made: they keep this label even when they are orphaned.
pub(super) fn of_job(job_uid: &str) -> String {
    format!("controller-uid={job_uid}")
}

/// The Pods of one Job.
pub(super) struct PodsSeen {
    /// At most ten of them.
    pub pods: Vec<PodSeen>,
    /// How many, of all, have not ended.
    pub left: u32,
}

impl Edge {
    /// The Pods with that controller UID, each with its end and the end of its log if it has ended.
    pub(super) async fn pods_of_job(&self, namespace: &str, job_uid: &str) -> Result<PodsSeen, EdgeError> {
        let all: Vec<Pod> = self.list(&PODS, Some(namespace), &of_job(checked(job_uid)?)).await?;
        let mut all: Vec<PodSeen> = all.iter().map(pod_seen).collect();
        // Those that have not ended are waited for by name.
        all.sort_by_key(PodSeen::has_ended);
        let left = all.iter().filter(|pod| !pod.has_ended()).count();
        let mut pods: Vec<PodSeen> = all.into_iter().take(PODS_MAX).collect();
        for pod in pods.iter_mut().filter(|pod| pod.exit_code.is_some() || pod.has_ended()) {
            // Evidence, not a verdict: a node that is gone took the log with it, and the right to read may be missing.
            pod.log_tail = self.log_tail(namespace, &pod.name, CONTAINER).await.ok();
        }
        Ok(PodsSeen { pods, left: u32::try_from(left).unwrap_or(u32::MAX) })
    }

    /// The last lines of a container's log, at most 16 KiB.
    pub async fn log_tail(&self, namespace: &str, pod: &str, container: &str) -> Result<String, EdgeError> {
        let params =
            LogParams { container: Some(container.to_owned()), tail_lines: Some(LOG_LINES), ..LogParams::default() };
        let request = at(&PODS, Some(namespace))?.logs(checked(pod)?, &params).map_err(impossible)?;
        Ok(tail(&self.send(request, None).await?))
    }
}

/// The last [`LOG_BYTES_MAX`] bytes, from the beginning of a line where there is one.
fn tail(log: &[u8]) -> String {
    let cut = log.len().saturating_sub(LOG_BYTES_MAX);
    let kept = &log[cut..];
    let kept = match kept.iter().position(|byte| *byte == b'\n') {
        Some(line_end) if cut > 0 && line_end + 1 < kept.len() => &kept[line_end + 1..],
        _ => kept,
    };
    plain_lines(&String::from_utf8_lossy(kept))
}

fn pod_seen(pod: &Pod) -> PodSeen {
    let status = pod.status.as_ref();
    let containers = || status.into_iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ours = containers().find(|container| container.name == CONTAINER).or_else(|| containers().next());
    let ended = ours.and_then(|container| container.state.as_ref()?.terminated.as_ref());
    PodSeen {
        name: pod.metadata.name.as_deref().map(|name| plain(name, 253)).unwrap_or_default(),
        phase: status
            .and_then(|status| status.phase.as_deref())
            .map_or_else(|| "Unknown".to_owned(), |phase| plain(phase, 32)),
        waiting: waiting(pod).map(|reason| plain(&reason, 200)),
        exit_code: ended.map(|ended| ended.exit_code),
        leaves_at: pod.metadata.deletion_timestamp.as_ref().map(|at| Timestamp::from_jiff(at.0)),
        termination: ended
            .and_then(|ended| ended.message.as_deref().or(ended.reason.as_deref()))
            .map(|message| plain(message, TERMINATION_CHARS_MAX)),
        log_tail: None,
    }
}

/// Why a Pod does not run: what its containers wait for, else why it has no node, else why its node ended it.
fn waiting(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let mut containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let sentence = |reason: &str, message: &Option<String>| match message.as_deref().map(str::trim) {
        Some(message) if !message.is_empty() => format!("{reason}: {message}"),
        _ => reason.to_owned(),
    };
    let reason = |container: &ContainerStatus| match container.state.as_ref()? {
        ContainerState { waiting: Some(waiting), .. } => {
            let reason = waiting.reason.as_deref().filter(|reason| *reason != "PodInitializing")?;
            Some(sentence(reason, &waiting.message))
        }
        _ => None,
    };
    let unscheduled = || {
        let mut conditions = status.conditions.iter().flatten();
        let condition =
            conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
        let message = condition.message.as_deref().unwrap_or_default();
        Some(format!("{}: {message}", condition.reason.as_deref().unwrap_or("Unschedulable")))
    };
    containers
        .find_map(reason)
        .or_else(unscheduled)
        .or_else(|| Some(sentence(status.reason.as_deref()?, &status.message)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(status: &serde_json::Value) -> PodSeen {
        pod_seen(&serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap())
    }

    #[test]
    fn a_pod_tells_why_it_waits() {
        let waits = |reason: &str| {
            json!([{"name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason}}}])
        };
        let pulling = seen(&json!({"phase": "Pending", "containerStatuses": waits("ImagePullBackOff")}));
        assert_eq!(pulling.waiting.as_deref(), Some("ImagePullBackOff"));
        let with_words = json!([{"name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "a:1: not found"}}}]);
        let named = seen(&json!({"phase": "Pending", "containerStatuses": with_words}));
        assert_eq!(named.waiting.as_deref(), Some("ErrImagePull: a:1: not found"));
        let unscheduled = seen(&json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}));
        assert_eq!(unscheduled.waiting.as_deref(), Some("Unschedulable: 0/1 nodes"));
        assert_eq!(seen(&json!({"phase": "Running"})).waiting, None);
        assert_eq!(seen(&json!({})).phase, "Unknown");
    }

    #[test]
    fn a_pod_tells_how_our_container_ended() {
        let statuses = json!([
            {"name": "sidecar", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"running": {}}},
            {"name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"terminated": {"exitCode": 255, "reason": "Error", "message": "no\u{7} pool"}}}]);
        let ended = seen(&json!({"phase": "Failed", "containerStatuses": statuses}));
        assert_eq!(ended.exit_code, Some(255));
        assert_eq!(ended.termination.as_deref(), Some("no  pool"));
    }

    #[test]
    fn the_end_of_a_log_is_kept_from_a_whole_line_on() {
        let log = "first line\n".repeat(3_000);
        let kept = tail(log.as_bytes());
        assert!(kept.len() <= LOG_BYTES_MAX && kept.starts_with("first") && kept.ends_with("line\n"));
        assert_eq!(tail(b"short\xff\x1b[1m\n"), "short\u{fffd} [1m\n");
        assert_eq!(tail(&vec![b'x'; 3 * LOG_BYTES_MAX]).len(), LOG_BYTES_MAX);
    }
}
