//! A cStor volume of the external provisioner: CV and CVRs in group openebs.io; its target may live in the namespace of
//! its claim.

use super::{ApiObject, Kind, Line, OPENEBS, PRE_UPGRADE, REPLICA_UPGRADE, TARGET_UPGRADE, VOLUME};
use crate::domain::ResourceKind;
use crate::openebs::control_plane::Operator;

pub(super) const KIND: Kind = Kind {
    kind: ResourceKind::LegacyCstorVolume,
    family: "cstorVolume",
    noun: "legacy cStor volume",
    line: Line::Legacy,
    operator: Operator::Maya,
    rank: VOLUME,
    parent: None,
    member: "cstorVolume",
    object: ApiObject {
        group: OPENEBS,
        versions: &["v1alpha1"],
        plural: "cstorvolumes",
        kind: "CStorVolume",
        namespaced: true,
    },
    subcommand: Some("cstor-volume"),
    steps: &[PRE_UPGRADE, REPLICA_UPGRADE, TARGET_UPGRADE],
    expected_seconds: 120,
};
