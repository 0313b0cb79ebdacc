//! The storage objects that can be upgraded.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of storage object a task upgrades, told apart by the engine that serves it: one row of
/// `openebs::kinds` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResourceKind {
    /// One pool instance (CSPI) of a cStor pool cluster.
    CstorPoolInstance,
    /// A cStor pool cluster (CSPC): the parent of pool instances.
    CstorPoolCluster,
    /// One pool (CSP) of a legacy storage pool claim.
    CstorPool,
    /// A legacy storage pool claim (SPC): the parent of pools.
    StoragePoolClaim,
    /// A cStor volume of the CSI engine (CVC, CV, CVRs).
    CstorVolume,
    /// A cStor volume of the external provisioner.
    LegacyCstorVolume,
    /// A Jiva volume of the CSI engine (JivaVolume).
    JivaVolume,
    /// A Jiva volume of the external provisioner.
    LegacyJivaVolume,
}

impl ResourceKind {
    /// Every kind, pools before volumes.
    pub const ALL: [Self; 8] = [
        Self::CstorPoolInstance,
        Self::CstorPoolCluster,
        Self::CstorPool,
        Self::StoragePoolClaim,
        Self::CstorVolume,
        Self::LegacyCstorVolume,
        Self::JivaVolume,
        Self::LegacyJivaVolume,
    ];

    /// The name in files, tables, metrics and the API: the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CstorPoolInstance => "cstorPoolInstance",
            Self::CstorPoolCluster => "cstorPoolCluster",
            Self::CstorPool => "cstorPool",
            Self::StoragePoolClaim => "storagePoolClaim",
            Self::CstorVolume => "cstorVolume",
            Self::LegacyCstorVolume => "legacyCstorVolume",
            Self::JivaVolume => "jivaVolume",
            Self::LegacyJivaVolume => "legacyJivaVolume",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One storage object of one cluster. Volumes are named by their PersistentVolume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceRef {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name in the cluster.
    pub name: String,
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}
