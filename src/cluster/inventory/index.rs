//! A snapshot whose objects are found by what they belong to: a cluster that shows tens of thousands of them shall cost
//! its size, not the square of it.

use std::collections::HashMap;
use std::ops::Deref;

use super::listing::Listing;
use super::objects::{Object, Pool, Replica, Service, VolumeConfig, Workload};
use super::snapshot::{
    INSTANCE_DEPLOYMENT_LABEL, POOL_CLAIM_LABEL, POOL_CLUSTER_LABEL, POOL_DEPLOYMENT_LABEL, Snapshot, VOLUME_LABEL,
};

/// Objects by the name of what they belong to.
pub(super) struct Owned<'a, T>(HashMap<&'a str, Vec<&'a T>>);

impl<'a, T: Object> Owned<'a, T> {
    fn by_label(listing: &'a Listing<T>, label: &str) -> Self {
        Self::by(listing, |item| item.meta().label(label))
    }

    fn by(listing: &'a Listing<T>, key: impl Fn(&'a T) -> &'a str) -> Self {
        let mut owned: HashMap<&str, Vec<&T>> = HashMap::new();
        for item in &listing.items {
            let name = key(item);
            if !name.is_empty() {
                owned.entry(name).or_default().push(item);
            }
        }
        Self(owned)
    }

    /// What belongs to `owner`.
    pub fn of(&self, owner: &str) -> &[&'a T] {
        self.0.get(owner).map_or(&[], Vec::as_slice)
    }

    /// Every owner, sorted.
    pub fn owners(&self) -> Vec<&'a str> {
        let mut owners: Vec<_> = self.0.keys().copied().collect();
        owners.sort_unstable();
        owners
    }
}

/// A snapshot with its objects by owner.
pub(super) struct Index<'a> {
    all: &'a Snapshot,
    /// By pool cluster.
    pub instances_of: Owned<'a, Pool>,
    /// By pool claim.
    pub pools_of: Owned<'a, Pool>,
    /// By pool instance.
    pub instance_deployments: Owned<'a, Workload>,
    /// By legacy pool.
    pub pool_deployments: Owned<'a, Workload>,
    /// By volume.
    pub volume_deployments: Owned<'a, Workload>,
    /// By volume.
    pub volume_sets: Owned<'a, Workload>,
    /// By volume.
    pub volume_services: Owned<'a, Service>,
    /// By volume.
    pub replicas_of: Owned<'a, Replica>,
    /// By volume.
    pub legacy_replicas_of: Owned<'a, Replica>,
    /// By volume, whose name they bear.
    pub volume_configs_of: Owned<'a, VolumeConfig>,
}

impl<'a> Index<'a> {
    pub fn of(all: &'a Snapshot) -> Self {
        Self {
            all,
            instances_of: Owned::by_label(&all.instances, POOL_CLUSTER_LABEL),
            pools_of: Owned::by_label(&all.pools, POOL_CLAIM_LABEL),
            instance_deployments: Owned::by_label(&all.deployments, INSTANCE_DEPLOYMENT_LABEL),
            pool_deployments: Owned::by_label(&all.deployments, POOL_DEPLOYMENT_LABEL),
            volume_deployments: Owned::by_label(&all.deployments, VOLUME_LABEL),
            volume_sets: Owned::by_label(&all.stateful_sets, VOLUME_LABEL),
            volume_services: Owned::by_label(&all.services, VOLUME_LABEL),
            replicas_of: Owned::by_label(&all.replicas, VOLUME_LABEL),
            legacy_replicas_of: Owned::by_label(&all.legacy_replicas, VOLUME_LABEL),
            volume_configs_of: Owned::by(&all.volume_configs, |config| config.meta().name.as_str()),
        }
    }
}

impl Deref for Index<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        self.all
    }
}
