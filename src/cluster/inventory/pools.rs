//! Pools and what groups them, of both engines: CSPC with CSPIs, SPC with CSPs. They differ in names only.

use super::evidence::{Evidence, VERSION_LABEL, said};
use super::index::Index;
use super::objects::{Object as _, Pool, Workload};
use super::snapshot::{POOL_CLAIM_LABEL, POOL_CLUSTER_LABEL};
use crate::domain::inventory::{Condition, Replicas};
use crate::domain::{ResourceKind, ResourceRef};
use crate::openebs::kinds;

/// What tells the two engines' pools apart.
pub(super) struct Engine {
    pub pool: ResourceKind,
    pub parent: ResourceKind,
    /// On pools: the parent's name.
    pub parent_label: &'static str,
    /// The phase of a pool that serves.
    pub online: &'static [&'static str],
}

pub(super) const CSPC: Engine = Engine {
    pool: ResourceKind::CstorPoolInstance,
    parent: ResourceKind::CstorPoolCluster,
    parent_label: POOL_CLUSTER_LABEL,
    online: &["ONLINE"],
};

pub(super) const SPC: Engine = Engine {
    pool: ResourceKind::CstorPool,
    parent: ResourceKind::StoragePoolClaim,
    parent_label: POOL_CLAIM_LABEL,
    online: &["Healthy", "ONLINE", "Online"],
};

/// All pool instances and pool clusters.
pub(super) fn pool_clusters(seen: &Index<'_>) -> Vec<Evidence> {
    let mut found: Vec<Evidence> = seen.instances.items.iter().map(|pool| pool_evidence(seen, &CSPC, pool)).collect();
    for cluster in &seen.pool_clusters.items {
        let wanted = u32::try_from(cluster.spec.pools.len()).unwrap_or(u32::MAX);
        let mut evidence = parent_evidence(seen, &CSPC, &cluster.metadata.name, Some(wanted));
        evidence.versioned(&format!("CStorPoolCluster/{}", cluster.metadata.name), &cluster.version_details, None);
        behind_its_pools(seen, &CSPC, &mut evidence, &cluster.version_details.status.current);
        found.push(evidence);
    }
    found
}

/// All pools and pool claims of the legacy engine.
pub(super) fn pool_claims(seen: &Index<'_>) -> Vec<Evidence> {
    let mut found: Vec<Evidence> = seen.pools.items.iter().map(|pool| pool_evidence(seen, &SPC, pool)).collect();
    for claim in &seen.pool_claims.items {
        let mut evidence = parent_evidence(seen, &SPC, &claim.metadata.name, None);
        let object = format!("StoragePoolClaim/{}", claim.metadata.name);
        evidence.versioned(&object, &claim.version_details, Some(&claim.metadata));
        behind_its_pools(seen, &SPC, &mut evidence, &claim.version_details.status.current);
        found.push(evidence);
    }
    found
}

/// The pools of an engine.
pub(super) fn of<'a>(seen: &'a Index<'_>, engine: &Engine) -> &'a [Pool] {
    match engine.pool {
        ResourceKind::CstorPool => &seen.pools.items,
        _ => &seen.instances.items,
    }
}

/// Whether a pool serves reads and writes.
pub(super) fn serves(engine: &Engine, pool: &Pool) -> Condition {
    let name = &pool.metadata.name;
    if !engine.online.contains(&pool.status.phase.as_str()) {
        return Condition::Fails(format!("pool {name} is {}", said(&pool.status.phase)));
    }
    if pool.status.read_only {
        return Condition::Fails(format!("pool {name} is read-only"));
    }
    Condition::Holds
}

/// The pools of a parent.
pub(super) fn children<'s, 'a>(seen: &'s Index<'a>, engine: &Engine, parent: &str) -> &'s [&'a Pool] {
    match engine.pool {
        ResourceKind::CstorPool => seen.pools_of.of(parent),
        _ => seen.instances_of.of(parent),
    }
}

/// The Deployment of a pool.
pub(super) fn deployment<'a>(seen: &Index<'a>, engine: &Engine, pool: &str) -> Option<&'a Workload> {
    let owned = match engine.pool {
        ResourceKind::CstorPool => seen.pool_deployments.of(pool),
        _ => seen.instance_deployments.of(pool),
    };
    owned.iter().find(|deployment| deployment.meta().namespace == seen.namespace).copied()
}

fn pool_evidence(seen: &Index<'_>, engine: &Engine, pool: &Pool) -> Evidence {
    let name = &pool.metadata.name;
    let mut evidence = Evidence::of(ResourceRef { kind: engine.pool, name: name.clone() }, &seen.namespace);
    let parent = pool.metadata.label(engine.parent_label);
    evidence.parent = (!parent.is_empty()).then(|| ResourceRef { kind: engine.parent, name: parent.to_owned() });
    evidence.pools = vec![name.clone()];
    let object = format!("{}/{name}", kinds::of(engine.pool).object.kind);
    evidence.versioned(&object, &pool.version_details, None);
    evidence.labelled(&object, &pool.metadata);
    match deployment(seen, engine, name) {
        Some(deployment) => evidence.deployment(deployment),
        None => evidence.needs_rolled_out(Condition::Fails(format!("pool {name} has no Deployment"))),
    }
    evidence.doubt(seen.deployments.gap.as_ref());
    evidence.needs_healthy(serves(engine, pool));
    let host =
        [pool.metadata.label("kubernetes.io/hostname"), &pool.spec.host_name].into_iter().find(|h| !h.is_empty());
    if let Some(host) = host {
        evidence.details.insert("node".to_owned(), said(host));
    }
    evidence
}

/// What groups pools: it is as healthy as they are. Its own version is added by the caller.
fn parent_evidence(seen: &Index<'_>, engine: &Engine, name: &str, wanted: Option<u32>) -> Evidence {
    let mut evidence = Evidence::of(ResourceRef { kind: engine.parent, name: name.to_owned() }, &seen.namespace);
    let children = children(seen, engine, name);
    let mut healthy = 0;
    for pool in children {
        let one = pool_evidence(seen, engine, pool);
        healthy += u32::from(one.healthy.holds());
        evidence.needs_healthy(one.healthy);
        evidence.needs_rolled_out(one.rolled_out);
        evidence.pools.push(pool.metadata.name.clone());
    }
    let found = u32::try_from(children.len()).unwrap_or(u32::MAX);
    let wanted = wanted.unwrap_or(found);
    evidence.replicas = Some(Replicas { wanted, healthy });
    if found == 0 || found < wanted {
        evidence.needs_healthy(Condition::Fails(format!("{found} of {wanted} pools exist")));
    }
    let gap = if engine.pool == ResourceKind::CstorPool { &seen.pools.gap } else { &seen.instances.gap };
    evidence.doubt(gap.as_ref());
    let mut labels = children.iter().map(|pool| (pool.metadata.name.as_str(), pool.metadata.label(VERSION_LABEL)));
    if let Some((first, version)) = labels.next()
        && let Some((other, another)) = labels.find(|(_, another)| *another != version)
    {
        let (version, another) = (said(version), said(another));
        evidence.sign(format!("mixed versions: pool {first} is at {version}, pool {other} at {another}"));
    }
    evidence.pools.sort_unstable();
    evidence
}

/// All pools are where their parent is not: their upgrade was never closed.
fn behind_its_pools(seen: &Index<'_>, engine: &Engine, evidence: &mut Evidence, current: &str) {
    let Some(first) = children(seen, engine, &evidence.id.name).first() else { return };
    let first = first.metadata.label(VERSION_LABEL);
    if first != current && !current.is_empty() && !first.is_empty() {
        let parent = &evidence.id;
        evidence.sign(format!("its pools are at {}, {parent} itself at {}", said(first), said(current)));
    }
}
