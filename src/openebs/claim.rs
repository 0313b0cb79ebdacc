//! What a Pod claims to upgrade, whoever made it: by its arguments, or by the UpgradeTasks that it selects.
//!
//! Rather too much than too little: what is claimed is left alone, and an upgrade that waits for nothing costs less
//! than two executors on one pool.

use std::collections::BTreeMap;

use crate::domain::{ResourceKind, ResourceRef, Selector};

use super::upgrade_task::UpgradeTask;

/// One container of a Pod or of a Job's template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSeen {
    /// Its image.
    pub image: String,
    /// Command and arguments, in this order.
    pub words: Vec<String>,
    /// Its environment; `None` for a value that comes from elsewhere.
    pub env: BTreeMap<String, Option<String>>,
}

/// What a container claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// These objects by name; of the kinds that share a sub-command, each.
    Named(Vec<ResourceRef>),
    /// What the UpgradeTasks that this selector matches name.
    Selected(String),
    /// What the UpgradeTask of this name names.
    Task(String),
    /// It is an executor, and how it is told what to do is not known.
    Anything,
}

/// The sub-commands of both official executors, of `migrate`, and of our own.
const SUBCOMMANDS: [(&str, &[ResourceKind]); 6] = [
    ("jiva-volume", &[ResourceKind::JivaVolume, ResourceKind::LegacyJivaVolume]),
    ("cstor-volume", &[ResourceKind::CstorVolume, ResourceKind::LegacyCstorVolume]),
    ("cstor-cspc", &[ResourceKind::CstorPoolCluster]),
    ("cstor-spc", &[ResourceKind::StoragePoolClaim]),
    ("cstor-pool-instance", &[ResourceKind::CstorPoolInstance]),
    ("cstor-pool", &[ResourceKind::CstorPool]),
];

/// The flags that give a name.
const NAME_FLAGS: [&str; 3] = ["--pv-name", "--spc-name", "--cspc-name"];

/// More names than one Job was ever given.
const NAMES_MAX: usize = 1_000;

/// What `container` claims; `None` if it is no executor.
pub fn of(container: &ContainerSeen) -> Option<Claim> {
    let words: Vec<&str> = container.words.iter().flat_map(|word| word.split_whitespace()).collect();
    for (at, word) in words.iter().enumerate() {
        if let Some((_, kinds)) = SUBCOMMANDS.iter().find(|(name, _)| name == word) {
            let names = names(&words[at + 1..]);
            let of_each =
                |name: &String| kinds.iter().map(|&kind| ResourceRef { kind, name: name.clone() }).collect::<Vec<_>>();
            return Some(Claim::Named(names.iter().flat_map(of_each).collect()));
        }
    }
    if let Some(selector) = container.env.get("UPGRADE_TASK_LABEL") {
        // A selector that comes from elsewhere, like an empty one, may mean all.
        return Some(Claim::Selected(selector.clone().unwrap_or_default()));
    }
    if let Some(task) = container.env.get("UPGRADE_TASK") {
        return Some(task.clone().map_or(Claim::Anything, Claim::Task));
    }
    let image = container.image.rsplit('/').next().unwrap_or_default();
    let image = image.split([':', '@']).next().unwrap_or_default();
    let executor = image == "m-upgrade"
        || image.strip_prefix("upgrade").is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    match executor {
        true if words.contains(&"resource") => Some(Claim::Selected(String::new())),
        true => Some(Claim::Anything),
        false => None,
    }
}

/// What the claim names, as far as these UpgradeTasks tell; `None` for anything at all.
pub fn resources(claim: &Claim, tasks: &[UpgradeTask]) -> Option<Vec<ResourceRef>> {
    match claim {
        Claim::Named(resources) => Some(resources.clone()),
        Claim::Selected(selector) => {
            // What cannot be read is taken for the widest that it may mean.
            let selector = selector.parse::<Selector>().unwrap_or_default();
            let none = BTreeMap::new();
            let selected = tasks.iter().filter(|task| selector.matches(task.metadata.labels.as_ref().unwrap_or(&none)));
            Some(selected.flat_map(named_by).collect())
        }
        Claim::Task(name) => {
            let named = tasks.iter().filter(|task| task.metadata.name.as_deref() == Some(name));
            Some(named.flat_map(named_by).collect())
        }
        Claim::Anything => None,
    }
}

/// What an UpgradeTask names: of both engines where its member does not tell them apart and it is not ours.
pub fn named_by(task: &UpgradeTask) -> Vec<ResourceRef> {
    let spec = &task.spec;
    let ours = task.metadata.annotations.as_ref().and_then(|all| all.get(super::job::RESOURCE));
    let members: [(Option<&String>, &[ResourceKind]); 6] = [
        (spec.jiva_volume.as_ref().map(|member| &member.pv_name), SUBCOMMANDS[0].1),
        (spec.cstor_volume.as_ref().map(|member| &member.pv_name), SUBCOMMANDS[1].1),
        (spec.cstor_pool_cluster.as_ref().map(|member| &member.cspc_name), SUBCOMMANDS[2].1),
        (spec.storage_pool_claim.as_ref().map(|member| &member.spc_name), SUBCOMMANDS[3].1),
        (spec.cstor_pool_instance.as_ref().map(|member| &member.cspi_name), SUBCOMMANDS[4].1),
        (spec.cstor_pool.as_ref().map(|member| &member.pool_name), SUBCOMMANDS[5].1),
    ];
    let mut named: Vec<ResourceRef> = members
        .into_iter()
        .filter_map(|(name, kinds)| Some((name.filter(|name| !name.is_empty())?, kinds)))
        .flat_map(|(name, kinds)| kinds.iter().map(|&kind| ResourceRef { kind, name: name.clone() }))
        .collect();
    if let Some(only) = named.iter().find(|resource| ours.is_some_and(|ours| *ours == resource.to_string())).cloned() {
        named = vec![only];
    }
    named
}

fn names(words: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let name = match word.split_once('=') {
            Some((flag, name)) if NAME_FLAGS.contains(&flag) => Some(name),
            _ if NAME_FLAGS.contains(word) => words.next().copied(),
            _ if word.starts_with('-') => None,
            _ => Some(*word),
        };
        names.extend(name.map(str::to_owned));
        if names.len() == NAMES_MAX {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceKind as K;

    fn container(image: &str, words: &[&str]) -> ContainerSeen {
        ContainerSeen {
            image: image.into(),
            words: words.iter().map(|&word| word.to_owned()).collect(),
            env: BTreeMap::new(),
        }
    }

    fn resource(kind: K, name: &str) -> ResourceRef {
        ResourceRef { kind, name: name.into() }
    }

    #[test]
    fn the_official_jobs_name_what_they_upgrade() {
        let pools = container(
            "openebs/upgrade:3.6.0",
            &["cstor-cspc", "--from-version=3.5.0", "--to-version=3.6.0", "a", "b", "--v=4"],
        );
        let named = vec![resource(K::CstorPoolCluster, "a"), resource(K::CstorPoolCluster, "b")];
        assert_eq!(of(&pools), Some(Claim::Named(named)));
        let by_flag = container("quay.io/openebs/m-upgrade:1.6.0", &["jiva-volume", "--pv-name", "pvc-1", "--v=4"]);
        let either = vec![resource(K::JivaVolume, "pvc-1"), resource(K::LegacyJivaVolume, "pvc-1")];
        assert_eq!(of(&by_flag), Some(Claim::Named(either)));
        let in_a_shell = container("busybox", &["sh", "-c", "upgrade cstor-spc --spc-name=s && sleep 1"]);
        let Some(Claim::Named(named)) = of(&in_a_shell) else { unreachable!("not recognised") };
        assert!(named.contains(&resource(K::StoragePoolClaim, "s")));
    }

    #[test]
    fn a_job_that_has_nothing_to_do_with_upgrades_claims_nothing() {
        assert_eq!(of(&container("busybox:1.36", &["sleep", "3600"])), None);
        assert_eq!(of(&container("registry.example.com/shop/upgrader:1", &["resource"])), None);
    }

    #[test]
    fn an_executor_that_is_told_in_an_unknown_way_claims_anything() {
        assert_eq!(of(&container("openebs/m-upgrade:0.9.0", &[])), Some(Claim::Anything));
        assert_eq!(of(&container("openebs/upgrade-arm64:2.3.0", &["resource"])), Some(Claim::Selected(String::new())));
    }

    #[test]
    fn a_selector_leads_to_the_tasks_and_an_unreadable_one_to_all() {
        let task = |name: &str, attempt: &str| -> UpgradeTask {
            serde_json::from_value(serde_json::json!({"metadata": {"name": name, "labels": {"attempt": attempt}},
                "spec": {"fromVersion": "3.5.0", "toVersion": "3.6.0", "cstorPoolInstance": {"cspiName": name}}}))
            .unwrap()
        };
        let tasks = [task("x", "1"), task("y", "2")];
        let selected = |selector: &str| resources(&Claim::Selected(selector.into()), &tasks);
        assert_eq!(selected("attempt=1"), Some(vec![resource(K::CstorPoolInstance, "x")]));
        assert_eq!(selected("attempt in (").map(|all| all.len()), Some(2));
        assert_eq!(resources(&Claim::Task("y".into()), &tasks), Some(vec![resource(K::CstorPoolInstance, "y")]));
        assert_eq!(resources(&Claim::Anything, &tasks), None);
    }

    #[test]
    fn our_own_task_says_which_engine_it_means() {
        let task: UpgradeTask = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "t", "annotations": {"fleetlift.io/resource": "legacyJivaVolume/pvc-1"}},
            "spec": {"jivaVolume": {"pvName": "pvc-1"}}}))
        .unwrap();
        assert_eq!(named_by(&task), vec![resource(K::LegacyJivaVolume, "pvc-1")]);
    }
}
