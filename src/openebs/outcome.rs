//! Reading what an executor wrote into an UpgradeTask. It explains; the Job and the resource decide.
//!
//! Why so careful: `phase` may stay `Started` for ever on success (argument mode), `Error` may be followed by another
//! attempt, `Errored` steps may still be polled and complete, the list of steps is cleared when an attempt begins while
//! `phase` and `completedTime` keep what an earlier upgrade wrote. No single field can be believed.

use super::kinds::Kind;
use super::upgrade_task::{StepStatus, UpgradeTaskStatus};

/// The most characters of an executor's words that are passed on.
pub const WORDS_MAX: usize = 1_000;

/// The top phase, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was written yet.
    Unset,
    /// An executor began; argument mode never gets further.
    Started,
    /// An executor succeeded, in this upgrade or an earlier one.
    Success,
    /// An executor's attempts reached the Job's limit; another attempt may have followed.
    Error,
    /// A word that no known executor writes.
    Unknown,
}

/// The phase of `status`.
pub fn phase(status: &UpgradeTaskStatus) -> Phase {
    match status.phase.as_str() {
        "" => Phase::Unset,
        "Started" => Phase::Started,
        "Success" => Phase::Success,
        "Error" => Phase::Error,
        _ => Phase::Unknown,
    }
}

/// What the executor does now, in a few words; `None` while it wrote no step.
pub fn doing(status: &UpgradeTaskStatus) -> Option<String> {
    let step = status.upgrade_detailed_statuses.last()?;
    Some(match step.phase.as_str() {
        "Completed" => bounded(&format!("{} is done", step.step)),
        "Errored" => bounded(&format!("{} reported: {}", step.step, words(step))),
        _ if step.message.is_empty() => bounded(&format!("{} is under way", step.step)),
        _ => bounded(&format!("{} is under way: {}", step.step, step.message)),
    })
}

/// What the status says against success, in a sentence: its last failed step, else `Error`; `None` if nothing.
pub fn complaint(status: &UpgradeTaskStatus) -> Option<String> {
    let last = status.upgrade_detailed_statuses.last();
    match last {
        Some(step) if step.phase == "Errored" => Some(bounded(&format!("{} failed: {}", step.step, words(step)))),
        // A wait that tells a reason is how an own executor says what it was waiting for when it was ended.
        Some(step) if phase(status) == Phase::Error => Some(bounded(&match words(step) {
            words if words.is_empty() => format!("the UpgradeTask says Error, after {}", step.step),
            words => format!("the UpgradeTask says Error, after {}: {words}", step.step),
        })),
        None if phase(status) == Phase::Error => Some("the UpgradeTask says Error and names no step".to_owned()),
        _ => None,
    }
}

/// How many of the kind's steps are done, and of how many; a kind without steps of its own has none.
pub fn progress(kind: &Kind, status: &UpgradeTaskStatus) -> (usize, usize) {
    let done = |wanted: &&&str| {
        status.upgrade_detailed_statuses.iter().any(|step| step.step == **wanted && step.phase == "Completed")
    };
    (kind.steps.iter().filter(done).count(), kind.steps.len())
}

/// Why the phase cannot be about the steps that are listed, if so: it was left by an earlier upgrade of a re-used name.
pub fn stale(status: &UpgradeTaskStatus) -> Option<String> {
    if phase(status) != Phase::Success {
        return None;
    }
    if let Some(open) = status.upgrade_detailed_statuses.iter().find(|step| step.phase != "Completed") {
        return Some(bounded(&format!("it says Success while {} is {}", open.step, open.phase)));
    }
    let completed = instant(status.completed_time.as_deref()?)?;
    let later = status
        .upgrade_detailed_statuses
        .iter()
        .find(|step| step.last_updated_at.as_deref().and_then(instant).is_some_and(|updated| updated > completed))?;
    Some(bounded(&format!("it says Success since before {} was updated", later.step)))
}

/// Whether an executor finished it, one way or the other, as far as the status alone can tell: history, never evidence.
pub fn finished(status: &UpgradeTaskStatus) -> bool {
    matches!(phase(status), Phase::Success | Phase::Error) && status.completed_time.is_some() && stale(status).is_none()
}

/// Message and reason of a step, whichever are there.
fn words(step: &StepStatus) -> String {
    match (step.message.trim(), step.reason.trim()) {
        (message, "") => message.to_owned(),
        ("", reason) => reason.to_owned(),
        (message, reason) => format!("{message}: {reason}"),
    }
}

fn instant(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

fn bounded(text: &str) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect();
    if text.chars().nth(WORDS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ResourceKind;
    use crate::openebs::kinds;

    fn status(json: serde_json::Value) -> UpgradeTaskStatus {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn argument_mode_that_succeeded_stays_started_and_complains_of_nothing() {
        let done = status(serde_json::json!({"phase": "Started", "startTime": "2026-11-01T10:00:00Z",
            "completedTime": null, "upgradeDetailedStatuses": [
            {"step": "PRE_UPGRADE", "phase": "Completed", "message": "Pre-upgrade steps were successful"},
            {"step": "REPLICA_UPGRADE", "phase": "Completed"}, {"step": "TARGET_UPGRADE", "phase": "Completed"}]}));
        assert_eq!(phase(&done), Phase::Started);
        assert_eq!(complaint(&done), None);
        assert_eq!(progress(kinds::of(ResourceKind::JivaVolume), &done), (3, 3));
        assert!(!finished(&done));
    }

    #[test]
    fn a_failed_step_tells_message_and_reason() {
        let failed = status(serde_json::json!({"phase": "Started", "retries": 1, "upgradeDetailedStatuses": [
            {"step": "PRE_UPGRADE", "phase": "Completed"},
            {"step": "REPLICA_UPGRADE", "phase": "Errored", "message": "failed to patch cvr x",
             "reason": "cspi cspc-x-a not in 3.6.0 version"}]}));
        let said = "REPLICA_UPGRADE failed: failed to patch cvr x: cspi cspc-x-a not in 3.6.0 version";
        assert_eq!(complaint(&failed).as_deref(), Some(said));
    }

    #[test]
    fn an_error_without_steps_is_told_as_such() {
        let gone = status(serde_json::json!({"phase": "Error", "completedTime": "2026-11-01T10:00:00Z", "retries": 1}));
        assert_eq!(complaint(&gone).as_deref(), Some("the UpgradeTask says Error and names no step"));
        assert!(finished(&gone));
    }

    #[test]
    fn success_left_over_from_an_earlier_upgrade_is_stale() {
        let running_again = status(serde_json::json!({"phase": "Success", "completedTime": "2026-11-01T10:00:00Z",
            "upgradeDetailedStatuses": [{"step": "PRE_UPGRADE", "phase": "Waiting"}]}));
        assert!(stale(&running_again).is_some());
        let between_steps = status(serde_json::json!({"phase": "Success", "completedTime": "2026-11-01T10:00:00Z",
            "upgradeDetailedStatuses": [
                {"step": "PRE_UPGRADE", "phase": "Completed", "lastUpdatedAt": "2026-11-02T10:00:00Z"}]}));
        assert!(stale(&between_steps).is_some());
        let done = status(serde_json::json!({"phase": "Success", "completedTime": "2026-11-02T10:00:01Z",
            "upgradeDetailedStatuses": [
                {"step": "PRE_UPGRADE", "phase": "Completed", "lastUpdatedAt": "2026-11-02T10:00:00Z"}]}));
        assert_eq!(stale(&done), None);
        assert!(finished(&done));
    }

    #[test]
    fn an_executors_words_are_bounded_and_without_control_characters() {
        let hostile = status(serde_json::json!({"upgradeDetailedStatuses": [
            {"step": "PRE_UPGRADE", "phase": "Errored", "message": "\u{1b}[31m", "reason": "x".repeat(1_000_000)}]}));
        let said = complaint(&hostile).unwrap();
        assert!(said.chars().count() <= WORDS_MAX + 1 && !said.contains('\u{1b}'));
    }
}
