//! What a cluster runs, for people: `fleetlift cluster resources`.

use super::render::{Column, Output, Tone, plain};
use crate::app::{NeedView, ResourcesView};
use crate::domain::Seconds;
use crate::domain::inventory::Resource;

/// A resource beside what it needs.
struct Listed {
    resource: Resource,
    need: String,
}

const COLUMNS: [Column<Listed>; 9] = [
    Column::new("KIND", |listed: &Listed| listed.resource.id.kind.to_string()),
    Column::new("NAME", |listed: &Listed| listed.resource.id.name.clone()),
    Column::new("VERSION", |listed: &Listed| version(&listed.resource)),
    Column::new("HEALTH", |listed: &Listed| listed.resource.health.why_not().unwrap_or("ok").to_owned()),
    Column::new("NEEDS", |listed: &Listed| listed.need.clone()),
    Column::new("USED BY", |listed: &Listed| users(&listed.resource)),
    Column::new("HALF DONE", |listed: &Listed| listed.resource.half_done.clone().unwrap_or_default()),
    Column::wide("PARENT", |listed: &Listed| {
        listed.resource.parent.as_ref().map_or_else(String::new, ToString::to_string)
    }),
    Column::wide("NAMESPACE", |listed: &Listed| listed.resource.namespace.clone()),
];

/// The whole page.
pub fn page(output: Output, view: &ResourcesView) -> String {
    let inventory = &view.inventory;
    let components: Vec<String> = inventory
        .control_plane
        .iter()
        .map(|component| format!("{} {}", component.name, component.versions.join(" and ")))
        .collect();
    let mut text = plain(&format!(
        "Kubernetes {}; control plane: {}; read {} ago\n\n",
        inventory.kubernetes,
        if components.is_empty() { "none found".to_owned() } else { components.join(", ") },
        Seconds(view.age_seconds),
    ));
    if view.overtaken {
        let told = "A rollout was done with this cluster since then: --refresh reads it now.\n\n";
        text.push_str(&output.tone(Tone::Odd, told));
    }
    let listed: Vec<Listed> = inventory
        .resources
        .iter()
        .map(|resource| Listed { resource: resource.clone(), need: need(&view.needs, resource) })
        .collect();
    text.push_str(&output.table(&listed, &COLUMNS));
    for under_way in &inventory.under_way {
        text.push_str(&output.tone(Tone::Odd, &format!("under way: {}\n", under_way.by)));
    }
    for problem in &inventory.problems {
        text.push_str(&output.tone(Tone::Odd, &format!("not read: {problem}\n")));
    }
    if !inventory.history.is_empty() {
        text.push_str(&format!("history: {} finished upgrades from before\n", inventory.history.len()));
    }
    text
}

fn need(needs: &[NeedView], resource: &Resource) -> String {
    let kind = resource.id.kind.to_string();
    let found = needs.iter().find(|need| need.resource.kind == kind && need.resource.name == resource.id.name);
    found.map_or_else(|| "no group selects it".to_owned(), |need| need.need.clone())
}

fn version(resource: &Resource) -> String {
    match &resource.version {
        Some(version) => version.to_string(),
        None => {
            let mut versions: Vec<&str> = resource.versions.iter().map(|seen| seen.version.as_str()).collect();
            versions.sort_unstable();
            versions.dedup();
            versions.join(", ")
        }
    }
}

fn users(resource: &Resource) -> String {
    let pods: Vec<String> = resource.workloads.iter().map(|pod| format!("{}/{}", pod.namespace, pod.pod)).collect();
    match (pods.is_empty(), &resource.attached_to) {
        (true, Some(node)) => format!("node {node}"),
        _ => pods.join(", "),
    }
}
