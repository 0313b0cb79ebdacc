//! OpenEBS's operators: whoever asks for another version of an object in `versionDetails.desired` gets it, if it is the
//! operator's own.

use serde_json::json;

use super::object::{Key, member, text};
use super::resources::Resource;
use super::store::Store;
use crate::domain::Timestamp;
use crate::openebs::control_plane::Operator;

/// The operator that looks after the versions of a kind.
pub const fn of(resource: Resource) -> Option<Operator> {
    match resource {
        Resource::PoolClusters | Resource::PoolInstances | Resource::Replicas => Some(Operator::Cspc),
        Resource::Volumes | Resource::VolumeConfigs => Some(Operator::Cvc),
        Resource::JivaVolumes => Some(Operator::Jiva),
        Resource::PoolClaims | Resource::Pools | Resource::LegacyVolumes | Resource::LegacyReplicas => {
            Some(Operator::Maya)
        }
        _ => None,
    }
}

/// Whether an object at `key` asks for another version than it has.
pub fn is_behind(store: &Store, key: &Key) -> bool {
    let Some(object) = store.get(key).filter(|_| of(key.resource).is_some()) else { return false };
    let details = &object.value()["versionDetails"];
    let desired = text(details, "desired");
    !desired.is_empty() && desired != text(&details["status"], "current")
}

/// Reconciles the version of the object at `key`; `refuses` is an operator that does not know it.
pub fn reconcile(store: &mut Store, namespace: &str, key: &Key, refuses: bool, now: Timestamp) {
    let Some(operator) = of(key.resource) else { return };
    let own = version(store, namespace, operator);
    let at = now.to_string();
    store.change(key, |value| {
        let kind = text(value, "kind").to_owned();
        let details = &mut value["versionDetails"];
        let desired = text(details, "desired").to_owned();
        let current = text(&details["status"], "current").to_owned();
        if desired == current {
            return;
        }
        let accepted = !refuses && own.as_deref().is_some_and(|own| release(own) == release(&desired));
        let status = member(details, "status");
        if accepted {
            status.insert("current".to_owned(), json!(desired));
            status.insert("state".to_owned(), json!("Reconciled"));
            status.insert("lastUpdateTime".to_owned(), json!(at));
        } else {
            status.insert("state".to_owned(), json!("ReconcileInProgress"));
        }
        let (message, reason) = if accepted {
            (String::new(), String::new())
        } else if refuses {
            (format!("Failed to reconcile {kind} version"), format!("invalid current version {current}"))
        } else {
            (format!("Failed to reconcile {kind} version"), format!("invalid desired version {desired}"))
        };
        status.insert("message".to_owned(), json!(message));
        status.insert("reason".to_owned(), json!(reason));
    });
}

/// The version of an operator: that of the first of its Pods.
pub fn version(store: &Store, namespace: &str, operator: Operator) -> Option<String> {
    store
        .list(Resource::Pods, Some(namespace), None)
        .find(|pod| pod.label(operator.label()) == operator.name())
        .map(|pod| pod.label("openebs.io/version").to_owned())
}

/// A version without what follows its first `-`.
pub fn release(version: &str) -> &str {
    version.split('-').next().unwrap_or(version)
}
