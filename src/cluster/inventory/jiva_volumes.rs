//! Jiva volumes. The CSI engine's have a JivaVolume, which tells how its replicas are; the external provisioner's are
//! Deployments and a Service, whose replicas' sync only the executor sees, from inside the cluster.

use std::collections::BTreeMap;

use super::evidence::{Evidence, said};
use super::objects::{Jiva, Object as _, Service, Workload};
use super::snapshot::{Snapshot, VOLUME_LABEL};
use crate::domain::inventory::{Condition, Replicas};
use crate::domain::{ResourceKind, ResourceRef};

const COMPONENT: &str = "openebs.io/component";
const LEGACY_CONTROLLER: (&str, &str) = ("openebs.io/controller", "jiva-controller");
const LEGACY_REPLICA: (&str, &str) = ("openebs.io/replica", "jiva-replica");

/// All Jiva volumes of the CSI engine.
pub(super) fn csi(seen: &Snapshot) -> Vec<Evidence> {
    seen.jivas.items.iter().map(|jiva| csi_evidence(seen, jiva)).collect()
}

fn csi_evidence(seen: &Snapshot, jiva: &Jiva) -> Evidence {
    let name = &jiva.metadata.name;
    let mut evidence =
        Evidence::of(ResourceRef { kind: ResourceKind::JivaVolume, name: name.clone() }, &seen.namespace);
    evidence.versioned(&format!("JivaVolume/{name}"), &jiva.version_details, None);

    let of_volume = |item: &Workload, component: &str| {
        item.meta().label(VOLUME_LABEL) == name && item.meta().label(COMPONENT) == component
    };
    match seen.deployments.items.iter().find(|item| of_volume(item, "jiva-controller")) {
        Some(controller) => evidence.deployment(controller),
        None => evidence.needs_rolled_out(Condition::Fails(format!("volume {name} has no controller Deployment"))),
    }
    let replicas = seen.stateful_sets.items.iter().find(|item| of_volume(item, "jiva-replica"));
    match replicas {
        Some(replicas) => evidence.stateful_set(replicas),
        None => evidence.needs_rolled_out(Condition::Fails(format!("volume {name} has no replica StatefulSet"))),
    }
    for service in services(seen, name) {
        evidence.labelled(&format!("Service/{}", service.metadata.name), &service.metadata);
    }

    let status = &jiva.status;
    let modes: Vec<&str> = status.replica_status.iter().map(|replica| replica.mode.as_str()).collect();
    let healthy = u32::try_from(modes.iter().filter(|&&mode| mode == "RW").count()).unwrap_or(u32::MAX);
    let wanted = [jiva.spec.desired_replication_factor, jiva.spec.policy.target.replication_factor]
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
pub(super) fn legacy(seen: &Snapshot) -> Vec<Evidence> {
    let mut of_volumes: BTreeMap<&str, Vec<&Workload>> = BTreeMap::new();
    for deployment in &seen.deployments.items {
        let name = deployment.meta().label(VOLUME_LABEL);
        if !name.is_empty() && (has(deployment, LEGACY_CONTROLLER) || has(deployment, LEGACY_REPLICA)) {
            of_volumes.entry(name).or_default().push(deployment);
        }
    }
    of_volumes.into_iter().filter_map(|(name, deployments)| legacy_evidence(seen, name, &deployments)).collect()
}

fn legacy_evidence(seen: &Snapshot, name: &str, deployments: &[&Workload]) -> Option<Evidence> {
    crate::domain::fleet::check_object_name(name).ok()?;
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
    for service in services(seen, name) {
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

fn services<'a>(seen: &'a Snapshot, volume: &str) -> impl Iterator<Item = &'a Service> {
    let volume = volume.to_owned();
    seen.services.items.iter().filter(move |service| service.meta().label(VOLUME_LABEL) == volume)
}

fn has(deployment: &Workload, (key, value): (&str, &str)) -> bool {
    deployment.meta().label(key) == value
}
