//! Backups and restores that older releases kept under `openebs.io/v1alpha1` move to `cstor.openebs.io/v1`: each is
//! created anew first, and only then is the old one deleted.
//!
//! Some fields have other names there. What the new definitions don't name the API server drops without a word, and a
//! completed backup without its last snapshot would make the next incremental backup a full one.

use serde_json::{Map, Value, json};

use super::api::{Refusal, explain};
use super::object::{
    BACKUPS, COMPLETED_BACKUPS, Collection, OLD_BACKUPS, OLD_COMPLETED_BACKUPS, OLD_RESTORES, Object, RESTORES,
};
use super::problem::{During, Problem};
use super::task::Task;

/// From where to where one kind moves.
struct Move {
    old: &'static Collection,
    new: &'static Collection,
    /// Fields of the spec by their old names and their new ones.
    renamed: &'static [(&'static str, &'static str)],
    /// Fields that the new definition insists on: empty is enough for it.
    required: &'static [&'static str],
}

const MOVES: [Move; 3] = [
    Move { old: &OLD_BACKUPS, new: &BACKUPS, renamed: &[], required: &["backupName", "snapName", "volumeName"] },
    Move {
        old: &OLD_RESTORES,
        new: &RESTORES,
        renamed: &[("localSnapshot", "localRestore")],
        required: &["restoreName", "restoreSrc", "volumeName"],
    },
    // The old kind borrowed the fields of a backup: its "previous" snapshot is the last that was completed, and the
    // other one is the last but one.
    Move {
        old: &OLD_COMPLETED_BACKUPS,
        new: &COMPLETED_BACKUPS,
        renamed: &[("prevSnapName", "lastSnapName"), ("snapName", "secondLastSnapName")],
        required: &[],
    },
];

/// Moves all that carry the labels of `selector`.
pub async fn convert(task: &Task, selector: &str) -> Result<(), Problem> {
    for kind in &MOVES {
        let Move { old, new, .. } = kind;
        let listed = task.api().list(old, task.namespace(), selector).await;
        for object in listed.during(format!("failed to list v1alpha1 {}", old.plural))? {
            let place = new.named(task.namespace(), object.name());
            match task.api().create(&place, &renewed(&object, kind)).await {
                Ok(_) | Err(Refusal::Exists) => {}
                Err(refusal) => {
                    return Err(explain(refusal, &place)).during(format!(
                        "failed to create v1 {} for {}",
                        new.plural,
                        task.name()
                    ));
                }
            }
            task.api().delete(&object).await.during(format!("failed to delete v1alpha1 {}", old.plural))?;
        }
    }
    Ok(())
}

/// The same content under the new API: what identifies the old object in its cluster stays behind.
fn renewed(old: &Object, kind: &Move) -> Value {
    let mut body: Map<String, Value> = old.body.as_object().cloned().unwrap_or_default();
    let mut metadata = json!({"name": old.name(), "namespace": old.place.namespace});
    for field in ["labels", "annotations"] {
        if let Some(value) = old.body.pointer(&format!("/metadata/{field}")) {
            metadata[field] = value.clone();
        }
    }
    let mut spec: Map<String, Value> = old.body.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    for (was, is) in kind.renamed {
        if let Some(value) = spec.remove(*was) {
            spec.entry(*is).or_insert(value);
        }
    }
    for field in kind.required {
        spec.entry(*field).or_insert_with(|| json!(""));
    }
    body.insert("apiVersion".to_owned(), json!(kind.new.api_version()));
    body.insert("kind".to_owned(), json!(kind.new.kind));
    body.insert("metadata".to_owned(), metadata);
    body.insert("spec".to_owned(), Value::Object(spec));
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(plural: &str, body: &Value) -> Value {
        let kind = MOVES.iter().find(|kind| kind.old.plural == plural).unwrap();
        let mut old = body.clone();
        old["metadata"] = json!({"name": "b", "namespace": "openebs", "uid": "u", "resourceVersion": "7",
            "labels": {"cstorpoolinstance.openebs.io/name": "p"}});
        renewed(&Object::read(kind.old, old), kind)
    }

    #[test]
    fn content_and_labels_move_and_identity_stays() {
        let spec = json!({"backupName": "nightly", "volumeName": "pvc-1", "snapName": "s2", "prevSnapName": "s1",
            "backupDest": "10.0.0.9:9000", "localSnap": false});
        assert_eq!(
            moved("cstorbackups", &json!({"spec": spec, "status": "Done"})),
            json!({
                "apiVersion": "cstor.openebs.io/v1", "kind": "CStorBackup",
                "metadata": {"name": "b", "namespace": "openebs",
                    "labels": {"cstorpoolinstance.openebs.io/name": "p"}},
                "spec": spec, "status": "Done",
            })
        );
    }

    #[test]
    fn the_next_incremental_backup_finds_the_last_snapshot_under_its_new_name() {
        let old = json!({"backupName": "nightly", "volumeName": "pvc-1", "prevSnapName": "s2", "snapName": "s1"});
        assert_eq!(
            moved("cstorcompletedbackups", &json!({"spec": old}))["spec"],
            json!({"backupName": "nightly", "volumeName": "pvc-1", "lastSnapName": "s2", "secondLastSnapName": "s1"})
        );
    }

    #[test]
    fn a_restore_stays_local_and_has_the_fields_that_are_insisted_on() {
        assert_eq!(
            moved("cstorrestores", &json!({"spec": {"restoreName": "r", "localSnapshot": true}}))["spec"],
            json!({"restoreName": "r", "restoreSrc": "", "volumeName": "", "localRestore": true})
        );
        let both = json!({"localSnapshot": false, "localRestore": true});
        assert_eq!(moved("cstorrestores", &json!({"spec": both}))["spec"]["localRestore"], true);
    }
}
