//! Jiva volumes. The CSI engine's have a JivaVolume, which tells how its replicas are; the external provisioner's are
//! Deployments and a Service, whose replicas' sync only the executor sees, from inside the cluster.

use super::evidence::{Evidence, said};
use super::index::Index;
use super::objects::{Jiva, Object as _, Workload};
use crate::domain::fleet::check_object_name;
use crate::domain::inventory::{Condition, Replicas};
use crate::domain::{ResourceKind, ResourceRef};

const COMPONENT: &str = "openebs.io/component";
const LEGACY_CONTROLLER: (&str, &str) = ("openebs.io/controller", "jiva-controller");
const LEGACY_REPLICA: (&str, &str) = ("openebs.io/replica", "jiva-replica");

/// All Jiva volumes of the CSI engine.
pub(super) fn csi(seen: &Index<'_>) -> Vec<Evidence> {
    seen.jivas.items.iter().map(|jiva| csi_evidence(seen, jiva)).collect()
}

fn csi_evidence(seen: &Index<'_>, jiva: &Jiva) -> Evidence {
    let name = &jiva.metadata.name;
    let mut evidence =
        Evidence::of(ResourceRef { kind: ResourceKind::JivaVolume, name: name.clone() }, &seen.namespace);
    evidence.versioned(&format!("JivaVolume/{name}"), &jiva.version_details, None);

    let is = |item: &&&Workload, component: &str| item.meta().label(COMPONENT) == component;
    match seen.volume_deployments.of(name).iter().find(|item| is(item, "jiva-controller")) {
        Some(controller) => evidence.deployment(controller),
        None => evidence.needs_rolled_out(Condition::Fails(format!("volume {name} has no controller Deployment"))),
    }
    let replicas = seen.volume_sets.of(name).iter().find(|item| is(item, "jiva-replica"));
    match replicas {
        Some(replicas) => evidence.stateful_set(replicas),
        None => evidence.needs_rolled_out(Condition::Fails(format!("volume {name} has no replica StatefulSet"))),
    }
    for service in seen.volume_services.of(name) {
        evidence.labelled(&format!("Service/{}", service.metadata.name), &service.metadata);
    }

    let status = &jiva.status;
    let modes: Vec<&str> = status.replica_status.iter().map(|replica| replica.mode.as_str()).collect();
    let healthy = u32::try_from(modes.iter().filter(|&&mode| mode == "RW").count()).unwrap_or(u32::MAX);
    // How many its controller was told to have; a wish for more that its operator has not fulfilled comes after it.
    let wanted = [jiva.spec.policy.target.replication_factor, jiva.spec.desired_replication_factor]
        .into_iter()
        .find(|&factor| factor > 0)
        .or_else(|| replicas.and_then(|set| u32::try_from(set.spec.replicas.unwrap_or(1)).ok()))
        .unwrap_or(1);
    evidence.replicas = Some(Replicas { wanted, healthy });
    evidence.needs_healthy(match (status.phase.as_str(), status.status.as_str()) {
        ("Ready" | "", "RW") => Condition::Holds,
        ("", "") => Condition::Unknown(format!("volume {name} has no status yet")),
        (phase, mode) => Condition::Fails(format!("volume {name} is {} ({})", said(phase), said(mode))),
    });
    if let Some(replica) = status.replica_status.iter().find(|replica| replica.mode != "RW") {
        let (address, mode) = (said(&replica.address), said(&replica.mode));
        // WO: it is written to while it catches up.
        evidence.needs_healthy(Condition::Fails(format!("replica {address} of volume {name} is {mode}")));
    }
    if healthy < wanted {
        evidence.needs_healthy(Condition::Fails(format!("{healthy} of {wanted} replicas are in sync")));
    }
    for gap in [&seen.deployments.gap, &seen.stateful_sets.gap, &seen.services.gap] {
        evidence.doubt(gap.as_ref());
    }
    evidence
}

/// All Jiva volumes of the external provisioner.
pub(super) fn legacy(seen: &Index<'_>) -> Vec<Evidence> {
    let owners = seen.volume_deployments.owners();
    let of_owner = |name: &&str| {
        let all = seen.volume_deployments.of(name).iter().copied();
        let own: Vec<&Workload> = all.filter(|one| has(one, LEGACY_CONTROLLER) || has(one, LEGACY_REPLICA)).collect();
        legacy_evidence(seen, name, &own)
    };
    owners.iter().filter_map(of_owner).collect()
}

fn legacy_evidence(seen: &Index<'_>, name: &str, deployments: &[&Workload]) -> Option<Evidence> {
    if deployments.is_empty() || check_object_name(name).is_err() {
        return None;
    }
    let controller = deployments.iter().find(|one| has(one, LEGACY_CONTROLLER));
    let place = controller.or(deployments.first()).map(|one| one.metadata.namespace.clone()).unwrap_or_default();
    let place = if place.is_empty() { &seen.namespace } else { &place };
    let id = ResourceRef { kind: ResourceKind::LegacyJivaVolume, name: name.to_owned() };
    let mut evidence = Evidence::of(id, place);
    if controller.is_none() {
        evidence.needs_rolled_out(Condition::Fails(format!("volume {name} has no controller Deployment")));
    }
    let (mut wanted, mut healthy) = (0, 0);
    for deployment in deployments {
        evidence.deployment(deployment);
        if has(deployment, LEGACY_REPLICA) {
            let count = |pods: i64| u32::try_from(pods.max(0)).unwrap_or(u32::MAX);
            wanted += count(deployment.spec.replicas.unwrap_or(1));
            healthy += count(deployment.status.available_replicas);
        }
    }
    for service in seen.volume_services.of(name) {
        evidence.labelled(&format!("Service/{}", service.metadata.name), &service.metadata);
    }
    if healthy < wanted || wanted == 0 {
        evidence.needs_healthy(Condition::Fails(format!("{healthy} of {wanted} replica Pods are available")));
    }
    evidence.replicas = Some(Replicas { wanted, healthy });
    evidence.doubt(seen.deployments.gap.as_ref());
    evidence.doubt(seen.services.gap.as_ref());
    Some(evidence)
}

fn has(deployment: &Workload, (key, value): (&str, &str)) -> bool {
    deployment.meta().label(key) == value
}
