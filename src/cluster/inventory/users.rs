//! Who uses a volume: the Pods that mount its claim, and the node that it is attached to.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::listing::{Listing, Reader};
use super::objects::{Object as _, PODS, Pod};
use super::snapshot::Surroundings;
use crate::cluster::EdgeError;
use crate::cluster::text::plain;
use crate::domain::inventory::{Resource, Workload};

/// More namespaces than this are read as one list of the whole cluster, where that is allowed.
const NAMESPACES_MAX: usize = 16;

/// Requests under way at once for one cluster's namespaces: one slow namespace shall not hold up the others.
const AT_ONCE: usize = 4;

/// The most Pods that are kept for one volume.
const PODS_MAX: usize = 50;

/// Namespace and name of a claim.
type Claim<'a> = (&'a str, &'a str);

/// Adds to each volume who uses it. Returns what could not be read.
pub(super) async fn add(
    reader: Reader<'_>,
    around: &Surroundings,
    resources: &mut [Resource],
) -> Result<Vec<String>, EdgeError> {
    let known: BTreeSet<&str> = resources.iter().map(|resource| resource.id.name.as_str()).collect();
    let claims: BTreeMap<&str, Claim<'_>> = around
        .volumes
        .items
        .iter()
        .filter(|volume| known.contains(volume.metadata.name.as_str()) && !volume.spec.claim_ref.name.is_empty())
        .map(|volume| {
            let claim = &volume.spec.claim_ref;
            (volume.metadata.name.as_str(), (claim.namespace.as_str(), claim.name.as_str()))
        })
        .collect();
    let namespaces: BTreeSet<&str> = claims.values().map(|(namespace, _)| *namespace).collect();
    let (pods, problems) = pods_in(reader, &namespaces).await?;
    let claims: BTreeMap<String, (String, String)> = claims
        .into_iter()
        .map(|(volume, (namespace, name))| (volume.to_owned(), (namespace.to_owned(), name.to_owned())))
        .collect();
    set(resources, &claims, &pods, around);
    Ok(problems)
}

async fn pods_in(reader: Reader<'_>, namespaces: &BTreeSet<&str>) -> Result<(Vec<Pod>, Vec<String>), EdgeError> {
    if namespaces.len() > NAMESPACES_MAX {
        let all: Listing<Pod> = reader.list(&PODS, None, "").await?;
        if all.gap.is_none() {
            return Ok((all.items, Vec::new()));
        }
    }
    let namespaces: Vec<String> = namespaces.iter().map(|&namespace| namespace.to_owned()).collect();
    let lists: Vec<Listing<Pod>> = stream::iter(namespaces)
        .map(|namespace| async move { reader.list(&PODS, Some(&namespace), "").await })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut all = (Vec::new(), Vec::new());
    for list in lists {
        all.0.extend(list.items);
        all.1.extend(list.gap.map(|gap| format!("who uses the volumes there is not known: {gap}")));
    }
    all.1.sort_unstable();
    Ok(all)
}

fn set(resources: &mut [Resource], claims: &BTreeMap<String, (String, String)>, pods: &[Pod], around: &Surroundings) {
    let mut users: BTreeMap<Claim<'_>, Vec<&Pod>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.status.pod_ended()) {
        for volume in &pod.spec.volumes {
            let claim = &volume.persistent_volume_claim.claim_name;
            if !claim.is_empty() {
                users.entry((&pod.metadata.namespace, claim)).or_default().push(pod);
            }
        }
    }
    let attached: BTreeMap<&str, &str> = around
        .attachments
        .items
        .iter()
        .filter(|attachment| attachment.status.attached)
        .map(|attachment| (attachment.spec.source.persistent_volume_name.as_str(), attachment.spec.node_name.as_str()))
        .collect();
    for resource in resources {
        let name = resource.id.name.as_str();
        let Some((namespace, claim)) = claims.get(name) else { continue };
        let empty = Vec::new();
        let pods = users.get(&(namespace.as_str(), claim.as_str())).unwrap_or(&empty);
        resource.workloads = pods
            .iter()
            .take(PODS_MAX)
            .map(|pod| Workload { namespace: pod.meta().namespace.clone(), pod: pod.meta().name.clone() })
            .collect();
        resource.workloads.sort_unstable();
        resource.details.insert("claim".to_owned(), plain(&format!("{namespace}/{claim}"), 300));
        // iSCSI volumes of the external provisioner have no VolumeAttachment: there the Pod's node is where it is.
        let on = attached
            .get(name)
            .copied()
            .or_else(|| pods.iter().map(|pod| pod.spec.node_name.as_str()).find(|node| !node.is_empty()));
        resource.attached_to = on.map(|node| plain(node, 253));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::inventory::evidence::Evidence;
    use crate::domain::{ResourceKind, ResourceRef};
    use serde_json::json;

    #[test]
    fn a_volume_is_used_by_the_living_pods_of_its_claim() {
        let id = ResourceRef { kind: ResourceKind::JivaVolume, name: "pvc-1".into() };
        let mut resources = [Evidence::of(id, "openebs").into_resource()];
        let claims = BTreeMap::from([("pvc-1".to_owned(), ("shop".to_owned(), "data".to_owned()))]);
        let pod = |name: &str, namespace: &str, phase: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace},
                "spec": {"nodeName": "node-7", "volumes": [{"name": "tmp", "emptyDir": {}},
                    {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]},
                "status": {"phase": phase}}))
            .unwrap()
        };
        let pods = [pod("db-0", "shop", "Running"), pod("job", "shop", "Succeeded"), pod("x", "other", "Running")];
        set(&mut resources, &claims, &pods, &Surroundings::default());
        assert_eq!(resources[0].workloads, [Workload { namespace: "shop".into(), pod: "db-0".into() }]);
        assert_eq!(resources[0].attached_to.as_deref(), Some("node-7"));
    }
}
