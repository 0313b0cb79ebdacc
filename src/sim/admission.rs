//! What the API server adds to new objects and refuses in any: defaults and validation, as far as a client of Jobs and of
//! OpenEBS's kinds can tell the difference.

use serde_json::{Value, json};

use super::object::{Key, member, text};
use super::problem::Problem;
use super::resources::Resource;

/// The finalizer that keeps a Job's Pods until they are counted.
pub const JOB_TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// The labels that tie a Pod to its Job, new names and old; the first of each pair selects.
const JOB_LABELS: [&str; 4] =
    ["batch.kubernetes.io/controller-uid", "controller-uid", "batch.kubernetes.io/job-name", "job-name"];

/// Names as Kubernetes allows them for nearly everything.
pub fn check_name(resource: Resource, name: &str) -> Result<(), Problem> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let rbac = resource.row().group == "rbac.authorization.k8s.io";
    if rbac && !name.is_empty() && !name.contains(['/', '%']) {
        return Ok(());
    }
    if name.len() <= 253 && bytes.iter().all(|&byte| plain(byte)) && edge(bytes.first()) && edge(bytes.last()) {
        return Ok(());
    }
    let why = format!(
        "metadata.name: Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
         characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used \
         for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    );
    Err(Problem::Invalid(resource, name.to_owned(), why))
}

/// Defaults and checks of a new object.
pub fn on_create(resource: Resource, name: &str, uid: &str, value: &mut Value) -> Result<(), Problem> {
    let kind = text(value, "kind");
    if !kind.is_empty() && kind != resource.row().kind {
        let wanted = resource.row().kind;
        return Err(Problem::BadRequest(format!("{kind} in the body does not match the expected kind ({wanted})")));
    }
    match resource {
        Resource::Jobs => on_create_job(name, uid, value),
        Resource::Pods => on_create_pod(name, value),
        Resource::Deployments | Resource::StatefulSets => {
            member(value, "spec").entry("replicas").or_insert_with(|| 1.into());
            value["status"] = json!({});
            Ok(())
        }
        Resource::UpgradeTasks => {
            let missing = ["fromVersion", "toVersion"].into_iter().find(|field| !value["spec"][*field].is_string());
            match missing {
                None => Ok(()),
                Some(_) if !value["spec"].is_object() => Err(required(resource, name, "spec")),
                Some(field) => Err(required(resource, name, &format!("spec.{field}"))),
            }
        }
        _ => Ok(()),
    }
}

fn required(resource: Resource, name: &str, field: &str) -> Problem {
    Problem::Invalid(resource, name.to_owned(), format!("{field}: Required value"))
}

fn on_create_job(name: &str, uid: &str, value: &mut Value) -> Result<(), Problem> {
    let invalid = |why: &str| Err(Problem::Invalid(Resource::Jobs, name.to_owned(), why.to_owned()));
    // A Job's name becomes a label of its Pods.
    if name.len() > 63 {
        return invalid("metadata.name: Invalid value: must be no more than 63 characters");
    }
    value["status"] = json!({});
    let spec = member(value, "spec");
    for (field, default) in [
        ("parallelism", json!(1)),
        ("completions", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
        ("manualSelector", json!(false)),
    ] {
        spec.entry(field).or_insert(default);
    }
    for field in ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"] {
        if spec.get(field).and_then(Value::as_i64).is_some_and(|number| number < 0) {
            return invalid(&format!("spec.{field}: Invalid value: must be greater than or equal to 0"));
        }
    }
    spec.insert("selector".to_owned(), json!({"matchLabels": {JOB_LABELS[0]: uid}}));
    let template = spec.entry("template").or_insert_with(|| json!({}));
    for label in JOB_LABELS {
        let of = if label.ends_with("uid") { uid } else { name };
        template["metadata"]["labels"][label] = of.into();
    }
    let pod = &mut template["spec"];
    if pod["containers"].as_array().is_none_or(Vec::is_empty) {
        return invalid("spec.template.spec.containers: Required value");
    }
    let restart = text(pod, "restartPolicy");
    if !matches!(restart, "Never" | "OnFailure") {
        let shown = if restart.is_empty() { "Always" } else { restart };
        return invalid(&format!(
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\" (was {shown:?})"
        ));
    }
    pod_defaults(pod);
    Ok(())
}

fn on_create_pod(name: &str, value: &mut Value) -> Result<(), Problem> {
    if value["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
        return Err(required(Resource::Pods, name, "spec.containers"));
    }
    pod_defaults(&mut value["spec"]);
    value["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"});
    Ok(())
}

fn pod_defaults(spec: &mut Value) {
    for (field, default) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
    ] {
        let spec = spec.as_object_mut();
        spec.map(|spec| spec.entry(field).or_insert(default));
    }
    for container in spec["containers"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        for (field, default) in [
            ("resources", json!({})),
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
            ("imagePullPolicy", json!("IfNotPresent")),
        ] {
            container.entry(field).or_insert(default);
        }
    }
}

/// Checks of a changed one.
pub fn on_update(key: &Key, before: &Value, after: &Value) -> Result<(), Problem> {
    if key.resource != Resource::Jobs {
        return Ok(());
    }
    for field in ["template", "selector", "completionMode", "completions"] {
        if before["spec"][field] != after["spec"][field] {
            let why = format!("spec.{field}: Invalid value: field is immutable");
            return Err(Problem::Invalid(key.resource, key.name.to_string(), why));
        }
    }
    Ok(())
}
