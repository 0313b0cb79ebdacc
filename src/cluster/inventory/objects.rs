//! What is read of each kind of Kubernetes object: slim shapes, so that a list of thousands costs little, and lenient
//! ones, because the CRDs of older releases check nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::openebs::claim::ContainerSeen;
use crate::openebs::kinds::ApiObject;

/// Who made a volume: the one annotation that is read. The others may have 256 KiB an object, and are not kept.
pub(super) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Name, labels and the like.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "read_annotations")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub generation: i64,
    pub deletion_timestamp: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<Owner>,
}

impl Meta {
    /// The value of a label; empty where there is none.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    pub uid: String,
    #[serde(deserialize_with = "or_default")]
    pub controller: bool,
}

/// The versions that a controller wants and has brought about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct VersionDetails {
    #[serde(deserialize_with = "or_default")]
    pub desired: String,
    #[serde(deserialize_with = "or_default")]
    pub status: VersionStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct VersionStatus {
    #[serde(deserialize_with = "or_default")]
    pub current: String,
    #[serde(deserialize_with = "or_default")]
    pub message: String,
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
}

/// Anything with metadata.
pub(super) trait Object {
    fn meta(&self) -> &Meta;
}

macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(super) struct $name {
            pub metadata: Meta,
            $(#[serde(deserialize_with = "or_default")] pub $field: $type,)*
        }

        impl Object for $name {
            fn meta(&self) -> &Meta {
                &self.metadata
            }
        }
    )*};
}

macro_rules! parts {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(super) struct $name {
            $(#[serde(deserialize_with = "or_default")] pub $field: $type,)*
        }
    )*};
}

objects! {
    /// CSPC.
    PoolCluster { spec: PoolClusterSpec, version_details: VersionDetails }
    /// CSPI or CSP.
    Pool { spec: PoolSpec, status: PoolStatus, version_details: VersionDetails }
    /// SPC.
    PoolClaim { version_details: VersionDetails }
    /// CV of either engine.
    Volume { spec: VolumeSpec, status: PhaseStatus, version_details: VersionDetails }
    /// CVC.
    VolumeConfig { version_details: VersionDetails }
    /// CVR of either engine.
    Replica { status: PhaseStatus, version_details: VersionDetails }
    /// JivaVolume.
    Jiva { spec: JivaSpec, status: JivaStatus, version_details: VersionDetails }
    /// Deployment or StatefulSet.
    Workload { spec: WorkloadSpec, status: WorkloadStatus }
    /// Service.
    Service {}
    /// Pod.
    Pod { spec: PodSpec, status: PhaseStatus }
    /// Job.
    Job { spec: JobSpec, status: JobStatus }
    /// PersistentVolume.
    PersistentVolume { spec: PersistentVolumeSpec }
    /// VolumeAttachment.
    Attachment { spec: AttachmentSpec, status: AttachmentStatus }
    /// Node.
    Node { status: NodeStatus }
    /// UpgradeResult of the 0.8.2 to 0.9.0 era.
    UpgradeResult { config: ResultConfig, status: ResultStatus }
}

parts! {
    PoolClusterSpec { pools: Vec<IgnoredAny> }
    PoolSpec { host_name: String }
    PoolStatus { phase: String, read_only: bool }
    VolumeSpec { replication_factor: u32, desired_replication_factor: u32 }
    PhaseStatus { phase: String }
    JivaSpec { pv: String, desired_replication_factor: u32, policy: JivaPolicy }
    JivaPolicy { target: JivaTarget }
    JivaTarget { replication_factor: u32 }
    JivaStatus { phase: String, status: String, replica_status: Vec<JivaReplica> }
    JivaReplica { address: String, mode: String }
    WorkloadSpec { replicas: Option<i64>, template: PodTemplate }
    WorkloadStatus {
        observed_generation: i64,
        replicas: i64,
        updated_replicas: i64,
        ready_replicas: i64,
        available_replicas: i64,
        current_revision: String,
        update_revision: String,
        conditions: Vec<StatusCondition>,
    }
    PodTemplate { spec: PodSpec }
    PodSpec {
        node_name: String,
        service_account_name: String,
        containers: Vec<Container>,
        init_containers: Vec<Container>,
        volumes: Vec<PodVolume>,
    }
    Container { image: String, command: Vec<String>, args: Vec<String>, env: Vec<Env> }
    Env { name: String, value: String, value_from: Option<IgnoredAny> }
    PodVolume { persistent_volume_claim: ClaimSource }
    ClaimSource { claim_name: String }
    JobSpec { suspend: bool, template: PodTemplate }
    JobStatus { conditions: Vec<StatusCondition> }
    PersistentVolumeSpec { claim_ref: ObjectReference, csi: CsiSource }
    CsiSource { driver: String }
    ObjectReference { namespace: String, name: String }
    AttachmentSpec { node_name: String, source: AttachmentSource }
    AttachmentSource { persistent_volume_name: String }
    AttachmentStatus { attached: bool }
    NodeStatus { node_info: NodeInfo }
    NodeInfo { architecture: String }
    ResultConfig { data: Vec<ResultDatum> }
    ResultDatum { name: String, value: String }
    ResultStatus { desired_count: i64, actual_count: i64, failed_count: i64, resource: ObjectReference }
}

/// A condition of a status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StatusCondition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

impl Container {
    /// The container as far as it may claim something.
    pub fn seen(&self) -> ContainerSeen {
        let value = |env: &Env| (env.name.clone(), env.value_from.is_none().then(|| env.value.clone()));
        ContainerSeen {
            image: self.image.clone(),
            words: self.command.iter().chain(&self.args).cloned().collect(),
            env: self.env.iter().map(value).collect(),
        }
    }
}

impl PodSpec {
    /// Its containers, those that start it first.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }
}

impl PhaseStatus {
    /// For Pods: whether it has ended.
    pub fn pod_ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// Go writes `null` for what it has none of.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn read_annotations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut annotations: BTreeMap<String, String> = or_default(deserializer)?;
    annotations.retain(|key, _| key == PROVISIONED_BY);
    Ok(annotations)
}

const fn core(plural: &'static str, kind: &'static str, namespaced: bool) -> ApiObject {
    ApiObject { group: "", versions: &["v1"], plural, kind, namespaced }
}

const fn custom(
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    kind: &'static str,
) -> ApiObject {
    ApiObject { group, versions, plural, kind, namespaced: true }
}

pub(super) const PODS: ApiObject = core("pods", "Pod", true);
pub(super) const SERVICES: ApiObject = core("services", "Service", true);
pub(super) const NODES: ApiObject = core("nodes", "Node", false);
pub(super) const PERSISTENT_VOLUMES: ApiObject = core("persistentvolumes", "PersistentVolume", false);
pub(super) const DEPLOYMENTS: ApiObject = custom("apps", &["v1"], "deployments", "Deployment");
pub(super) const STATEFUL_SETS: ApiObject = custom("apps", &["v1"], "statefulsets", "StatefulSet");
pub(super) const JOBS: ApiObject = custom("batch", &["v1"], "jobs", "Job");
pub(super) const ATTACHMENTS: ApiObject = ApiObject {
    group: "storage.k8s.io",
    versions: &["v1"],
    plural: "volumeattachments",
    kind: "VolumeAttachment",
    namespaced: false,
};
pub(super) const VOLUME_CONFIGS: ApiObject =
    custom("cstor.openebs.io", &["v1"], "cstorvolumeconfigs", "CStorVolumeConfig");
pub(super) const REPLICAS: ApiObject = custom("cstor.openebs.io", &["v1"], "cstorvolumereplicas", "CStorVolumeReplica");
pub(super) const LEGACY_REPLICAS: ApiObject =
    custom("openebs.io", &["v1alpha1"], "cstorvolumereplicas", "CStorVolumeReplica");
pub(super) const UPGRADE_TASKS: ApiObject = custom("openebs.io", &["v1alpha1"], "upgradetasks", "UpgradeTask");
pub(super) const UPGRADE_RESULTS: ApiObject =
    custom("openebs.io", &["v1alpha1", "v1beta1"], "upgraderesults", "UpgradeResult");
