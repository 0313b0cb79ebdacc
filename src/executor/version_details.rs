//! The contract of `versionDetails` (`openebs.md` §3.7): we say which version is desired, the object's controller makes
//! it the current one, or says why not. The real upgrade of an object's data is the controller's.

use serde_json::{Value, json};

use super::api::Merge;
use super::object::{Object, Place, VERSION_LABEL};
use super::order::{At, Versions};
use super::patch::differing;
use super::problem::Problem;
use super::task::{Look, Task};
use super::workload::drifted;

const CURRENT: &str = "/versionDetails/status/current";
const DESIRED: &str = "/versionDetails/desired";
/// Set to `true` it makes OpenEBS's controllers leave the object alone: they would never answer.
const LEFT_ALONE: &str = "reconcile.openebs.io/disable";

/// What is said to the controller besides the desired version.
#[derive(Debug, Default)]
pub struct Bump {
    /// Whether the object's version label moves, too.
    pub label: bool,
    /// Whether the controllers of this engine want to be told that something is pending.
    pub pending: bool,
    /// Further members of the wanted object.
    pub more: Value,
}

/// The patch that asks the controller for the target version, or `None` if it has been asked.
pub fn plan(object: &Object, versions: &Versions, bump: &Bump) -> Result<Option<Value>, Problem> {
    let mut wanted = if bump.more.is_object() { bump.more.clone() } else { json!({}) };
    match versions.locate(object.text(DESIRED)) {
        At::To => {}
        At::From | At::Unset => {
            wanted["versionDetails"] = if bump.pending {
                json!({"desired": versions.to.to_string(), "status": {"state": "ReconcilePending"}})
            } else {
                json!({"desired": versions.to.to_string()})
            };
        }
        At::Elsewhere => {
            return Err(drifted(&object.place, "versionDetails.desired", object.text(DESIRED), versions));
        }
    }
    let label = object.label(VERSION_LABEL);
    if bump.label && versions.locate(label) == At::Elsewhere {
        return Err(drifted(&object.place, &format!("label {VERSION_LABEL}"), label, versions));
    }
    if bump.label && versions.locate(label) != At::To {
        wanted["metadata"]["labels"][VERSION_LABEL] = json!(versions.to.to_string());
    }
    Ok(differing(&wanted, &object.body, Merge::Plain))
}

/// Asks for the target version and waits until the controller has it.
pub async fn upgrade(task: &Task, place: &Place, bump: &Bump) -> Result<(), Problem> {
    wait_filled(task, place).await?;
    task.bring(place, Merge::Plain, |seen| plan(seen, task.versions(), bump)).await?;
    wait_reconciled(task, place).await
}

/// The current version must be one of the two; it may not be filled in yet. And its controller must look after it.
pub fn check(object: &Object, versions: &Versions) -> Result<(), Problem> {
    if object.annotation(LEFT_ALONE) == "true" {
        let Place { collection, namespace, name } = &object.place;
        let there = if collection.namespaced { format!("-n {namespace} ") } else { String::new() };
        return Err(Problem::on(
            &object.place,
            format!("annotation {LEFT_ALONE} is \"true\": its controller leaves it alone"),
            "a controller that looks after it",
        )
        .remedy(format!(
            "find out who set it and why, then `kubectl {there}annotate {} {name} {LEFT_ALONE}-`",
            collection.resource()
        )));
    }
    let current = object.text(CURRENT);
    match versions.locate(current) {
        At::From | At::To | At::Unset => Ok(()),
        At::Elsewhere => Err(drifted(&object.place, "versionDetails.status.current", current, versions)),
    }
}

/// Controllers fill in an empty current version at their first sync; asking before would confuse them.
async fn wait_filled(task: &Task, place: &Place) -> Result<(), Problem> {
    task.wait(place, "a current version", async || {
        let seen = task.api().get(place).await?;
        check(&seen, task.versions())?;
        Ok(match seen.text(CURRENT) {
            "" => Look::NotYet("its controller has not filled in versionDetails.status.current yet".to_owned()),
            _ => Look::Ready(()),
        })
    })
    .await
}

async fn wait_reconciled(task: &Task, place: &Place) -> Result<(), Problem> {
    let mut refused_since = None;
    let began = task.run.clock.now();
    let lasts = task.run.pace.refusal_lasts;
    let expected = format!("versionDetails.status.current {}", task.versions().to);
    task.wait(place, &expected, async || {
        let seen = task.api().get(place).await?;
        match answer(&seen, task.versions())? {
            Answer::There => Ok(Look::Ready(())),
            Answer::Working(seen) => {
                refused_since = None;
                // Not every controller writes its errors on the object: jiva-operator has them in its log only.
                Ok(Look::NotYet(if task.run.clock.now().since(began) < task.run.pace.silence_lasts {
                    seen
                } else {
                    format!("{seen}; nothing is heard of its controller: read the log of {}", controller(place))
                }))
            }
            Answer::Refuses(words) => {
                let now = task.run.clock.now();
                let since = *refused_since.get_or_insert(now);
                if now.since(since) >= lasts {
                    return Err(Problem::on(place, format!("its controller refuses: {words}"), &expected).remedy(
                        "read the controller's words (`kubectl describe` shows its Events), repair what they name, \
                         and run the upgrade again",
                    ));
                }
                Ok(Look::NotYet(format!("its controller says: {words}")))
            }
        }
    })
    .await
}

/// Who brings the object to its desired version.
fn controller(place: &Place) -> &'static str {
    match (place.collection.group, place.collection.plural) {
        (_, "cstorpoolclusters") => "cspc-operator",
        (_, "cstorvolumeconfigs") => "cvc-operator",
        (_, "jivavolumes") => "jiva-operator",
        (_, "storagepoolclaims") => "maya-apiserver",
        (_, "cstorvolumes") => "container cstor-volume-mgmt in the Pod of the volume's target",
        _ => "container cstor-pool-mgmt in the pool's Pod",
    }
}

/// What the controller says about the desired version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The target version is current.
    There,
    /// Not yet.
    Working(String),
    /// No, and why; it will try again by itself.
    Refuses(String),
}

/// Reads the controller's answer from the object.
pub fn answer(object: &Object, versions: &Versions) -> Result<Answer, Problem> {
    let current = object.text(CURRENT);
    let desired = object.text(DESIRED);
    if versions.locate(desired) != At::To {
        return Err(Problem::on(
            &object.place,
            format!("versionDetails.desired became {desired:?}"),
            versions.to.to_string(),
        )
        .remedy("somebody else changed it; look who, and run the upgrade again"));
    }
    check(object, versions)?;
    if versions.locate(current) == At::To {
        return Ok(Answer::There);
    }
    let words: Vec<&str> = ["/versionDetails/status/message", "/versionDetails/status/reason"]
        .into_iter()
        .map(|field| object.text(field))
        .filter(|words| !words.is_empty())
        .collect();
    let state = object.text("/versionDetails/status/state");
    Ok(if words.is_empty() {
        Answer::Working(format!("current is {current:?}, state {state:?}"))
    } else {
        Answer::Refuses(words.join(": "))
    })
}

/// The deepest gate: nothing half asked may be left. Whether label, desired and current are all at the target.
pub fn is_at_target(object: &Object, versions: &Versions) -> bool {
    versions.locate(object.text(CURRENT)) == At::To && versions.locate(object.text(DESIRED)) == At::To
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::object::POOL_INSTANCES;

    fn pool(label: &str, desired: &str, current: &str, message: &str) -> Object {
        let body = json!({
            "metadata": {"name": "p", "namespace": "openebs", "labels": {VERSION_LABEL: label}},
            "versionDetails": {
                "desired": desired,
                "status": {"current": current, "state": "Reconciled", "message": message, "reason": ""},
            },
        });
        Object::read(&POOL_INSTANCES, body)
    }

    fn versions() -> Versions {
        Versions::parse("3.5.0", "3.6.0").unwrap()
    }

    #[test]
    fn label_and_desired_version_are_asked_for_together() {
        let bump = Bump { label: true, ..Bump::default() };
        assert_eq!(
            plan(&pool("3.5.0", "3.5.0", "3.5.0", ""), &versions(), &bump).unwrap(),
            Some(json!({
                "metadata": {"labels": {"openebs.io/version": "3.6.0"}},
                "versionDetails": {"desired": "3.6.0"},
            }))
        );
    }

    #[test]
    fn only_what_an_earlier_attempt_left_out_is_asked_for() {
        let bump = Bump { label: true, ..Bump::default() };
        assert_eq!(
            plan(&pool("3.5.0", "3.6.0", "3.6.0", ""), &versions(), &bump).unwrap(),
            Some(json!({"metadata": {"labels": {"openebs.io/version": "3.6.0"}}}))
        );
        assert_eq!(plan(&pool("3.6.0", "3.6.0", "3.5.0", ""), &versions(), &bump).unwrap(), None);
    }

    #[test]
    fn legacy_controllers_are_told_that_something_is_pending() {
        let bump = Bump { pending: true, more: json!({"spec": {"poolSpec": {"roThresholdLimit": 85}}}), label: false };
        assert_eq!(
            plan(&pool("3.5.0", "3.5.0", "3.5.0", ""), &versions(), &bump).unwrap(),
            Some(json!({
                "spec": {"poolSpec": {"roThresholdLimit": 85}},
                "versionDetails": {"desired": "3.6.0", "status": {"state": "ReconcilePending"}},
            }))
        );
    }

    #[test]
    fn a_version_that_is_neither_is_never_overwritten() {
        let problem = plan(&pool("3.5.0", "3.4.0", "3.4.0", ""), &versions(), &Bump::default()).unwrap_err();
        assert_eq!(problem.seen, "versionDetails.desired is 3.4.0");
        assert_eq!(problem.expected, "3.5.0 or 3.6.0");
    }

    #[test]
    fn a_label_that_is_neither_is_never_overwritten() {
        let bump = Bump { label: true, ..Bump::default() };
        let problem = plan(&pool("3.4.0", "3.5.0", "3.5.0", ""), &versions(), &bump).unwrap_err();
        assert_eq!(problem.seen, "label openebs.io/version is 3.4.0");
    }

    #[test]
    fn an_object_that_its_controller_leaves_alone_is_refused_with_the_remedy() {
        let mut seen = pool("3.5.0", "3.5.0", "3.5.0", "");
        assert_eq!(check(&seen, &versions()), Ok(()));
        seen.body["metadata"]["annotations"] = json!({LEFT_ALONE: "true"});
        let problem = check(&seen, &versions()).unwrap_err();
        let command = "kubectl -n openebs annotate cstorpoolinstances.cstor.openebs.io p reconcile.openebs.io/disable-";
        assert!(problem.remedy.contains(command), "{problem}");
    }

    #[test]
    fn a_controller_that_says_no_is_heard() {
        let said = answer(&pool("3.6.0", "3.6.0", "3.5.0", "Failed to reconcile"), &versions()).unwrap();
        assert_eq!(said, Answer::Refuses("Failed to reconcile".into()));
        assert!(matches!(answer(&pool("3.6.0", "3.6.0", "3.5.0", ""), &versions()).unwrap(), Answer::Working(_)));
        assert_eq!(answer(&pool("3.6.0", "3.6.0", "3.6.0-RC1", "old"), &versions()).unwrap(), Answer::There);
    }
}
