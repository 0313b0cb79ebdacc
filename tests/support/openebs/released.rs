//! OpenEBS's objects with every field that its own operators give them, read from `released/KIND-RELEASE.yaml`: the first
//! lines of each file say of which releases it holds, where that is read, and what had to be inferred.
//!
//! `${…}` in the files is what differs from cluster to cluster: names, namespaces, the version, and `${address}`,
//! which the API server gives the volume's Service.

use std::fs;
use std::path::{Path, PathBuf};

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::super::TestCluster;
use super::super::edge::documents;

/// Makes objects in a cluster as the operators of OpenEBS's releases did.
pub struct Released<'a> {
    cluster: &'a TestCluster,
    /// Where all nodes are one: what it has for `/var/openebs`.
    data: Option<&'a Path>,
}

/// `cluster`'s OpenEBS, on the nodes `n1`, `n2` and `n3`.
pub fn released(cluster: &TestCluster) -> Released<'_> {
    Released { cluster, data: None }
}

/// The same where one node bears the Pods of all three, and keeps its data in that folder.
pub fn released_on_one_node<'a>(cluster: &'a TestCluster, data: &'a Path) -> Released<'a> {
    Released { cluster, data: Some(data) }
}

impl Released<'_> {
    /// A pool cluster with the pools `<name>-a1b2` and `<name>-c3d4`.
    pub async fn pool_cluster(&self, name: &str, version: &str) {
        self.all_of("cspc", name, "", version).await;
    }

    /// A cStor volume of the CSI engine with a replica on each pool of `pool_cluster`.
    pub async fn cstor_volume(&self, name: &str, pool_cluster: &str, version: &str) {
        self.all_of("csi-cstor", name, pool_cluster, version).await;
    }

    /// A Jiva volume of the CSI engine with three replicas.
    pub async fn jiva_volume(&self, name: &str, version: &str) {
        self.all_of("csi-jiva", name, "", version).await;
    }

    /// A storage pool claim with the pools `<name>-a1b2` and `<name>-c3d4`.
    pub async fn storage_pool_claim(&self, name: &str, version: &str) {
        self.all_of("spc", name, "", version).await;
    }

    /// A cStor volume of the external provisioner with a replica on each pool of `claim`.
    pub async fn legacy_cstor_volume(&self, name: &str, claim: &str, version: &str) {
        self.all_of("legacy-cstor", name, claim, version).await;
    }

    /// A Jiva volume of the external provisioner with three replicas; before 1.9 in its claim's namespace, and with one
    /// Deployment for all of them.
    pub async fn legacy_jiva_volume(&self, name: &str, version: &str) {
        self.all_of("legacy-jiva", name, "", version).await;
    }

    async fn all_of(&self, kind: &str, name: &str, pools: &str, version: &str) {
        let text = fs::read_to_string(file(kind, version)).expect("the file can be read");
        let since = |release: (u32, u32)| numbers(version) >= release;
        let told = |address: &str| -> Vec<Value> {
            let values = [
                ("name", name),
                ("pools", pools),
                ("version", version),
                ("namespace", &self.cluster.namespace),
                ("claims_namespace", &self.cluster.claims_namespace),
                ("address", address),
                ("registry", if since((2, 3)) { "" } else { "quay.io/" }),
                ("account", if since((2, 8)) { "openebs-cstor-operator" } else { "openebs-maya-operator" }),
                ("arch", if since((2, 8)) { "" } else { "-amd64" }),
            ];
            documents(
                &values.iter().fold(text.clone(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value)),
            )
        };
        let address = match told("").into_iter().find(|object| object["kind"] == "Service") {
            Some(service) => self.address(service).await,
            None => String::new(),
        };
        let mut objects = told(&address);
        if kind == "legacy-jiva" && self.data.is_some() {
            leave_one_replica(&mut objects);
        }
        for mut object in objects {
            self.own(&mut object).await;
            if let Some(data) = self.data {
                self.bring_together(&mut object, data).await;
            }
            self.cluster.apply(&object).await;
        }
    }

    /// Makes a Service before whoever owns it, for the address that the others tell.
    async fn address(&self, mut service: Value) -> String {
        service["metadata"].as_object_mut().expect("an object").remove("ownerReferences");
        self.cluster.apply(&service).await;
        let made = self.cluster.like(&service).get(name_of(&service)).await.expect("it was made just now");
        made.data["spec"]["clusterIP"].as_str().expect("it was given an address").to_owned()
    }

    /// Gives its owners their UIDs.
    async fn own(&self, object: &mut Value) {
        let namespace = object["metadata"]["namespace"].clone();
        let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() else { return };
        for owner in owners {
            let mut example = json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"]});
            if !matches!(owner["kind"].as_str(), Some("StoragePoolClaim" | "CStorPool")) {
                example["metadata"] = json!({"namespace": namespace});
            }
            let name = owner["name"].as_str().expect("it has a name");
            let found = self.cluster.like(&example).get(name).await.expect("owners come first in their file");
            owner["uid"] = found.uid().into();
        }
    }

    /// What it takes for the Pods of three nodes to run on one: they may go anywhere, and their data lies apart.
    async fn bring_together(&self, object: &mut Value, data: &Path) {
        if let Some(Value::Object(pod)) = object.pointer_mut("/spec/template/spec") {
            pod.remove("affinity");
            pod.remove("nodeSelector");
        }
        let name = name_of(object).to_owned();
        let volumes = object.pointer_mut("/spec/template/spec/volumes").and_then(Value::as_array_mut);
        for path in volumes.into_iter().flatten().filter_map(|volume| volume.pointer_mut("/hostPath/path")) {
            if let Some(rest) = path.as_str().and_then(|path| path.strip_prefix("/var/openebs")) {
                // Legacy replicas have a folder of that name on each node.
                *path = format!("{}{rest}/{name}", data.display()).into();
            }
        }
        let claims =
            object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).cloned().unwrap_or_default();
        for claim in claims {
            for number in 0..object["spec"]["replicas"].as_u64().unwrap_or_default() {
                // As the local provisioner makes it.
                let claimed = format!("{}-{name}-{number}", name_of(&claim));
                let source = json!({"hostPath": {"path": data.join(&claimed), "type": "DirectoryOrCreate"}});
                self.cluster.provide(&self.cluster.namespace, &claimed, &claim["spec"], &source).await;
            }
        }
    }
}

/// Replicas of a legacy Jiva volume never share a node; an upgrade sees to that, too.
fn leave_one_replica(objects: &mut Vec<Value>) {
    objects.retain(|object| !["-rep-2", "-rep-3"].iter().any(|replica| name_of(object).ends_with(replica)));
    for variable in objects.iter_mut().filter_map(|object| object.pointer_mut("/spec/template/spec/containers/0/env/0"))
    {
        if variable["name"] == "REPLICATION_FACTOR" {
            variable["value"] = "1".into();
        }
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("it has a name")
}

/// The newest file of that kind that is not newer than `version`.
fn file(kind: &str, version: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/support/openebs/released");
    let files = fs::read_dir(&folder).expect("the folder can be read");
    let releases = files.filter_map(|file| {
        let name = file.expect("the folder can be read").file_name().into_string().ok()?;
        let (of, release) = name.strip_suffix(".yaml")?.rsplit_once('-')?;
        (of == kind && numbers(release) <= numbers(version)).then(|| release.to_owned())
    });
    let newest = releases.max_by_key(|release| numbers(release));
    folder.join(format!("{kind}-{}.yaml", newest.unwrap_or_else(|| panic!("no {kind} as of {version}"))))
}

/// The first two numbers of a version: the release.
fn numbers(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|number| number.parse().expect("a number"));
    (numbers.next().expect("a number"), numbers.next().expect("two numbers"))
}
