use super::*;
use crate::executor::object::{DEPLOYMENTS, PERSISTENT_VOLUMES, SERVICES};

fn deployment(affinity: &Value) -> Object {
    Object::read(
        &DEPLOYMENTS,
        json!({
            "metadata": {"name": "pvc-1-rep", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "labels": {"openebs.io/version": "1.8.0"},
                "annotations": {"deployment.kubernetes.io/revision": "2", "openebs.io/capacity": "5G"}},
            "spec": {"replicas": 2, "template": {"spec": {"affinity": affinity, "containers": [{"name": "c"}]}}},
            "status": {"replicas": 2},
        }),
    )
}

fn on_nodes(expressions: &Value) -> Object {
    let terms = json!({"nodeSelectorTerms": [{"matchExpressions": expressions}]});
    deployment(&json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}))
}

fn new_place(name: &str) -> Place {
    DEPLOYMENTS.named("openebs", name)
}

#[test]
fn each_replica_keeps_everything_but_the_other_nodes() {
    let zone = json!({"key": "zone", "operator": "In", "values": ["a"]});
    let old = on_nodes(&json!([zone, {"key": NODE, "operator": "In", "values": ["n1", "n2"]}]));
    assert_eq!(nodes(&old).unwrap(), ["n1", "n2"]);
    let expressions = json!([zone, {"key": NODE, "operator": "In", "values": ["n2"]}]);
    let expected = on_nodes(&expressions).body["spec"]["template"].clone();
    assert_eq!(
        replica(&old, &new_place("pvc-1-rep-2"), "n2"),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "pvc-1-rep-2", "namespace": "openebs", "labels": {"openebs.io/version": "1.8.0"},
                "annotations": {"openebs.io/capacity": "5G"}},
            "spec": {"replicas": 0, "template": expected},
        })
    );
}

#[test]
fn what_is_made_anew_does_not_select_by_the_version_that_it_leaves() {
    let mut old = on_nodes(&json!([{"key": NODE, "operator": "In", "values": ["n1"]}]));
    old.body["spec"]["selector"] =
        json!({"matchLabels": {"openebs.io/version": "1.8.0", "openebs.io/replica": "jiva-replica"}});
    let made = replica(&old, &new_place("pvc-1-rep-1"), "n1");
    assert_eq!(made["spec"]["selector"], json!({"matchLabels": {"openebs.io/replica": "jiva-replica"}}));
}

#[test]
fn an_affinity_that_does_not_say_where_each_replica_is_is_refused() {
    for expressions in [
        json!([]),
        json!([{"key": NODE, "operator": "NotIn", "values": ["n1"]}]),
        json!([{"key": NODE, "operator": "In", "values": ["n1", "n1"]}]),
        json!([{"key": NODE, "operator": "In", "values": []}]),
        json!([{"key": NODE, "operator": "In", "values": ["n1"]}, {"key": NODE, "operator": "In", "values": ["n1"]}]),
    ] {
        assert!(nodes(&on_nodes(&expressions)).is_err(), "{expressions}");
    }
    assert!(nodes(&deployment(&json!({}))).unwrap_err().seen.contains("0 nodeSelectorTerms"));
}

#[test]
fn the_controller_goes_on_looking_for_the_application_where_it_is() {
    let own = json!({"labelSelector": {}, "topologyKey": NODE});
    let elsewhere = json!({"labelSelector": {}, "topologyKey": NODE, "namespaces": ["other"]});
    let affinity = json!({"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [own, elsewhere],
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": own}],
    }});
    let copy = controller(&deployment(&affinity), &new_place("pvc-1-ctrl"));
    let here = json!({"labelSelector": {}, "topologyKey": NODE, "namespaces": ["shop"]});
    assert_eq!(
        copy["spec"]["template"]["spec"]["affinity"],
        json!({"podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [here, elsewhere],
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": here}],
        }})
    );
}

#[test]
fn the_service_has_the_address_of_the_portal() {
    let persistent = |portal: &str| {
        let spec = json!({"claimRef": {"name": "data", "namespace": "shop"}, "iscsi": {"targetPortal": portal}});
        Object::read(&PERSISTENT_VOLUMES, json!({"metadata": {"name": "pvc-1"}, "spec": spec}))
    };
    assert_eq!(address(&persistent("10.96.7.7:3260")).unwrap(), "10.96.7.7");
    assert_eq!(address(&persistent("[fd00::1]:3260")).unwrap(), "fd00::1");
    for portal in ["", "pvc-1.shop:3260", "10.96.7:3260"] {
        assert!(address(&persistent(portal)).is_err(), "{portal}");
    }
    let body =
        service(&persistent("10.96.7.7:3260"), &SERVICES.named("openebs", "pvc-1-ctrl-svc"), "10.96.7.7", "1.8.0");
    assert_eq!(body["spec"]["clusterIP"], "10.96.7.7");
    assert_eq!(
        body["spec"]["selector"],
        json!({"openebs.io/controller": "jiva-controller", "openebs.io/persistent-volume": "pvc-1"})
    );
    assert_eq!(body["metadata"]["labels"]["openebs.io/persistent-volume-claim"], "data");
}

#[test]
fn what_is_bound_to_its_namespace_does_not_move() {
    let mut bound = deployment(&json!({}));
    assert_eq!(check_movable(&bound, "openebs"), Ok(()));
    bound.body["spec"]["template"]["spec"]["volumes"] = json!([{"name": "conf", "configMap": {"name": "c"}}]);
    assert!(check_movable(&bound, "openebs").unwrap_err().seen.contains("volume conf is a configMap"));
    bound.body["spec"]["template"]["spec"]["volumes"] = json!([{"name": "data", "hostPath": {"path": "/x"}}]);
    bound.body["spec"]["template"]["spec"]["serviceAccountName"] = json!("jiva");
    assert!(check_movable(&bound, "openebs").unwrap_err().seen.contains("service account jiva"));
}
