//! A legacy storage pool claim (SPC): the parent of pools. As with a pool cluster, its own task closes the upgrade of
//! its pools.

use super::{ApiObject, CLOSING, Kind, Line, OPENEBS};
use crate::domain::ResourceKind;
use crate::openebs::control_plane::Operator;

pub(super) const KIND: Kind = Kind {
    kind: ResourceKind::StoragePoolClaim,
    family: "storagePoolClaim",
    noun: "storage pool claim",
    line: Line::Legacy,
    operator: Operator::Maya,
    rank: CLOSING,
    parent: None,
    member: "storagePoolClaim",
    object: ApiObject {
        group: OPENEBS,
        versions: &["v1alpha1"],
        plural: "storagepoolclaims",
        kind: "StoragePoolClaim",
        namespaced: false,
    },
    subcommand: Some("cstor-spc"),
    steps: &[],
    expected_seconds: 40,
};
