//! What is gathered about one pool or volume: its versions, whether it is rolled out, whether it is healthy.

use std::collections::BTreeMap;

use super::objects::{Meta, VersionDetails, Workload};
use crate::cluster::text::plain;
use crate::domain::inventory::{Condition, Replicas, Resource, SeenVersion};
use crate::domain::observation::ResourceState;
use crate::domain::{ResourceRef, Version};

/// The label that carries the version on what upgrades patch.
pub(super) const VERSION_LABEL: &str = "openebs.io/version";

const CURRENT: &str = "versionDetails.status.current";
const DESIRED: &str = "versionDetails.desired";

/// The longest text of a cluster's own that is kept of one field.
const TEXT_MAX: usize = 300;

/// The most versions that are kept of one resource: a pool cluster's own, or a volume's with many replicas.
const VERSIONS_MAX: usize = 64;

/// What is known about one resource; built up object by object.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub id: ResourceRef,
    pub namespace: String,
    pub parent: Option<ResourceRef>,
    pub versions: Vec<SeenVersion>,
    pub rolled_out: Condition,
    pub healthy: Condition,
    /// Signs of an upgrade that stopped half-way.
    signs: Vec<String>,
    pub pools: Vec<String>,
    pub replicas: Option<Replicas>,
    pub details: BTreeMap<String, String>,
}

impl Evidence {
    pub fn of(id: ResourceRef, namespace: &str) -> Self {
        Self {
            id,
            namespace: namespace.to_owned(),
            parent: None,
            versions: Vec::new(),
            rolled_out: Condition::Holds,
            healthy: Condition::Holds,
            signs: Vec::new(),
            pools: Vec::new(),
            replicas: None,
            details: BTreeMap::new(),
        }
    }

    /// Both versions of an object that a controller looks after; where it has not filled in the current one yet, the
    /// label stands for it if one is given.
    pub fn versioned(&mut self, object: &str, details: &VersionDetails, label: Option<&Meta>) {
        let VersionDetails { desired, status } = details;
        let label = label.map_or("", |meta| meta.label(VERSION_LABEL));
        if status.current.is_empty() && !label.is_empty() {
            self.version(object, "label openebs.io/version", label);
        } else {
            self.version(object, CURRENT, &status.current);
        }
        if !desired.is_empty() {
            self.version(object, DESIRED, desired);
        }
        if !desired.is_empty() && !status.current.is_empty() && !same_release(desired, &status.current) {
            let said = match (status.message.as_str(), status.reason.as_str()) {
                ("", "") => String::new(),
                (message, reason) => format!(" ({})", plain(&format!("{message}: {reason}"), TEXT_MAX)),
            };
            let (desired, current) = (plain(desired, 64), plain(&status.current, 64));
            self.signs.push(format!("{object} wants {desired} and is at {current}{said}"));
        }
    }

    /// The version that an upgrade writes into a label.
    pub fn labelled(&mut self, object: &str, meta: &Meta) {
        self.version(object, "label openebs.io/version", meta.label(VERSION_LABEL));
    }

    fn version(&mut self, object: &str, field: &str, version: &str) {
        if self.versions.len() < VERSIONS_MAX {
            self.versions.push(SeenVersion {
                object: object.to_owned(),
                field: field.to_owned(),
                version: plain(version, 64),
            });
        } else {
            self.rolled_out = Condition::Unknown(format!("it has more than {VERSIONS_MAX} versions to look at"));
        }
    }

    /// A Deployment that belongs to it: its label, and whether it is rolled out.
    pub fn deployment(&mut self, deployment: &Workload) {
        let object = format!("Deployment/{}", deployment.metadata.name);
        self.labelled(&object, &deployment.metadata);
        self.needs_rolled_out(deployment_rolled_out(&object, deployment));
    }

    /// A StatefulSet that belongs to it.
    pub fn stateful_set(&mut self, set: &Workload) {
        let object = format!("StatefulSet/{}", set.metadata.name);
        self.labelled(&object, &set.metadata);
        self.needs_rolled_out(stateful_set_rolled_out(&object, set));
    }

    pub fn needs_rolled_out(&mut self, condition: Condition) {
        self.rolled_out = std::mem::replace(&mut self.rolled_out, Condition::Holds).and(condition);
    }

    pub fn needs_healthy(&mut self, condition: Condition) {
        self.healthy = std::mem::replace(&mut self.healthy, Condition::Holds).and(condition);
    }

    /// What could not be read leaves both in doubt, and whatever seemed to be missing, too: it may be among that.
    pub fn doubt(&mut self, gap: Option<&String>) {
        if let Some(gap) = gap {
            self.rolled_out = Condition::Unknown(gap.clone());
            self.healthy = Condition::Unknown(gap.clone());
        }
    }

    /// A sign, found beside the resource's own objects, that an upgrade of it stopped half-way.
    pub fn sign(&mut self, what: String) {
        self.signs.push(what);
    }

    /// Its release, when all that carries a version agrees.
    pub fn release(&self) -> Option<Version> {
        let mut read =
            self.versions.iter().filter(|seen| !seen.version.is_empty()).map(|seen| seen.version.parse::<Version>());
        let first = read.next()?.ok()?;
        read.all(|other| other.is_ok_and(|other| other.same_release(&first))).then(|| first.release())
    }

    /// Whether an upgrade of it stopped half-way, and how that shows.
    pub fn half_done(&self) -> Option<String> {
        if let Some(sign) = self.signs.first() {
            return Some(sign.clone());
        }
        let mut read = self.versions.iter().filter(|seen| !seen.version.is_empty());
        let first = read.next()?;
        let other = read.find(|other| !same_release(&other.version, &first.version))?;
        let told = |seen: &SeenVersion| format!("{} has {} in {}", seen.object, seen.version, seen.field);
        Some(format!("mixed versions: {}, {}", told(first), told(other)))
    }

    /// As the inventory keeps it; who uses it is added by the caller.
    pub fn into_resource(self) -> Resource {
        Resource {
            version: self.release(),
            half_done: self.half_done(),
            // For people and the planner "healthy" is all that ought to hold; evidence after a Job keeps them apart.
            health: self.healthy.and(self.rolled_out),
            id: self.id,
            namespace: self.namespace,
            parent: self.parent,
            versions: self.versions,
            pools: self.pools,
            replicas: self.replicas,
            attached_to: None,
            workloads: Vec::new(),
            users_unknown: None,
            details: self.details,
        }
    }

    /// As one fresh read is kept.
    pub fn into_state(self, around: Around) -> ResourceState {
        let Around { load, settled } = around;
        ResourceState {
            half_done: self.half_done(),
            versions: self.versions,
            rolled_out: self.rolled_out,
            healthy: self.healthy,
            load,
            settled,
        }
    }
}

/// How things are around a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Around {
    /// What lies on it: the replicas on a pool, and their volumes.
    pub load: Condition,
    /// What it shares pools or replicas with.
    pub settled: Condition,
}

/// Text of a cluster's own, made harmless.
pub(super) fn said(text: &str) -> String {
    if text.is_empty() { "not set".to_owned() } else { plain(text, 64) }
}

fn same_release(a: &str, b: &str) -> bool {
    match (a.parse::<Version>(), b.parse::<Version>()) {
        (Ok(a), Ok(b)) => a.same_release(&b),
        _ => a == b,
    }
}

/// Whether a Deployment is rolled out at its generation.
pub(super) fn deployment_rolled_out(object: &str, deployment: &Workload) -> Condition {
    let status = &deployment.status;
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let stuck = status.conditions.iter().find(|condition| {
        condition.kind == "Progressing" && condition.status == "False" && condition.reason == "ProgressDeadlineExceeded"
    });
    if wanted == 0 {
        Condition::Fails(format!("{object} is scaled to 0"))
    } else if status.observed_generation < deployment.metadata.generation {
        Condition::Fails(format!("{object} was changed and its rollout has not begun"))
    } else if let Some(stuck) = stuck {
        Condition::Fails(format!("{object} makes no progress: {}", plain(&stuck.message, TEXT_MAX)))
    } else if status.updated_replicas < wanted {
        Condition::Fails(format!("{object} has {} of {wanted} Pods updated", status.updated_replicas))
    } else if status.replicas > status.updated_replicas {
        Condition::Fails(format!("{object} still has {} old Pods", status.replicas - status.updated_replicas))
    } else if status.available_replicas < status.updated_replicas {
        let (available, updated) = (status.available_replicas, status.updated_replicas);
        Condition::Fails(format!("{object} has {available} of {updated} Pods available"))
    } else {
        Condition::Holds
    }
}

/// Whether a StatefulSet is rolled out at its generation.
pub(super) fn stateful_set_rolled_out(object: &str, set: &Workload) -> Condition {
    let status = &set.status;
    let wanted = set.spec.replicas.unwrap_or(1);
    if wanted == 0 {
        Condition::Fails(format!("{object} is scaled to 0"))
    } else if status.observed_generation < set.metadata.generation {
        Condition::Fails(format!("{object} was changed and its rollout has not begun"))
    } else if status.ready_replicas < wanted {
        Condition::Fails(format!("{object} has {} of {wanted} Pods ready", status.ready_replicas))
    } else if status.current_revision != status.update_revision && status.updated_replicas < wanted {
        Condition::Fails(format!("{object} has {} of {wanted} Pods updated", status.updated_replicas))
    } else {
        Condition::Holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workload(json: serde_json::Value) -> Workload {
        serde_json::from_value(json).unwrap()
    }

    fn deployment(observed: i64, updated: i64, available: i64) -> Condition {
        let seen = workload(json!({"metadata": {"name": "d", "generation": 2}, "spec": {"replicas": 1},
            "status": {"observedGeneration": observed, "replicas": 1, "updatedReplicas": updated,
                       "availableReplicas": available}}));
        deployment_rolled_out("Deployment/d", &seen)
    }

    #[test]
    fn a_deployment_is_rolled_out_only_at_its_own_generation() {
        assert!(deployment(2, 1, 1).holds());
        assert!(!deployment(1, 1, 1).holds(), "what is seen is about the generation before");
        assert!(!deployment(2, 0, 1).holds(), "the old Pod is still there");
        assert!(!deployment(2, 1, 0).holds());
    }

    #[test]
    fn a_stateful_set_is_rolled_out_when_every_pod_has_the_new_revision() {
        let set = |current: &str, updated: i64, ready: i64| {
            let seen = workload(json!({"metadata": {"name": "s", "generation": 1}, "spec": {"replicas": 3},
                "status": {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": updated,
                           "currentRevision": current, "updateRevision": "b"}}));
            stateful_set_rolled_out("StatefulSet/s", &seen)
        };
        assert!(set("b", 3, 3).holds());
        assert!(set("a", 3, 3).holds(), "all updated, the controller has not yet moved the current revision");
        assert!(!set("a", 2, 3).holds());
        assert!(!set("b", 3, 2).holds());
    }
}
