//! A Jiva volume of the CSI engine: a JivaVolume, its controller Deployment, replica StatefulSet and Service.

use super::{ApiObject, Kind, Line, OPENEBS, PRE_UPGRADE, REPLICA_UPGRADE, TARGET_UPGRADE, VOLUME};
use crate::domain::ResourceKind;
use crate::openebs::control_plane::Operator;

pub(super) const KIND: Kind = Kind {
    kind: ResourceKind::JivaVolume,
    family: "jivaVolume",
    noun: "Jiva volume",
    line: Line::Csi,
    operator: Operator::Jiva,
    rank: VOLUME,
    parent: None,
    member: "jivaVolume",
    object: ApiObject {
        group: OPENEBS,
        // v1alpha1 before 2.12.
        versions: &["v1", "v1alpha1"],
        plural: "jivavolumes",
        kind: "JivaVolume",
        namespaced: true,
    },
    subcommand: Some("jiva-volume"),
    steps: &[PRE_UPGRADE, REPLICA_UPGRADE, TARGET_UPGRADE],
    // One replica Pod after another is replaced; each catches up before the next.
    expected_seconds: 180,
};
