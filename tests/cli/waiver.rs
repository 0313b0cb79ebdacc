//! A server that no CA proves: refused, unless an administrator waives the proof, which is audited and shown.

use std::fs;

use serde_json::Value;

use crate::arrange::{Daemon, Simulated};

#[test]
fn a_cluster_without_a_ca_is_taken_only_on_an_administrators_word_and_stays_marked() {
    let daemon = Daemon::start(&[]);
    let folder = daemon.folder.path();
    let simulated = Simulated::start(1, folder);
    let honest = simulated.kubeconfigs.join("edge-00000.yaml");
    let mut kubeconfig: Value = serde_json::from_slice(&fs::read(&honest).unwrap()).unwrap();
    let server = kubeconfig["clusters"][0]["cluster"].as_object_mut().unwrap();
    server.remove("certificate-authority-data").unwrap();
    server.insert("insecure-skip-tls-verify".to_owned(), true.into());
    let file = folder.join("insecure.yaml");
    fs::write(&file, kubeconfig.to_string()).unwrap();
    let (file, honest) = (file.display().to_string(), honest.display().to_string());

    let add = ["cluster", "add", "edge", "--kubeconfig", &file];
    let refused = daemon.run(&add);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("insecure-skip-tls-verify") && refused.err.contains("any server"), "{refused:?}");
    let needless = daemon.run(&["cluster", "add", "edge", "--kubeconfig", &honest, "--insecure-skip-tls-verify"]);
    assert!(needless.code == 1 && needless.err.contains("nothing to waive"), "{needless:?}");

    let operator = daemon.ok(&["token", "create", "olga", "--role", "operator"]).out.trim().to_owned();
    let waived = [add.as_slice(), &["--insecure-skip-tls-verify"]].concat();
    assert_eq!(daemon.as_token(&operator, &waived).code, 1);
    assert!(daemon.ok(&waived).out.contains("it answers"));
    assert!(daemon.ok(&["cluster", "show", "edge"]).out.contains("waived by an administrator"));
    assert!(daemon.ok(&["cluster", "list"]).out.contains("not proven by a CA"));
    assert!(daemon.run(&["cluster", "check", "edge"]).out.contains("nothing proves it"));
    let audited = daemon.ok(&["audit", "list", "-o", "json"]).out;
    assert!(audited.contains("\"tls_verified\":false") || audited.contains("\"tls_verified\": false"), "{audited}");

    daemon.ok(&["cluster", "rotate", "edge", "--kubeconfig", &honest]);
    assert!(daemon.ok(&["cluster", "show", "edge"]).out.contains("by its CA"));
}
