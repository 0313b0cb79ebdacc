//! `fleetlift cluster add --bootstrap`, typed against a daemon and a real API server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use serde_json::{Value, json};
use support::TestCluster;
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
    assert!(said.contains("applied Role/openebs/fleetlift-hub") && said.contains("lives until"), "{said}");
    let view = added.json();
    assert!(view["credentialExpiresAt"].is_string() || view["credential_expires_at"].is_string(), "{view}");

    let report = place.run(&["cluster", "check", "berlin-1", "-o", "json"]).json();
    let findings = report["findings"].as_array().unwrap();
    let failing: Vec<&Value> = findings.iter().filter(|finding| finding["level"] == "fail").collect();
    let about_rights = failing.iter().any(|finding| finding.to_string().contains("right"));
    assert!(!about_rights, "the account has what the hub needs: {failing:?}");
}

fn pem(data: &Value) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.as_str().unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}
