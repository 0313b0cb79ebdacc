//! The kinds of objects that a simulated cluster knows, as they stand in URLs, and what the API server does for each.

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// As in URLs and RBAC rules.
    pub plural: &'static str,
    /// As in `kind:`.
    pub kind: &'static str,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// Whether it has a status subresource; for these, a write of the object leaves the status as it is.
    pub status: bool,
    /// Whether it is served only while its CustomResourceDefinition is there.
    pub custom: bool,
}

macro_rules! resources {
    ($($id:ident = $group:literal $version:literal $plural:literal $kind:literal $scope:ident $part:ident;)*) => {
        /// A kind of object; its row says what it is. The order is the one of lists over all kinds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Resource { $($id,)* }

        impl Resource {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// What it is.
            pub const fn row(self) -> &'static Row {
                match self {
                    $(Self::$id => &Row {
                        group: $group,
                        version: $version,
                        plural: $plural,
                        kind: $kind,
                        namespaced: scope::$scope,
                        status: part::$part.0,
                        custom: part::$part.1,
                    },)*
                }
            }
        }
    };
}

mod scope {
    pub const N: bool = true;
    pub const C: bool = false;
}

#[expect(non_upper_case_globals, reason = "they read as words in the table")]
mod part {
    pub const status: (bool, bool) = (true, false);
    pub const plain: (bool, bool) = (false, false);
    pub const custom: (bool, bool) = (false, true);
}

resources! {
    Namespaces = "" "v1" "namespaces" "Namespace" C status;
    Nodes = "" "v1" "nodes" "Node" C status;
    Pods = "" "v1" "pods" "Pod" N status;
    Services = "" "v1" "services" "Service" N status;
    ConfigMaps = "" "v1" "configmaps" "ConfigMap" N plain;
    Secrets = "" "v1" "secrets" "Secret" N plain;
    ServiceAccounts = "" "v1" "serviceaccounts" "ServiceAccount" N plain;
    PersistentVolumes = "" "v1" "persistentvolumes" "PersistentVolume" C status;
    PersistentVolumeClaims = "" "v1" "persistentvolumeclaims" "PersistentVolumeClaim" N status;
    Events = "" "v1" "events" "Event" N plain;
    Deployments = "apps" "v1" "deployments" "Deployment" N status;
    StatefulSets = "apps" "v1" "statefulsets" "StatefulSet" N status;
    ReplicaSets = "apps" "v1" "replicasets" "ReplicaSet" N status;
    Jobs = "batch" "v1" "jobs" "Job" N status;
    VolumeAttachments = "storage.k8s.io" "v1" "volumeattachments" "VolumeAttachment" C status;
    StorageClasses = "storage.k8s.io" "v1" "storageclasses" "StorageClass" C plain;
    Roles = "rbac.authorization.k8s.io" "v1" "roles" "Role" N plain;
    RoleBindings = "rbac.authorization.k8s.io" "v1" "rolebindings" "RoleBinding" N plain;
    ClusterRoles = "rbac.authorization.k8s.io" "v1" "clusterroles" "ClusterRole" C plain;
    ClusterRoleBindings = "rbac.authorization.k8s.io" "v1" "clusterrolebindings" "ClusterRoleBinding" C plain;
    Definitions = "apiextensions.k8s.io" "v1" "customresourcedefinitions" "CustomResourceDefinition" C status;
    AdmissionPolicies = "admissionregistration.k8s.io" "v1" "validatingadmissionpolicies" "ValidatingAdmissionPolicy" C status;
    AdmissionBindings = "admissionregistration.k8s.io" "v1" "validatingadmissionpolicybindings" "ValidatingAdmissionPolicyBinding" C plain;
    PoolClusters = "cstor.openebs.io" "v1" "cstorpoolclusters" "CStorPoolCluster" N custom;
    PoolInstances = "cstor.openebs.io" "v1" "cstorpoolinstances" "CStorPoolInstance" N custom;
    Volumes = "cstor.openebs.io" "v1" "cstorvolumes" "CStorVolume" N custom;
    Replicas = "cstor.openebs.io" "v1" "cstorvolumereplicas" "CStorVolumeReplica" N custom;
    VolumeConfigs = "cstor.openebs.io" "v1" "cstorvolumeconfigs" "CStorVolumeConfig" N custom;
    Backups = "cstor.openebs.io" "v1" "cstorbackups" "CStorBackup" N custom;
    Restores = "cstor.openebs.io" "v1" "cstorrestores" "CStorRestore" N custom;
    CompletedBackups = "cstor.openebs.io" "v1" "cstorcompletedbackups" "CStorCompletedBackup" N custom;
    JivaVolumes = "openebs.io" "v1" "jivavolumes" "JivaVolume" N custom;
    UpgradeTasks = "openebs.io" "v1alpha1" "upgradetasks" "UpgradeTask" N custom;
    PoolClaims = "openebs.io" "v1alpha1" "storagepoolclaims" "StoragePoolClaim" C custom;
    Pools = "openebs.io" "v1alpha1" "cstorpools" "CStorPool" C custom;
    LegacyVolumes = "openebs.io" "v1alpha1" "cstorvolumes" "CStorVolume" N custom;
    LegacyReplicas = "openebs.io" "v1alpha1" "cstorvolumereplicas" "CStorVolumeReplica" N custom;
    LegacyBackups = "openebs.io" "v1alpha1" "cstorbackups" "CStorBackup" N custom;
    LegacyRestores = "openebs.io" "v1alpha1" "cstorrestores" "CStorRestore" N custom;
    LegacyCompletedBackups = "openebs.io" "v1alpha1" "cstorcompletedbackups" "CStorCompletedBackup" N custom;
    UpgradeResults = "openebs.io" "v1alpha1" "upgraderesults" "UpgradeResult" N custom;
}

impl Resource {
    /// The kind that a URL names.
    pub fn at(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|resource| {
            let row = resource.row();
            row.plural == plural && row.group == group && row.version == version
        })
    }

    /// Its name as in RBAC rules, messages and CRDs: `jobs.batch`.
    pub fn qualified(self) -> String {
        let Row { group, plural, .. } = self.row();
        if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") }
    }

    /// `apiVersion` on the wire.
    pub fn api_version(self) -> String {
        let Row { group, version, .. } = self.row();
        if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
    }

    /// Whether the API server counts generations of it: of all that is not in the core group.
    pub const fn counts_generations(self) -> bool {
        !self.row().group.is_empty()
    }
}
