//! What the API server says of itself: its version, its groups, the kinds of each.

use serde_json::{Value, json};

use super::object::Key;
use super::resources::{Resource, Row};
use super::store::Store;

/// Pairs of texts, as the table below lists them.
type Pairs = &'static [(&'static str, &'static str)];

/// Groups that have no stored kinds: only questions are asked there.
const ASKED: [(&str, &str, Pairs); 2] = [
    (
        "authorization.k8s.io",
        "v1",
        &[
            ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
            ("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        ],
    ),
    ("authentication.k8s.io", "v1", &[("selfsubjectreviews", "SelfSubjectReview")]),
];

/// Whether objects of that kind are served: of OpenEBS's own, while their definition is there.
pub fn is_served(store: &Store, resource: Resource) -> bool {
    !resource.row().custom || store.get(&Key::new(Resource::Definitions, "", &resource.qualified())).is_some()
}

/// `/version`.
pub fn version(kubernetes: &str) -> Value {
    let mut numbers = kubernetes.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    json!({"major": major, "minor": minor, "gitVersion": kubernetes, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64"})
}

/// `/api`.
pub fn core() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub fn groups(store: &Store) -> Value {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    let stored = Resource::ALL.iter().filter(|resource| is_served(store, **resource)).map(|resource| {
        let Row { group, version, .. } = resource.row();
        (*group, *version)
    });
    let asked = ASKED.iter().map(|(group, version, _)| (*group, *version));
    for (group, version) in stored.chain(asked).filter(|(group, _)| !group.is_empty()) {
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, versions)) if versions.contains(&version) => {}
            Some((_, versions)) => versions.push(version),
            None => groups.push((group, vec![version])),
        }
    }
    let told: Vec<Value> = groups.iter().map(|(group, versions)| told_group(group, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": told})
}

/// `/apis/GROUP`; `None` for one that is not served.
pub fn group(store: &Store, group: &str) -> Option<Value> {
    let all = groups(store);
    let found = all["groups"].as_array()?.iter().find(|one| one["name"] == group)?;
    let mut found = found.clone();
    found["kind"] = json!("APIGroup");
    found["apiVersion"] = json!("v1");
    Some(found)
}

fn told_group(group: &str, versions: &[&str]) -> Value {
    let told: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": told, "preferredVersion": told[0]})
}

/// `/api/v1` and `/apis/GROUP/VERSION`; `None` for one that is not served.
pub fn kinds(store: &Store, group: &str, version: &str) -> Option<Value> {
    let mut told = Vec::new();
    for resource in Resource::ALL.iter().copied() {
        let row = resource.row();
        if row.group != group || row.version != version || !is_served(store, resource) {
            continue;
        }
        let one = |name: String, verbs: &[&str]| {
            json!({"name": name, "singularName": row.kind.to_lowercase(), "namespaced": row.namespaced,
                "kind": row.kind, "verbs": verbs})
        };
        let verbs: &[&str] = match resource {
            _ if row.custom => &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
            Resource::Namespaces => &["create", "delete", "get", "list", "patch", "update", "watch"],
            _ => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        };
        told.push(one(row.plural.to_owned(), verbs));
        if row.status {
            told.push(one(format!("{}/status", row.plural), &["get", "patch", "update"]));
        }
        if resource == Resource::Pods {
            told.push(one("pods/log".to_owned(), &["get"]));
        }
    }
    for (asked, its_version, kinds) in ASKED {
        if asked == group && its_version == version {
            told.extend(kinds.iter().map(|(plural, kind)| {
                json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind,
                    "verbs": ["create"]})
            }));
        }
    }
    if told.is_empty() {
        return None;
    }
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": told}))
}
