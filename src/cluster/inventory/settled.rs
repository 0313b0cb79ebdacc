//! Whether everything that shares a pool cluster or replicas with a resource is healthy and nothing rebuilds: what must
//! hold before a pool is restarted, so that no volume ever loses its quorum.

use std::collections::BTreeSet;

use super::cstor_volumes::{replica_is_healthy, volume_is_healthy};
use super::evidence::{Around, Evidence, deployment_rolled_out};
use super::index::Index;
use super::objects::{Object as _, Pool, Replica};
use super::pools::{self, CSPC, Engine, SPC};
use super::snapshot::{REPLICA_INSTANCE_LABEL, REPLICA_POOL_LABEL, VOLUME_LABEL};
use crate::domain::ResourceKind;
use crate::domain::inventory::Condition;

/// Whether what shares pools or replicas with the resource is settled, and what lies on it.
///
/// What ails the resource itself counts as neither, for it is its own evidence: else an attempt that would repair it
/// waited until it had healed by itself.
pub(super) fn around(seen: &Index<'_>, resource: &Evidence) -> Around {
    match resource.id.kind {
        ResourceKind::CstorPoolInstance | ResourceKind::CstorPoolCluster | ResourceKind::CstorVolume => {
            around_pools(seen, &CSPC, resource)
        }
        ResourceKind::CstorPool | ResourceKind::StoragePoolClaim | ResourceKind::LegacyCstorVolume => {
            around_pools(seen, &SPC, resource)
        }
        // A Jiva volume shares nothing with others.
        ResourceKind::JivaVolume | ResourceKind::LegacyJivaVolume => {
            Around { load: Condition::Holds, settled: Condition::Holds }
        }
    }
}

fn around_pools(seen: &Index<'_>, engine: &Engine, resource: &Evidence) -> Around {
    let Evidence { id, pools: own_pools, .. } = resource;
    let of_pools = id.kind == engine.pool || id.kind == engine.parent;
    let is_own_pool = |name: &str| of_pools && own_pools.iter().any(|own| own == name);
    let pools = sharing(seen, engine, own_pools);
    let names: BTreeSet<&str> = pools.iter().map(|pool| pool.metadata.name.as_str()).collect();
    let (mut load, mut settled) = (Condition::Holds, Condition::Holds);
    for pool in pools.iter().filter(|pool| !is_own_pool(&pool.metadata.name)) {
        settled = settled.and(pools::serves(engine, pool));
        settled = settled.and(match pools::deployment(seen, engine, &pool.metadata.name) {
            Some(deployment) => deployment_rolled_out(&format!("Deployment/{}", deployment.metadata.name), deployment),
            None => Condition::Fails(format!("pool {} has no Deployment", pool.metadata.name)),
        });
    }
    let (replicas, pool_label) = match engine.pool {
        ResourceKind::CstorPool => (&seen.legacy_replicas, REPLICA_POOL_LABEL),
        _ => (&seen.replicas, REPLICA_INSTANCE_LABEL),
    };
    // One that is being deleted will not come back, and nobody waits for it.
    let there = |replica: &&Replica| {
        replica.metadata.deletion_timestamp.is_none() && names.contains(replica.meta().label(pool_label))
    };
    let replicas_here: Vec<&Replica> = replicas.items.iter().filter(there).collect();
    // The pools of a parent carry each other's volumes: only a single pool is sure to be the one that ails its load.
    let on_it = |replica: &Replica| id.kind == engine.pool && is_own_pool(replica.meta().label(pool_label));
    let is_own_volume = |name: &str| !of_pools && name == id.name;
    let mut loaded = BTreeSet::new();
    for replica in &replicas_here {
        let volume = replica.metadata.label(VOLUME_LABEL);
        if on_it(replica) {
            loaded.insert(volume);
            load = load.and(replica_is_healthy(replica));
        } else if !is_own_volume(volume) {
            settled = settled.and(replica_is_healthy(replica));
        }
    }
    let volumes: BTreeSet<&str> = replicas_here.iter().map(|replica| replica.metadata.label(VOLUME_LABEL)).collect();
    if engine.pool == ResourceKind::CstorPoolInstance {
        let here = |name: &str| volumes.contains(name) && !is_own_volume(name);
        for volume in seen.volumes.items.iter().filter(|volume| here(&volume.metadata.name)) {
            let (name, healthy) = (volume.metadata.name.as_str(), volume_is_healthy(volume));
            if loaded.contains(name) {
                load = load.and(healthy);
            } else {
                settled = settled.and(healthy);
            }
        }
    }
    let parts = match engine.pool {
        ResourceKind::CstorPool => [&seen.pools.gap, &replicas.gap, &seen.deployments.gap],
        _ => [&seen.instances.gap, &replicas.gap, &seen.deployments.gap],
    };
    // What seems to be missing may be among what could not be read.
    let settled = parts.into_iter().flatten().next().map_or(settled, |gap| Condition::Unknown(gap.clone()));
    Around { load, settled }
}

/// The named pools and all that have a parent in common with them.
fn sharing<'a>(seen: &'a Index<'_>, engine: &Engine, names: &[String]) -> Vec<&'a Pool> {
    let all = pools::of(seen, engine);
    let own: Vec<&Pool> = all.iter().filter(|pool| names.contains(&pool.metadata.name)).collect();
    let parents: BTreeSet<&str> =
        own.iter().map(|pool| pool.metadata.label(engine.parent_label)).filter(|parent| !parent.is_empty()).collect();
    all.iter()
        .filter(|pool| {
            names.contains(&pool.metadata.name) || parents.contains(pool.metadata.label(engine.parent_label))
        })
        .collect()
}
