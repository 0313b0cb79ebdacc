//! `fleetlift cluster add --bootstrap`, typed against a daemon and a real API server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use support::{TestCluster, until};

/// A daemon of its own; killed with this value.
struct Daemon {
    process: Child,
    data: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn fleetlift(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetlift"));
    command.arg("--data-dir").arg(data).env("FLEETLIFT_EDGE__ALLOW_NETWORKS", "127.0.0.0/8").stdin(Stdio::null());
    command
}

impl Daemon {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = fleetlift(data.path())
            .args(["daemon", "--listen", &free.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { process, data };
        until("the daemon answers", || async { daemon.run(&["cluster", "list"]).status.success().then_some(()) }).await;
        daemon
    }

    fn run(&self, arguments: &[&str]) -> Output {
        fleetlift(self.data.path()).args(arguments).args(["--output", "json"]).output().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_added_with_the_users_own_plugin_and_the_hub_gets_only_its_account() {
    let cluster = TestCluster::new().await;
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openebs"}})).await;
    let daemon = Daemon::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };

    // A kubeconfig that signs in by a program, as those of the clouds do.
    let admin: Value = serde_saphyr::from_str(&cluster.admin_kubeconfig()).unwrap();
    let user = &admin["users"][0]["user"];
    let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {
        "clientCertificateData": pem(&user["client-certificate-data"]), "clientKeyData": pem(&user["client-key-data"])}});
    let answer = file("answer.json", &credential.to_string());
    let mut by_program = admin.clone();
    by_program["users"][0]["user"] = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat",
        "args": [answer], "interactiveMode": "Never"}});
    let kubeconfig = file("kubeconfig", &by_program.to_string());

    let refused = daemon.run(&["cluster", "add", "berlin-1", "--kubeconfig", &kubeconfig]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("users[0].user.exec") && said.contains("--bootstrap"), "{said}");
    assert!(!said.contains("answer.json"), "{said}");

    let add = ["cluster", "add", "berlin-1", "--bootstrap", "--kubeconfig", &kubeconfig, "--label", "site=berlin"];
    let added = daemon.run(&add);
    let said = String::from_utf8_lossy(&added.stderr);
    assert!(added.status.success(), "{said}");
    assert!(said.contains("applied Role/openebs/fleetlift-hub") && said.contains("lives until"), "{said}");
    let view: Value = serde_json::from_slice(&added.stdout).unwrap();
    assert!(view["credentialExpiresAt"].is_string() || view["credential_expires_at"].is_string(), "{view}");

    let checked = daemon.run(&["cluster", "check", "berlin-1"]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
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
