//! What a cluster runs, read into the domain's [`Inventory`], and the fresh reads around each task.
//!
//! Reading and understanding are apart: `snapshot` fetches, everything else is pure. One resource is understood by
//! the very functions that understand the whole cluster, from a smaller snapshot.

mod budget;
mod cstor_volumes;
mod evidence;
mod history;
mod index;
mod jiva_volumes;
mod listing;
mod objects;
mod operators;
mod pools;
mod settled;
mod snapshot;
mod under_way;
mod users;

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use futures::try_join;

use self::budget::Budget;
pub(super) use self::budget::in_time;
use self::evidence::Evidence;
use self::index::Index;
pub(super) use self::listing::{Lacking, missing_right};
use self::listing::{Listing, Reader};
use self::objects::{PROVISIONED_BY, Pool, UPGRADE_RESULTS};
use self::snapshot::{POOL_CLAIM_LABEL, POOL_CLUSTER_LABEL, Snapshot, Surroundings, VOLUME_LABEL};
use self::under_way::{Executors, Unfinished};
use super::text::plain;
use super::{Edge, EdgeError};
use crate::domain::inventory::{Component, Condition};
use crate::domain::observation::ResourceSeen;
use crate::domain::{Inventory, ResourceKind, ResourceRef};
use crate::openebs::kinds;

/// The most problems that are kept; after so many missing rights one more teaches nothing.
const PROBLEMS_MAX: usize = 200;

/// The provisioner of both legacy engines.
const LEGACY_PROVISIONER: &str = "openebs.io/provisioner-iscsi";

/// What the cluster runs now. Missing rights and missing CRDs are no errors: the first are named in the
/// inventory's problems, the second mean that there is nothing of that kind.
pub fn read(edge: &Edge) -> BoxFuture<'_, Result<Inventory, EdgeError>> {
    // Boxed: a dozen lists at once make a future too large to be carried about by every caller.
    Box::pin(in_time(edge.limits().reading, read_everything(edge)))
}

async fn read_everything(edge: &Edge) -> Result<Inventory, EdgeError> {
    let budget = Budget::of(edge.limits());
    let reader = Reader::new(edge, &budget).around_failures();
    let (namespace, now) = (edge.namespace(), edge.clock().now());
    let kubernetes = edge.version().await?;
    let (mut seen, around, executors) =
        try_join!(Snapshot::whole(reader, namespace), Surroundings::read(reader), Executors::read(reader, namespace),)?;
    let results = reader.list(&UPGRADE_RESULTS, Some(namespace), "").await?;
    let mut problems = seen.gaps();
    for place in claims_namespaces(&seen, &around) {
        let gaps = seen.add_claims_namespace(reader, &place).await?;
        problems.extend(gaps.into_iter().map(|gap| format!("legacy volumes may live in namespace {place}: {gap}")));
    }
    let gaps = [&around.volumes.gap, &around.attachments.gap, &around.nodes.gap, &results.gap];
    problems.extend(gaps.into_iter().flatten().chain(executors.gaps()).cloned());
    if !executors.tasks.served {
        problems.push("the CRD upgradetasks.openebs.io is not installed".to_owned());
    }

    let mut resources: Vec<_> = understand(&Index::of(&seen)).into_iter().map(Evidence::into_resource).collect();
    resources.sort_by(|a, b| a.id.cmp(&b.id));
    if resources.len() > Inventory::RESOURCES_MAX {
        problems.push(format!("only {} of {} resources are kept", Inventory::RESOURCES_MAX, resources.len()));
        resources.truncate(Inventory::RESOURCES_MAX);
    }
    problems.extend(users::add(reader, &around, &mut resources).await?);
    problems.sort_unstable();
    problems.dedup();
    problems.truncate(PROBLEMS_MAX);

    let existing: Vec<_> = resources.iter().map(|one| (one.id.clone(), one.parent.clone())).collect();
    let ids: Vec<ResourceRef> = existing.iter().map(|(id, _)| id.clone()).collect();
    Ok(Inventory {
        taken_at: now,
        kubernetes,
        architectures: architectures(&around),
        namespace: namespace.to_owned(),
        control_plane: operators::found(&executors.pods.items),
        under_way: under_way::under_way(executors.unfinished(), &existing),
        history: history::of(&executors.tasks.items, &results.items, &ids),
        resources,
        problems,
    })
}

/// One resource, read afresh: what is asked before each task, and what an outcome rests on after each Job. What may not
/// be read is an error where it hides the resource itself, and a doubt where it hides part of its state.
pub async fn read_resource(
    edge: &Edge,
    resource: &ResourceRef,
    resource_namespace: &str,
) -> Result<ResourceSeen, EdgeError> {
    let budget = Budget::of(edge.limits());
    let reader = Reader::new(edge, &budget);
    let reading = Box::pin(Snapshot::around(reader, edge.namespace(), resource, resource_namespace));
    let seen = in_time(edge.limits().reading, reading).await?;
    let index = Index::of(&seen);
    let found = understand(&index).into_iter().find(|evidence| evidence.id == *resource);
    let Some(evidence) = found else {
        return match absence(&seen, resource.kind) {
            Absence::Seen => Ok(ResourceSeen::Gone),
            Absence::NotServed => Err(EdgeError::NoSuchApi { resource: kinds::of(resource.kind).object.qualified() }),
            Absence::Hidden(gap) => Err(hidden(resource, gap)),
        };
    };
    let around = settled::around(&index, &evidence);
    Ok(ResourceSeen::Found(evidence.into_state(around)))
}

/// What surrounds a resource whose upgrade may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Around {
    /// The operators.
    pub operators: Vec<Component>,
    /// Who works on the resource now, of whomever: on itself, on its parent, or on one of its pools.
    pub busy: Option<String>,
}

/// The operators and whoever is busy with the resource, read afresh: one list of Pods shows both. What cannot be read
/// is an error, since it may hide somebody.
pub async fn around(edge: &Edge, resource: &ResourceRef) -> Result<Around, EdgeError> {
    in_time(edge.limits().reading, Box::pin(around_in_any_time(edge, resource))).await
}

async fn around_in_any_time(edge: &Edge, resource: &ResourceRef) -> Result<Around, EdgeError> {
    let budget = Budget::of(edge.limits());
    let reader = Reader::new(edge, &budget);
    let executors = Executors::read(reader, edge.namespace()).await?;
    if let Some(gap) = executors.hiding().next() {
        return Err(unreadable("list", "jobs and pods", gap.clone()));
    }
    let busy = busy_with(reader, edge.namespace(), &executors, resource).await?;
    Ok(Around { operators: operators::found(&executors.pods.items), busy })
}

async fn busy_with(
    reader: Reader<'_>,
    namespace: &str,
    executors: &Executors,
    resource: &ResourceRef,
) -> Result<Option<String>, EdgeError> {
    let unfinished = executors.unfinished();
    if unfinished.is_empty() {
        return Ok(None);
    }
    let relatives = relatives(reader, namespace, resource).await?;
    let about = |one: &Unfinished| match &one.resources {
        None => true,
        Some(named) => named.contains(resource) || relatives.iter().any(|relative| named.contains(relative)),
    };
    Ok(unfinished.into_iter().find(about).map(|one| one.by))
}

/// Whether nobody uses what an upgrade of the resource stops, read afresh.
pub async fn unused(edge: &Edge, resource: &ResourceRef) -> Result<Condition, EdgeError> {
    let budget = Budget::of(edge.limits());
    let reading = Box::pin(users::unused(Reader::new(edge, &budget), edge.namespace(), resource));
    in_time(edge.limits().reading, reading).await
}

/// Everything that the snapshot shows.
fn understand(seen: &Index<'_>) -> Vec<Evidence> {
    let kinds = [
        pools::pool_clusters(seen),
        pools::pool_claims(seen),
        cstor_volumes::csi(seen),
        cstor_volumes::legacy(seen),
        jiva_volumes::csi(seen),
        jiva_volumes::legacy(seen),
    ];
    kinds.into_iter().flatten().collect()
}

/// The parent of a pool, or the pools of a parent.
async fn relatives(reader: Reader<'_>, namespace: &str, resource: &ResourceRef) -> Result<Vec<ResourceRef>, EdgeError> {
    let (pool, label) = match resource.kind {
        ResourceKind::CstorPoolInstance | ResourceKind::CstorPoolCluster => {
            (ResourceKind::CstorPoolInstance, POOL_CLUSTER_LABEL)
        }
        ResourceKind::CstorPool | ResourceKind::StoragePoolClaim => (ResourceKind::CstorPool, POOL_CLAIM_LABEL),
        ResourceKind::CstorVolume
        | ResourceKind::LegacyCstorVolume
        | ResourceKind::JivaVolume
        | ResourceKind::LegacyJivaVolume => return Ok(Vec::new()),
    };
    let pools: Listing<Pool> = reader.list(&kinds::of(pool).object, Some(namespace), label).await?;
    if let Some(gap) = pools.gap {
        return Err(unreadable("list", kinds::of(pool).object.plural, gap));
    }
    let related = pools.items.iter().filter_map(|one| {
        let parent = one.metadata.label(label);
        if resource.kind == pool {
            let kind = kinds::of(pool).parent?;
            (one.metadata.name == resource.name).then(|| ResourceRef { kind, name: parent.to_owned() })
        } else {
            (parent == resource.name).then(|| ResourceRef { kind: pool, name: one.metadata.name.clone() })
        }
    });
    Ok(related.collect())
}

/// Why a resource is not in a snapshot.
enum Absence<'a> {
    /// It does not exist.
    Seen,
    /// The cluster does not serve its kind: perhaps it does not yet, since an API server starts without its CRDs.
    NotServed,
    /// It may be there.
    Hidden(&'a str),
}

fn absence(seen: &Snapshot, kind: ResourceKind) -> Absence<'_> {
    let (gap, served) = match kind {
        ResourceKind::CstorPoolInstance => (&seen.instances.gap, seen.instances.served),
        ResourceKind::CstorPoolCluster => (&seen.pool_clusters.gap, seen.pool_clusters.served),
        ResourceKind::CstorPool => (&seen.pools.gap, seen.pools.served),
        ResourceKind::StoragePoolClaim => (&seen.pool_claims.gap, seen.pool_claims.served),
        ResourceKind::CstorVolume => (&seen.volumes.gap, seen.volumes.served),
        ResourceKind::LegacyCstorVolume => (&seen.legacy_volumes.gap, seen.legacy_volumes.served),
        ResourceKind::JivaVolume => (&seen.jivas.gap, seen.jivas.served),
        ResourceKind::LegacyJivaVolume => (&seen.deployments.gap, seen.deployments.served),
    };
    match (gap, served) {
        (Some(gap), _) => Absence::Hidden(gap),
        (None, true) => Absence::Seen,
        (None, false) => Absence::NotServed,
    }
}

fn hidden(resource: &ResourceRef, gap: &str) -> EdgeError {
    unreadable("get", &resource.to_string(), gap.to_owned())
}

fn unreadable(verb: &'static str, resource: &str, message: String) -> EdgeError {
    EdgeError::Forbidden { verb, resource: resource.to_owned(), message }
}

/// The namespaces of claims whose legacy volumes have nothing in the OpenEBS namespace.
fn claims_namespaces(seen: &Snapshot, around: &Surroundings) -> BTreeSet<String> {
    let here: BTreeSet<&str> =
        seen.deployments.items.iter().map(|deployment| deployment.metadata.label(VOLUME_LABEL)).collect();
    let legacy = around.volumes.items.iter().filter(|volume| {
        let by = volume.metadata.annotations.get(PROVISIONED_BY).map(String::as_str);
        let labelled = !volume.metadata.label("openebs.io/cas-type").is_empty();
        volume.spec.csi.driver.is_empty() && (by == Some(LEGACY_PROVISIONER) || labelled)
    });
    legacy
        .filter(|volume| !here.contains(volume.metadata.name.as_str()))
        .map(|volume| volume.spec.claim_ref.namespace.clone())
        .filter(|place| *place != seen.namespace && crate::domain::fleet::check_object_name(place).is_ok())
        .collect()
}

fn architectures(around: &Surroundings) -> Vec<String> {
    let names: BTreeSet<String> = around
        .nodes
        .items
        .iter()
        .map(|node| plain(&node.status.node_info.architecture, 32))
        .filter(|name| !name.is_empty())
        .collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests;
