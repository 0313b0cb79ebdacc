//! Backups and restores that older releases kept under `openebs.io/v1alpha1` move to `cstor.openebs.io/v1`: each is
//! created anew first, and only then is the old one deleted.

use serde_json::{Map, Value, json};

use super::api::{Refusal, explain};
use super::object::{
    BACKUPS, COMPLETED_BACKUPS, Collection, OLD_BACKUPS, OLD_COMPLETED_BACKUPS, OLD_RESTORES, Object, RESTORES,
};
use super::problem::{During, Problem};
use super::task::Task;

const MOVES: [(&Collection, &Collection); 3] =
    [(&OLD_BACKUPS, &BACKUPS), (&OLD_RESTORES, &RESTORES), (&OLD_COMPLETED_BACKUPS, &COMPLETED_BACKUPS)];

/// Moves all that carry the labels of `selector`.
pub async fn convert(task: &Task, selector: &str) -> Result<(), Problem> {
    for (old, new) in MOVES {
        let listed = task.api().list(old, task.namespace(), selector).await;
        for object in listed.during(format!("failed to list v1alpha1 {}", old.plural))? {
            let place = new.named(task.namespace(), object.name());
            match task.api().create(&place, &renewed(&object, new)).await {
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
fn renewed(old: &Object, new: &Collection) -> Value {
    let mut body: Map<String, Value> = old.body.as_object().cloned().unwrap_or_default();
    let mut metadata = json!({"name": old.name(), "namespace": old.place.namespace});
    for field in ["labels", "annotations"] {
        if let Some(value) = old.body.pointer(&format!("/metadata/{field}")) {
            metadata[field] = value.clone();
        }
    }
    body.insert("apiVersion".to_owned(), json!(new.api_version()));
    body.insert("kind".to_owned(), json!(new.kind));
    body.insert("metadata".to_owned(), metadata);
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_labels_move_and_identity_stays() {
        let old = Object::read(
            &OLD_BACKUPS,
            json!({
                "apiVersion": "openebs.io/v1alpha1", "kind": "CStorBackup",
                "metadata": {"name": "b", "namespace": "openebs", "uid": "u", "resourceVersion": "7",
                    "labels": {"cstorpoolinstance.openebs.io/name": "p"}},
                "spec": {"snapName": "s"}, "status": "Done",
            }),
        );
        assert_eq!(
            renewed(&old, &BACKUPS),
            json!({
                "apiVersion": "cstor.openebs.io/v1", "kind": "CStorBackup",
                "metadata": {"name": "b", "namespace": "openebs",
                    "labels": {"cstorpoolinstance.openebs.io/name": "p"}},
                "spec": {"snapName": "s"}, "status": "Done",
            })
        );
    }
}
