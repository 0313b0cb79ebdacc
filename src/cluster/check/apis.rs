//! What the cluster serves of OpenEBS's own kinds: asked by discovery, which every account may read.

use std::collections::BTreeSet;

use futures::try_join;
use http::Request;
use serde::Deserialize;

use super::Finding;
use crate::cluster::edge::{decode, impossible};
use crate::cluster::{Edge, EdgeError};

/// Resources as `plural.group`, sub-resources as `plural/sub.group`.
pub(super) type Served = BTreeSet<String>;

const GROUPS: [(&str, &str); 3] = [("openebs.io", "v1alpha1"), ("openebs.io", "v1"), ("cstor.openebs.io", "v1")];

/// Everything of OpenEBS that the cluster serves.
pub(super) async fn served(edge: &Edge) -> Result<Served, EdgeError> {
    let [one, two, three] = GROUPS.map(|(group, version)| group_version(edge, group, version));
    let (one, two, three) = try_join!(one, two, three)?;
    Ok(one.into_iter().chain(two).chain(three).collect())
}

async fn group_version(edge: &Edge, group: &str, version: &str) -> Result<Vec<String>, EdgeError> {
    #[derive(Deserialize)]
    struct Resources {
        #[serde(default)]
        resources: Vec<Resource>,
    }
    #[derive(Deserialize)]
    struct Resource {
        name: String,
    }
    let request = Request::get(format!("/apis/{group}/{version}")).body(Vec::new()).map_err(impossible)?;
    let body = match edge.send(request, None).await {
        Err(EdgeError::NoSuchApi { .. } | EdgeError::NotFound { .. }) => return Ok(Vec::new()),
        answer => answer?,
    };
    let found: Resources = decode(&body)?;
    Ok(found.resources.into_iter().map(|resource| format!("{}.{group}", resource.name)).collect())
}

pub(super) fn findings(served: &Served) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !served.contains("upgradetasks.openebs.io") {
        let remedy = "apply the CRD that `fleetlift edge manifest --crd` prints";
        findings.push(Finding::fail("UpgradeTask", "its CRD is not installed", remedy));
    } else if served.contains("upgradetasks/status.openebs.io") {
        // Executors write the status with the whole object: with a sub-resource the API server drops it silently.
        let seen = "its CRD has a status sub-resource, so what executors write into the status is lost";
        findings.push(Finding::fail(
            "UpgradeTask",
            seen,
            "replace it by the CRD that `fleetlift edge manifest --crd` prints",
        ));
    } else {
        findings.push(Finding::ok("UpgradeTask", "its CRD is installed"));
    }
    let engines = [
        ("CSPC pools and cStor volumes", "cstorpoolclusters.cstor.openebs.io"),
        ("Jiva volumes (CSI)", "jivavolumes.openebs.io"),
        ("legacy cStor pools and volumes", "storagepoolclaims.openebs.io"),
    ];
    let there: Vec<&str> = engines.iter().filter(|(_, crd)| served.contains(*crd)).map(|(name, _)| *name).collect();
    findings.push(match there.as_slice() {
        [] => {
            let seen = "no CRD of a pool or volume that can be upgraded; legacy Jiva volumes need none";
            Finding::warn("engines", seen, "make sure that this is the cluster that is meant")
        }
        _ => Finding::ok("engines", there.join(", ")),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn an_upgrade_task_whose_status_would_be_lost_is_a_failure() {
        let served = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Served>();
        assert_eq!(findings(&served(&[]))[0].level, Level::Fail);
        let with_status = served(&["upgradetasks.openebs.io", "upgradetasks/status.openebs.io"]);
        assert_eq!(findings(&with_status)[0].level, Level::Fail);
        for lacking in [&served(&[]), &with_status] {
            let remedy = &findings(lacking)[0].remedy;
            assert!(remedy.contains("`fleetlift edge manifest --crd`"), "it prints none without: {remedy}");
        }
        let well = findings(&served(&["upgradetasks.openebs.io", "jivavolumes.openebs.io"]));
        assert!(well.iter().all(|finding| finding.level == Level::Ok), "{well:?}");
    }
}
