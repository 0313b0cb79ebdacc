//! A StatefulSet brought to the target version one Pod at a time, with a gate between any two.
//!
//! Kubernetes takes the next Pod as soon as the last one is ready, and a Jiva replica, which has no readiness probe, is
//! ready at once: the next would go while the last one still catches up, and the volume would lose its quorum. So the
//! set's partition holds the others back, and comes down by one when the gate opens. All of it is read from the set:
//! whoever comes next carries on. The partition that was there before waits in an annotation, and is put back in the end.

use serde_json::{Value, json};

use super::api::Merge;
use super::object::{Object, Place};
use super::order::{Images, Versions};
use super::problem::Problem;
use super::task::{Look, Task};
use super::workload::{self, Change, Rollout};
use crate::domain::inventory::Condition;

/// The set's own partition while ours is in its place.
const PARTITION_BEFORE: &str = "fleetlift.io/partition-before";

/// Brings the set to the target version; `gate` must hold before any Pod but the first goes, and after the last.
pub async fn upgrade(
    task: &Task,
    place: &Place,
    mut gate: impl AsyncFnMut() -> Result<Condition, Problem>,
) -> Result<(), Problem> {
    task.bring(place, Merge::Strategic, |seen| begin(seen, task.versions(), task.images())).await?;
    loop {
        wait_step(task, place, &mut gate).await?;
        let seen = task.bring(place, Merge::Strategic, |seen| Ok(onward(seen))).await?;
        if !is_held(&seen) && workload::rolled_out(&seen)? == Rollout::Done {
            return Ok(());
        }
        // Each Pod has a step's time: they catch up one after the other.
        task.renew_deadline();
    }
}

/// What starts the roll-out: images, labels and a partition that lets only the next Pod go, in one patch.
fn begin(set: &Object, versions: &Versions, images: &Images) -> Result<Option<Value>, Problem> {
    let patch = workload::plan(set, versions, images, &Change::default())?;
    let (held, pods) = (is_held(set), replicas(set));
    // Pods go from the highest number down. Of a roll-out that somebody else began, those that went stay as they are.
    let left = match &patch {
        Some(_) => pods,
        None if held || workload::rolled_out(set)? == Rollout::Done => return Ok(None),
        None if set.number("/status/observedGeneration") < set.number("/metadata/generation") => pods,
        None => pods - set.number("/status/updatedReplicas").unwrap_or(0),
    };
    if patch.is_none() && left <= 0 {
        return Ok(None);
    }
    let first = if patch.is_some() { pods - 1 } else { left.min(pods - 1) };
    let mut patch = patch.unwrap_or_else(|| json!({}));
    patch["spec"]["updateStrategy"] = json!({"rollingUpdate": {"partition": first.max(0)}});
    if !held {
        patch["metadata"]["annotations"] = json!({PARTITION_BEFORE: partition(set).to_string()});
    }
    Ok(Some(patch))
}

/// What follows a step that is done: the next Pod; after the last one the partition that was there before.
fn onward(set: &Object) -> Option<Value> {
    if !is_held(set) || step_done(set) != Rollout::Done {
        return None;
    }
    let partition = partition(set).min(replicas(set));
    if partition > 0 {
        return Some(json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition - 1}}}}));
    }
    let before: i64 = set.annotation(PARTITION_BEFORE).parse().unwrap_or(0);
    Some(json!({
        "metadata": {"annotations": {PARTITION_BEFORE: null}},
        "spec": {"updateStrategy": {"rollingUpdate": {"partition": before}}},
    }))
}

/// Waits until the Pods that may go have gone and come back, and the gate is open.
async fn wait_step(
    task: &Task,
    place: &Place,
    gate: &mut impl AsyncFnMut() -> Result<Condition, Problem>,
) -> Result<(), Problem> {
    task.wait(place, "its Pods updated one by one, all replicas RW before the next", async || {
        let seen = task.api().get(place).await?;
        let rollout = if is_held(&seen) { step_done(&seen) } else { workload::rolled_out(&seen)? };
        if let Rollout::NotYet(why) = rollout {
            return Ok(Look::NotYet(workload::with_trouble(task, &seen, why).await));
        }
        Ok(match gate().await? {
            Condition::Holds => Look::Ready(()),
            Condition::Fails(why) => Look::NotYet(why),
            Condition::Unknown(why) => Look::NotYet(format!("cannot be told: {why}")),
        })
    })
    .await
}

/// How far the Pods are that the partition lets go.
fn step_done(set: &Object) -> Rollout {
    let count = |field: &str| set.number(field).unwrap_or(0);
    let (generation, observed) = (count("/metadata/generation"), count("/status/observedGeneration"));
    if observed < generation {
        return Rollout::NotYet(format!("its controller has seen generation {observed} of {generation}"));
    }
    let (pods, partition) = (replicas(set), partition(set));
    if partition == 0 {
        return workload::stateful_set(set, pods);
    }
    let (updated, ready) = (count("/status/updatedReplicas"), count("/status/readyReplicas"));
    if ready >= pods && updated >= pods - partition {
        return Rollout::Done;
    }
    Rollout::NotYet(format!("{updated} of the {} Pods that may go updated, {ready} of {pods} ready", pods - partition))
}

fn is_held(set: &Object) -> bool {
    !set.annotation(PARTITION_BEFORE).is_empty()
}

fn replicas(set: &Object) -> i64 {
    set.number("/spec/replicas").unwrap_or(1)
}

fn partition(set: &Object) -> i64 {
    set.number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::object::STATEFUL_SETS;

    struct Set {
        label: &'static str,
        before: Option<&'static str>,
        partition: i64,
        updated: i64,
        whole: bool,
    }

    fn set(set: &Set) -> Object {
        let Set { label, before, partition, updated, whole } = *set;
        let annotations = before.map_or(json!({}), |before| json!({PARTITION_BEFORE: before}));
        let image = format!("openebs/jiva:{label}");
        Object::read(
            &STATEFUL_SETS,
            json!({
                "metadata": {"name": "r", "namespace": "openebs", "generation": 4, "annotations": annotations,
                    "labels": {"openebs.io/version": label}},
                "spec": {"replicas": 3,
                    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
                    "template": {"metadata": {"labels": {"openebs.io/version": label}},
                        "spec": {"containers": [{"name": "jiva-replica", "image": image}]}}},
                "status": {"observedGeneration": 4, "readyReplicas": 3, "updatedReplicas": updated,
                    "currentRevision": if whole { "b" } else { "a" }, "updateRevision": "b"},
            }),
        )
    }

    fn begins(seen: &Set) -> Option<Value> {
        let images = Images { tag: "3.6.0".to_owned(), ..Images::default() };
        begin(&set(seen), &Versions::parse("3.5.0", "3.6.0").unwrap(), &images).unwrap()
    }

    #[test]
    fn only_the_last_pod_goes_with_the_new_images() {
        let patch = begins(&Set { label: "3.5.0", before: None, partition: 1, updated: 3, whole: true }).unwrap();
        assert_eq!(patch["spec"]["updateStrategy"], json!({"rollingUpdate": {"partition": 2}}));
        assert_eq!(patch["metadata"]["annotations"], json!({PARTITION_BEFORE: "1"}));
        assert_eq!(patch["metadata"]["labels"], json!({"openebs.io/version": "3.6.0"}));
    }

    #[test]
    fn pod_after_pod_goes_and_in_the_end_the_partition_is_as_before() {
        let seen = |partition, updated, whole| {
            let seen = Set { label: "3.6.0", before: Some("1"), partition, updated, whole };
            assert_eq!(begins(&seen), None, "it has begun already");
            onward(&set(&seen))
        };
        let to =
            |partition: i64| Some(json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}}));
        assert_eq!(seen(2, 0, false), None, "the first has not gone yet");
        assert_eq!(seen(2, 1, false), to(1));
        assert_eq!(seen(1, 2, false), to(0));
        assert_eq!(seen(0, 3, false), None, "its controller has not closed the roll-out");
        let mut last = to(1).unwrap();
        last["metadata"] = json!({"annotations": {PARTITION_BEFORE: null}});
        assert_eq!(seen(0, 3, true), Some(last));
    }

    #[test]
    fn a_roll_out_of_other_hands_is_held_where_it_is() {
        let seen = |updated| begins(&Set { label: "3.6.0", before: None, partition: 0, updated, whole: false });
        assert_eq!(seen(1).unwrap()["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 2);
        assert_eq!(seen(0).unwrap()["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 2);
        assert_eq!(seen(3), None);
    }

    #[test]
    fn pods_that_a_partition_kept_at_the_old_images_go_too() {
        let seen = Set { label: "3.6.0", before: None, partition: 2, updated: 1, whole: false };
        let patch = begins(&seen).unwrap();
        assert_eq!(patch["metadata"]["annotations"], json!({PARTITION_BEFORE: "2"}));
        assert_eq!(patch["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 2);
    }
}
