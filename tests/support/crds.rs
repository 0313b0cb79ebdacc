//! OpenEBS's custom resource definitions: the UpgradeTask as we ship it or as its releases did, the rest permissive,
//! since nothing here depends on what their schemas would refuse.
//!
//! `FLEETLIFT_TEST_CRDS=DIR` puts those of a release in their place: every CustomResourceDefinition in the `.yaml` files
//! of that folder replaces ours of the same name. So an engineer sees whether the executor gets along with the schemas
//! that a fleet really has: `FLEETLIFT_TEST_CRDS=~/openebs-3.6-crds tests/run --test executor kinds`.

use std::path::Path;

use kube::Client;
use serde_json::{Value, json};

use super::cluster::apply;
use super::edge::documents;
use super::until::until;

/// Which of the shipped UpgradeTask definitions a cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeTaskSchema {
    /// Ours: `deploy/edge/upgradetask-crd.yaml`.
    Fleetlift,
    /// As the operators from 1.11 on install it: unknown fields are pruned.
    Structural,
    /// As maya-apiserver 2.12 installs it: anything goes.
    Open,
}

/// Installs all of them, and waits until they are served.
pub async fn install(client: &Client, upgrade_task: UpgradeTaskSchema) {
    let mut definitions: Vec<Value> = KINDS.iter().map(Kind::definition).collect();
    definitions.push(upgrade_task.definition());
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so")]
    if let Some(folder) = std::env::var_os("FLEETLIFT_TEST_CRDS") {
        replace(&mut definitions, given(Path::new(&folder)));
    }
    for definition in &definitions {
        apply(client, definition).await;
    }
    for definition in &definitions {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let group = definition["spec"]["group"].as_str().unwrap_or_default();
        let plural = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
        let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
        let served = versions.filter(|version| version["served"] == true).map(|version| version["name"].as_str());
        let version = served.flatten().next().unwrap_or_default();
        let path = format!("/apis/{group}/{version}/{plural}?limit=1");
        until(&format!("{name} is served"), || async {
            let request = http::Request::get(&path).body(Vec::new()).expect("a request");
            client.request::<Value>(request).await.ok()
        })
        .await;
    }
}

/// The definitions in the YAML files of a folder.
///
/// # Panics
/// When the folder cannot be read or has none: whoever named it wants to know.
fn given(folder: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut definitions = Vec::new();
    for file in files {
        let path = file.expect("the folder can be read").path();
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            definitions.extend(documents(&text).into_iter().filter(|one| one["kind"] == "CustomResourceDefinition"));
        }
    }
    assert!(!definitions.is_empty(), "no CustomResourceDefinition in a .yaml file of {}", folder.display());
    definitions
}

fn replace(ours: &mut Vec<Value>, given: Vec<Value>) {
    for definition in given {
        ours.retain(|own| own["metadata"]["name"] != definition["metadata"]["name"]);
        ours.push(definition);
    }
}

struct Kind {
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    name: &'static str,
    scope: &'static str,
}

const KINDS: &[Kind] = &[
    namespaced("cstor.openebs.io", &["v1"], "cstorpoolclusters", "CStorPoolCluster"),
    namespaced("cstor.openebs.io", &["v1"], "cstorpoolinstances", "CStorPoolInstance"),
    namespaced("cstor.openebs.io", &["v1"], "cstorvolumes", "CStorVolume"),
    namespaced("cstor.openebs.io", &["v1"], "cstorvolumereplicas", "CStorVolumeReplica"),
    namespaced("cstor.openebs.io", &["v1"], "cstorvolumeconfigs", "CStorVolumeConfig"),
    namespaced("cstor.openebs.io", &["v1"], "cstorbackups", "CStorBackup"),
    namespaced("cstor.openebs.io", &["v1"], "cstorrestores", "CStorRestore"),
    namespaced("cstor.openebs.io", &["v1"], "cstorcompletedbackups", "CStorCompletedBackup"),
    namespaced("openebs.io", &["v1", "v1alpha1"], "jivavolumes", "JivaVolume"),
    namespaced("openebs.io", &["v1alpha1"], "cstorvolumes", "CStorVolume"),
    namespaced("openebs.io", &["v1alpha1"], "cstorvolumereplicas", "CStorVolumeReplica"),
    namespaced("openebs.io", &["v1alpha1"], "cstorbackups", "CStorBackup"),
    namespaced("openebs.io", &["v1alpha1"], "cstorrestores", "CStorRestore"),
    namespaced("openebs.io", &["v1alpha1"], "cstorcompletedbackups", "CStorCompletedBackup"),
    namespaced("openebs.io", &["v1alpha1"], "upgraderesults", "UpgradeResult"),
    cluster_wide("cstorpools", "CStorPool"),
    cluster_wide("storagepoolclaims", "StoragePoolClaim"),
];

const fn namespaced(
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    name: &'static str,
) -> Kind {
    Kind { group, versions, plural, name, scope: "Namespaced" }
}

const fn cluster_wide(plural: &'static str, name: &'static str) -> Kind {
    Kind { group: "openebs.io", versions: &["v1alpha1"], plural, name, scope: "Cluster" }
}

impl Kind {
    fn definition(&self) -> Value {
        let Self { group, versions, plural, name, scope } = self;
        let versions: Vec<Value> = versions
            .iter()
            .enumerate()
            .map(|(number, version)| {
                json!({"name": version, "served": true, "storage": number == 0, "schema": {"openAPIV3Schema": open()}})
            })
            .collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": scope, "versions": versions,
                "names": {"plural": plural, "singular": name.to_lowercase(), "kind": name, "listKind": format!("{name}List")},
            },
        })
    }
}

impl UpgradeTaskSchema {
    fn definition(self) -> Value {
        let ours = documents(include_str!("../../deploy/edge/upgradetask-crd.yaml")).remove(0);
        let mut definition = ours;
        let version = &mut definition["spec"]["versions"][0];
        match self {
            Self::Fleetlift => {}
            Self::Structural => without_unknown_fields(&mut version["schema"]["openAPIV3Schema"]),
            Self::Open => version["schema"]["openAPIV3Schema"] = open(),
        }
        definition
    }
}

fn open() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Makes the API server prune what the schema does not name.
fn without_unknown_fields(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-preserve-unknown-fields");
            fields.values_mut().for_each(without_unknown_fields);
        }
        Value::Array(items) => items.iter_mut().for_each(without_unknown_fields),
        _ => {}
    }
}
