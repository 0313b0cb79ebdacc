//! Kubernetes objects as this program sees them: a place in the API and a body of JSON. Bodies stay untyped on purpose:
//! OpenEBS's types changed over the years, and a field that we don't know must survive.

use std::fmt;

use serde_json::Value;

use super::problem::Problem;

/// The label that carries the version on everything OpenEBS makes.
pub const VERSION_LABEL: &str = "openebs.io/version";

/// One kind of object in the API.
#[derive(Debug, PartialEq, Eq)]
pub struct Collection {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version in the group.
    pub version: &'static str,
    /// Name in paths and in rights.
    pub plural: &'static str,
    /// Name in sentences.
    pub kind: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

macro_rules! collections {
    ($($(#[$doc:meta])* $name:ident = $group:literal $version:literal $plural:literal $kind:literal $namespaced:literal;)*) => {$(
        $(#[$doc])*
        pub const $name: Collection =
            Collection { group: $group, version: $version, plural: $plural, kind: $kind, namespaced: $namespaced };
    )*};
}

collections! {
    /// Pods.
    PODS = "" "v1" "pods" "Pod" true;
    /// Services.
    SERVICES = "" "v1" "services" "Service" true;
    /// Events.
    EVENTS = "" "v1" "events" "Event" true;
    /// PersistentVolumes.
    PERSISTENT_VOLUMES = "" "v1" "persistentvolumes" "PersistentVolume" false;
    /// Deployments.
    DEPLOYMENTS = "apps" "v1" "deployments" "Deployment" true;
    /// StatefulSets.
    STATEFUL_SETS = "apps" "v1" "statefulsets" "StatefulSet" true;
    /// Jobs.
    JOBS = "batch" "v1" "jobs" "Job" true;
    /// UpgradeTasks.
    UPGRADE_TASKS = "openebs.io" "v1alpha1" "upgradetasks" "UpgradeTask" true;
    /// JivaVolumes today.
    JIVA_VOLUMES = "openebs.io" "v1" "jivavolumes" "JivaVolume" true;
    /// JivaVolumes as jiva-operator 2 serves them.
    JIVA_VOLUMES_ALPHA = "openebs.io" "v1alpha1" "jivavolumes" "JivaVolume" true;
    /// cStor pool clusters.
    POOL_CLUSTERS = "cstor.openebs.io" "v1" "cstorpoolclusters" "CStorPoolCluster" true;
    /// cStor pool instances.
    POOL_INSTANCES = "cstor.openebs.io" "v1" "cstorpoolinstances" "CStorPoolInstance" true;
    /// cStor volume configs.
    VOLUME_CONFIGS = "cstor.openebs.io" "v1" "cstorvolumeconfigs" "CStorVolumeConfig" true;
    /// cStor volumes of the CSI engine.
    VOLUMES = "cstor.openebs.io" "v1" "cstorvolumes" "CStorVolume" true;
    /// cStor volume replicas of the CSI engine.
    VOLUME_REPLICAS = "cstor.openebs.io" "v1" "cstorvolumereplicas" "CStorVolumeReplica" true;
    /// Backups of the CSI engine.
    BACKUPS = "cstor.openebs.io" "v1" "cstorbackups" "CStorBackup" true;
    /// Restores of the CSI engine.
    RESTORES = "cstor.openebs.io" "v1" "cstorrestores" "CStorRestore" true;
    /// Completed backups of the CSI engine.
    COMPLETED_BACKUPS = "cstor.openebs.io" "v1" "cstorcompletedbackups" "CStorCompletedBackup" true;
    /// Backups as they were kept before.
    OLD_BACKUPS = "openebs.io" "v1alpha1" "cstorbackups" "CStorBackup" true;
    /// Restores as they were kept before.
    OLD_RESTORES = "openebs.io" "v1alpha1" "cstorrestores" "CStorRestore" true;
    /// Completed backups as they were kept before.
    OLD_COMPLETED_BACKUPS = "openebs.io" "v1alpha1" "cstorcompletedbackups" "CStorCompletedBackup" true;
    /// Legacy storage pool claims.
    POOL_CLAIMS = "openebs.io" "v1alpha1" "storagepoolclaims" "StoragePoolClaim" false;
    /// Legacy cStor pools.
    LEGACY_POOLS = "openebs.io" "v1alpha1" "cstorpools" "CStorPool" false;
    /// Legacy cStor volumes.
    LEGACY_VOLUMES = "openebs.io" "v1alpha1" "cstorvolumes" "CStorVolume" true;
    /// Legacy cStor volume replicas.
    LEGACY_VOLUME_REPLICAS = "openebs.io" "v1alpha1" "cstorvolumereplicas" "CStorVolumeReplica" true;
}

impl Collection {
    /// The path of the collection, in `namespace` if its objects live in one.
    pub fn path(&self, namespace: &str) -> String {
        let root = match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if self.namespaced {
            format!("{root}/namespaces/{namespace}/{}", self.plural)
        } else {
            format!("{root}/{}", self.plural)
        }
    }

    /// `deployments.apps`: how RBAC's messages write it.
    pub fn resource(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The place of one object of this kind.
    pub fn named(&'static self, namespace: &str, name: &str) -> Place {
        Place { collection: self, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// Where an object is. Display is `Kind/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its kind.
    pub collection: &'static Collection,
    /// Its namespace; not used for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection.kind, self.name)
    }
}

/// An object as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub body: Value,
}

impl Object {
    /// The object that `body` describes, found in `collection`.
    pub fn read(collection: &'static Collection, body: Value) -> Self {
        let namespace = text(&body, "/metadata/namespace");
        let place = collection.named(namespace, text(&body, "/metadata/name"));
        Self { place, body }
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// The text at a JSON pointer; empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        text(&self.body, pointer)
    }

    /// The number at a JSON pointer.
    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.body.pointer(pointer).and_then(Value::as_i64)
    }

    /// The elements of the list at a JSON pointer; none if there is no list.
    pub fn list(&self, pointer: &str) -> &[Value] {
        self.body.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The value of a label; empty if it is not set.
    pub fn label(&self, key: &str) -> &str {
        self.body.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Value::as_str).unwrap_or("")
    }

    /// The value of an annotation; empty if it is not set.
    pub fn annotation(&self, key: &str) -> &str {
        let annotations = self.body.pointer("/metadata/annotations");
        annotations.and_then(|all| all.get(key)).and_then(Value::as_str).unwrap_or("")
    }
}

/// The text at a JSON pointer; empty if there is none.
pub fn text<'a>(body: &'a Value, pointer: &str) -> &'a str {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The one object of a list that must have exactly one; `described` says which was looked for.
pub fn exactly_one(
    mut found: Vec<Object>,
    collection: &Collection,
    namespace: &str,
    described: &str,
) -> Result<Object, Problem> {
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (last, others) => {
            let count = others + usize::from(last.is_some());
            let names: Vec<String> = found.iter().chain(last.iter()).take(4).map(|o| o.name().to_owned()).collect();
            let seen = match count {
                0 => format!("none with {described} in namespace {namespace}"),
                _ => format!("{count} with {described} in namespace {namespace} ({})", names.join(", ")),
            };
            Err(Problem::on(collection.kind, seen, "exactly one").remedy(
                "check that the name is right, that the volume or pool belongs to this engine, and that nobody copied \
                 its objects",
            ))
        }
    }
}
