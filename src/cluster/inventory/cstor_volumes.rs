//! cStor volumes of both engines: CV, CVRs, a target Deployment and its Service; with the CSI engine a CVC as well.

use std::collections::BTreeSet;

use super::evidence::{Evidence, said};
use super::index::{Index, Owned};
use super::objects::{Object as _, Replica, Volume};
use super::snapshot::{REPLICA_INSTANCE_LABEL, REPLICA_POOL_LABEL};
use crate::domain::inventory::{Condition, Replicas};
use crate::domain::{ResourceKind, ResourceRef};

const TARGET: (&str, &str) = ("openebs.io/target", "cstor-target");

/// All cStor volumes of the CSI engine.
pub(super) fn csi(seen: &Index<'_>) -> Vec<Evidence> {
    let one = |volume| {
        let mut evidence = evidence(seen, ResourceKind::CstorVolume, volume, &seen.replicas_of, REPLICA_INSTANCE_LABEL);
        let name = &volume.metadata.name;
        match seen.volume_configs_of.of(name).first() {
            Some(config) => evidence.versioned(&format!("CStorVolumeConfig/{name}"), &config.version_details, None),
            None => evidence.needs_healthy(Condition::Fails(format!("volume {name} has no CStorVolumeConfig"))),
        }
        evidence.doubt(seen.volume_configs.gap.as_ref());
        evidence.doubt(seen.replicas.gap.as_ref());
        evidence
    };
    seen.volumes.items.iter().map(one).collect()
}

/// All cStor volumes of the external provisioner.
pub(super) fn legacy(seen: &Index<'_>) -> Vec<Evidence> {
    let one = |volume| {
        let kind = ResourceKind::LegacyCstorVolume;
        let mut evidence = evidence(seen, kind, volume, &seen.legacy_replicas_of, REPLICA_POOL_LABEL);
        evidence.doubt(seen.legacy_replicas.gap.as_ref());
        evidence
    };
    seen.legacy_volumes.items.iter().map(one).collect()
}

/// Whether a replica is in sync.
pub(super) fn replica_is_healthy(replica: &Replica) -> Condition {
    let name = &replica.metadata.name;
    match replica.status.phase.as_str() {
        "Healthy" => Condition::Holds,
        "Rebuilding" | "ReconstructingNewReplica" | "NewReplicaDegraded" => {
            Condition::Fails(format!("replica {name} rebuilds ({})", replica.status.phase))
        }
        phase => Condition::Fails(format!("replica {name} is {}", said(phase))),
    }
}

/// Whether a volume's target says that it is healthy.
pub(super) fn volume_is_healthy(volume: &Volume) -> Condition {
    match volume.status.phase.as_str() {
        "Healthy" => Condition::Holds,
        phase => Condition::Fails(format!("volume {} is {}", volume.metadata.name, said(phase))),
    }
}

fn evidence(
    seen: &Index<'_>,
    kind: ResourceKind,
    volume: &Volume,
    replicas: &Owned<'_, Replica>,
    pool_label: &str,
) -> Evidence {
    let name = &volume.metadata.name;
    let place = if volume.metadata.namespace.is_empty() { &seen.namespace } else { &volume.metadata.namespace };
    let mut evidence = Evidence::of(ResourceRef { kind, name: name.clone() }, place);
    // CVs keep the label of the release that made them: only where a release before versionDetails left nothing else
    // does it tell the version.
    evidence.versioned(&format!("CStorVolume/{name}"), &volume.version_details, Some(&volume.metadata));
    evidence.needs_healthy(volume_is_healthy(volume));

    let own = replicas.of(name);
    let mut healthy = 0;
    let mut pools = BTreeSet::new();
    for replica in own {
        let object = format!("CStorVolumeReplica/{}", replica.metadata.name);
        evidence.versioned(&object, &replica.version_details, None);
        evidence.labelled(&object, &replica.metadata);
        let condition = replica_is_healthy(replica);
        healthy += u32::from(condition.holds());
        evidence.needs_healthy(condition);
        let pool = replica.metadata.label(pool_label);
        if !pool.is_empty() {
            pools.insert(pool);
        }
    }
    evidence.pools = pools.into_iter().map(str::to_owned).collect();
    let wanted = volume.spec.desired_replication_factor.max(volume.spec.replication_factor);
    evidence.replicas = Some(Replicas { wanted, healthy });
    if own.is_empty() || healthy < wanted {
        evidence.needs_healthy(Condition::Fails(format!("{healthy} of {wanted} replicas are healthy")));
    }

    let target = seen
        .volume_deployments
        .of(name)
        .iter()
        .find(|deployment| deployment.meta().label(TARGET.0) == TARGET.1 && deployment.meta().namespace == *place);
    match target {
        Some(target) => evidence.deployment(target),
        None => evidence.needs_rolled_out(Condition::Fails(format!("volume {name} has no target Deployment"))),
    }
    let services = seen.volume_services.of(name).iter().filter(|service| service.meta().namespace == *place);
    for service in services {
        evidence.labelled(&format!("Service/{}", service.metadata.name), &service.metadata);
    }
    evidence.doubt(seen.deployments.gap.as_ref());
    evidence.doubt(seen.services.gap.as_ref());
    evidence
}
