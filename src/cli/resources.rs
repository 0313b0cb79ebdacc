//! What a cluster runs, for people: `fleetlift cluster resources`.

use super::render::{Column, Output, Tone, plain};
use crate::app::{NeedView, ResourcesView};
use crate::domain::inventory::{PastUpgrade, Replicas, Resource};
use crate::domain::{ResourceKind, Seconds};

/// A resource beside what it needs.
struct Listed {
    resource: Resource,
    need: String,
}

const COLUMNS: [Column<Listed>; 10] = [
    Column::new("KIND", |listed: &Listed| listed.resource.id.kind.to_string()),
    Column::new("NAME", |listed: &Listed| listed.resource.id.name.clone()),
    Column::new("VERSION", |listed: &Listed| version(&listed.resource)),
    Column::new("HEALTH", |listed: &Listed| listed.resource.health.why_not().unwrap_or("ok").to_owned()),
    Column::new("REPLICAS", |listed: &Listed| replicas(&listed.resource)),
    Column::new("NEEDS", |listed: &Listed| listed.need.clone()),
    Column::new("USED BY", |listed: &Listed| users(&listed.resource)),
    Column::new("HALF DONE", |listed: &Listed| listed.resource.half_done.clone().unwrap_or_default()),
    Column::wide("PARENT", |listed: &Listed| {
        listed.resource.parent.as_ref().map_or_else(String::new, ToString::to_string)
    }),
    Column::wide("NAMESPACE", |listed: &Listed| listed.resource.namespace.clone()),
];

/// Upgrades from before Fleetlift: finished UpgradeTasks, and UpgradeResults.
const HISTORY: [Column<PastUpgrade>; 6] = [
    Column::new("PAST UPGRADE", |past: &PastUpgrade| past.name.clone()),
    Column::new("RESOURCE", |past: &PastUpgrade| past.resource.as_ref().map_or_else(String::new, ToString::to_string)),
    Column::new("FROM", |past: &PastUpgrade| past.from.clone()),
    Column::new("TO", |past: &PastUpgrade| past.to.clone()),
    Column::new("PHASE", |past: &PastUpgrade| past.phase.clone()),
    Column::new("ENDED", |past: &PastUpgrade| past.completed_at.clone().unwrap_or_default()),
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
        "Kubernetes {}; control plane: {}; engines: {}; read {} ago\n\n",
        inventory.kubernetes,
        if components.is_empty() { "none found".to_owned() } else { components.join(", ") },
        engines(&inventory.resources),
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
        let count = inventory.history.len();
        let past = if count == 1 { "one finished upgrade".to_owned() } else { format!("{count} finished upgrades") };
        match output.is_wide() {
            true => text.push_str(&format!("\n{}", output.table(&inventory.history, &HISTORY))),
            false => text.push_str(&format!("history: {past} from before (--output wide lists them)\n")),
        }
    }
    text
}

/// The engines that have something here.
fn engines(resources: &[Resource]) -> String {
    let mut engines: Vec<&str> = resources.iter().map(|resource| engine(resource.id.kind)).collect();
    engines.sort_unstable();
    engines.dedup();
    if engines.is_empty() { "none found".to_owned() } else { engines.join(", ") }
}

const fn engine(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::CstorPoolInstance | ResourceKind::CstorPoolCluster | ResourceKind::CstorVolume => "cStor",
        ResourceKind::JivaVolume => "Jiva",
        ResourceKind::CstorPool | ResourceKind::StoragePoolClaim | ResourceKind::LegacyCstorVolume => "legacy cStor",
        ResourceKind::LegacyJivaVolume => "legacy Jiva",
    }
}

/// Healthy of wanted.
fn replicas(resource: &Resource) -> String {
    resource.replicas.map_or_else(String::new, |Replicas { wanted, healthy }| format!("{healthy}/{wanted}"))
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
    match (pods.is_empty(), &resource.attached_to, &resource.users_unknown) {
        (true, Some(node), _) => format!("node {node}"),
        (true, None, Some(_)) => "not known".to_owned(),
        _ => pods.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::render::Format;
    use crate::domain::inventory::Condition;
    use crate::domain::{Inventory, ResourceRef, Timestamp, Version};

    fn resource(kind: ResourceKind, name: &str) -> Resource {
        Resource {
            id: ResourceRef { kind, name: name.into() },
            namespace: "openebs".into(),
            parent: None,
            version: Some(Version::new(3, 5, 0)),
            versions: vec![],
            health: Condition::Holds,
            half_done: None,
            pools: vec![],
            replicas: Some(Replicas { wanted: 3, healthy: 2 }),
            attached_to: None,
            workloads: vec![],
            users_unknown: Some("the right to list pods in namespace shop is missing".into()),
            details: BTreeMap::new(),
        }
    }

    fn view() -> ResourcesView {
        let history = PastUpgrade {
            name: "upgrade-result-1".into(),
            resource: None,
            from: "0.8.2".into(),
            to: "0.9.0".into(),
            phase: "done".into(),
            completed_at: None,
        };
        let now = Timestamp::from_micros(0);
        ResourcesView {
            cluster: "edge".into(),
            taken_at: now.into(),
            age_seconds: 1,
            overtaken: false,
            needs: vec![],
            inventory: Inventory {
                taken_at: now,
                kubernetes: "v1.34.4".into(),
                architectures: vec![],
                namespace: "openebs".into(),
                control_plane: vec![],
                resources: vec![
                    resource(ResourceKind::JivaVolume, "pvc-1"),
                    resource(ResourceKind::LegacyCstorVolume, "pvc-2"),
                ],
                under_way: vec![],
                history: vec![history],
                problems: vec![],
            },
        }
    }

    #[test]
    fn replicas_engines_and_users_that_could_not_be_read_are_shown() {
        let page = page(Output::new(Format::Table, true), &view());
        assert!(page.contains("engines: Jiva, legacy cStor"), "{page}");
        let row = page.lines().find(|line| line.contains("pvc-1")).unwrap();
        assert!(row.contains("2/3") && row.contains("not known"), "{page}");
        assert!(page.contains("one finished upgrade from before (--output wide lists them)"), "{page}");
    }

    #[test]
    fn the_wide_page_lists_what_was_upgraded_before() {
        let page = page(Output::new(Format::Wide, true), &view());
        let row = page.lines().find(|line| line.contains("upgrade-result-1")).unwrap();
        assert!(["0.8.2", "0.9.0", "done"].iter().all(|word| row.contains(word)), "{page}");
    }
}
