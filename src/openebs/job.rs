//! The Job and the UpgradeTask of one attempt: what is sent to the cluster, nothing else. Typed inputs, no free Pod spec.
//!
//! One attempt is one Job is at most one Pod: `backoffLimit: 0` and `restartPolicy: Never`, because retrying is the
//! hub's alone; `activeDeadlineSeconds`, because the hub may be cut off when the time is up. Names follow from the
//! attempt, so that a request whose answer was lost can be settled by reading, and a repeated one cannot make two.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, LocalObjectReference, ObjectFieldSelector, PodSecurityContext,
    PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest as _, Sha256};

use crate::domain::fleet::{ExecutorMaker, check_object_name};
use crate::domain::ids::hex;
use crate::domain::plan::PlannedTask;
use crate::domain::{AttemptId, HubId, RolloutId, TaskId};

use super::kinds;
use super::paths::{self, Mode};
use super::upgrade_task::{UpgradeTask, UpgradeTaskOptions, UpgradeTaskSpec};
use super::{images, names};

/// The label that says who made an object; its value is [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and the field manager of our requests.
pub const MANAGER: &str = "fleetlift";
/// The label that names the hub.
pub const HUB: &str = "fleetlift.io/hub";
/// The label that names the rollout.
pub const ROLLOUT: &str = "fleetlift.io/rollout";
/// The label that names the task.
pub const TASK: &str = "fleetlift.io/task";
/// The label that names the attempt; the executor selects its UpgradeTask by it.
pub const ATTEMPT: &str = "fleetlift.io/attempt";
/// The annotation that names the resource as `kind/name`.
pub const RESOURCE: &str = "fleetlift.io/resource";
/// The annotation with the hash over what was sent.
pub const SPEC_HASH: &str = "fleetlift.io/spec-hash";
/// The annotation with the epoch of the lease under which it was sent.
pub const EPOCH: &str = "fleetlift.io/epoch";

/// The container's name, as in the official instructions.
pub const CONTAINER: &str = "upgrade";

/// How long a finished Job and its Pod stay for people to look at: a week.
const KEPT_AFTER_END: i32 = 7 * 24 * 3600;

/// A Job has at least as long as its Pod may take to be scheduled and to pull its image.
const DEADLINE_MIN: Duration = Duration::from_secs(30);

/// Longer than any upgrade of one resource was ever seen to take; what is meant to be longer is a mistake in a unit.
const DEADLINE_MAX: Duration = Duration::from_hours(7 * 24);

/// What distinguishes one attempt from all others, and what it is about.
#[derive(Debug, Clone, Copy)]
pub struct AttemptOrder<'a> {
    /// The hub that owns it.
    pub hub: HubId,
    /// The rollout.
    pub rollout: RolloutId,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The how-manieth try, from 1.
    pub number: u32,
    /// The epoch of the lease under which it is sent. Not part of the hash: whoever takes over sends the same.
    pub epoch: i64,
    /// How long the Job may take; 30 s to 7 d.
    pub deadline: Duration,
    /// What the plan says.
    pub planned: &'a PlannedTask,
}

/// What is sent to the cluster for one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptObjects {
    /// Created first.
    pub upgrade_task: UpgradeTask,
    /// Created once the UpgradeTask is there.
    pub job: Job,
    /// SHA-256 over both as sent, but for the annotations with the hash and the epoch.
    pub spec_hash: String,
}

impl AttemptObjects {
    /// A Job of the same name that never runs: it takes the name from a creation whose answer is unknown.
    pub fn fence(&self) -> Job {
        let mut job = self.job.clone();
        if let Some(spec) = job.spec.as_mut() {
            spec.suspend = Some(true);
        }
        job
    }
}

/// An input that cannot be sent. The plan was made from checked values, so trying again cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Job of {resource} cannot be built: {field} {why}")]
pub struct InvalidOrder {
    resource: String,
    field: &'static str,
    why: String,
}

/// The Job's name: the same for the same attempt, whoever asks, and different for any other.
pub fn job_name(hub: HubId, rollout: RolloutId, task: TaskId, number: u32) -> String {
    // Ids have a fixed length: no two attempts join to the same text.
    let digest = Sha256::digest(format!("{hub}/{rollout}/{task}/{number}"));
    // 26 of base32's characters are 130 bits: no collision by accident, and room for the suffix of a Pod's name.
    format!("fl-{}", base32(&digest, 26))
}

/// The Job and the UpgradeTask of an attempt.
pub fn build(order: &AttemptOrder<'_>) -> Result<AttemptObjects, InvalidOrder> {
    check(order)?;
    let mut upgrade_task = upgrade_task(order);
    let mut job = job(order);
    let spec_hash = spec_hash(&job, &upgrade_task);
    for metadata in [&mut upgrade_task.metadata, &mut job.metadata] {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(SPEC_HASH.to_owned(), spec_hash.clone());
        annotations.insert(EPOCH.to_owned(), order.epoch.to_string());
    }
    Ok(AttemptObjects { upgrade_task, job, spec_hash })
}

/// What is left of a Job's deadline, at most, when a step's own has passed: time to say why.
const LAST_WORDS: Duration = Duration::from_mins(1);

fn upgrade_task(order: &AttemptOrder<'_>) -> UpgradeTask {
    let planned = order.planned;
    let mut spec = UpgradeTaskSpec::naming(&planned.resource);
    spec.from_version = planned.from.to_string();
    spec.to_version = planned.to.to_string();
    spec.image_prefix.clone_from(&planned.image_prefix);
    spec.image_tag.clone_from(&planned.image_tag);
    if planned.own_executor {
        // Upstream reads no timeout; ours ends each step with a sentence before the Job's deadline ends it without.
        let steps = order.deadline.saturating_sub((order.deadline / 10).min(LAST_WORDS));
        let seconds = i64::try_from(steps.as_secs()).unwrap_or(i64::MAX);
        spec.options = Some(UpgradeTaskOptions { timeout: Some(seconds) });
    }
    let mut task = UpgradeTask::named(&planned.namespace, &names::upgrade_task(&planned.resource), spec);
    task.metadata.labels = Some(labels(order));
    task.metadata.annotations = Some(annotations(order));
    task
}

fn job(order: &AttemptOrder<'_>) -> Job {
    let planned = order.planned;
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(order.hub, order.rollout, order.task, order.number)),
            namespace: Some(planned.namespace.clone()),
            labels: Some(labels(order)),
            annotations: Some(annotations(order)),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            active_deadline_seconds: i64::try_from(order.deadline.as_secs()).ok(),
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            // Without it a Pod that is only being deleted may be replaced while it still runs; older servers drop it.
            pod_replacement_policy: Some("Failed".to_owned()),
            ttl_seconds_after_finished: Some(KEPT_AFTER_END),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels(order)),
                    annotations: Some(annotations(order)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(order)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn pod(order: &AttemptOrder<'_>) -> PodSpec {
    let planned = order.planned;
    let secrets = planned.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    PodSpec {
        containers: vec![container(order)],
        image_pull_secrets: (!planned.pull_secrets.is_empty()).then(|| secrets.collect()),
        node_selector: images::bound_to(&planned.image)
            .map(|bound| BTreeMap::from([("kubernetes.io/arch".to_owned(), bound.name().to_owned())])),
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(planned.service_account.clone()),
        // The official images run as root and write where they like; only ours is known to need nothing.
        security_context: planned.own_executor.then(|| PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(65_532),
            run_as_group: Some(65_532),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// It waits nearly all the time. Its memory follows the longest list that it reads, all replicas of a cluster's volumes;
/// one that grows beyond that is ended before it takes the node's from storage Pods.
fn resources() -> ResourceRequirements {
    let amounts = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(what, much)| ((*what).to_owned(), Quantity((*much).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(amounts(&[("cpu", "10m"), ("memory", "32Mi")])),
        limits: Some(amounts(&[("memory", "512Mi")])),
        ..ResourceRequirements::default()
    }
}

fn container(order: &AttemptOrder<'_>) -> Container {
    let planned = order.planned;
    Container {
        name: CONTAINER.to_owned(),
        image: Some(planned.image.clone()),
        // What is on the node will do: edges are cut off from registries, and a release's tag does not move.
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(args(planned)),
        env: Some(vec![
            from_field("OPENEBS_NAMESPACE", "metadata.namespace"),
            EnvVar {
                name: "UPGRADE_TASK_LABEL".to_owned(),
                value: Some(format!("{ATTEMPT}={}", order.attempt)),
                value_from: None,
            },
            from_field("POD_NAME", "metadata.name"),
        ]),
        // What the official images need nobody has measured.
        resources: planned.own_executor.then(resources),
        // The official executors write no termination message: take the log's end for it.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: planned.own_executor.then(|| SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// `--v=4`: progress in the log, and what the official executors need to exit with 255 instead of 1.
fn args(planned: &PlannedTask) -> Vec<String> {
    let maker = if planned.own_executor { ExecutorMaker::Fleetlift } else { ExecutorMaker::Openebs };
    let subcommand = kinds::of(planned.resource.kind).subcommand;
    match (paths::mode(planned.resource.kind, &planned.to, maker), subcommand) {
        (Mode::Arguments, Some(subcommand)) => {
            // Only m-upgrade 1.1 and 1.2 come here: names were flags then.
            let flag = if subcommand == "cstor-spc" { "--spc-name" } else { "--pv-name" };
            let mut args = vec![
                subcommand.to_owned(),
                format!("--from-version={}", planned.from),
                format!("--to-version={}", planned.to),
                format!("{flag}={}", planned.resource.name),
            ];
            if !planned.image_prefix.is_empty() {
                args.push(format!("--to-version-image-prefix={}", planned.image_prefix));
            }
            if !planned.image_tag.is_empty() {
                args.push(format!("--to-version-image-tag={}", planned.image_tag));
            }
            args.push("--v=4".to_owned());
            args
        }
        (Mode::Arguments | Mode::Resource, _) => vec!["resource".to_owned(), "--v=4".to_owned()],
    }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: None, field_path: path.to_owned() }),
            ..EnvVarSource::default()
        }),
    }
}

fn labels(order: &AttemptOrder<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), MANAGER.to_owned()),
        (HUB.to_owned(), order.hub.to_string()),
        (ROLLOUT.to_owned(), order.rollout.to_string()),
        (TASK.to_owned(), order.task.to_string()),
        (ATTEMPT.to_owned(), order.attempt.to_string()),
    ])
}

fn annotations(order: &AttemptOrder<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([(RESOURCE.to_owned(), order.planned.resource.to_string())])
}

fn spec_hash(job: &Job, upgrade_task: &UpgradeTask) -> String {
    // Field order is fixed and maps are ordered: the same objects give the same bytes.
    let sent = serde_json::to_vec(&(job, upgrade_task)).unwrap_or_default();
    hex(&Sha256::digest(sent))
}

/// RFC 4648 in lowercase, without padding: the alphabet of Kubernetes names.
fn base32(bytes: &[u8], characters: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1));
    (0..characters)
        .map(|character| (0..5).fold(0, |value, at| value << 1 | bit(character * 5 + at)))
        .map(|value| char::from(ALPHABET[value]))
        .collect()
}

fn check(order: &AttemptOrder<'_>) -> Result<(), InvalidOrder> {
    let planned = order.planned;
    let invalid = |field, why: String| InvalidOrder { resource: planned.resource.to_string(), field, why };
    let named = |field, name: &str| check_object_name(name).map_err(|why| invalid(field, why));
    named("resource", &planned.resource.name)?;
    named("upgradeTask", &names::upgrade_task(&planned.resource))?;
    named("namespace", &planned.namespace)?;
    named("serviceAccount", &planned.service_account)?;
    for secret in &planned.pull_secrets {
        named("pullSecrets", secret)?;
    }
    if !is_image(&planned.image) {
        return Err(invalid("image", "is no image reference with a tag or a digest".to_owned()));
    }
    let prefix = &planned.image_prefix;
    let sound = prefix.is_empty() || prefix.ends_with('/') && is_reference_text(prefix);
    if !sound {
        return Err(invalid("imagePrefix", "must be a registry and a path that end in /".to_owned()));
    }
    let tag = &planned.image_tag;
    if !tag.is_empty() && !is_tag(tag) {
        return Err(invalid("imageTag", "is no tag".to_owned()));
    }
    if order.deadline < DEADLINE_MIN || order.deadline > DEADLINE_MAX {
        return Err(invalid("deadline", format!("of {} s is not within 30 s and 7 d", order.deadline.as_secs())));
    }
    Ok(())
}

fn is_image(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or(image);
    let versioned = last.split_once(['@', ':']).is_some_and(|(name, version)| !name.is_empty() && !version.is_empty());
    versioned && is_reference_text(image)
}

fn is_reference_text(text: &str) -> bool {
    text.len() <= 512 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./:@_-".contains(&b))
}

fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !text.starts_with(['.', '-'])
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
