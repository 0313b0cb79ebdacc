//! What an upgrade changes, step by step and kind by kind: labels, images, `versionDetails`; and what it refuses.

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::behaviour::UpgradeTrouble;
use super::claims;
use super::executor::{Killed, Process};
use super::object::{Key, Object, member, text};
use super::operators::{self, release};
use super::resources::Resource;
use super::store::Store;
use super::workloads;
use crate::domain::{ResourceKind, ResourceRef};
use crate::openebs::upgrade_task::UpgradeTaskSpec;
use crate::openebs::{UpgradeTask, kinds};

/// The label that carries the version.
pub const VERSION: &str = "openebs.io/version";
/// The label of everything that serves one volume.
pub const VOLUME: &str = "openebs.io/persistent-volume";

/// One resource to upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The name of the UpgradeTask to write to.
    pub task: String,
    /// What.
    pub resource: ResourceRef,
    /// From which version.
    pub from: String,
    /// To which.
    pub to: String,
    /// Before the images' names; empty to leave what is there.
    pub prefix: String,
    /// Instead of the version; empty for the version.
    pub tag: String,
    /// Whether by one of the project's own images.
    pub official: bool,
    /// Whether it was told by arguments.
    pub by_arguments: bool,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was tried.
    pub message: String,
    /// Why it did not work.
    pub reason: String,
}

impl Failure {
    fn new(message: &str, reason: impl Into<String>) -> Self {
        Self { message: message.to_owned(), reason: reason.into() }
    }
}

impl Order {
    /// The UpgradeTask that an executor makes which finds none.
    pub fn upgrade_task(&self) -> Value {
        let mut spec = UpgradeTaskSpec::naming(&self.resource);
        spec.from_version.clone_from(&self.from);
        spec.to_version.clone_from(&self.to);
        spec.image_prefix.clone_from(&self.prefix);
        spec.image_tag.clone_from(&self.tag);
        serde_json::to_value(UpgradeTask::named("", &self.task, spec)).unwrap_or_default()
    }

    /// Whether this executor writes `Success` in argument mode: the legacy one does, the other for pools alone.
    pub fn reports_success(&self) -> bool {
        let pools = matches!(self.resource.kind, ResourceKind::CstorPoolCluster | ResourceKind::CstorPoolInstance);
        kinds::of(self.resource.kind).line == kinds::Line::Legacy || pools
    }

    fn for_pool(&self, pool: ResourceRef) -> Self {
        Self { task: crate::openebs::names::upgrade_task(&pool), resource: pool, by_arguments: false, ..self.clone() }
    }

    fn knows(&self, version: &str) -> bool {
        [&self.from, &self.to].into_iter().any(|known| release(known) == release(version))
    }
}

type Done = Result<Result<(), Failure>, Killed>;

/// One step of one resource.
pub(super) async fn step(process: &Process, order: &Order, step: &str) -> Done {
    let name = order.resource.name.as_str();
    let namespace = process.namespace();
    let volume = (VOLUME, name);
    match (order.resource.kind, step) {
        (_, "PRE_UPGRADE") => process.act(|store, _| check(store, namespace, order)),
        (ResourceKind::CstorPoolInstance, _) => {
            workloads_to(process, order, &[Resource::Deployments], ("openebs.io/cstor-pool-instance", name)).await?;
            object_to(process, order, Key::new(Resource::PoolInstances, namespace, name), true).await?;
            Ok(Ok(()))
        }
        (ResourceKind::CstorPool, _) => {
            workloads_to(process, order, &[Resource::Deployments], ("openebs.io/cstor-pool", name)).await?;
            object_to(process, order, Key::new(Resource::Pools, namespace, name), true).await?;
            Ok(Ok(()))
        }
        (ResourceKind::CstorVolume, "REPLICA_UPGRADE") => replicas_to(process, order, Resource::Replicas).await,
        (ResourceKind::LegacyCstorVolume, "REPLICA_UPGRADE") => {
            replicas_to(process, order, Resource::LegacyReplicas).await
        }
        (ResourceKind::CstorVolume, _) => {
            workloads_to(process, order, &[Resource::Deployments], volume).await?;
            services_to(process, order)?;
            object_to(process, order, Key::new(Resource::Volumes, namespace, name), false).await?;
            object_to(process, order, Key::new(Resource::VolumeConfigs, namespace, name), false).await?;
            Ok(Ok(()))
        }
        (ResourceKind::LegacyCstorVolume, _) => {
            workloads_to(process, order, &[Resource::Deployments], volume).await?;
            services_to(process, order)?;
            object_to(process, order, Key::new(Resource::LegacyVolumes, namespace, name), true).await?;
            Ok(Ok(()))
        }
        (ResourceKind::JivaVolume, "REPLICA_UPGRADE") => {
            workloads_to(process, order, &[Resource::StatefulSets], volume).await?;
            Ok(Ok(()))
        }
        (ResourceKind::JivaVolume, _) => {
            workloads_to(process, order, &[Resource::Deployments], volume).await?;
            services_to(process, order)?;
            object_to(process, order, Key::new(Resource::JivaVolumes, namespace, name), false).await?;
            Ok(Ok(()))
        }
        (ResourceKind::LegacyJivaVolume, "VERIFY") => Ok(Ok(())),
        (ResourceKind::LegacyJivaVolume, _) => {
            let replicas = step == "REPLICA_UPGRADE";
            deployments_to(process, order, |object| {
                object.label(VOLUME) == name && object.label("openebs.io/replica").is_empty() != replicas
            })
            .await?;
            if !replicas {
                services_to(process, order)?;
            }
            Ok(Ok(()))
        }
        (ResourceKind::CstorPoolCluster | ResourceKind::StoragePoolClaim, _) => Ok(Ok(())),
    }
}

/// A pool cluster or pool claim: its pools one after another, then its own version.
/// Boxed, since each pool is an upgrade of its own.
pub(super) fn parent<'a>(
    process: &'a Process,
    order: &'a Order,
    trouble: Option<&'a UpgradeTrouble>,
) -> BoxFuture<'a, Done> {
    Box::pin(parent_and_pools(process, order, trouble))
}

async fn parent_and_pools(process: &Process, order: &Order, trouble: Option<&UpgradeTrouble>) -> Done {
    let namespace = process.namespace();
    let refused = process.act(|store, _| check(store, namespace, order))?;
    if refused.is_err() {
        return Ok(refused);
    }
    if let Some(UpgradeTrouble::Fails(reason)) = trouble {
        return Ok(Err(Failure::new("failed to patch the pool's parent", reason.clone())));
    }
    if trouble == Some(&UpgradeTrouble::Hangs) {
        std::future::pending::<()>().await;
    }
    for pool in process.act(|store, _| claims::pools(store, namespace, &order.resource))? {
        if let Err(failure) = process.upgrade(&order.for_pool(pool)).await? {
            return Ok(Err(failure));
        }
    }
    let resource = match order.resource.kind {
        ResourceKind::StoragePoolClaim => Resource::PoolClaims,
        _ => Resource::PoolClusters,
    };
    object_to(process, order, Key::new(resource, namespace, &order.resource.name), false).await?;
    Ok(Ok(()))
}

/// What is looked at before anything is changed: the operator at the target, the resource at one of both versions.
fn check(store: &Store, namespace: &str, order: &Order) -> Result<(), Failure> {
    let ResourceRef { kind, name } = &order.resource;
    let operator = kinds::of(*kind).operator;
    match operators::version(store, namespace, operator) {
        Some(version) if release(&version) == release(&order.to) => {}
        found => {
            let found = found.unwrap_or_else(|| "not there".to_owned());
            let reason = format!("{} is {found}, and not in {} version", operator.name(), order.to);
            return Err(Failure::new(&format!("failed to verify {}", operator.name()), reason));
        }
    }
    let resource = match kind {
        ResourceKind::CstorPoolInstance => Resource::PoolInstances,
        ResourceKind::CstorPoolCluster => Resource::PoolClusters,
        ResourceKind::CstorPool => Resource::Pools,
        ResourceKind::StoragePoolClaim => Resource::PoolClaims,
        ResourceKind::CstorVolume => Resource::Volumes,
        ResourceKind::LegacyCstorVolume => Resource::LegacyVolumes,
        ResourceKind::JivaVolume => Resource::JivaVolumes,
        ResourceKind::LegacyJivaVolume => return check_deployments(store, order),
    };
    let Some(object) = store.get(&Key::new(resource, namespace, name)) else {
        return Err(Failure::new(
            "failed to get the resource",
            format!("{} \"{name}\" not found", resource.qualified()),
        ));
    };
    let value = object.value();
    let current = value.pointer("/versionDetails/status/current").and_then(Value::as_str).unwrap_or_default();
    if order.knows(current) {
        return Ok(());
    }
    let reason = format!("{name} version {current} is neither {} nor {}", order.from, order.to);
    Err(Failure::new("failed to verify the resource", reason))
}

fn check_deployments(store: &Store, order: &Order) -> Result<(), Failure> {
    let mut own = store.list(Resource::Deployments, None, None).filter(|one| one.label(VOLUME) == order.resource.name);
    let unknown = own.find(|one| !order.knows(one.label(VERSION)));
    let Some(unknown) = unknown else { return Ok(()) };
    let reason =
        format!("{} is at {}, and neither at {} nor {}", unknown.name(), unknown.label(VERSION), order.from, order.to);
    Err(Failure::new("failed to get replica details", reason))
}

/// Each replica of a cStor volume, once its pool is at the target.
async fn replicas_to(process: &Process, order: &Order, resource: Resource) -> Done {
    let (namespace, name) = (process.namespace(), order.resource.name.as_str());
    let replicas: Vec<(Key, String)> = process.act(|store, _| {
        let label = if resource == Resource::Replicas {
            "cstorpoolinstance.openebs.io/name"
        } else {
            "cstorpool.openebs.io/name"
        };
        let own = store.list(resource, Some(namespace), None).filter(|one| one.label(VOLUME) == name);
        own.map(|one| (one.key.clone(), one.label(label).to_owned())).collect()
    })?;
    for (key, pool) in replicas {
        let at = process.act(|store, _| pool_version(store, namespace, resource, &pool))?;
        if release(&at) != release(&order.to) {
            let message = if resource == Resource::Replicas {
                format!("failed to patch cvr {}", key.name)
            } else {
                "failed to verify cstor pool".to_owned()
            };
            return Ok(Err(Failure::new(&message, format!("cspi {pool} not in {} version", order.to))));
        }
        object_to(process, order, key, true).await?;
    }
    Ok(Ok(()))
}

fn pool_version(store: &Store, namespace: &str, replicas: Resource, pool: &str) -> String {
    let pools = if replicas == Resource::Replicas { Resource::PoolInstances } else { Resource::Pools };
    store.get(&Key::new(pools, namespace, pool)).map(|pool| pool.label(VERSION).to_owned()).unwrap_or_default()
}

/// Asks an object's operator for the version, and waits until it is there.
async fn object_to(process: &Process, order: &Order, key: Key, labelled: bool) -> Result<(), Killed> {
    process.act(|store, _| {
        store.change(&key, |value| {
            if labelled && text(&value["metadata"]["labels"], VERSION) == order.from {
                value["metadata"]["labels"][VERSION] = json!(order.to);
            }
            // Compared uncut, as upstream does; our own executor would not mind a suffix.
            if text(&value["versionDetails"], "desired") == order.from {
                value["versionDetails"]["desired"] = json!(order.to);
            }
        })
    })?;
    let there = |store: &Store| {
        store.get(&key).is_some_and(|object| {
            let value = object.value();
            let current = value.pointer("/versionDetails/status/current").and_then(Value::as_str).unwrap_or_default();
            release(current) == release(&order.to)
        })
    };
    process.until(there).await
}

async fn workloads_to(
    process: &Process,
    order: &Order,
    kinds: &[Resource],
    (label, value): (&str, &str),
) -> Result<(), Killed> {
    for kind in kinds {
        changed_to(process, order, *kind, |object| object.label(label) == value).await?;
    }
    Ok(())
}

async fn deployments_to(process: &Process, order: &Order, own: impl Fn(&Object) -> bool) -> Result<(), Killed> {
    changed_to(process, order, Resource::Deployments, own).await
}

/// Patches the workloads of that kind that are still at the old version, and waits for their rollouts.
async fn changed_to(
    process: &Process,
    order: &Order,
    kind: Resource,
    own: impl Fn(&Object) -> bool,
) -> Result<(), Killed> {
    let behind: Vec<Key> = process.act(|store, _| {
        let all = store.list(kind, None, None).filter(|one| own(one) && one.label(VERSION) == order.from);
        let keys: Vec<Key> = all.map(|one| one.key.clone()).collect();
        for key in &keys {
            store.change(key, |value| patch(value, order));
        }
        keys
    })?;
    for key in behind {
        process.until(|store| store.get(&key).is_none_or(|object| workloads::is_rolled_out(&object.value()))).await?;
    }
    Ok(())
}

fn patch(workload: &mut Value, order: &Order) {
    workload["metadata"]["labels"][VERSION] = json!(order.to);
    let template = &mut workload["spec"]["template"];
    template["metadata"]["labels"][VERSION] = json!(order.to);
    for container in template["spec"]["containers"].as_array_mut().into_iter().flatten() {
        let image = text(container, "image");
        let path = image.rsplit_once(':').map_or(image, |(path, _)| path);
        let path = match (order.prefix.as_str(), path.rsplit('/').next()) {
            ("", _) | (_, None) => path.to_owned(),
            (prefix, Some(name)) => format!("{prefix}{name}"),
        };
        let tag = if order.tag.is_empty() { &order.to } else { &order.tag };
        container["image"] = json!(format!("{path}:{tag}"));
    }
}

fn services_to(process: &Process, order: &Order) -> Result<(), Killed> {
    process.act(|store, _| {
        let own = store.list(Resource::Services, None, None).filter(|one| one.label(VOLUME) == order.resource.name);
        let keys: Vec<Key> = own.map(|one| one.key.clone()).collect();
        for key in keys {
            store.change(&key, |service| {
                member(&mut service["metadata"], "labels").insert(VERSION.to_owned(), json!(order.to));
            });
        }
    })
}
