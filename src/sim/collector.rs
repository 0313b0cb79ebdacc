//! The garbage collector: what becomes of dependents when their owner goes.

use std::sync::Arc;

use serde_json::Value;

use super::object::{Key, Object, finalizers, member, set_finalizer, text};
use super::store::{Deletion, FOREGROUND, ORPHAN, Propagation, Store};
use crate::domain::Timestamp;

/// After an owner is gone: its dependents go, too, in the background.
pub fn owner_gone(store: &mut Store, uid: &str, now: Timestamp) {
    let orphans: Vec<Key> = store.owned_by(uid).map(|object| object.key.clone()).collect();
    for key in orphans {
        // Nobody counts what a Job has left that is gone.
        store.change(&key, |pod| set_finalizer(pod, super::admission::JOB_TRACKING, false));
        let background = Deletion { propagation: Some(Propagation::Background), ..Deletion::default() };
        let _ = store.delete(&key, &background, now);
    }
}

/// While an owner waits for its end: lets its dependents go first, or go on without it.
pub fn owner_going(store: &mut Store, object: &Arc<Object>, now: Timestamp) {
    let value = object.value();
    let dependents: Vec<Key> = store.owned_by(&object.uid).map(|one| one.key.clone()).collect();
    if finalizers(&value).contains(&ORPHAN) {
        for key in &dependents {
            store.change(key, |dependent| disown(dependent, &object.uid));
        }
        store.change(&object.key, |owner| set_finalizer(owner, ORPHAN, false));
    } else if finalizers(&value).contains(&FOREGROUND) {
        for key in &dependents {
            // The Job's controller no longer counts what its deleted Job has left.
            store.change(key, |pod| set_finalizer(pod, super::admission::JOB_TRACKING, false));
            let background = Deletion { propagation: Some(Propagation::Background), ..Deletion::default() };
            let _ = store.delete(key, &background, now);
        }
        if store.owned_by(&object.uid).next().is_none() {
            store.change(&object.key, |owner| set_finalizer(owner, FOREGROUND, false));
        }
    }
}

fn disown(dependent: &mut Value, uid: &str) {
    let metadata = member(dependent, "metadata");
    if let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
        owners.retain(|owner| text(owner, "uid") != uid);
        if owners.is_empty() {
            metadata.remove("ownerReferences");
        }
    }
    set_finalizer(dependent, super::admission::JOB_TRACKING, false);
}
