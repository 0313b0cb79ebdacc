//! The gates: what must hold before something is disturbed and again afterwards. What cannot be told does not hold.

use std::collections::BTreeSet;

use serde_json::Value;

use super::object::{Collection, Object, Place, text};
use super::problem::Problem;
use super::task::{Look, Task};
use crate::domain::inventory::Condition;

/// The label that names a volume on everything that belongs to it.
pub const VOLUME_LABEL: &str = "openebs.io/persistent-volume";

/// Waits until `condition` surely holds.
pub async fn gate(
    task: &Task,
    place: &Place,
    expected: &str,
    mut condition: impl AsyncFnMut() -> Result<Condition, Problem>,
) -> Result<(), Problem> {
    task.wait(place, expected, async || {
        Ok(match condition().await? {
            Condition::Holds => Look::Ready(()),
            Condition::Fails(why) => Look::NotYet(why),
            Condition::Unknown(why) => Look::NotYet(format!("cannot be told: {why}")),
        })
    })
    .await
}

/// A pool is online and takes writes. (`Healthy` and, earlier, `Online` are what pools of the legacy engine say.)
pub fn pool(pool: &Object) -> Condition {
    let read_only = pool.body.pointer("/status/readOnly").and_then(Value::as_bool).unwrap_or(false);
    match pool.text("/status/phase") {
        "ONLINE" | "Healthy" | "Online" if read_only => Condition::Fails("the pool is read-only".to_owned()),
        "ONLINE" | "Healthy" | "Online" => Condition::Holds,
        "" => Condition::Unknown("the pool has no status.phase".to_owned()),
        phase => Condition::Fails(format!("the pool is {phase}")),
    }
}

/// A cStor volume is healthy: its target answers and has all its replicas in quorum.
pub fn cstor_volume(volume: &Object) -> Condition {
    match volume.text("/status/phase") {
        "Healthy" => Condition::Holds,
        "" => Condition::Unknown(format!("{} has no status.phase", volume.place)),
        phase => Condition::Fails(format!("{} is {phase}", volume.place)),
    }
}

/// All replicas are healthy, and none rebuilds.
pub fn replicas<'a>(replicas: impl IntoIterator<Item = &'a Object>) -> Condition {
    let ailing: Vec<String> = replicas
        .into_iter()
        .filter(|replica| replica.text("/status/phase") != "Healthy")
        .map(|replica| match replica.text("/status/phase") {
            "" => format!("{} has no phase", replica.name()),
            phase => format!("{} is {phase}", replica.name()),
        })
        .collect();
    if ailing.is_empty() {
        return Condition::Holds;
    }
    let named = ailing.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let more = if ailing.len() > 3 { format!(" and {} more", ailing.len() - 3) } else { String::new() };
    Condition::Fails(format!("replicas are not healthy: {named}{more}"))
}

/// The replicas of every volume that has one on the pool: while the pool restarts, the others carry the volume. One that
/// is being deleted will not come back, and nobody waits for it; of one without a volume's name nothing else is known.
pub fn sharing<'a>(all: &'a [Object], pool_label: &str, pool: &str) -> Vec<&'a Object> {
    let there = || all.iter().filter(|replica| replica.text("/metadata/deletionTimestamp").is_empty());
    let here = |replica: &Object| replica.label(pool_label) == pool;
    let mut volumes: BTreeSet<&str> =
        there().filter(|replica| here(replica)).map(|replica| replica.label(VOLUME_LABEL)).collect();
    volumes.remove("");
    there().filter(|replica| here(replica) || volumes.contains(replica.label(VOLUME_LABEL))).collect()
}

/// The pool that a replica says it lies on.
pub fn pool_of<'a>(replica: &'a Object, pool_label: &str) -> Result<&'a str, Problem> {
    match replica.label(pool_label) {
        "" => Err(Problem::on(&replica.place, format!("label {pool_label} is not set"), "the name of its pool")
            .remedy("find out on which pool it lies, and set the label again")),
        pool => Ok(pool),
    }
}

/// All volumes with a replica on the pool have all their replicas healthy.
pub async fn pool_neighbours(
    task: &Task,
    replicas_of: &'static Collection,
    pool_label: &str,
    pool: &str,
) -> Result<Condition, Problem> {
    let all = task.api().list(replicas_of, task.namespace(), "").await?;
    Ok(replicas(sharing(&all, pool_label, pool)))
}

/// A Jiva volume is ready: all its replicas are there, and read and written.
pub fn jiva_volume(volume: &Object) -> Condition {
    let replicas = volume.list("/status/replicaStatus");
    let modes: Vec<String> = replicas.iter().map(|replica| text(replica, "/mode").to_owned()).collect();
    match (volume.text("/status/phase"), volume.text("/status/status"), jiva_replicas(volume, &modes)) {
        ("", _, _) => Condition::Unknown(format!("{} has no status.phase", volume.place)),
        (_, _, why @ (Condition::Fails(_) | Condition::Unknown(_))) => why,
        ("Ready", "" | "RW", Condition::Holds) => Condition::Holds,
        ("Ready", status, Condition::Holds) => Condition::Fails(format!("the volume is {status}")),
        (phase, _, Condition::Holds) => Condition::Fails(format!("the volume is {phase}")),
    }
}

/// Whether these are the modes of all replicas of the volume, each read and written.
pub fn jiva_replicas(volume: &Object, modes: &[String]) -> Condition {
    let writable = modes.iter().filter(|mode| *mode == "RW").count();
    let factor = ["/spec/policy/target/replicationFactor", "/spec/desiredReplicationFactor"]
        .into_iter()
        .filter_map(|field| volume.number(field))
        .find(|factor| *factor > 0)
        .and_then(|factor| usize::try_from(factor).ok())
        .unwrap_or(modes.len());
    if writable < factor.max(1) || writable < modes.len() {
        return Condition::Fails(format!("{writable} of {} replicas are RW", factor.max(modes.len())));
    }
    Condition::Holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::object::{JIVA_VOLUMES, POOL_INSTANCES, VOLUME_REPLICAS};
    use serde_json::json;

    #[test]
    fn a_pool_that_is_read_only_or_silent_is_not_healthy() {
        let state = |status: Value| pool(&Object::read(&POOL_INSTANCES, json!({"status": status})));
        assert!(state(json!({"phase": "ONLINE", "readOnly": false})).holds());
        assert!(!state(json!({"phase": "ONLINE", "readOnly": true})).holds());
        assert!(!state(json!({"phase": "OFFLINE"})).holds());
        assert!(state(json!({"phase": "Online"})).holds());
        assert!(matches!(state(json!({})), Condition::Unknown(_)));
    }

    fn replica(volume: &str, pool: &str, phase: &str) -> Object {
        let labels = json!({VOLUME_LABEL: volume, "pool": pool});
        let body = json!({
            "metadata": {"name": format!("{volume}-{pool}"), "labels": labels},
            "status": {"phase": phase},
        });
        Object::read(&VOLUME_REPLICAS, body)
    }

    #[test]
    fn a_rebuild_on_another_pool_counts_when_the_volume_is_shared() {
        let all = [replica("v1", "a", "Healthy"), replica("v1", "b", "Rebuilding"), replica("v2", "b", "Offline")];
        assert_eq!(
            replicas(sharing(&all, "pool", "a")),
            Condition::Fails("replicas are not healthy: v1-b is Rebuilding".into())
        );
        assert!(replicas(sharing(&all, "pool", "c")).holds());
    }

    #[test]
    fn a_replica_that_is_being_deleted_is_not_waited_for() {
        let mut leaving = replica("v1", "b", "Offline");
        leaving.body["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z");
        let all = [replica("v1", "a", "Healthy"), leaving];
        assert!(replicas(sharing(&all, "pool", "a")).holds());
    }

    #[test]
    fn replicas_without_a_volume_have_nothing_in_common() {
        let all = [replica("", "a", "Healthy"), replica("", "b", "Offline")];
        assert!(replicas(sharing(&all, "pool", "a")).holds());
        assert!(!replicas(sharing(&all, "pool", "b")).holds());
        let unlabelled = Object::read(&VOLUME_REPLICAS, json!({"metadata": {"name": "r"}}));
        assert!(pool_of(&unlabelled, "pool").unwrap_err().seen.contains("label pool is not set"));
        assert_eq!(pool_of(&all[0], "pool"), Ok("a"));
    }

    #[test]
    fn a_jiva_volume_needs_all_its_replicas() {
        let volume = |modes: &[&str], phase: &str| {
            let replicas: Vec<Value> = modes.iter().map(|mode| json!({"mode": mode})).collect();
            jiva_volume(&Object::read(
                &JIVA_VOLUMES,
                json!({
                    "spec": {"policy": {"target": {"replicationFactor": 3}}},
                    "status": {"phase": phase, "status": "RW", "replicaStatus": replicas},
                }),
            ))
        };
        assert!(volume(&["RW", "RW", "RW"], "Ready").holds());
        assert_eq!(volume(&["RW", "WO", "RW"], "Ready"), Condition::Fails("2 of 3 replicas are RW".into()));
        assert!(!volume(&["RW", "RW"], "Ready").holds());
        assert!(!volume(&["RW", "RW", "RW"], "Syncing").holds());
        assert!(matches!(volume(&[], ""), Condition::Unknown(_)));
    }
}
