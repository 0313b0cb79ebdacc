//! A cStor volume of the CSI engine: CVC, CV and CVRs, a target Deployment and its Service. Its pools come first: the
//! executor refuses a replica whose pool instance is not at the target.

use super::{ApiObject, CSTOR, Kind, Line, PRE_UPGRADE, REPLICA_UPGRADE, TARGET_UPGRADE, VOLUME};
use crate::domain::ResourceKind;
use crate::openebs::control_plane::Operator;

pub(super) const KIND: Kind = Kind {
    kind: ResourceKind::CstorVolume,
    family: "cstorVolume",
    noun: "cStor volume",
    line: Line::Csi,
    operator: Operator::Cvc,
    rank: VOLUME,
    parent: None,
    member: "cstorVolume",
    object: ApiObject {
        group: CSTOR,
        versions: &["v1"],
        plural: "cstorvolumes",
        kind: "CStorVolume",
        namespaced: true,
    },
    subcommand: Some("cstor-volume"),
    steps: &[PRE_UPGRADE, REPLICA_UPGRADE, TARGET_UPGRADE],
    expected_seconds: 120,
};
