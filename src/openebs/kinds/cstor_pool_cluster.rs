//! A cStor pool cluster (CSPC): the parent of pool instances. Its own task closes the upgrade of its instances: by then
//! each is at the target, the executor passes over them, and only the pool cluster's own version is left to raise.

use super::{ApiObject, CLOSING, CSTOR, Kind, Line};
use crate::domain::ResourceKind;
use crate::openebs::control_plane::Operator;

pub(super) const KIND: Kind = Kind {
    kind: ResourceKind::CstorPoolCluster,
    family: "cstorPoolCluster",
    noun: "cStor pool cluster",
    line: Line::Csi,
    operator: Operator::Cspc,
    rank: CLOSING,
    parent: None,
    member: "cstorPoolCluster",
    object: ApiObject {
        group: CSTOR,
        versions: &["v1"],
        plural: "cstorpoolclusters",
        kind: "CStorPoolCluster",
        namespaced: true,
    },
    subcommand: Some("cstor-cspc"),
    // Steps go to the instances' UpgradeTasks.
    steps: &[],
    expected_seconds: 40,
};
