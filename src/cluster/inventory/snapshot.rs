//! Everything that was read of a cluster at one time, or as much of it as one resource needs.

use std::collections::BTreeSet;

use futures::try_join;

use super::listing::{Listing, Reader};
use super::objects::{
    Attachment, DEPLOYMENTS, Jiva, LEGACY_REPLICAS, Node, PERSISTENT_VOLUMES, PersistentVolume, Pool, PoolClaim,
    PoolCluster, REPLICAS, Replica, SERVICES, STATEFUL_SETS, Service, VOLUME_CONFIGS, Volume, VolumeConfig, Workload,
};
use crate::cluster::EdgeError;
use crate::domain::{ResourceKind, ResourceRef};
use crate::openebs::kinds;

pub(super) const VOLUME_LABEL: &str = "openebs.io/persistent-volume";
pub(super) const POOL_CLUSTER_LABEL: &str = "openebs.io/cstor-pool-cluster";
pub(super) const POOL_CLAIM_LABEL: &str = "openebs.io/storage-pool-claim";
/// On Deployments of pool instances and of pools; the value is the pool's name.
pub(super) const INSTANCE_DEPLOYMENT_LABEL: &str = "openebs.io/cstor-pool-instance";
pub(super) const POOL_DEPLOYMENT_LABEL: &str = "openebs.io/cstor-pool";
/// On replicas; the value is the pool's name.
pub(super) const REPLICA_INSTANCE_LABEL: &str = "cstorpoolinstance.openebs.io/name";
pub(super) const REPLICA_POOL_LABEL: &str = "cstorpool.openebs.io/name";

/// More names than this make a selector longer than URLs should be: then all are listed.
const NAMES_IN_SELECTOR_MAX: usize = 40;

/// OpenEBS's data plane as read.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// The OpenEBS namespace.
    pub namespace: String,
    pub pool_clusters: Listing<PoolCluster>,
    pub instances: Listing<Pool>,
    pub volumes: Listing<Volume>,
    pub volume_configs: Listing<VolumeConfig>,
    pub replicas: Listing<Replica>,
    pub jivas: Listing<Jiva>,
    pub pool_claims: Listing<PoolClaim>,
    pub pools: Listing<Pool>,
    pub legacy_volumes: Listing<Volume>,
    pub legacy_replicas: Listing<Replica>,
    pub deployments: Listing<Workload>,
    pub stateful_sets: Listing<Workload>,
    pub services: Listing<Service>,
}

/// Objects of the cluster around it; read for the inventory only.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    pub volumes: Listing<PersistentVolume>,
    pub attachments: Listing<Attachment>,
    pub nodes: Listing<Node>,
}

impl Snapshot {
    /// Everything in the OpenEBS namespace.
    pub async fn whole(reader: Reader<'_>, namespace: &str) -> Result<Self, EdgeError> {
        let ns = Some(namespace);
        let object = |kind| &kinds::of(kind).object;
        let (pool_clusters, instances, volumes, volume_configs, replicas, jivas) = try_join!(
            reader.list(object(ResourceKind::CstorPoolCluster), ns, ""),
            reader.list(object(ResourceKind::CstorPoolInstance), ns, ""),
            reader.list(object(ResourceKind::CstorVolume), ns, ""),
            reader.list(&VOLUME_CONFIGS, ns, ""),
            reader.list(&REPLICAS, ns, ""),
            reader.list(object(ResourceKind::JivaVolume), ns, ""),
        )?;
        let (pool_claims, pools, legacy_volumes, legacy_replicas, deployments, stateful_sets, services) = try_join!(
            reader.list(object(ResourceKind::StoragePoolClaim), None, ""),
            reader.list(object(ResourceKind::CstorPool), None, ""),
            reader.list(object(ResourceKind::LegacyCstorVolume), ns, ""),
            reader.list(&LEGACY_REPLICAS, ns, ""),
            reader.list(&DEPLOYMENTS, ns, ""),
            reader.list(&STATEFUL_SETS, ns, VOLUME_LABEL),
            reader.list(&SERVICES, ns, VOLUME_LABEL),
        )?;
        Ok(Self {
            namespace: namespace.to_owned(),
            pool_clusters,
            instances,
            volumes,
            volume_configs,
            replicas,
            jivas,
            pool_claims,
            pools,
            legacy_volumes,
            legacy_replicas,
            deployments,
            stateful_sets,
            services,
        })
    }

    /// Adds the legacy volumes whose targets live in the namespace of their claims.
    /// Returns what could not be read there; it leaves the volumes of other namespaces in no doubt.
    pub async fn add_claims_namespace(
        &mut self,
        reader: Reader<'_>,
        namespace: &str,
    ) -> Result<Vec<String>, EdgeError> {
        let ns = Some(namespace);
        let (deployments, services, volumes) = try_join!(
            reader.list::<Workload>(&DEPLOYMENTS, ns, VOLUME_LABEL),
            reader.list::<Service>(&SERVICES, ns, VOLUME_LABEL),
            reader.list::<Volume>(&kinds::of(ResourceKind::LegacyCstorVolume).object, ns, ""),
        )?;
        self.deployments.items.extend(deployments.items);
        self.services.items.extend(services.items);
        self.legacy_volumes.items.extend(volumes.items);
        Ok([deployments.gap, services.gap, volumes.gap].into_iter().flatten().collect())
    }

    /// As much as tells the state of one resource, and of what shares its pools.
    pub async fn around(
        reader: Reader<'_>,
        namespace: &str,
        resource: &ResourceRef,
        resource_namespace: &str,
    ) -> Result<Self, EdgeError> {
        let mut seen = Self { namespace: namespace.to_owned(), ..Self::default() };
        let name = resource.name.as_str();
        match resource.kind {
            ResourceKind::CstorPoolInstance => seen.read_instances(reader, &[name.to_owned()]).await?,
            ResourceKind::CstorPoolCluster => seen.read_pool_cluster(reader, name).await?,
            ResourceKind::CstorPool => seen.read_pools(reader, &[name.to_owned()]).await?,
            ResourceKind::StoragePoolClaim => seen.read_pool_claim(reader, name).await?,
            ResourceKind::CstorVolume => seen.read_volume(reader, name).await?,
            ResourceKind::LegacyCstorVolume => seen.read_legacy_volume(reader, name, resource_namespace).await?,
            ResourceKind::JivaVolume => {
                let jiva = &kinds::of(ResourceKind::JivaVolume).object;
                let labelled = of_volume(name);
                let ns = Some(namespace);
                (seen.jivas, seen.deployments, seen.stateful_sets, seen.services) = try_join!(
                    reader.get(jiva, ns, name),
                    reader.list(&DEPLOYMENTS, ns, &labelled),
                    reader.list(&STATEFUL_SETS, ns, &labelled),
                    reader.list(&SERVICES, ns, &labelled),
                )?;
            }
            ResourceKind::LegacyJivaVolume => {
                let labelled = of_volume(name);
                let ns = Some(resource_namespace);
                (seen.deployments, seen.services) =
                    try_join!(reader.list(&DEPLOYMENTS, ns, &labelled), reader.list(&SERVICES, ns, &labelled))?;
                // An upgrade from before 1.9 moves its objects to the OpenEBS namespace.
                if resource_namespace != namespace {
                    let ns = Some(namespace);
                    let (deployments, services) =
                        try_join!(reader.list(&DEPLOYMENTS, ns, &labelled), reader.list(&SERVICES, ns, &labelled))?;
                    seen.deployments.extend(deployments);
                    seen.services.extend(services);
                }
            }
        }
        Ok(seen)
    }

    async fn read_pool_cluster(&mut self, reader: Reader<'_>, name: &str) -> Result<(), EdgeError> {
        let object = &kinds::of(ResourceKind::CstorPoolCluster).object;
        let instance = &kinds::of(ResourceKind::CstorPoolInstance).object;
        let ns = Some(self.namespace.as_str());
        let labelled = format!("{POOL_CLUSTER_LABEL}={name}");
        (self.pool_clusters, self.instances) =
            try_join!(reader.get(object, ns, name), reader.list(instance, ns, &labelled))?;
        self.read_beside_instances(reader).await
    }

    /// The named instances, with their whole pool clusters.
    async fn read_instances(&mut self, reader: Reader<'_>, names: &[String]) -> Result<(), EdgeError> {
        let object = &kinds::of(ResourceKind::CstorPoolInstance).object;
        let all: Listing<Pool> = reader.list(object, Some(&self.namespace), "").await?;
        self.instances = same_parents(all, names, POOL_CLUSTER_LABEL);
        self.read_beside_instances(reader).await
    }

    /// Deployments, replicas and volumes of the instances that were read.
    async fn read_beside_instances(&mut self, reader: Reader<'_>) -> Result<(), EdgeError> {
        let ns = Some(self.namespace.as_str());
        let names: Vec<&str> = self.instances.items.iter().map(|pool| pool.metadata.name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let volume = &kinds::of(ResourceKind::CstorVolume).object;
        let (by_deployment, by_replica) =
            (one_of(INSTANCE_DEPLOYMENT_LABEL, &names), one_of(REPLICA_INSTANCE_LABEL, &names));
        let (deployments, replicas) = try_join!(
            reader.list(&DEPLOYMENTS, ns, &by_deployment),
            reader.list::<Replica>(&REPLICAS, ns, &by_replica),
        )?;
        let selector = one_of(VOLUME_LABEL, &volumes_of(&replicas));
        let volumes =
            if replicas.items.is_empty() { Listing::default() } else { reader.list(volume, ns, &selector).await? };
        self.deployments.extend(deployments);
        self.replicas = replicas;
        self.volumes = volumes;
        Ok(())
    }

    async fn read_pool_claim(&mut self, reader: Reader<'_>, name: &str) -> Result<(), EdgeError> {
        let object = &kinds::of(ResourceKind::StoragePoolClaim).object;
        let pool = &kinds::of(ResourceKind::CstorPool).object;
        let labelled = format!("{POOL_CLAIM_LABEL}={name}");
        (self.pool_claims, self.pools) = try_join!(reader.get(object, None, name), reader.list(pool, None, &labelled))?;
        self.read_beside_pools(reader).await
    }

    async fn read_pools(&mut self, reader: Reader<'_>, names: &[String]) -> Result<(), EdgeError> {
        let object = &kinds::of(ResourceKind::CstorPool).object;
        let all: Listing<Pool> = reader.list(object, None, "").await?;
        self.pools = same_parents(all, names, POOL_CLAIM_LABEL);
        self.read_beside_pools(reader).await
    }

    async fn read_beside_pools(&mut self, reader: Reader<'_>) -> Result<(), EdgeError> {
        let ns = Some(self.namespace.as_str());
        let names: Vec<&str> = self.pools.items.iter().map(|pool| pool.metadata.name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (by_deployment, by_replica) = (one_of(POOL_DEPLOYMENT_LABEL, &names), one_of(REPLICA_POOL_LABEL, &names));
        let (deployments, replicas) =
            try_join!(reader.list(&DEPLOYMENTS, ns, &by_deployment), reader.list(&LEGACY_REPLICAS, ns, &by_replica),)?;
        self.deployments.extend(deployments);
        self.legacy_replicas = replicas;
        Ok(())
    }

    async fn read_volume(&mut self, reader: Reader<'_>, name: &str) -> Result<(), EdgeError> {
        let volume = &kinds::of(ResourceKind::CstorVolume).object;
        let labelled = of_volume(name);
        let ns = Some(self.namespace.as_str());
        let (own, configs, deployments, services, replicas) = try_join!(
            reader.get::<Volume>(volume, ns, name),
            reader.get(&VOLUME_CONFIGS, ns, name),
            reader.list(&DEPLOYMENTS, ns, &labelled),
            reader.list(&SERVICES, ns, &labelled),
            reader.list::<Replica>(&REPLICAS, ns, &labelled),
        )?;
        let pools = pools_of(&replicas, REPLICA_INSTANCE_LABEL);
        if !pools.is_empty() {
            self.read_instances(reader, &pools).await?;
        }
        add_missing(&mut self.replicas, replicas);
        add_missing(&mut self.volumes, own);
        self.deployments.extend(deployments);
        (self.volume_configs, self.services) = (configs, services);
        Ok(())
    }

    async fn read_legacy_volume(&mut self, reader: Reader<'_>, name: &str, place: &str) -> Result<(), EdgeError> {
        let volume = &kinds::of(ResourceKind::LegacyCstorVolume).object;
        let labelled = of_volume(name);
        let (own, deployments, services, replicas) = try_join!(
            reader.get(volume, Some(place), name),
            reader.list(&DEPLOYMENTS, Some(place), &labelled),
            reader.list(&SERVICES, Some(place), &labelled),
            reader.list::<Replica>(&LEGACY_REPLICAS, Some(&self.namespace), &labelled),
        )?;
        let pools = pools_of(&replicas, REPLICA_POOL_LABEL);
        if !pools.is_empty() {
            self.read_pools(reader, &pools).await?;
        }
        add_missing(&mut self.legacy_replicas, replicas);
        self.deployments.extend(deployments);
        (self.legacy_volumes, self.services) = (own, services);
        Ok(())
    }

    /// Every gap, for the inventory's problems.
    pub fn gaps(&self) -> Vec<String> {
        let Self {
            namespace: _,
            pool_clusters,
            instances,
            volumes,
            volume_configs,
            replicas,
            jivas,
            pool_claims,
            pools,
            legacy_volumes,
            legacy_replicas,
            deployments,
            stateful_sets,
            services,
        } = self;
        let gaps = [
            &pool_clusters.gap,
            &instances.gap,
            &volumes.gap,
            &volume_configs.gap,
            &replicas.gap,
            &jivas.gap,
            &pool_claims.gap,
            &pools.gap,
            &legacy_volumes.gap,
            &legacy_replicas.gap,
            &deployments.gap,
            &stateful_sets.gap,
            &services.gap,
        ];
        gaps.into_iter().flatten().cloned().collect()
    }
}

impl Surroundings {
    pub async fn read(reader: Reader<'_>) -> Result<Self, EdgeError> {
        let (volumes, attachments, nodes) = try_join!(
            reader.list(&PERSISTENT_VOLUMES, None, ""),
            reader.list(&super::objects::ATTACHMENTS, None, ""),
            reader.list(&super::objects::NODES, None, ""),
        )?;
        Ok(Self { volumes, attachments, nodes })
    }
}

fn of_volume(name: &str) -> String {
    format!("{VOLUME_LABEL}={name}")
}

/// `key in (a,b)`, or every object that has the label if they are many.
fn one_of(key: &str, names: &[&str]) -> String {
    // Values that cannot be labels would make the whole selector invalid.
    let sound = |name: &&&str| name.len() <= 63 && !name.is_empty();
    let listed: Vec<&str> = names.iter().filter(sound).copied().collect();
    if listed.is_empty() || listed.len() > NAMES_IN_SELECTOR_MAX {
        return key.to_owned();
    }
    format!("{key} in ({})", listed.join(","))
}

fn volumes_of(replicas: &Listing<Replica>) -> Vec<&str> {
    let names: BTreeSet<&str> = replicas.items.iter().map(|replica| replica.metadata.label(VOLUME_LABEL)).collect();
    names.into_iter().collect()
}

fn pools_of(replicas: &Listing<Replica>, label: &str) -> Vec<String> {
    let names: BTreeSet<&str> = replicas.items.iter().map(|replica| replica.metadata.label(label)).collect();
    names.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Those that are named, and all with a parent in common with them.
fn same_parents(mut all: Listing<Pool>, names: &[String], label: &str) -> Listing<Pool> {
    let parents: BTreeSet<String> = all
        .items
        .iter()
        .filter(|pool| names.contains(&pool.metadata.name))
        .map(|pool| pool.metadata.label(label).to_owned())
        .filter(|parent| !parent.is_empty())
        .collect();
    all.items.retain(|pool| names.contains(&pool.metadata.name) || parents.contains(pool.metadata.label(label)));
    all
}

fn add_missing<T: super::objects::Object>(to: &mut Listing<T>, more: Listing<T>) {
    let known: BTreeSet<String> = to.items.iter().map(|item| item.meta().name.clone()).collect();
    let Listing { mut items, gap, served } = more;
    items.retain(|item| !known.contains(&item.meta().name));
    to.extend(Listing { items, gap, served });
}
