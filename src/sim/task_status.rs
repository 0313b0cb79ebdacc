//! The status of an UpgradeTask as executors write it: with what is appended, what is replaced, and what is never cleared.

use serde_json::Value;

use crate::openebs::upgrade_task::{StepStatus, UpgradeTaskStatus};

/// The status of one UpgradeTask, at one time.
pub struct TaskStatus {
    status: UpgradeTaskStatus,
    at: String,
}

impl TaskStatus {
    /// As it is in `task`.
    pub fn of(task: &Value, at: &str) -> Self {
        let status = serde_json::from_value(task["status"].clone()).unwrap_or_default();
        Self { status, at: at.to_owned() }
    }

    /// Puts it into `task`.
    pub fn write(self, task: &mut Value) {
        task["status"] = serde_json::to_value(self.status).unwrap_or_default();
    }

    /// An attempt begins: the steps are cleared, everything else stays as an earlier attempt left it.
    pub fn begin(&mut self) {
        if self.status.start_time.is_none() {
            "Started".clone_into(&mut self.status.phase);
            self.status.start_time = Some(self.at.clone());
        }
        self.status.upgrade_detailed_statuses.clear();
    }

    /// A step begins.
    pub fn wait_for(&mut self, step: &str) {
        self.status.upgrade_detailed_statuses.push(StepStatus {
            step: step.to_owned(),
            phase: "Waiting".to_owned(),
            message: String::new(),
            reason: String::new(),
            start_time: Some(self.at.clone()),
            last_updated_at: Some(self.at.clone()),
        });
    }

    /// A step is done.
    pub fn complete(&mut self, step: &str) {
        self.set_last(step, "Completed", completed_message(step), "");
    }

    /// A step failed.
    pub fn err(&mut self, step: &str, message: &str, reason: &str) {
        self.set_last(step, "Errored", message, reason);
    }

    /// The attempt failed; `gives_up` says whether that is written as the end.
    pub fn fail(&mut self, gives_up: bool) {
        self.status.retries = Some(self.status.retries.unwrap_or(0) + 1);
        if gives_up {
            self.end("Error");
        }
    }

    /// The attempt succeeded.
    pub fn succeed(&mut self) {
        self.end("Success");
    }

    fn end(&mut self, phase: &str) {
        phase.clone_into(&mut self.status.phase);
        self.status.completed_time = Some(self.at.clone());
    }

    fn set_last(&mut self, step: &str, phase: &str, message: &str, reason: &str) {
        let Some(last) = self.status.upgrade_detailed_statuses.last_mut() else { return };
        step.clone_into(&mut last.step);
        phase.clone_into(&mut last.phase);
        message.clone_into(&mut last.message);
        reason.clone_into(&mut last.reason);
        last.last_updated_at = Some(self.at.clone());
    }
}

fn completed_message(step: &str) -> &'static str {
    match step {
        "PRE_UPGRADE" => "Pre-upgrade steps were successful",
        "POOL_INSTANCE_UPGRADE" => "Pool instance upgrade was successful",
        "REPLICA_UPGRADE" => "Replica upgrade was successful",
        "TARGET_UPGRADE" => "Target upgrade was successful",
        _ => "Replica sync was successful",
    }
}

/// A message of the official executors for a step that failed.
pub fn failed_message(step: &str) -> &'static str {
    match step {
        "PRE_UPGRADE" => "failed to verify cstor pool instance",
        "POOL_INSTANCE_UPGRADE" => "failed to patch cstor pool deployment",
        "REPLICA_UPGRADE" => "failed to patch replica sts",
        "TARGET_UPGRADE" => "failed to patch target deploy",
        _ => "failed to verify synced replicas",
    }
}
