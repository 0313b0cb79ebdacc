//! The UpgradeTask as the record of one upgrade: found or created, its steps written as upstream's executors write
//! them, its phase brought to `Success` or `Error` in every mode.
//!
//! There is no status subresource, so each write replaces the whole object, on a fresh read, again and again until
//! nobody came between. Only the fields that we know are replaced; what others put there stays. Between our writes
//! nobody else has a reason to write the steps: if somebody did, a second executor is at work, and we stop.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::api::{Api, Refusal, explain};
use super::object::{EVENTS, Object, Place, text};
use super::problem::{Cause, Problem};
use crate::domain::{Clock, Timestamp};
use crate::openebs::UpgradeTask;
use crate::openebs::upgrade_task::{StepStatus, UpgradeTaskStatus};

/// Conflicts in a row before we call it a fight.
const CONFLICTS_MAX: u32 = 20;
/// Characters of a message or reason: the object must stay small whatever an API server answers.
const TEXT_CHARS_MAX: usize = 1500;

/// One step of an upgrade, named as upstream names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look at everything, change nothing.
    PreUpgrade,
    /// The pool's Deployment and the pool itself.
    PoolInstanceUpgrade,
    /// The volume's replicas.
    ReplicaUpgrade,
    /// The volume's target (controller), its Service and the volume itself.
    TargetUpgrade,
    /// What has to hold at the end.
    Verify,
}

impl Step {
    /// Its name in the UpgradeTask.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreUpgrade => "PRE_UPGRADE",
            Self::PoolInstanceUpgrade => "POOL_INSTANCE_UPGRADE",
            Self::ReplicaUpgrade => "REPLICA_UPGRADE",
            Self::TargetUpgrade => "TARGET_UPGRADE",
            Self::Verify => "VERIFY",
        }
    }
}

/// The record of one upgrade of one resource.
pub struct Journal {
    api: Api,
    clock: Arc<dyn Clock>,
    place: Place,
    uid: String,
    /// What is upgraded, in words.
    subject: String,
    /// What is upgraded, once it was seen: it gets Events, too.
    about: OnceLock<(Place, String)>,
    state: Mutex<State>,
}

struct State {
    status: UpgradeTaskStatus,
    /// The steps as they may be stored: what the last answered write stored, and what was sent since without an
    /// answer. `None` until the first write of this attempt was answered.
    stored: Option<Vec<Value>>,
    finished: bool,
}

impl Journal {
    /// Begins an attempt on the UpgradeTask `found`: the list of steps is cleared, the phase is `Started`, what an
    /// earlier attempt left as its end is taken back.
    pub async fn begin(api: &Api, clock: &Arc<dyn Clock>, found: &Object, subject: &str) -> Result<Self, Problem> {
        let task: UpgradeTask = serde_json::from_value(found.body.clone())
            .map_err(|error| Problem::refused(&found.place, format!("it cannot be read: {error}"), "an UpgradeTask"))?;
        let now = clock.now().to_string();
        let status = UpgradeTaskStatus {
            phase: "Started".to_owned(),
            start_time: task.status.start_time.or(Some(now)),
            completed_time: None,
            retries: task.status.retries,
            upgrade_detailed_statuses: Vec::new(),
        };
        let journal = Self {
            api: api.clone(),
            clock: Arc::clone(clock),
            place: found.place.clone(),
            uid: found.text("/metadata/uid").to_owned(),
            subject: subject.to_owned(),
            about: OnceLock::new(),
            state: Mutex::new(State { status, stored: None, finished: false }),
        };
        let mut state = journal.state.lock().await;
        journal.write(&mut state).await?;
        drop(state);
        journal.event("Normal", "UpgradeStarted", &format!("upgrading {}", journal.subject)).await;
        Ok(journal)
    }

    /// From now on whoever describes `object`, too, sees when its upgrade begins and how it ends. Only for what lives in
    /// the UpgradeTask's namespace: Events lie beside their object.
    pub async fn concerns(&self, object: &Object) {
        if self.about.set((object.place.clone(), object.text("/metadata/uid").to_owned())).is_ok() {
            let words = format!("upgrading {}, see {}", self.subject, self.place);
            self.event_on_object("Normal", "UpgradeStarted", &words).await;
        }
    }

    /// Something that people should know and that stops nothing.
    pub async fn tell(&self, reason: &str, message: &str) {
        tracing::warn!(upgrade = %self.subject, "{message}");
        self.event("Normal", reason, message).await;
        self.event_on_object("Normal", reason, message).await;
    }

    /// Begins `step`.
    pub async fn waiting(&self, step: Step) -> Result<(), Problem> {
        let mut state = self.state.lock().await;
        let now = self.clock.now().to_string();
        state.status.upgrade_detailed_statuses.push(StepStatus {
            step: step.name().to_owned(),
            phase: "Waiting".to_owned(),
            start_time: Some(now.clone()),
            last_updated_at: Some(now),
            ..StepStatus::default()
        });
        self.write(&mut state).await
    }

    /// Tells what the present step waits for; written when the words change.
    pub async fn waits_for(&self, sentence: &str) -> Result<(), Problem> {
        let sentence = cut(sentence);
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let Some(step) = state.status.upgrade_detailed_statuses.last_mut() else { return Ok(()) };
        if step.message == sentence {
            return Ok(());
        }
        tracing::info!(upgrade = %self.subject, "{}: waiting: {sentence}", self.subject);
        step.message = sentence;
        step.last_updated_at = Some(now.to_string());
        self.write(&mut state).await
    }

    /// The present step is done.
    pub async fn completed(&self, message: &str) -> Result<(), Problem> {
        let mut state = self.state.lock().await;
        self.end_step(&mut state, "Completed", message, "");
        self.write(&mut state).await?;
        drop(state);
        self.event("Normal", "StepCompleted", message).await;
        Ok(())
    }

    /// The upgrade is done and proven.
    pub async fn succeeded(&self) -> Result<(), Problem> {
        let mut state = self.state.lock().await;
        "Success".clone_into(&mut state.status.phase);
        state.status.completed_time = Some(self.clock.now().to_string());
        state.finished = true;
        self.write(&mut state).await?;
        drop(state);
        let words = format!("{} is upgraded", self.subject);
        self.event("Normal", "UpgradeSucceeded", &words).await;
        self.event_on_object("Normal", "UpgradeSucceeded", &words).await;
        Ok(())
    }

    /// The upgrade stopped: the present step is `Errored`, the phase `Error`, one attempt more is counted.
    pub async fn failed(&self, problem: &Problem) -> Result<(), Problem> {
        let mut state = self.state.lock().await;
        if state.finished {
            return Ok(());
        }
        let reason = problem.to_string();
        let message = match problem.doing.as_str() {
            "" => "failed to carry out the step",
            doing => doing,
        };
        self.end_step(&mut state, "Errored", message, &reason);
        "Error".clone_into(&mut state.status.phase);
        state.status.completed_time = Some(self.clock.now().to_string());
        state.status.retries = Some(state.status.retries.unwrap_or(0).saturating_add(1));
        state.finished = true;
        self.write(&mut state).await?;
        drop(state);
        self.event("Warning", "UpgradeFailed", &reason).await;
        self.event_on_object("Warning", "UpgradeFailed", &reason).await;
        Ok(())
    }

    /// The attempt's end when the Pod is told to stop: what was being done or waited for stays readable.
    pub async fn interruption(&self, signal: &str) -> Problem {
        let state = self.state.lock().await;
        let last = state.status.upgrade_detailed_statuses.last().filter(|step| step.phase == "Waiting");
        let meanwhile = match last {
            Some(step) if !step.message.is_empty() => format!("while {}", step.message),
            Some(step) => format!("in the middle of {}", step.step),
            None => "between two steps".to_owned(),
        };
        let mut problem = Problem::on(&self.subject, format!("the Pod got {signal} {meanwhile}"), "to go on")
            .because(Cause::Interrupted)
            .remedy(
                "look whether a deadline, an eviction or a person ended the Pod; running the upgrade again carries on \
                 where it stopped",
            );
        "the executor was told to stop".clone_into(&mut problem.doing);
        problem
    }

    /// The name of the step under way; empty between steps.
    pub async fn step(&self) -> String {
        let state = self.state.lock().await;
        let last = state.status.upgrade_detailed_statuses.last();
        last.filter(|step| step.phase != "Completed").map(|step| step.step.clone()).unwrap_or_default()
    }

    fn end_step(&self, state: &mut State, phase: &str, message: &str, reason: &str) {
        let Some(step) = state.status.upgrade_detailed_statuses.last_mut().filter(|step| step.phase == "Waiting")
        else {
            return;
        };
        phase.clone_into(&mut step.phase);
        step.message = cut(message);
        step.reason = cut(reason);
        step.last_updated_at = Some(self.clock.now().to_string());
    }

    async fn write(&self, state: &mut State) -> Result<(), Problem> {
        let ours = to_wire(&state.status);
        for _ in 0..CONFLICTS_MAX {
            let fresh = self.api.find(&self.place).await?;
            let Some(mut fresh) = fresh.filter(|fresh| fresh.text("/metadata/uid") == self.uid) else {
                return Err(Problem::on(
                    &self.place,
                    "it was deleted while its upgrade was under way",
                    "it stays until the upgrade has ended",
                )
                .remedy("create it again and run the upgrade again; it carries on where it stopped"));
            };
            let seen = fresh.body.pointer("/status/upgradeDetailedStatuses").cloned().unwrap_or_else(|| json!([]));
            if state.stored.as_ref().is_some_and(|stored| !stored.contains(&seen)) {
                return Err(Problem::on(
                    &self.place,
                    "somebody else writes its steps",
                    "one executor at a time for one resource",
                )
                .remedy("look for a second upgrade Job for it, wait for that one or delete it, then run again"));
            }
            merge_status(&mut fresh.body, &ours);
            if let Some(stored) = &mut state.stored {
                stored.push(ours["upgradeDetailedStatuses"].clone());
            }
            match self.api.replace(&self.place, &fresh.body).await {
                Ok(stored) => {
                    // As stored, not as sent: a schema may have dropped a field of ours.
                    let steps = stored.body.pointer("/status/upgradeDetailedStatuses").cloned();
                    state.stored = Some(vec![steps.unwrap_or_else(|| json!([]))]);
                    return Ok(());
                }
                Err(Refusal::Conflict | Refusal::Absent { .. }) => {}
                Err(refusal) => return Err(explain(refusal, &self.place)),
            }
        }
        Err(explain(Refusal::Conflict, &self.place))
    }

    /// An Event on the UpgradeTask. Events are for people who watch: when one cannot be written, the upgrade goes on.
    async fn event(&self, r#type: &str, reason: &str, message: &str) {
        self.event_on(&self.place, &self.uid, r#type, reason, message).await;
    }

    async fn event_on_object(&self, r#type: &str, reason: &str, message: &str) {
        if let Some((place, uid)) = self.about.get() {
            self.event_on(place, uid, r#type, reason, message).await;
        }
    }

    async fn event_on(&self, object: &Place, uid: &str, r#type: &str, reason: &str, message: &str) {
        let now = self.clock.now();
        let body = event(object, uid, r#type, reason, &cut(message), now);
        let place = EVENTS.named(&object.namespace, text(&body, "/metadata/name"));
        match self.api.create(&place, &body).await {
            Ok(_) | Err(Refusal::Exists) => {}
            Err(refusal) => {
                let problem = explain(refusal, &place);
                tracing::warn!(upgrade = %self.subject, "no Event was written: {problem}");
            }
        }
    }
}

fn to_wire(status: &UpgradeTaskStatus) -> Value {
    let mut wire = serde_json::to_value(status).unwrap_or_default();
    if let Some(members) = wire.as_object_mut() {
        // An empty list clears what an earlier attempt wrote; left out it would stay.
        members.entry("upgradeDetailedStatuses").or_insert_with(|| json!([]));
    }
    wire
}

fn merge_status(body: &mut Value, ours: &Value) {
    let Some(body) = body.as_object_mut() else { return };
    let status = body.entry("status").or_insert_with(|| json!({}));
    if !status.is_object() {
        *status = json!({});
    }
    if let (Some(status), Some(ours)) = (status.as_object_mut(), ours.as_object()) {
        status.extend(ours.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

fn event(object: &Place, uid: &str, r#type: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    let name = format!("{}.{:x}", object.name, now.as_micros());
    let at = now.to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": object.namespace},
        "involvedObject": {
            "apiVersion": object.collection.api_version(),
            "kind": object.collection.kind,
            "namespace": object.namespace,
            "name": object.name,
            "uid": uid,
        },
        "type": r#type,
        "reason": reason,
        // The API server refuses longer ones.
        "message": message.chars().take(1000).collect::<String>(),
        "source": {"component": "fleetlift-executor"},
        "reportingComponent": "fleetlift-executor",
        "reportingInstance": "fleetlift-executor",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    })
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_keep_in_the_status_survives_and_old_steps_do_not() {
        let mut body = json!({
            "spec": {"fromVersion": "3.5.0"},
            "status": {"phase": "Success", "theirs": 1, "upgradeDetailedStatuses": [{"step": "VERIFY"}]},
        });
        let status = UpgradeTaskStatus {
            phase: "Started".into(),
            start_time: Some("2026-11-23T10:00:00Z".into()),
            ..UpgradeTaskStatus::default()
        };
        merge_status(&mut body, &to_wire(&status));
        let expected = json!({
            "spec": {"fromVersion": "3.5.0"},
            "status": {
                "phase": "Started", "theirs": 1, "startTime": "2026-11-23T10:00:00Z", "completedTime": null,
                "upgradeDetailedStatuses": [],
            },
        });
        assert_eq!(body, expected);
    }
}
