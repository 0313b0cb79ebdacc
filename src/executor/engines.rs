//! Which engine serves a volume: the official executors took it from their image, we look at what the cluster has.

use super::health::VOLUME_LABEL;
use super::kinds::jiva_volume;
use super::object::{DEPLOYMENTS, LEGACY_VOLUMES, PERSISTENT_VOLUMES, VOLUME_CONFIGS, VOLUMES};
use super::order::Named;
use super::problem::Problem;
use super::task::Run;
use crate::domain::{ResourceKind, ResourceRef};

/// The resource that is named, its engine known.
pub async fn tell_apart(run: &Run, named: Named) -> Result<ResourceRef, Problem> {
    match named {
        Named::Exactly(resource) => Ok(resource),
        Named::CstorVolume(name) => {
            for collection in [&VOLUMES, &VOLUME_CONFIGS] {
                if run.api.find(&collection.named(&run.namespace, &name)).await?.is_some() {
                    return Ok(ResourceRef { kind: ResourceKind::CstorVolume, name });
                }
            }
            let legacy =
                !run.api.list(&LEGACY_VOLUMES, &run.namespace, &format!("{VOLUME_LABEL}={name}")).await?.is_empty()
                    || legacy_home(run, &name).await?.is_some();
            if legacy {
                Ok(ResourceRef { kind: ResourceKind::LegacyCstorVolume, name })
            } else {
                Err(neither(run, "cstorVolume", &name, "CStorVolume"))
            }
        }
        Named::JivaVolume(name) => {
            if jiva_volume::find(run, &name).await?.is_some() {
                return Ok(ResourceRef { kind: ResourceKind::JivaVolume, name });
            }
            match legacy_home(run, &name).await? {
                Some(_) => Ok(ResourceRef { kind: ResourceKind::LegacyJivaVolume, name }),
                None => Err(neither(run, "jivaVolume", &name, "JivaVolume")),
            }
        }
    }
}

/// The namespace in which a legacy volume's Deployments live: OpenEBS's, else its claim's; `None` if there are none.
pub async fn legacy_home(run: &Run, volume: &str) -> Result<Option<String>, Problem> {
    let selector = format!("{VOLUME_LABEL}={volume}");
    if !run.api.list(&DEPLOYMENTS, &run.namespace, &selector).await?.is_empty() {
        return Ok(Some(run.namespace.clone()));
    }
    let Some(persistent) = run.api.find(&PERSISTENT_VOLUMES.named("", volume)).await? else { return Ok(None) };
    let claim_namespace = persistent.text("/spec/claimRef/namespace");
    if claim_namespace.is_empty() || claim_namespace == run.namespace {
        return Ok(None);
    }
    let there = run.api.list(&DEPLOYMENTS, claim_namespace, &selector).await?;
    Ok((!there.is_empty()).then(|| claim_namespace.to_owned()))
}

fn neither(run: &Run, member: &str, name: &str, kind: &str) -> Problem {
    let namespace = &run.namespace;
    Problem::refused(
        format!("{member}/{name}"),
        format!("namespace {namespace} has neither a {kind} {name} nor Deployments labelled {VOLUME_LABEL}={name}"),
        "the volume of one of the two engines",
    )
    .remedy("check the name of the PersistentVolume, and that the Job runs in the namespace of OpenEBS")
}
