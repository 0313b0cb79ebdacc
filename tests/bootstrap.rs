//! `fleetlift cluster add --bootstrap`, typed against a daemon and a real API server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use support::TestCluster;
use support::crds::UpgradeTaskSchema;
use support::hub::{Daemon, Place};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_added_with_the_users_own_plugin_and_the_hub_gets_only_its_account() {
    let cluster = TestCluster::new().await;
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openebs"}})).await;
    let place = Place::embedded();
    let _daemon = Daemon::start(&place);

    // A kubeconfig that signs in by a program, as those of the clouds do.
    let admin: Value = serde_saphyr::from_str(&cluster.admin_kubeconfig()).unwrap();
    let user = &admin["users"][0]["user"];
    let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {
        "clientCertificateData": pem(&user["client-certificate-data"]), "clientKeyData": pem(&user["client-key-data"])}});
    let answer = place.write("answer.json", &credential.to_string());
    let mut by_program = admin.clone();
    by_program["users"][0]["user"] = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat",
        "args": [answer], "interactiveMode": "Never"}});
    let kubeconfig = place.write("kubeconfig", &by_program.to_string());

    let refused = place.run(&["cluster", "add", "berlin-1", "--kubeconfig", &kubeconfig]);
    let said = refused.err;
    assert!(refused.code != 0 && said.contains("users[0].user.exec") && said.contains("--bootstrap"), "{said}");
    assert!(!said.contains("answer.json"), "{said}");

    let add = ["cluster", "add", "berlin-1", "--bootstrap", "--kubeconfig", &kubeconfig, "--label", "site=berlin"];
    let added = place.ok(&[&add[..], &["-o", "json"]].concat());
    let said = &added.err;
    assert!(said.contains("created Role/openebs/fleetlift-hub") && said.contains("lives until"), "{said}");
    let view = added.json();
    assert!(view["credentialExpiresAt"].is_string() || view["credential_expires_at"].is_string(), "{view}");

    let rotate = ["cluster", "rotate", "berlin-1", "--bootstrap", "--kubeconfig", &kubeconfig];
    let rotated = place.ok(&rotate);
    assert!(rotated.err.contains("lives until") && rotated.out.contains("the credential is replaced"), "{rotated:?}");

    let report = place.run(&["cluster", "check", "berlin-1", "-o", "json"]).json();
    let findings = report["findings"].as_array().unwrap();
    let failing: Vec<&Value> = findings.iter().filter(|finding| finding["level"] == "fail").collect();
    let about_rights = failing.iter().any(|finding| finding.to_string().contains("right"));
    assert!(!about_rights, "the account has what the hub needs: {failing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_bootstrap_keeps_what_the_clusters_owner_allows_and_takes_the_hubs_rights_back() {
    let cluster = TestCluster::alone(UpgradeTaskSchema::Fleetlift).await;
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openebs"}})).await;
    let place = Place::embedded();
    let _daemon = Daemon::start(&place);
    let kubeconfig = place.write("kubeconfig", &cluster.admin_kubeconfig());
    let add = |name: &'static str| {
        place.ok(&["cluster", "add", name, "--bootstrap", "--kubeconfig", &kubeconfig, "--label", "site=berlin"]).err
    };
    let said = add("berlin-1");
    assert!(said.contains("created ConfigMap/openebs/fleetlift-allowed"), "{said}");
    assert!(said.contains("created ValidatingAdmissionPolicy/fleetlift-hub"), "{said}");
    place.ok(&["cluster", "remove", "berlin-1", "--yes"]);

    let edit = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let change = |example: Value, patch: Value| {
        let (objects, edit) = (cluster.like(&example), edit.clone());
        let name = example["metadata"]["name"].as_str().unwrap().to_owned();
        async move { objects.patch(&name, &edit, &Patch::Merge(patch)).await.unwrap() }
    };
    let of = |api_version: &str, kind: &str, name: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    let mut allowed = of("v1", "ConfigMap", "fleetlift-allowed");
    allowed["metadata"]["namespace"] = "openebs".into();
    let images = "registry.local:5000/fleetlift/executor\nopenebs/upgrade\n";
    change(allowed.clone(), json!({"data": {"images": images}})).await;
    let policy = of("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "fleetlift-hub");
    let stricter = json!([{"expression": "request.operation == 'DELETE'", "message": "nothing new this week"}]);
    change(policy.clone(), json!({"spec": {"validations": stricter}})).await;
    let role = of("rbac.authorization.k8s.io/v1", "ClusterRole", "fleetlift-hub");
    change(role.clone(), json!({"rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]})).await;

    let said = add("berlin-2");
    assert!(said.contains("kept ConfigMap/openebs/fleetlift-allowed as it was changed here"), "{said}");
    assert!(said.contains("it does not name fleetlift/executor, openebs/upgrade-amd64"), "{said}");
    let told = said.lines().find(|line| line.contains("kept ValidatingAdmissionPolicy/fleetlift-hub")).unwrap();
    assert!(told.contains("kubectl-edit") && told.contains(".spec.validations"), "{told}");
    let told = said.lines().find(|line| line.contains("changed ClusterRole/fleetlift-hub back")).unwrap();
    assert!(told.contains("kubectl-edit") && told.contains(".rules"), "{told}");
    assert!(said.contains("Role/openebs/fleetlift-hub is as it should be"), "{said}");
    let now = |example: Value| {
        let objects = cluster.like(&example);
        async move { objects.get(example["metadata"]["name"].as_str().unwrap()).await.unwrap() }
    };
    assert_eq!(now(allowed).await.data["data"]["images"], images);
    assert_eq!(now(policy).await.data["spec"]["validations"][0]["message"], "nothing new this week");
    assert!(now(role).await.data["rules"].as_array().unwrap().len() > 1);
}

fn pem(data: &Value) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.as_str().unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}
