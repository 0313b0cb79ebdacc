//! The kinds of thing that can be upgraded, one file and one row each.
//!
//! A further kind (a migration to the CSI engine, OpenEBS 4's own upgrade Job, a user's recipe) is one more variant of
//! [`ResourceKind`], one more file here with a `KIND`, and one more arm in [`of`].

mod csi_jiva_volume;
mod cstor_pool;
mod cstor_pool_cluster;
mod cstor_pool_instance;
mod cstor_volume;
mod legacy_cstor_volume;
mod legacy_jiva_volume;
mod storage_pool_claim;

use super::control_plane::Operator;
use crate::domain::ResourceKind;

/// What the hub has to know about one kind of thing that can be upgraded.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The kind that this row is about.
    pub kind: ResourceKind,
    /// The name by which fleet files select it; kinds that users take for one share it.
    pub family: &'static str,
    /// How people call one of them.
    pub noun: &'static str,
    /// Whose executor knows it.
    pub line: Line,
    /// The control-plane component that must be at the target first.
    pub operator: Operator,
    /// The task's place in a cluster: lower ranks first.
    pub rank: u8,
    /// The kind that groups it and has a closing task of its own.
    pub parent: Option<ResourceKind>,
    /// The member of an UpgradeTask's spec that names it.
    pub member: &'static str,
    /// The objects that tell that there is one, in all eras.
    pub object: ApiObject,
    /// The executors' sub-command in argument mode; `None` where only `resource` mode knows it.
    pub subcommand: Option<&'static str>,
    /// The steps that an executor writes into its UpgradeTask, in order; empty where it writes none.
    pub steps: &'static [&'static str],
    /// How long one takes as a rule, in seconds: only until there is history.
    pub expected_seconds: u32,
}

/// Whose executor knows a kind: the images have sub-commands of the same names for different engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// `m-upgrade`: what the external provisioner made, up to 2.12.2.
    Legacy,
    /// `upgrade`: CSPC and the CSI engines, 1.11.0 to 3.6.0.
    Csi,
}

/// A kind of Kubernetes object, in whichever versions clusters serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiObject {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// Its versions, newest first.
    pub versions: &'static [&'static str],
    /// The plural in URLs and RBAC rules.
    pub plural: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
}

impl ApiObject {
    /// Its name as in RBAC rules and CRDs: `cstorpoolclusters.cstor.openebs.io`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// The row of `kind`.
pub const fn of(kind: ResourceKind) -> &'static Kind {
    match kind {
        ResourceKind::CstorPoolInstance => &cstor_pool_instance::KIND,
        ResourceKind::CstorPoolCluster => &cstor_pool_cluster::KIND,
        ResourceKind::CstorPool => &cstor_pool::KIND,
        ResourceKind::StoragePoolClaim => &storage_pool_claim::KIND,
        ResourceKind::CstorVolume => &cstor_volume::KIND,
        ResourceKind::LegacyCstorVolume => &legacy_cstor_volume::KIND,
        ResourceKind::JivaVolume => &csi_jiva_volume::KIND,
        ResourceKind::LegacyJivaVolume => &legacy_jiva_volume::KIND,
    }
}

/// Every row, in the order of [`ResourceKind::ALL`].
pub fn all() -> impl Iterator<Item = &'static Kind> {
    ResourceKind::ALL.into_iter().map(of)
}

/// The names by which fleet files select kinds, sorted.
pub fn families() -> Vec<&'static str> {
    let mut families: Vec<_> = all().map(|kind| kind.family).collect();
    families.sort_unstable();
    families.dedup();
    families
}

/// The kinds that a fleet file selects by `family`: a parent's with its pools, and both engines' of a volume; `None`
/// for a word that is no family.
pub fn selected_by(family: &str) -> Option<Vec<ResourceKind>> {
    let own: Vec<_> = all().filter(|kind| kind.family == family).map(|kind| kind.kind).collect();
    let of_parents =
        all().filter(|kind| kind.parent.is_some_and(|parent| own.contains(&parent)) && !own.contains(&kind.kind));
    let selected: Vec<_> = own.iter().copied().chain(of_parents.map(|kind| kind.kind)).collect();
    (!selected.is_empty()).then_some(selected)
}

/// The kind that pools of `parent` have, where `parent` is a kind that groups pools.
pub fn children_of(parent: ResourceKind) -> Option<ResourceKind> {
    all().find(|kind| kind.parent == Some(parent)).map(|kind| kind.kind)
}

// Ranks: pools, then their parents' closing tasks, then volumes; the engines in between are independent.
const POOL: u8 = 10;
const CLOSING: u8 = 20;
const VOLUME: u8 = 30;

/// The group of the CSPC engine's objects.
const CSTOR: &str = "cstor.openebs.io";
/// The group of everything older, and of JivaVolumes and UpgradeTasks.
const OPENEBS: &str = "openebs.io";

const PRE_UPGRADE: &str = "PRE_UPGRADE";
const POOL_INSTANCE_UPGRADE: &str = "POOL_INSTANCE_UPGRADE";
const REPLICA_UPGRADE: &str = "REPLICA_UPGRADE";
const TARGET_UPGRADE: &str = "TARGET_UPGRADE";
const VERIFY: &str = "VERIFY";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_about_its_own_kind() {
        for kind in ResourceKind::ALL {
            assert_eq!(of(kind).kind, kind);
        }
    }

    #[test]
    fn pools_come_before_their_parents_and_parents_before_volumes() {
        for kind in all() {
            if let Some(parent) = kind.parent {
                assert!(kind.rank < of(parent).rank, "{}", kind.kind);
            }
        }
        let last_pool = all().filter(|kind| children_of(kind.kind).is_some()).map(|kind| kind.rank).max();
        let first_volume = all().filter(|kind| kind.family.ends_with("Volume")).map(|kind| kind.rank).min();
        assert!(last_pool < first_volume);
    }

    #[test]
    fn a_family_covers_both_engines_and_a_parent_its_pools() {
        use ResourceKind as K;
        assert_eq!(selected_by("jivaVolume"), Some(vec![K::JivaVolume, K::LegacyJivaVolume]));
        assert_eq!(selected_by("cstorVolume"), Some(vec![K::CstorVolume, K::LegacyCstorVolume]));
        assert_eq!(selected_by("cstorPoolCluster"), Some(vec![K::CstorPoolCluster, K::CstorPoolInstance]));
        assert_eq!(selected_by("storagePoolClaim"), Some(vec![K::StoragePoolClaim, K::CstorPool]));
        assert_eq!(selected_by("cstorPoolInstance"), Some(vec![K::CstorPoolInstance]));
        assert_eq!(selected_by("zfsVolume"), None);
    }

    #[test]
    fn the_member_is_the_one_that_an_upgrade_task_carries() {
        use crate::domain::ResourceRef;
        use crate::openebs::upgrade_task::UpgradeTaskSpec;
        for kind in all() {
            let spec = UpgradeTaskSpec::naming(&ResourceRef { kind: kind.kind, name: "x".into() });
            let spec = serde_json::to_value(&spec).unwrap();
            assert!(spec.get(kind.member).is_some(), "{}: {spec}", kind.kind);
        }
    }
}
