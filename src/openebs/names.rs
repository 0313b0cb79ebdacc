//! The names that OpenEBS's executors compute, so that whoever knows them finds ours.

use crate::domain::{ResourceKind, ResourceRef};

/// The name of the UpgradeTask that an executor looks for, whatever the labelled one is called; `None` where upstream
/// computes none and the name is free (the parents CSPC and SPC).
pub fn upstream_upgrade_task(resource: &ResourceRef) -> Option<String> {
    let prefix = match resource.kind {
        ResourceKind::CstorPoolInstance => "upgrade-cstor-cspi",
        ResourceKind::CstorPool => "upgrade-cstor-pool",
        ResourceKind::CstorVolume => "upgrade-cstor-csi-volume",
        ResourceKind::LegacyCstorVolume => "upgrade-cstor-volume",
        ResourceKind::JivaVolume => "upgrade-jiva-csi-volume",
        ResourceKind::LegacyJivaVolume => "upgrade-jiva-volume",
        ResourceKind::CstorPoolCluster | ResourceKind::StoragePoolClaim => return None,
    };
    Some(format!("{prefix}-{}", resource.name))
}

/// The name of the UpgradeTask that Fleetlift creates: upstream's where there is one, else one of the same style.
pub fn upgrade_task(resource: &ResourceRef) -> String {
    upstream_upgrade_task(resource).unwrap_or_else(|| match resource.kind {
        ResourceKind::CstorPoolCluster => format!("upgrade-cstor-cspc-{}", resource.name),
        _ => format!("upgrade-cstor-spc-{}", resource.name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<String> =
            ResourceKind::ALL.iter().map(|&kind| upgrade_task(&ResourceRef { kind, name: "x".into() })).collect();
        assert_eq!(names.len(), ResourceKind::ALL.len());
        assert!(names.contains("upgrade-jiva-csi-volume-x"));
    }
}
