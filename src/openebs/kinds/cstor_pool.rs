//! One pool (CSP) of a legacy storage pool claim. Only `resource` mode upgrades a single one.

use super::{ApiObject, Kind, Line, OPENEBS, POOL, POOL_INSTANCE_UPGRADE, PRE_UPGRADE};
use crate::domain::ResourceKind;
use crate::openebs::control_plane::Operator;

pub(super) const KIND: Kind = Kind {
    kind: ResourceKind::CstorPool,
    family: "cstorPool",
    noun: "cStor pool",
    line: Line::Legacy,
    operator: Operator::Maya,
    rank: POOL,
    parent: Some(ResourceKind::StoragePoolClaim),
    member: "cstorPool",
    object: ApiObject {
        group: OPENEBS,
        versions: &["v1alpha1"],
        plural: "cstorpools",
        kind: "CStorPool",
        namespaced: false,
    },
    subcommand: None,
    steps: &[PRE_UPGRADE, POOL_INSTANCE_UPGRADE],
    expected_seconds: 180,
};
