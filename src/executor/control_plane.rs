//! The control plane comes first: the operator of what is upgraded must run at the target version.

use super::object::{Object, PODS, VERSION_LABEL, text};
use super::problem::{During, Problem};
use super::task::Task;
use crate::domain::inventory::{Component, Condition};
use crate::openebs::control_plane::{Operator, operator_is_at};

/// A Pod of the operator, once all of its Pods are known to be at the target.
pub async fn check(task: &Task, operator: Operator) -> Result<Object, Problem> {
    let name = operator.name();
    let selector = format!("{}={name}", operator.label());
    let doing = match operator {
        Operator::Maya => format!("failed to verify {name} pod"),
        _ => format!("failed to verify {name}"),
    };
    let pods = task.api().list(&PODS, task.namespace(), &selector).await.during(&doing)?;
    let running: Vec<Object> = pods.into_iter().filter(counts).collect();
    let versions: Vec<String> = running.iter().map(|pod| pod.label(VERSION_LABEL).to_owned()).collect();
    let component = Component { name: name.to_owned(), versions, service_account: String::new() };
    let components = if running.is_empty() { Vec::new() } else { vec![component] };
    match (operator_is_at(&components, name, &task.versions().to), running.into_iter().next()) {
        (Condition::Holds, Some(pod)) => Ok(pod),
        (verdict, _) => {
            let seen = verdict.why_not().unwrap_or("no Pod of it was found").to_owned();
            Err(Problem::on(
                name,
                seen,
                format!("all its Pods in namespace {} at {}", task.namespace(), task.versions().to),
            )
            .remedy("upgrade OpenEBS's control plane first, and wait until its old Pods are gone"))
            .during(doing)
        }
    }
}

/// The service account that the operator's Pod runs as.
pub fn service_account(pod: &Object) -> &str {
    match pod.text("/spec/serviceAccountName") {
        "" => "default",
        name => name,
    }
}

/// The value of an environment variable of the Pod's first container that has it.
pub fn environment<'a>(pod: &'a Object, name: &str) -> Option<&'a str> {
    let containers = pod.list("/spec/containers").iter();
    let variables = containers.filter_map(|container| container.get("env")?.as_array()).flatten();
    let mut value =
        variables.filter(|variable| text(variable, "/name") == name).map(|variable| text(variable, "/value"));
    value.rfind(|value| !value.is_empty())
}

/// Pods that have ended or are going away say nothing about what runs now.
fn counts(pod: &Object) -> bool {
    !matches!(pod.text("/status/phase"), "Failed" | "Succeeded") && pod.text("/metadata/deletionTimestamp").is_empty()
}
