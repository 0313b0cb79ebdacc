//! One pool instance (CSPI) of a cStor pool cluster: one pool on one node.
//!
//! No official sub-command upgrades just one of them; `resource` mode does, and leaves the other instances and the pool
//! cluster's own version alone. Its UpgradeTask then carries the instance.

use super::{ApiObject, CSTOR, Kind, Line, POOL, POOL_INSTANCE_UPGRADE, PRE_UPGRADE};
use crate::domain::ResourceKind;
use crate::openebs::control_plane::Operator;

pub(super) const KIND: Kind = Kind {
    kind: ResourceKind::CstorPoolInstance,
    family: "cstorPoolInstance",
    noun: "cStor pool instance",
    line: Line::Csi,
    operator: Operator::Cspc,
    rank: POOL,
    parent: Some(ResourceKind::CstorPoolCluster),
    member: "cstorPoolInstance",
    object: ApiObject {
        group: CSTOR,
        versions: &["v1"],
        plural: "cstorpoolinstances",
        kind: "CStorPoolInstance",
        namespaced: true,
    },
    subcommand: None,
    steps: &[PRE_UPGRADE, POOL_INSTANCE_UPGRADE],
    // The pool's Pod stops and starts on its node; on small arm64 machines that alone takes up to ten minutes.
    expected_seconds: 180,
};
