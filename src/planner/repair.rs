//! From which version a resource starts, also when other hands left an upgrade of it half done.

use std::collections::BTreeSet;

use crate::domain::inventory::{PastUpgrade, Resource};
use crate::domain::{Inventory, Version};

/// Where a resource stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    /// It is at the target, in all its parts.
    There,
    /// It is to be brought from this version to the target.
    From {
        /// The version to name.
        from: Version,
        /// Whether an upgrade by other hands stopped half-way.
        repair: bool,
    },
    /// Nobody can tell.
    Unknown {
        /// A bounded name.
        code: &'static str,
        /// Why, and what to do.
        why: String,
    },
}

/// Where `resource` stands on its way to `to`.
pub fn start(inventory: &Inventory, resource: &Resource, to: &Version) -> Start {
    match (&resource.version, &resource.half_done) {
        (Some(version), None) if version.same_release(to) => Start::There,
        (Some(version), None) => Start::From { from: version.clone(), repair: false },
        (Some(version), Some(_)) if !version.same_release(to) && seen(resource).is_some_and(|seen| seen.len() == 1) => {
            Start::From { from: version.clone(), repair: true }
        }
        (None, None) => Start::Unknown {
            code: "version_unknown",
            why: "none of its objects says which version it has; look at its versionDetails and labels".to_owned(),
        },
        (_, Some(half_done)) => half_way(inventory, resource, to, half_done),
    }
}

fn half_way(inventory: &Inventory, resource: &Resource, to: &Version, half_done: &str) -> Start {
    let unknown = |why: &str| Start::Unknown { code: "half_done", why: format!("half done ({half_done}); {why}") };
    let Some(seen) = seen(resource) else {
        return unknown("a version on it cannot be read: repair it by hand");
    };
    let others: Vec<&(u32, u32, u32)> = seen.iter().filter(|version| **version != to.numbers()).collect();
    match others[..] {
        [&(major, minor, patch)] => Start::From { from: Version::new(major, minor, patch), repair: true },
        // Everything says the target and yet it is not done: the executors want to know where it came from.
        [] => match came_from(inventory, resource, to) {
            Some(from) => Start::From { from, repair: true },
            None => unknown("everything on it says the target, and nothing says where it came from: finish it by hand"),
        },
        [_, _, ..] => unknown(&format!(
            "it is on its way between versions of which neither is {to}: finish that first, by a plan with `--to`"
        )),
    }
}

/// The releases that its objects show; `None` when one of them cannot be read.
fn seen(resource: &Resource) -> Option<BTreeSet<(u32, u32, u32)>> {
    let texts = resource.versions.iter().map(|seen| seen.version.as_str()).filter(|text| !text.is_empty());
    texts.map(|text| text.parse::<Version>().ok().map(|version| version.numbers())).collect()
}

/// The version that the last UpgradeTask to `to` names as the one it came from.
fn came_from(inventory: &Inventory, resource: &Resource, to: &Version) -> Option<Version> {
    let to_there = |past: &&PastUpgrade| {
        past.resource.as_ref() == Some(&resource.id)
            && past.to.parse::<Version>().is_ok_and(|past| past.same_release(to))
    };
    let last = inventory.history.iter().filter(to_there).max_by_key(|past| past.completed_at.clone())?;
    last.from.parse::<Version>().ok().filter(|from| !from.same_release(to))
}
