//! Who uses a volume: the Pods that mount its claim, and the node that it is attached to. What could not be read is
//! carried along: "not known" is not "not in use".

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::evidence::Evidence;
use super::listing::{Listing, Reader};
use super::objects::{ATTACHMENTS, LEGACY_REPLICAS, Object as _, PERSISTENT_VOLUMES, PODS, Pod, REPLICAS, Replica};
use super::snapshot::{REPLICA_INSTANCE_LABEL, REPLICA_POOL_LABEL, Surroundings, VOLUME_LABEL};
use crate::cluster::EdgeError;
use crate::cluster::text::plain;
use crate::domain::fleet::check_object_name;
use crate::domain::inventory::{Condition, Resource, Workload};
use crate::domain::{ResourceKind, ResourceRef};
use crate::openebs::kinds::ApiObject;

/// More namespaces than this are read as one list of the whole cluster, where that is allowed.
const NAMESPACES_MAX: usize = 16;

/// Requests under way at once for one cluster's namespaces: one slow namespace shall not hold up the others.
const AT_ONCE: usize = 4;

/// The most Pods that are kept for one volume.
const PODS_MAX: usize = 50;

/// Namespace and name of a claim.
type Claim<'a> = (&'a str, &'a str);

/// The Pods of some namespaces.
#[derive(Default)]
struct Pods {
    items: Vec<Pod>,
    /// Why these may not be all, by namespace.
    gaps: BTreeMap<String, String>,
}

/// Whether nobody uses what an upgrade of `resource` stops: a volume itself, for a pool the volumes that have no replica
/// elsewhere. Read afresh: what the inventory says may be a day old.
pub(super) async fn unused(
    reader: Reader<'_>,
    namespace: &str,
    resource: &ResourceRef,
) -> Result<Condition, EdgeError> {
    let (kind, names, gap) = match resource.kind {
        ResourceKind::CstorVolume
        | ResourceKind::LegacyCstorVolume
        | ResourceKind::JivaVolume
        | ResourceKind::LegacyJivaVolume => (resource.kind, vec![resource.name.clone()], None),
        ResourceKind::CstorPoolInstance => {
            let (names, gap) = only_on(reader, namespace, &REPLICAS, REPLICA_INSTANCE_LABEL, &resource.name).await?;
            (ResourceKind::CstorVolume, names, gap)
        }
        ResourceKind::CstorPool => {
            let (names, gap) = only_on(reader, namespace, &LEGACY_REPLICAS, REPLICA_POOL_LABEL, &resource.name).await?;
            (ResourceKind::LegacyCstorVolume, names, gap)
        }
        // Closing tasks restart nothing.
        ResourceKind::CstorPoolCluster | ResourceKind::StoragePoolClaim => return Ok(Condition::Holds),
    };
    let unknown_replicas = gap.map_or(Condition::Holds, Condition::Unknown);
    if names.is_empty() {
        return Ok(unknown_replicas);
    }
    let volumes = match names.as_slice() {
        [name] => reader.get(&PERSISTENT_VOLUMES, None, name).await?,
        _ => reader.list(&PERSISTENT_VOLUMES, None, "").await?,
    };
    let attachments = reader.list(&ATTACHMENTS, None, "").await?;
    let around = Surroundings { volumes, attachments, ..Surroundings::default() };
    let of = |name: String| Evidence::of(ResourceRef { kind, name }, namespace).into_resource();
    let mut stopped: Vec<Resource> = names.into_iter().map(of).collect();
    add(reader, &around, &mut stopped).await?;
    Ok(stopped.iter().map(|volume| of_volume(resource, volume)).fold(unknown_replicas, Condition::and))
}

/// What the use of a volume means for the upgrade of `resource`.
fn of_volume(resource: &ResourceRef, volume: &Resource) -> Condition {
    let told = |why: String| match volume.id == *resource {
        true => why,
        false => format!("{}, whose only replica is on it: {why}", volume.id),
    };
    match volume.unused() {
        Condition::Holds => Condition::Holds,
        Condition::Fails(why) => Condition::Fails(told(why)),
        Condition::Unknown(why) => Condition::Unknown(told(why)),
    }
}

/// The volumes of which every replica is on this pool, and why these may not be all.
async fn only_on(
    reader: Reader<'_>,
    namespace: &str,
    replicas: &ApiObject,
    label: &str,
    pool: &str,
) -> Result<(Vec<String>, Option<String>), EdgeError> {
    let replicas: Listing<Replica> = reader.list(replicas, Some(namespace), VOLUME_LABEL).await?;
    let mut pools: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for replica in &replicas.items {
        pools.entry(replica.metadata.label(VOLUME_LABEL)).or_default().insert(replica.metadata.label(label));
    }
    let alone =
        |(volume, pools): (&str, BTreeSet<&str>)| (pools.len() == 1 && pools.contains(pool)).then(|| volume.to_owned());
    Ok((pools.into_iter().filter_map(alone).collect(), replicas.gap))
}

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
    let (namespaces, odd): (BTreeSet<&str>, BTreeSet<&str>) =
        claims.values().map(|(namespace, _)| *namespace).partition(|namespace| check_object_name(namespace).is_ok());
    let mut pods = pods_in(reader, &namespaces).await?;
    let nowhere =
        |namespace: &str| format!("a claim's namespace, {:?}, is none that Kubernetes allows", plain(namespace, 64));
    pods.gaps.extend(odd.into_iter().map(|namespace| (namespace.to_owned(), nowhere(namespace))));
    let claims: BTreeMap<String, (String, String)> = claims
        .into_iter()
        .map(|(volume, (namespace, name))| (volume.to_owned(), (namespace.to_owned(), name.to_owned())))
        .collect();
    set(resources, &claims, &pods, around);
    let mut problems: Vec<String> =
        pods.gaps.into_values().map(|gap| format!("who uses the volumes there is not known: {gap}")).collect();
    problems.sort_unstable();
    Ok(problems)
}

async fn pods_in(reader: Reader<'_>, namespaces: &BTreeSet<&str>) -> Result<Pods, EdgeError> {
    if namespaces.len() > NAMESPACES_MAX {
        let all: Listing<Pod> = reader.list(&PODS, None, "").await?;
        if all.gap.is_none() {
            return Ok(Pods { items: all.items, ..Pods::default() });
        }
    }
    let namespaces: Vec<String> = namespaces.iter().map(|&namespace| namespace.to_owned()).collect();
    let lists: Vec<(String, Listing<Pod>)> = stream::iter(namespaces)
        .map(|namespace| async move { reader.list(&PODS, Some(&namespace), "").await.map(|list| (namespace, list)) })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut all = Pods::default();
    for (namespace, list) in lists {
        all.items.extend(list.items);
        all.gaps.extend(list.gap.map(|gap| (namespace, gap)));
    }
    Ok(all)
}

fn set(resources: &mut [Resource], claims: &BTreeMap<String, (String, String)>, pods: &Pods, around: &Surroundings) {
    let mut users: BTreeMap<Claim<'_>, Vec<&Pod>> = BTreeMap::new();
    for pod in pods.items.iter().filter(|pod| !pod.status.pod_ended()) {
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
        let Some((namespace, claim)) = claims.get(name) else {
            resource.users_unknown = around.volumes.gap.clone().filter(|_| is_volume(resource.id.kind));
            continue;
        };
        resource.users_unknown = pods.gaps.get(namespace).or(around.attachments.gap.as_ref()).cloned();
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

/// Pools are used by volumes, not by Pods.
const fn is_volume(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::CstorVolume
        | ResourceKind::LegacyCstorVolume
        | ResourceKind::JivaVolume
        | ResourceKind::LegacyJivaVolume => true,
        ResourceKind::CstorPoolInstance
        | ResourceKind::CstorPoolCluster
        | ResourceKind::CstorPool
        | ResourceKind::StoragePoolClaim => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let items = vec![pod("db-0", "shop", "Running"), pod("job", "shop", "Succeeded"), pod("x", "other", "Running")];
        set(&mut resources, &claims, &Pods { items, ..Pods::default() }, &Surroundings::default());
        assert_eq!(resources[0].workloads, [Workload { namespace: "shop".into(), pod: "db-0".into() }]);
        assert_eq!(resources[0].attached_to.as_deref(), Some("node-7"));
        assert_eq!(resources[0].unused(), Condition::Fails("in use by Pod shop/db-0".into()));
    }

    #[test]
    fn users_that_could_not_be_read_are_unknown_and_not_none() {
        let of = |kind, name: &str| Evidence::of(ResourceRef { kind, name: name.into() }, "openebs").into_resource();
        let volume = of(ResourceKind::JivaVolume, "pvc-1");
        let claims = BTreeMap::from([("pvc-1".to_owned(), ("shop".to_owned(), "data".to_owned()))]);
        let gap = || Some("the right is missing".to_owned());
        let hidden = Pods { gaps: BTreeMap::from([("shop".to_owned(), gap().unwrap())]), ..Pods::default() };
        let no_attachments =
            Surroundings { attachments: Listing { gap: gap(), ..Listing::default() }, ..Surroundings::default() };
        let no_volumes =
            Surroundings { volumes: Listing { gap: gap(), ..Listing::default() }, ..Surroundings::default() };
        let told = |claims: &BTreeMap<String, (String, String)>, pods: &Pods, around: &Surroundings| {
            let mut resources = [volume.clone(), of(ResourceKind::CstorPoolInstance, "pool")];
            set(&mut resources, claims, pods, around);
            assert_eq!(resources[1].unused(), Condition::Holds, "a pool has no users of its own");
            resources[0].unused()
        };
        let unknown = Condition::Unknown("whether it is in use is not known: the right is missing".into());
        assert_eq!(told(&claims, &hidden, &Surroundings::default()), unknown);
        assert_eq!(told(&claims, &Pods::default(), &no_attachments), unknown);
        assert_eq!(told(&BTreeMap::new(), &Pods::default(), &no_volumes), unknown);
        assert_eq!(told(&claims, &Pods::default(), &Surroundings::default()), Condition::Holds);
    }
}
