//! The kinds of objects that the hub asks clusters for, as they stand in URLs.

/// One kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noun {
    /// The API group, empty for the core.
    pub group: &'static str,
    /// The version that is asked for.
    pub version: &'static str,
    /// As in URLs and RBAC rules.
    pub plural: &'static str,
    /// As in `kind:`.
    pub kind: &'static str,
}

impl Noun {
    const fn core(plural: &'static str, kind: &'static str) -> Self {
        Self { group: "", version: "v1", plural, kind }
    }

    const fn of(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self { group, version, plural, kind }
    }

    /// `apiVersion` on the wire.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The collection's path, cluster-wide without a namespace.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let Self { group, version, plural, kind: _ } = self;
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        match namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }
}

/// `namespaces`.
pub const NAMESPACES: Noun = Noun::core("namespaces", "Namespace");
/// `nodes`.
pub const NODES: Noun = Noun::core("nodes", "Node");
/// `pods`.
pub const PODS: Noun = Noun::core("pods", "Pod");
/// `events`.
pub const EVENTS: Noun = Noun::core("events", "Event");
/// `services`.
pub const SERVICES: Noun = Noun::core("services", "Service");
/// `configmaps`.
pub const CONFIG_MAPS: Noun = Noun::core("configmaps", "ConfigMap");
/// `persistentvolumes`.
pub const PERSISTENT_VOLUMES: Noun = Noun::core("persistentvolumes", "PersistentVolume");
/// `deployments.apps`.
pub const DEPLOYMENTS: Noun = Noun::of("apps", "v1", "deployments", "Deployment");
/// `statefulsets.apps`.
pub const STATEFUL_SETS: Noun = Noun::of("apps", "v1", "statefulsets", "StatefulSet");
/// `jobs.batch`.
pub const JOBS: Noun = Noun::of("batch", "v1", "jobs", "Job");
/// `volumeattachments.storage.k8s.io`.
pub const VOLUME_ATTACHMENTS: Noun = Noun::of("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment");
/// `customresourcedefinitions.apiextensions.k8s.io`.
pub const CRDS: Noun = Noun::of("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");
/// `upgradetasks.openebs.io`.
pub const UPGRADE_TASKS: Noun = Noun::of("openebs.io", "v1alpha1", "upgradetasks", "UpgradeTask");
/// `upgraderesults.openebs.io`: what the executors of 0.9 wrote.
pub const UPGRADE_RESULTS: Noun = Noun::of("openebs.io", "v1beta1", "upgraderesults", "UpgradeResult");
/// `storagepoolclaims.openebs.io`: legacy, cluster-wide.
pub const STORAGE_POOL_CLAIMS: Noun = Noun::of("openebs.io", "v1alpha1", "storagepoolclaims", "StoragePoolClaim");
/// `cstorpools.openebs.io`: legacy, cluster-wide.
pub const CSTOR_POOLS: Noun = Noun::of("openebs.io", "v1alpha1", "cstorpools", "CStorPool");
/// `cstorvolumes.openebs.io`: of the external provisioner.
pub const LEGACY_CSTOR_VOLUMES: Noun = Noun::of("openebs.io", "v1alpha1", "cstorvolumes", "CStorVolume");
/// `cstorvolumereplicas.openebs.io`: of the external provisioner.
pub const LEGACY_CSTOR_VOLUME_REPLICAS: Noun =
    Noun::of("openebs.io", "v1alpha1", "cstorvolumereplicas", "CStorVolumeReplica");
/// `jivavolumes.openebs.io`.
pub const JIVA_VOLUMES: Noun = Noun::of("openebs.io", "v1", "jivavolumes", "JivaVolume");
/// `cstorpoolclusters.cstor.openebs.io`.
pub const CSTOR_POOL_CLUSTERS: Noun = Noun::of("cstor.openebs.io", "v1", "cstorpoolclusters", "CStorPoolCluster");
/// `cstorpoolinstances.cstor.openebs.io`.
pub const CSTOR_POOL_INSTANCES: Noun = Noun::of("cstor.openebs.io", "v1", "cstorpoolinstances", "CStorPoolInstance");
/// `cstorvolumes.cstor.openebs.io`.
pub const CSTOR_VOLUMES: Noun = Noun::of("cstor.openebs.io", "v1", "cstorvolumes", "CStorVolume");
/// `cstorvolumereplicas.cstor.openebs.io`.
pub const CSTOR_VOLUME_REPLICAS: Noun = Noun::of("cstor.openebs.io", "v1", "cstorvolumereplicas", "CStorVolumeReplica");
/// `cstorvolumeconfigs.cstor.openebs.io`.
pub const CSTOR_VOLUME_CONFIGS: Noun = Noun::of("cstor.openebs.io", "v1", "cstorvolumeconfigs", "CStorVolumeConfig");
