//! A cStor volume of the CSI engine (`openebs.md` §3.2): its replicas (CVRs), then the target, its Service, the volume
//! (CV) and its config (CVC).

use serde_json::{Value, json};

use super::cstor_pool_instance::REPLICA_INSTANCE;
use super::{PRE_UPGRADE_DONE, REPLICAS_DONE, TARGET_DONE};
use crate::executor::control_plane;
use crate::executor::health::{self, VOLUME_LABEL};
use crate::executor::image::Architecture;
use crate::executor::journal::Step;
use crate::executor::object::{
    DEPLOYMENTS, PERSISTENT_VOLUMES, POOL_INSTANCES, Place, SERVICES, VERSION_LABEL, VOLUME_CONFIGS, VOLUME_REPLICAS,
    VOLUMES, exactly_one,
};
use crate::executor::order::At;
use crate::executor::problem::{During, Problem};
use crate::executor::task::Task;
use crate::executor::version_details::{self, Bump};
use crate::executor::workload::{self, Change};
use crate::openebs::control_plane::Operator;

/// The label (on the CVC an annotation) that names the claim.
const CLAIM: &str = "openebs.io/persistent-volume-claim";
/// Of a label's value.
const LABEL_CHARS_MAX: usize = 63;

struct Volume {
    target: Place,
    service: Place,
    object: Place,
    config: Place,
    claim: String,
    service_account: String,
}

/// Upgrades the volume.
pub async fn upgrade(task: &Task) -> Result<(), Problem> {
    let volume = task.step(Step::PreUpgrade, PRE_UPGRADE_DONE, look(task)).await?;
    task.step(Step::ReplicaUpgrade, REPLICAS_DONE, upgrade_replicas(task)).await?;
    task.step(Step::TargetUpgrade, TARGET_DONE, upgrade_target(task, &volume)).await
}

async fn look(task: &Task) -> Result<Volume, Problem> {
    let (name, namespace, versions) = (task.name(), task.namespace(), task.versions());
    let operator = control_plane::check(task, Operator::Cvc).await?;

    let config = task.api().get(&VOLUME_CONFIGS.named(namespace, name)).await;
    let config = config.during(format!("failed to get CVC for volume {name}"))?;
    let volume = task.api().get(&VOLUMES.named(namespace, name)).await;
    let volume = volume.during(format!("failed to get CV for volume {name}"))?;
    task.journal.concerns(&volume).await;
    let selector = format!("{VOLUME_LABEL}={name}");
    let targets = task.api().list(&DEPLOYMENTS, namespace, &selector).await?;
    let target = exactly_one(targets, &DEPLOYMENTS, namespace, &selector)
        .during(format!("failed to get target deploy for volume {name}"))?;
    // Services of other people's for the same volume (an exporter's, a debugger's) are none of ours.
    let selector = format!("{selector},openebs.io/target-service=cstor-target-svc");
    let services = task.api().list(&SERVICES, namespace, &selector).await?;
    let service = exactly_one(services, &SERVICES, namespace, &selector)
        .during(format!("failed to get target svc for volume {name}"))?;
    let persistent = task.api().get(&PERSISTENT_VOLUMES.named("", name)).await?;
    let claim = persistent.text("/spec/claimRef/name").to_owned();
    if claim.is_empty() {
        return Err(Problem::on(&persistent.place, "spec.claimRef is not set", "the name of its claim")
            .remedy("a volume without a claim cannot be upgraded; bind it or delete it"));
    }

    version_details::check(&config, versions).during("failed to verify CVC")?;
    version_details::check(&volume, versions).during("failed to verify CV")?;
    let at = workload::located(&target, versions).during("failed to verify target deploy")?;
    workload::check_runs(&target).during("failed to verify target deploy")?;
    workload::located(&service, versions).during("failed to verify target svc")?;
    // The target restarts: all replicas must be there before. A target that has restarted is repaired by going on.
    if at == At::From {
        wait_healthy(task, &volume.place).await.during("failed to verify CV")?;
    }
    Ok(Volume {
        target: target.place,
        service: service.place,
        object: volume.place,
        config: config.place,
        claim,
        service_account: control_plane::service_account(&operator).to_owned(),
    })
}

async fn upgrade_replicas(task: &Task) -> Result<(), Problem> {
    let selector = format!("{VOLUME_LABEL}={}", task.name());
    let replicas = task.api().list(&VOLUME_REPLICAS, task.namespace(), &selector).await;
    let replicas = replicas.during("failed to list cvrs for volume")?;
    if replicas.is_empty() {
        return Err(Problem::on(VOLUME_REPLICAS.kind, format!("none with {selector}"), "at least one"))
            .during("failed to list cvrs for volume");
    }
    // All pools first: otherwise some replicas would be asked for a version that their pool cannot give them.
    for replica in &replicas {
        let pool =
            health::pool_of(replica, REPLICA_INSTANCE).during(format!("failed to patch cvr {}", replica.name()))?;
        let pool = task.api().get(&POOL_INSTANCES.named(task.namespace(), pool)).await?;
        let version = pool.label(VERSION_LABEL);
        if task.versions().locate(version) != At::To {
            return Err(Problem::on(
                &pool.place,
                format!("cspi {} not in {} version (it has {version})", pool.name(), task.versions().to),
                "pools are upgraded before the volumes on them",
            )
            .remedy("upgrade the pool first"))
            .during(format!("failed to patch cvr {}", replica.name()));
        }
    }
    let bump = Bump { label: true, ..Bump::default() };
    for replica in &replicas {
        version_details::upgrade(task, &replica.place, &bump)
            .await
            .during(format!("failed to patch cvr {}", replica.name()))?;
    }
    Ok(())
}

async fn upgrade_target(task: &Task, volume: &Volume) -> Result<(), Problem> {
    let labels = claim_label(&volume.claim);
    if labels["labels"].get(CLAIM).is_none() {
        let words =
            format!("label {CLAIM} is left off: the claim's name is longer than the {LABEL_CHARS_MAX} of a label");
        task.journal.tell("ClaimNotLabelled", &words).await;
    }
    let change = Change {
        architecture: Architecture::Drop,
        more: json!({
            "metadata": labels,
            "spec": {"template": {"metadata": labels, "spec": {"serviceAccountName": volume.service_account}}},
        }),
        ..Change::default()
    };
    workload::upgrade(task, &volume.target, &change).await.during("failed to patch target deploy")?;
    workload::relabel(task, &volume.service).await?;
    let labelled = Bump { more: json!({"metadata": labels}), ..Bump::default() };
    version_details::upgrade(task, &volume.object, &labelled)
        .await
        .during("failed to verify version reconcile on CV")?;
    let annotated = Bump { more: json!({"metadata": {"annotations": {CLAIM: volume.claim}}}), ..Bump::default() };
    version_details::upgrade(task, &volume.config, &annotated)
        .await
        .during("failed to verify version reconcile on CVC")?;
    wait_healthy(task, &volume.object).await.during("failed to verify CV")
}

/// The label that names the claim, unless no label can: names of claims may be longer.
fn claim_label(claim: &str) -> Value {
    if claim.len() > LABEL_CHARS_MAX { json!({"labels": {}}) } else { json!({"labels": {CLAIM: claim}}) }
}

async fn wait_healthy(task: &Task, volume: &Place) -> Result<(), Problem> {
    let selector = format!("{VOLUME_LABEL}={}", task.name());
    health::gate(task, volume, "healthy, with all replicas healthy", async || {
        let replicas = task.api().list(&VOLUME_REPLICAS, task.namespace(), &selector).await?;
        Ok(health::cstor_volume(&task.api().get(volume).await?).and(health::replicas(&replicas)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_whose_name_no_label_can_hold_is_left_off() {
        assert_eq!(claim_label("data"), json!({"labels": {CLAIM: "data"}}));
        assert_eq!(claim_label(&"c".repeat(64)), json!({"labels": {}}));
    }
}
