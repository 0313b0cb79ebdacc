//! What a legacy Jiva volume from before 1.9 is made of anew: one Deployment for each replica's node, the controller's
//! in the namespace of OpenEBS, and the Service with the address that iSCSI initiators know.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value, json};

use crate::executor::health::VOLUME_LABEL;
use crate::executor::object::{Object, Place, VERSION_LABEL, text};
use crate::executor::problem::Problem;

const NODE: &str = "kubernetes.io/hostname";
const TERMS: &str = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/\
                     nodeSelectorTerms";
const NO_WAY: &str = "such a volume cannot be split safely; copy its data to a new volume";

/// The nodes on which the Deployment keeps its replicas: the values for the hostname in its nodeAffinity.
pub(super) fn nodes(replicas: &Object) -> Result<Vec<String>, Problem> {
    let refused = |seen: String| {
        Problem::refused(&replicas.place, seen, "one nodeSelectorTerm that names the node of each replica once")
            .remedy("set the nodeAffinity to the nodes that have the replicas' data, then run the upgrade again")
    };
    let [term] = replicas.list(TERMS) else {
        return Err(refused(format!("its nodeAffinity has {} nodeSelectorTerms", replicas.list(TERMS).len())));
    };
    let expressions = term.get("matchExpressions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let about_node: Vec<&Value> = expressions.iter().filter(|expression| text(expression, "/key") == NODE).collect();
    let [expression] = about_node.as_slice() else {
        return Err(refused(format!("its nodeAffinity names {NODE} {} times", about_node.len())));
    };
    if text(expression, "/operator") != "In" {
        return Err(refused(format!("its nodeAffinity for {NODE} says {}", text(expression, "/operator"))));
    }
    let values = expression.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names: Vec<String> = values.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    if names.is_empty() || distinct.len() != names.len() {
        return Err(refused(format!("its nodeAffinity names the nodes {names:?}")));
    }
    Ok(names)
}

/// The Deployment of the one replica on `node`, not running yet.
pub(super) fn replica(old: &Object, place: &Place, node: &str) -> Value {
    let mut copy = copied(old, place);
    let expressions = copy.pointer_mut(&format!("{TERMS}/0/matchExpressions")).and_then(Value::as_array_mut);
    for expression in expressions.into_iter().flatten().filter(|expression| text(expression, "/key") == NODE) {
        expression["values"] = json!([node]);
    }
    copy
}

/// The controller's Deployment, not running yet. What attracts it to the application's Pods must go on looking for them
/// where they are.
pub(super) fn controller(old: &Object, place: &Place) -> Value {
    const ATTRACTED: &str = "/spec/template/spec/affinity/podAffinity";
    let mut copy = copied(old, place);
    let strict = format!("{ATTRACTED}/requiredDuringSchedulingIgnoredDuringExecution");
    for term in copy.pointer_mut(&strict).and_then(Value::as_array_mut).into_iter().flatten() {
        look_in(term, &old.place.namespace);
    }
    let lenient = format!("{ATTRACTED}/preferredDuringSchedulingIgnoredDuringExecution");
    for term in copy.pointer_mut(&lenient).and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(term) = term.get_mut("podAffinityTerm") {
            look_in(term, &old.place.namespace);
        }
    }
    copy
}

/// A term that names no namespaces means its own Pod's.
fn look_in(term: &mut Value, namespace: &str) {
    let anywhere = term.get("namespaceSelector").is_some_and(|selector| !selector.is_null());
    let named = term.get("namespaces").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    if !anywhere && !named {
        term["namespaces"] = json!([namespace]);
    }
}

/// The controller's Service at `address`. It is made from the PersistentVolume alone, so that it can be made also when
/// the old one is gone already. With an empty address one is chosen.
pub(super) fn service(persistent: &Object, place: &Place, address: &str, version: &str) -> Value {
    let (volume, claim) = (persistent.name(), persistent.text("/spec/claimRef/name"));
    let storage_class = persistent.text("/spec/storageClassName");
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "TCP", "targetPort": port});
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "annotations": {"openebs.io/storage-class-ref": format!("name: {storage_class}\n")},
            "labels": {
                "openebs.io/storage-engine-type": "jiva",
                "openebs.io/cas-type": "jiva",
                "openebs.io/controller-service": "jiva-controller-svc",
                "openebs.io/persistent-volume-claim": claim,
                "pvc": claim,
                VOLUME_LABEL: volume,
                VERSION_LABEL: version,
            },
        },
        "spec": {
            "ports": [port("iscsi", 3260), port("api", 9501), port("exporter", 9500)],
            "selector": {"openebs.io/controller": "jiva-controller", VOLUME_LABEL: volume},
        },
    });
    if !address.is_empty() {
        body["spec"]["clusterIP"] = json!(address);
    }
    body
}

/// The address that initiators log in to: it must stay the same, whatever happens to the Service.
pub(super) fn address(persistent: &Object) -> Result<String, Problem> {
    let portal = persistent.text("/spec/iscsi/targetPortal");
    let address = portal.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| portal.parse::<IpAddr>());
    address.map(|ip| ip.to_string()).map_err(|_| {
        let seen = match portal {
            "" => "spec.iscsi.targetPortal is not set".to_owned(),
            other => format!("spec.iscsi.targetPortal is {other:?}"),
        };
        Problem::refused(&persistent.place, seen, "IP:PORT, the address that the new Service must have").remedy(NO_WAY)
    })
}

/// Whether Pods of this Deployment find in another namespace what they need.
pub(super) fn check_movable(deployment: &Object, namespace: &str) -> Result<(), Problem> {
    const BOUND: [&str; 5] = ["configMap", "secret", "persistentVolumeClaim", "projected", "ephemeral"];
    let bound = deployment.list("/spec/template/spec/volumes").iter().find_map(|volume| {
        let source = BOUND.iter().find(|source| volume.get(**source).is_some())?;
        Some(format!("its volume {} is a {source} of namespace {}", text(volume, "/name"), deployment.place.namespace))
    });
    let account = deployment.text("/spec/template/spec/serviceAccountName");
    let alien = (!matches!(account, "" | "default")).then(|| format!("its Pods run as service account {account}"));
    match bound.or(alien) {
        None => Ok(()),
        Some(seen) => Err(Problem::refused(
            &deployment.place,
            seen,
            format!("nothing that Pods in namespace {namespace}, where they move, could not have"),
        )
        .remedy("change the Deployment so that it needs it no more, then run the upgrade again")),
    }
}

/// The same Deployment elsewhere, with no Pods; what identifies the old one in its cluster stays behind.
fn copied(old: &Object, place: &Place) -> Value {
    const NOT_ITS_OWN: [&str; 2] =
        ["deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration"];
    let member = |pointer: &str| old.body.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut annotations: Map<String, Value> = member("/metadata/annotations");
    annotations.retain(|key, _| !NOT_ITS_OWN.contains(&key.as_str()));
    let mut spec = member("/spec");
    spec.insert("replicas".to_owned(), json!(0));
    // Some releases selected by the version, too: what is made anew must not, for its Pods' version changes next.
    let selected = spec.get_mut("selector").and_then(|selector| selector.get_mut("matchLabels"));
    if let Some(labels) = selected.and_then(Value::as_object_mut) {
        labels.remove(VERSION_LABEL);
    }
    json!({
        "apiVersion": place.collection.api_version(),
        "kind": place.collection.kind,
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "labels": member("/metadata/labels"),
            "annotations": annotations,
        },
        "spec": spec,
    })
}

#[cfg(test)]
#[path = "legacy_jiva_parts_tests.rs"]
mod tests;
