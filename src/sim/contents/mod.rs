//! What a simulated cluster runs: a short description, made into objects as OpenEBS's operators would have made them, all
//! healthy, when the cluster is first asked something.

mod base;
mod generated;
mod legacy;
mod pools;
mod volumes;

use serde_json::{Map, Value, json};

use super::cluster::ClusterSpec;
use super::resources::Resource;
use super::seed::Seed;
use super::store::Store;
use super::workloads;
use crate::domain::Timestamp;

pub use generated::Mix;

/// OpenEBS's namespace.
pub const NAMESPACE: &str = "openebs";
/// The namespace of those who use volumes.
pub const USERS: &str = "shop";

/// What a cluster runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The version of the operators of the CSPC and CSI engines; `None` where they are not installed.
    pub csi_operators: Option<String>,
    /// The version of maya-apiserver; `None` where it is not installed.
    pub maya: Option<String>,
    /// Its pools and volumes.
    pub items: Vec<Item>,
}

/// A pool cluster, pool claim or volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its name; a volume's is that of its PersistentVolume.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How many pools or replicas it has, on one node each.
    pub width: u32,
    /// For cStor volumes: the pool cluster or pool claim that they lie on.
    pub pool: String,
    /// Whether a Pod uses it.
    pub used: bool,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// CSPC with its CSPIs.
    PoolCluster,
    /// A cStor volume of the CSI engine.
    CstorVolume,
    /// A Jiva volume of the CSI engine.
    JivaVolume,
    /// SPC with its CSPs.
    PoolClaim,
    /// A cStor volume of the external provisioner.
    LegacyCstorVolume,
    /// A Jiva volume of the external provisioner.
    LegacyJivaVolume,
}

impl Item {
    /// An unused one with one pool or replica.
    pub fn new(kind: ItemKind, name: &str, version: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        Self { kind, name, version, width: 1, pool: String::new(), used: false }
    }

    /// With that many pools or replicas.
    #[must_use]
    pub fn wide(self, width: u32) -> Self {
        Self { width, ..self }
    }

    /// On that pool cluster or pool claim.
    #[must_use]
    pub fn on(self, pool: &str) -> Self {
        Self { pool: pool.to_owned(), ..self }
    }

    /// Used by a Pod.
    #[must_use]
    pub fn used(self) -> Self {
        Self { used: true, ..self }
    }
}

/// The names of the nodes that carry `width` pools or replicas.
fn nodes(width: u32) -> impl Iterator<Item = String> {
    (1..=width).map(|number| format!("node-{number}"))
}

/// Fills an empty store.
pub(super) fn furnish(store: &mut Store, spec: &ClusterSpec, identity: &str, seed: Seed, now: Timestamp) {
    let mut site = Site { store, seed, now };
    let Contents { csi_operators, maya, items } = &spec.contents;
    site.namespaces(identity);
    site.nodes(items.iter().map(|item| item.width).max().unwrap_or(1));
    site.definitions(csi_operators.is_some(), maya.is_some());
    if let Some(version) = csi_operators {
        site.csi_operators(version);
    }
    if let Some(version) = maya {
        site.maya_apiserver(version);
    }
    for item in items {
        match item.kind {
            ItemKind::PoolCluster => site.pool_cluster(item),
            ItemKind::PoolClaim => site.pool_claim(item),
            ItemKind::CstorVolume => site.cstor_volume(item),
            ItemKind::LegacyCstorVolume => site.legacy_cstor_volume(item),
            ItemKind::JivaVolume => site.jiva_volume(item),
            ItemKind::LegacyJivaVolume => site.legacy_jiva_volume(item),
        }
    }
}

/// A cluster that is being furnished.
struct Site<'a> {
    store: &'a mut Store,
    seed: Seed,
    now: Timestamp,
}

/// A Deployment or StatefulSet.
struct Workload<'a> {
    name: &'a str,
    version: &'a str,
    /// On itself and on its Pods, beside the version.
    labels: &'a [(&'a str, &'a str)],
    account: &'a str,
    /// Name, and image without its tag.
    containers: &'a [(&'a str, &'a str)],
    replicas: u32,
}

impl Site<'_> {
    fn put(&mut self, resource: Resource, namespace: &str, value: Value) {
        self.store.furnish(resource, namespace, value, self.now);
    }

    /// An object of one of OpenEBS's own kinds.
    fn custom(&mut self, resource: Resource, name: &str, labels: &Value, mut rest: Value) {
        rest["metadata"] = json!({"name": name, "labels": labels});
        self.put(resource, NAMESPACE, rest);
    }

    fn service(&mut self, name: &str, version: &str, own: &[(&str, &str)]) {
        let labels = labels(&[own, &[(super::upgrade::VERSION, version)]].concat());
        let value = json!({"metadata": {"name": name, "labels": labels},
            "spec": {"clusterIP": "10.96.7.7", "ports": [{"name": "iscsi", "port": 3260, "protocol": "TCP"}]},
            "status": {"loadBalancer": {}}});
        self.put(Resource::Services, NAMESPACE, value);
    }

    fn deployment(&mut self, workload: &Workload<'_>) {
        let mut value = workload.object();
        value["spec"]["strategy"] = json!({"type": "Recreate"});
        self.settled(Resource::Deployments, value);
    }

    fn stateful_set(&mut self, workload: &Workload<'_>) {
        let mut value = workload.object();
        value["spec"]["serviceName"] = json!(workload.name);
        value["spec"]["podManagementPolicy"] = json!("Parallel");
        value["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
        self.settled(Resource::StatefulSets, value);
    }

    fn settled(&mut self, resource: Resource, mut value: Value) {
        workloads::settle(resource, &mut value);
        self.put(resource, NAMESPACE, value);
    }
}

impl Workload<'_> {
    fn object(&self) -> Value {
        let Self { name, version, labels: own, account, containers, replicas } = self;
        let selector = labels(own);
        let labels = labels(&[own, [(super::upgrade::VERSION, *version)].as_slice()].concat());
        let containers: Vec<Value> = containers
            .iter()
            .map(|(container, image)| {
                json!({"name": container, "image": format!("{image}:{version}"), "imagePullPolicy": "IfNotPresent"})
            })
            .collect();
        json!({"metadata": {"name": name, "labels": labels},
            "spec": {"replicas": replicas, "selector": {"matchLabels": selector}, "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": account, "containers": containers}}}})
    }
}

fn labels(pairs: &[(&str, &str)]) -> Value {
    let labels: Map<String, Value> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
    Value::Object(labels)
}

/// What an operator leaves behind that has reconciled an object.
fn version_details(version: &str) -> Value {
    json!({"autoUpgrade": false, "desired": version, "status": {"current": version, "dependentsUpgraded": true,
        "state": "Reconciled", "message": "", "reason": "", "lastUpdateTime": null}})
}
