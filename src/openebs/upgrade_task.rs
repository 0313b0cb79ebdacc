//! `UpgradeTask` (openebs.io/v1alpha1) on the wire: the shapes of both official executors are read, the newer one's is
//! written (`openebs/api`, `openebs/maya`). There is no status subresource: status is written with the whole object.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::{ResourceKind, ResourceRef};

/// One upgrade of one storage object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeTask {
    /// Always `openebs.io/v1alpha1`.
    #[serde(default)]
    pub api_version: Cow<'static, str>,
    /// Always `UpgradeTask`.
    #[serde(default)]
    pub kind: Cow<'static, str>,
    /// Name, namespace, labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What to upgrade, from and to which version.
    #[serde(default, deserialize_with = "or_default")]
    pub spec: UpgradeTaskSpec,
    /// How far it came, as the executor says.
    #[serde(default, deserialize_with = "or_default")]
    pub status: UpgradeTaskStatus,
}

/// What to upgrade; exactly one of the resource members is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeTaskSpec {
    /// The version that the resource has now.
    #[serde(default, deserialize_with = "or_default")]
    pub from_version: String,
    /// The version that it shall have: that of the control plane.
    #[serde(default, deserialize_with = "or_default")]
    pub to_version: String,
    /// Registry and path before the image's name; must end in `/` (upstream concatenates).
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub image_prefix: String,
    /// Tag instead of `toVersion`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub image_tag: String,
    /// Options for all steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<UpgradeTaskOptions>,
    /// A Jiva volume, CSI or legacy: the executor decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jiva_volume: Option<JivaVolumeMember>,
    /// A cStor volume, CSI or legacy: the executor decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cstor_volume: Option<CstorVolumeMember>,
    /// One pool (CSP) of a legacy storage pool claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cstor_pool: Option<CstorPoolMember>,
    /// A legacy storage pool claim with all its pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_pool_claim: Option<StoragePoolClaimMember>,
    /// One pool instance of a pool cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cstor_pool_instance: Option<CstorPoolInstanceMember>,
    /// A pool cluster with all its instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cstor_pool_cluster: Option<CstorPoolClusterMember>,
}

/// Options for all steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeTaskOptions {
    /// Seconds for each step. Upstream's executors never read it; ours does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// Options of one resource. `ignoreStepsOnError` exists in the schema; no upstream code reads it and ours refuses it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceOptions {
    /// Steps whose failure shall not count.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ignore_steps_on_error: Vec<String>,
}

macro_rules! members {
    ($($(#[$doc:meta])* $name:ident { $field:ident };)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The object's name.
            #[serde(default)]
            pub $field: String,
            /// Options of this resource.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub options: Option<ResourceOptions>,
        }
    )*};
}

members! {
    /// `jivaVolume`.
    JivaVolumeMember { pv_name };
    /// `cstorVolume`.
    CstorVolumeMember { pv_name };
    /// `cstorPool`.
    CstorPoolMember { pool_name };
    /// `storagePoolClaim`.
    StoragePoolClaimMember { spc_name };
    /// `cstorPoolInstance`.
    CstorPoolInstanceMember { cspi_name };
    /// `cstorPoolCluster`.
    CstorPoolClusterMember { cspc_name };
}

impl UpgradeTaskSpec {
    /// A spec whose only resource member names `resource`; versions and images are left to the caller.
    pub fn naming(resource: &ResourceRef) -> Self {
        let mut spec = Self::default();
        let name = resource.name.clone();
        match resource.kind {
            ResourceKind::CstorPoolInstance => {
                spec.cstor_pool_instance = Some(CstorPoolInstanceMember { cspi_name: name, options: None });
            }
            ResourceKind::CstorPoolCluster => {
                spec.cstor_pool_cluster = Some(CstorPoolClusterMember { cspc_name: name, options: None });
            }
            ResourceKind::CstorPool => {
                spec.cstor_pool = Some(CstorPoolMember { pool_name: name, options: None });
            }
            ResourceKind::StoragePoolClaim => {
                spec.storage_pool_claim = Some(StoragePoolClaimMember { spc_name: name, options: None });
            }
            ResourceKind::CstorVolume | ResourceKind::LegacyCstorVolume => {
                spec.cstor_volume = Some(CstorVolumeMember { pv_name: name, options: None });
            }
            ResourceKind::JivaVolume | ResourceKind::LegacyJivaVolume => {
                spec.jiva_volume = Some(JivaVolumeMember { pv_name: name, options: None });
            }
        }
        spec
    }
}

/// How far an upgrade came. Neither phase is final while the Job runs (`openebs.md` §0, §6).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeTaskStatus {
    /// `Started`, `Success` or `Error`; empty before the first write.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// RFC 3339.
    #[serde(default)]
    pub start_time: Option<String>,
    /// RFC 3339; set with `Success` and `Error`.
    #[serde(default)]
    pub completed_time: Option<String>,
    /// Failed attempts, added up over Jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// The steps in the order in which they ran; cleared when an attempt begins.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub upgrade_detailed_statuses: Vec<StepStatus>,
}

/// One step of an upgrade.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// `PRE_UPGRADE`, `TARGET_UPGRADE`, `REPLICA_UPGRADE`, `VERIFY`, `ROLLBACK` or `POOL_INSTANCE_UPGRADE`.
    #[serde(default, deserialize_with = "or_default")]
    pub step: String,
    /// `Waiting`, `Errored` or `Completed`; `Errored` is not final.
    #[serde(default, deserialize_with = "or_default")]
    pub phase: String,
    /// What was done or tried.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Why it failed: an error's text.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// RFC 3339.
    #[serde(default)]
    pub start_time: Option<String>,
    /// RFC 3339. (Go calls it `LastUpdatedTime`; JSON says this.)
    #[serde(default)]
    pub last_updated_at: Option<String>,
}

/// Go writes `null` for what it has none of.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl k8s_openapi::Resource for UpgradeTask {
    const API_VERSION: &'static str = "openebs.io/v1alpha1";
    const GROUP: &'static str = "openebs.io";
    const KIND: &'static str = "UpgradeTask";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "upgradetasks";
    type Scope = k8s_openapi::NamespaceResourceScope;
}

impl k8s_openapi::Metadata for UpgradeTask {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl UpgradeTask {
    /// An UpgradeTask to be created: type, name and namespace are set.
    pub fn named(namespace: &str, name: &str, spec: UpgradeTaskSpec) -> Self {
        Self {
            api_version: <Self as k8s_openapi::Resource>::API_VERSION.into(),
            kind: <Self as k8s_openapi::Resource>::KIND.into(),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            spec,
            status: UpgradeTaskStatus::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_older_executor_writes_is_read() {
        // Empty texts and zeros are written out, and what Go has none of is null.
        let task: UpgradeTask = serde_json::from_value(json!({
            "apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask",
            "metadata": {"name": "upgrade-jiva-volume-pvc-1", "namespace": "openebs"},
            "spec": {"fromVersion": "2.11.0", "toVersion": "2.12.2", "imagePrefix": "", "imageTag": "2.12.2",
                     "options": {}, "jivaVolume": {"pvName": "pvc-1", "options": {"ignoreStepsOnError": null}}},
            "status": {"phase": "Success", "startTime": "2026-11-01T10:00:00Z", "completedTime": null, "retries": 0,
                "upgradeDetailedStatuses": [{"step": "PRE_UPGRADE", "phase": "Completed", "message": null,
                    "reason": "", "startTime": null, "lastUpdatedAt": "2026-11-01T10:00:05Z"}]}}))
        .unwrap();
        assert_eq!(task.spec.jiva_volume.map(|member| member.pv_name).as_deref(), Some("pvc-1"));
        assert_eq!((task.status.retries, task.status.upgrade_detailed_statuses.len()), (Some(0), 1));
        let empty: UpgradeTask = serde_json::from_value(json!({"metadata": {}, "spec": null, "status": {
            "upgradeDetailedStatuses": null}}))
        .unwrap();
        assert_eq!(empty.status, UpgradeTaskStatus::default());
    }

    #[test]
    fn what_is_written_has_no_empty_members() {
        let spec = UpgradeTaskSpec { from_version: "3.5.0".into(), to_version: "3.6.0".into(), ..Default::default() };
        assert_eq!(serde_json::to_value(spec).unwrap(), json!({"fromVersion": "3.5.0", "toVersion": "3.6.0"}));
    }
}
