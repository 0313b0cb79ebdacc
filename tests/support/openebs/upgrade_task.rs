//! What the official executors write into an UpgradeTask: the shapes that were seen in the field.

use fleetlift::domain::ResourceKind;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::TestCluster;
use crate::support::node::now;
use crate::support::until;

/// How far the executor says that it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// `Started`, all steps but the last done, that one `Waiting`.
    InProgress,
    /// `Success`.
    Success,
    /// All steps done and still `Started`: what argument mode leaves behind.
    DoneWithoutSaying,
    /// `Started`, the last step `Errored`: an attempt failed, others may follow.
    StepFailed(&'static str),
    /// `Error` with a completion time: it gave up.
    GaveUp(&'static str),
    /// `Success` and an old completion time from before, while the steps run again.
    RunningAgain,
    /// Nothing at all: the executor died before its first word.
    Nothing,
}

/// Writes `told` into the UpgradeTask `name` as an executor would: the whole object, not a status subresource.
pub async fn tell(cluster: &TestCluster, name: &str, kind: ResourceKind, told: Told) {
    let tasks = cluster.kind("openebs.io/v1alpha1", "UpgradeTask");
    let patch = json!({"status": status(kind, told)});
    // Executors try again, too, while an API server is away.
    until("the UpgradeTask can be written", || async {
        match tasks.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Some(()),
            Err(kube::Error::Api(refused)) if refused.code < 500 => {
                panic!("the UpgradeTask {name} is there: {refused}")
            }
            Err(_) => None,
        }
    })
    .await;
}

/// The status that says so.
pub fn status(kind: ResourceKind, told: Told) -> Value {
    let steps = steps(kind);
    let now = now();
    let done = |count: usize| -> Vec<Value> { steps.iter().take(count).map(|step| completed(step, &now)).collect() };
    let but_the_last = steps.len().saturating_sub(1);
    let last = steps.last().copied();
    let with_last = |phase: &str, message: &str, reason: &str| {
        let mut all = done(but_the_last);
        all.extend(last.map(|step| {
            json!({"step": step, "phase": phase, "message": message, "reason": reason, "startTime": now,
                "lastUpdatedAt": now})
        }));
        all
    };
    let failed = |reason: &str| with_last("Errored", "failed to verify version reconcile on CV", reason);
    match told {
        Told::Nothing => Value::Null,
        Told::InProgress => json!({"phase": "Started", "startTime": now, "completedTime": null,
            "upgradeDetailedStatuses": with_last("Waiting", "", "")}),
        Told::Success => json!({"phase": "Success", "startTime": now, "completedTime": now,
            "upgradeDetailedStatuses": done(steps.len())}),
        Told::DoneWithoutSaying => json!({"phase": "Started", "startTime": now, "completedTime": null,
            "upgradeDetailedStatuses": done(steps.len())}),
        Told::StepFailed(reason) => json!({"phase": "Started", "startTime": now, "completedTime": null, "retries": 1,
            "upgradeDetailedStatuses": failed(reason)}),
        Told::GaveUp(reason) => json!({"phase": "Error", "startTime": now, "completedTime": now, "retries": 1,
            "upgradeDetailedStatuses": failed(reason)}),
        Told::RunningAgain => json!({"phase": "Success", "startTime": "2024-05-01T10:00:00Z",
            "completedTime": "2024-05-01T10:05:00Z", "upgradeDetailedStatuses": with_last("Waiting", "", "")}),
    }
}

fn completed(step: &str, now: &str) -> Value {
    let message = match step {
        "PRE_UPGRADE" => "Pre-upgrade steps were successful",
        "POOL_INSTANCE_UPGRADE" => "Pool instance upgrade was successful",
        "REPLICA_UPGRADE" => "Replica upgrade was successful",
        "TARGET_UPGRADE" => "Target upgrade was successful",
        _ => "Replica sync was successful",
    };
    json!({"step": step, "phase": "Completed", "message": message, "startTime": now, "lastUpdatedAt": now})
}

/// Said once more here, not taken from the code under test: what the executors were seen to write.
fn steps(kind: ResourceKind) -> &'static [&'static str] {
    match kind {
        ResourceKind::CstorPoolInstance | ResourceKind::CstorPool => &["PRE_UPGRADE", "POOL_INSTANCE_UPGRADE"],
        ResourceKind::CstorPoolCluster | ResourceKind::StoragePoolClaim => &[],
        ResourceKind::CstorVolume | ResourceKind::LegacyCstorVolume | ResourceKind::JivaVolume => {
            &["PRE_UPGRADE", "REPLICA_UPGRADE", "TARGET_UPGRADE"]
        }
        ResourceKind::LegacyJivaVolume => &["PRE_UPGRADE", "REPLICA_UPGRADE", "TARGET_UPGRADE", "VERIFY"],
    }
}
