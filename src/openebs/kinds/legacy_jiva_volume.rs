//! A Jiva volume of the external provisioner: no object of its own kind, only Deployments and a Service that carry the
//! volume's label, possibly in the namespace of its claim.

use super::{ApiObject, Kind, Line, PRE_UPGRADE, REPLICA_UPGRADE, TARGET_UPGRADE, VERIFY, VOLUME};
use crate::domain::ResourceKind;
use crate::openebs::control_plane::Operator;

pub(super) const KIND: Kind = Kind {
    kind: ResourceKind::LegacyJivaVolume,
    family: "jivaVolume",
    noun: "legacy Jiva volume",
    line: Line::Legacy,
    operator: Operator::Maya,
    rank: VOLUME,
    parent: None,
    member: "jivaVolume",
    object: ApiObject { group: "apps", versions: &["v1"], plural: "deployments", kind: "Deployment", namespaced: true },
    subcommand: Some("jiva-volume"),
    steps: &[PRE_UPGRADE, REPLICA_UPGRADE, TARGET_UPGRADE, VERIFY],
    expected_seconds: 180,
};
