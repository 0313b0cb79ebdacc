//! From objects to patches, and from status to rollout.

use super::*;
use crate::executor::object::STATEFUL_SETS;

fn versions() -> Versions {
    Versions::parse("3.5.0", "3.6.0").unwrap()
}

fn images() -> Images {
    Images { prefix: String::new(), tag: "3.6.0".into() }
}

/// A pool's Deployment as cspc-operator makes it, cut to what matters.
fn deployment(label: &str, images: [&str; 3], generation: i64, observed: i64) -> Object {
    Object::read(
        &DEPLOYMENTS,
        json!({
            "metadata": {
                "name": "cspc-a-x", "namespace": "openebs", "generation": generation,
                "labels": {"openebs.io/version": label, "openebs.io/cstor-pool-instance": "cspc-a-x"},
            },
            "spec": {
                "replicas": 1,
                "template": {
                    "metadata": {"labels": {"openebs.io/version": label}},
                    "spec": {
                        "serviceAccountName": "openebs-maya-operator",
                        "containers": [
                            {"name": "cstor-pool", "image": images[0]},
                            {"name": "cstor-pool-mgmt", "image": images[1]},
                            {"name": "maya-exporter", "image": images[2]},
                        ],
                    },
                },
            },
            "status": {"observedGeneration": observed, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
        }),
    )
}

const OLD: [&str; 3] =
    ["openebs/cstor-pool-amd64:3.5.0", "openebs/cstor-pool-manager:3.5.0", "openebs/m-exporter:3.5.0"];
const NEW: [&str; 3] = ["openebs/cstor-pool:3.6.0", "openebs/cstor-pool-manager:3.6.0", "openebs/m-exporter:3.6.0"];

fn change() -> Change<'static> {
    Change {
        architecture: Architecture::Drop,
        more: json!({"spec": {"template": {"spec": {"serviceAccountName": "openebs-cstor-operator"}}}}),
        ..Change::default()
    }
}

#[test]
fn labels_images_and_account_move_in_one_patch() {
    let patch = plan(&deployment("3.5.0", OLD, 1, 1), &versions(), &images(), &change()).unwrap();
    assert_eq!(
        patch,
        Some(json!({
            "metadata": {"labels": {"openebs.io/version": "3.6.0"}},
            "spec": {"template": {
                "metadata": {"labels": {"openebs.io/version": "3.6.0"}},
                "spec": {
                    "serviceAccountName": "openebs-cstor-operator",
                    "containers": [
                        {"name": "cstor-pool", "image": "openebs/cstor-pool:3.6.0"},
                        {"name": "cstor-pool-mgmt", "image": "openebs/cstor-pool-manager:3.6.0"},
                        {"name": "maya-exporter", "image": "openebs/m-exporter:3.6.0"},
                    ],
                },
            }},
        }))
    );
}

#[test]
fn a_workload_that_is_there_is_left_alone_whatever_its_tags() {
    let mirrored = ["reg:5000/m/cstor-pool:3.6.0-1"; 3];
    assert_eq!(plan(&deployment("3.6.0", mirrored, 2, 2), &versions(), &images(), &change()).unwrap(), None);
    assert_eq!(plan(&deployment("3.6.0-RC1", NEW, 2, 2), &versions(), &images(), &change()).unwrap(), None);
}

#[test]
fn a_rollout_that_got_stuck_on_a_wrong_tag_is_repaired_by_the_right_one() {
    let wrong = [NEW[0], "openebs/cstor-pool-manager:3.6.0-typo", NEW[2]];
    let patch = plan(&deployment("3.6.0", wrong, 2, 1), &versions(), &images(), &change()).unwrap().unwrap();
    assert_eq!(
        patch.pointer("/spec/template/spec/containers"),
        Some(&json!([{"name": "cstor-pool-mgmt", "image": "openebs/cstor-pool-manager:3.6.0"}]))
    );
}

#[test]
fn containers_of_others_keep_their_images() {
    let mut workload = deployment("3.5.0", OLD, 1, 1);
    workload.body["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "mesh", "image": "mesh:1"}));
    let change = Change { containers: &["cstor-pool", "cstor-pool-mgmt", "maya-exporter"], ..Change::default() };
    let patch = plan(&workload, &versions(), &images(), &change).unwrap().unwrap();
    assert!(!patch.to_string().contains("mesh"), "{patch}");
}

#[test]
fn what_other_eras_add_joins_the_image_of_the_same_container() {
    let change = Change {
        more: json!({"spec": {"template": {"spec": {"containers": [{"name": "maya-exporter", "tty": true}]}}}}),
        ..Change::default()
    };
    let patch = plan(&deployment("3.5.0", OLD, 1, 1), &versions(), &images(), &change).unwrap().unwrap();
    assert_eq!(
        patch.pointer("/spec/template/spec/containers/2"),
        Some(&json!({"name": "maya-exporter", "image": "openebs/m-exporter:3.6.0", "tty": true}))
    );
}

#[test]
fn a_version_that_is_neither_stops_before_anything_is_changed() {
    let problem = plan(&deployment("3.4.0", OLD, 1, 1), &versions(), &images(), &change()).unwrap_err();
    assert_eq!(problem.to_string().split(';').next(), Some("Deployment/cspc-a-x: label openebs.io/version is 3.4.0"));
}

#[test]
fn a_generation_that_was_not_seen_is_not_rolled_out() {
    assert_eq!(rolled_out(&deployment("3.6.0", NEW, 2, 2)), Ok(Rollout::Done));
    assert_eq!(
        rolled_out(&deployment("3.6.0", NEW, 2, 1)),
        Ok(Rollout::NotYet("its controller has seen generation 1 of 2".into()))
    );
}

#[test]
fn old_pods_that_linger_are_counted() {
    let mut workload = deployment("3.6.0", NEW, 2, 2);
    workload.body["status"]["replicas"] = json!(2);
    assert_eq!(rolled_out(&workload), Ok(Rollout::NotYet("1 of 1 Pods updated, 1 available, 1 old ones left".into())));
}

fn stateful_set(strategy: &str, updated: i64, ready: i64, revisions: (&str, &str)) -> Object {
    Object::read(
        &STATEFUL_SETS,
        json!({
            "metadata": {"name": "pvc-1-jiva-rep", "generation": 2},
            "spec": {"replicas": 3, "updateStrategy": {"type": strategy}},
            "status": {
                "observedGeneration": 2, "readyReplicas": ready, "updatedReplicas": updated,
                "currentRevision": revisions.0, "updateRevision": revisions.1,
            },
        }),
    )
}

#[test]
fn a_stateful_set_is_done_when_all_are_ready_in_the_new_revision() {
    assert_eq!(rolled_out(&stateful_set("RollingUpdate", 3, 3, ("b", "b"))), Ok(Rollout::Done));
    assert!(matches!(rolled_out(&stateful_set("RollingUpdate", 2, 3, ("a", "b"))), Ok(Rollout::NotYet(_))));
    assert!(matches!(rolled_out(&stateful_set("RollingUpdate", 3, 2, ("b", "b"))), Ok(Rollout::NotYet(_))));
    assert!(matches!(rolled_out(&stateful_set("RollingUpdate", 3, 3, ("a", "b"))), Ok(Rollout::NotYet(_))));
}

#[test]
fn a_stateful_set_that_is_updated_by_hand_is_refused() {
    let problem = rolled_out(&stateful_set("OnDelete", 3, 3, ("b", "b"))).unwrap_err();
    assert!(problem.remedy.contains("keep the old images"), "{problem}");
}

#[test]
fn a_pod_that_cannot_pull_its_image_is_named() {
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling"}});
    let pod = Object::read(
        &PODS,
        json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{"name": "c", "state": waiting}]}}),
    );
    assert_eq!(pod_trouble(&pod).as_deref(), Some("Pod p, container c: ImagePullBackOff Back-off pulling"));
}

/// A Pod of a ReplicaSet or StatefulSet that cannot pull its image.
fn ailing(name: &str, owner: (&str, &str)) -> Object {
    let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": ""}});
    Object::read(
        &PODS,
        json!({
            "metadata": {"name": name, "labels": {"app": "cstor-pool", "pod-template-hash": "7d9f"},
                "ownerReferences": [{"kind": owner.0, "name": owner.1, "controller": true}]},
            "status": {"containerStatuses": [{"name": "c", "state": waiting}]},
        }),
    )
}

#[test]
fn the_trouble_of_another_pool_is_not_blamed_though_it_is_selected_too() {
    let pods = [
        ailing("b-7d9f-1", ("ReplicaSet", "cspc-b-7d9f")),
        ailing("a-7d9f-1", ("ReplicaSet", "cspc-a-7d9f")),
        ailing("set-0", ("StatefulSet", "set")),
    ];
    let blamed = |name: &str| trouble_among(&pods, &DEPLOYMENTS.named("openebs", name));
    assert_eq!(blamed("cspc-a").as_deref(), Some("Pod a-7d9f-1, container c: ErrImagePull"));
    assert_eq!(blamed("set").as_deref(), Some("Pod set-0, container c: ErrImagePull"));
    assert_eq!(blamed("cspc"), None);
}

#[test]
fn pods_keep_a_version_that_their_workload_selects_by() {
    let mut old = deployment("3.5.0", OLD, 1, 1);
    old.body["spec"]["selector"] = json!({"matchLabels": {"openebs.io/version": "3.5.0", "app": "cstor-pool"}});
    let patch = plan(&old, &versions(), &images(), &change()).unwrap().unwrap();
    assert_eq!(patch["metadata"]["labels"]["openebs.io/version"], "3.6.0");
    assert_eq!(patch["spec"]["template"].get("metadata"), None, "the API server would refuse it");
}

#[test]
fn nothing_is_said_of_containers_that_are_not_there() {
    let mounts = json!([{"name": "storagepath", "mountPath": "/x"}]);
    let more = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "cstor-pool", "volumeMounts": mounts}, {"name": "left-out", "volumeMounts": mounts},
    ]}}}});
    let patch =
        plan(&deployment("3.5.0", OLD, 1, 1), &versions(), &images(), &Change { more, ..Change::default() }).unwrap();
    let patch = patch.unwrap();
    let named = patch["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert!(named.iter().all(|one| one["name"] != "left-out" && one["image"].is_string()), "{patch}");
    assert_eq!(named.iter().find(|one| one["name"] == "cstor-pool").unwrap()["volumeMounts"], mounts);
}
