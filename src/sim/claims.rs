//! What a Job or a Pod in a simulated cluster works on.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::{Key, text};
use super::resources::Resource;
use super::store::Store;
use crate::domain::{ResourceKind, ResourceRef};
use crate::openebs::claim::{self, Claim, ContainerSeen};
use crate::openebs::{UpgradeTask, job, kinds};

/// What the Pod of this spec is told to upgrade, in order; empty if it is no executor.
pub fn of_pod(store: &Store, namespace: &str, spec: &Value) -> Vec<ResourceRef> {
    let mut all = Vec::new();
    for container in containers(spec) {
        for resource in claim::of(&container).map(|claim| of_claim(store, namespace, &claim)).unwrap_or_default() {
            if !all.contains(&resource) {
                all.push(resource);
            }
        }
    }
    all
}

fn of_claim(store: &Store, namespace: &str, claim: &Claim) -> Vec<ResourceRef> {
    let tasks: Vec<UpgradeTask> = store
        .list(Resource::UpgradeTasks, Some(namespace), None)
        .filter_map(|object| serde_json::from_slice(object.bytes()).ok())
        .collect();
    existing(store, namespace, claim::resources(claim, &tasks).unwrap_or_default())
}

/// What an UpgradeTask names.
pub fn of_task(store: &Store, namespace: &str, task: &UpgradeTask) -> Vec<ResourceRef> {
    existing(store, namespace, claim::named_by(task))
}

/// What is claimed for the oracle: as `kind/name`, with the pools of what groups pools. What a Job's own annotation says
/// counts only where nothing else tells.
pub fn told(store: &Store, namespace: &str, resources: Vec<ResourceRef>, annotated: &Value) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for resource in resources {
        told.push(resource.to_string());
        told.extend(pools(store, namespace, &resource).iter().map(ToString::to_string));
    }
    if told.is_empty() {
        told.extend(annotated["metadata"]["annotations"][job::RESOURCE].as_str().map(str::to_owned));
    }
    told
}

/// The pools of a pool cluster or pool claim.
pub fn pools(store: &Store, namespace: &str, parent: &ResourceRef) -> Vec<ResourceRef> {
    let (resource, label) = match parent.kind {
        ResourceKind::CstorPoolCluster => (Resource::PoolInstances, "openebs.io/cstor-pool-cluster"),
        ResourceKind::StoragePoolClaim => (Resource::Pools, "openebs.io/storage-pool-claim"),
        _ => return Vec::new(),
    };
    let Some(kind) = kinds::children_of(parent.kind) else { return Vec::new() };
    let namespace = resource.row().namespaced.then_some(namespace);
    store
        .list(resource, namespace, None)
        .filter(|pool| pool.label(label) == parent.name)
        .map(|pool| ResourceRef { kind, name: pool.name().to_owned() })
        .collect()
}

/// Names mean both engines' volumes where sub-command and member are the same; only what exists is meant.
fn existing(store: &Store, namespace: &str, named: Vec<ResourceRef>) -> Vec<ResourceRef> {
    let there: Vec<ResourceRef> = named.iter().filter(|one| exists(store, namespace, one)).cloned().collect();
    if there.is_empty() { named } else { there }
}

fn exists(store: &Store, namespace: &str, resource: &ResourceRef) -> bool {
    match resource.kind {
        ResourceKind::LegacyJivaVolume => {
            let of_volume = |object: &&std::sync::Arc<super::object::Object>| {
                object.label("openebs.io/persistent-volume") == resource.name
                    && !object.label("openebs.io/controller").is_empty()
            };
            store.list(Resource::Deployments, None, None).any(|object| of_volume(&object))
        }
        kind => {
            let object = &kinds::of(kind).object;
            let found = object.versions.iter().find_map(|version| Resource::at(object.group, version, object.plural));
            found.is_some_and(|found| store.get(&Key::new(found, namespace, &resource.name)).is_some())
        }
    }
}

fn containers(spec: &Value) -> Vec<ContainerSeen> {
    spec["containers"].as_array().into_iter().flatten().map(container).collect()
}

fn container(container: &Value) -> ContainerSeen {
    let words = ["command", "args"].into_iter().flat_map(|member| container[member].as_array().into_iter().flatten());
    let env: BTreeMap<String, Option<String>> = container["env"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|variable| {
            let value = variable.get("valueFrom").is_none().then(|| text(variable, "value").to_owned());
            (text(variable, "name").to_owned(), value)
        })
        .collect();
    ContainerSeen {
        image: text(container, "image").to_owned(),
        words: words.filter_map(Value::as_str).map(str::to_owned).collect(),
        env,
    }
}

/// Whether objects of `resource` are upgraded as part of a resource of the kind of that name; of any without a name.
pub fn kind_fits(kind: Option<&str>, resource: Resource) -> bool {
    let of: &[Resource] = match kind {
        None => return true,
        Some("cstorPoolInstance") => &[Resource::PoolInstances],
        Some("cstorPoolCluster") => &[Resource::PoolClusters],
        Some("cstorPool") => &[Resource::Pools],
        Some("storagePoolClaim") => &[Resource::PoolClaims],
        Some("cstorVolume") => &[Resource::Volumes, Resource::Replicas, Resource::VolumeConfigs],
        Some("legacyCstorVolume") => &[Resource::LegacyVolumes, Resource::LegacyReplicas],
        Some("jivaVolume") => &[Resource::JivaVolumes],
        Some(_) => &[],
    };
    of.contains(&resource)
}

/// How the first executor among a Pod's containers is told what to do; `None` if there is none.
pub fn first_of(spec: &Value) -> Option<Claim> {
    containers(spec).iter().find_map(claim::of)
}
