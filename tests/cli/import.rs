//! Importing kubeconfigs: each is judged by itself, and doing it again is safe.

use std::fs;

use serde_json::Value;

use crate::arrange::{Daemon, Done, Simulated};

/// The outcome and the reason of a cluster in an import's report.
fn of<'a>(report: &'a Value, name: &str) -> (&'a str, &'a str) {
    let row = report.as_array().unwrap().iter().find(|row| row["name"] == name);
    let row = row.unwrap_or_else(|| panic!("{name} is missing in {report}"));
    (row["outcome"].as_str().unwrap(), row["reason"].as_str().unwrap_or_default())
}

#[test]
fn a_bad_file_costs_only_its_own_cluster() {
    let daemon = Daemon::start(&[]);
    let simulated = Simulated::start(2, daemon.folder.path());
    let folder = &simulated.kubeconfigs;
    let good = fs::read_to_string(folder.join("edge-00000.yaml")).unwrap();
    fs::write(folder.join("edge-00000.yml"), &good).unwrap();
    fs::write(folder.join("latin.yaml"), b"apiVersion: v1 # \xe9t\xe9").unwrap();
    fs::write(folder.join("huge.yaml"), "#".repeat(2 << 20)).unwrap();
    fs::write(folder.join("runs-programs.yaml"), good.replace(r#""user":{"#, r#""user":{"exec":{"command":"id"},"#))
        .unwrap();
    fs::write(folder.join("Upper_Case.yaml"), &good).unwrap();
    fs::write(folder.join("empty.yaml"), "").unwrap();
    let mut elsewhere: Value = serde_json::from_str(&good).unwrap();
    elsewhere["clusters"][0]["cluster"]["server"] = "https://169.254.169.254".into();
    fs::write(folder.join("metadata.yaml"), elsewhere.to_string()).unwrap();
    let labels = daemon.folder.path().join("more.csv");
    fs::write(&labels, "name,site\nedge-00001,ulm\nnowhere,bonn\n").unwrap();

    let import = ["cluster", "import", folder.to_str().unwrap(), "--labels", labels.to_str().unwrap(), "-o", "json"];
    let Done { code, out, err } = daemon.run(&import);
    assert_eq!(code, 1, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report.as_array().unwrap().len(), 10, "{report:#}");
    assert_eq!(of(&report, "edge-00001"), ("registered", ""));
    for (name, why) in [
        ("latin", "UTF-8"),
        ("huge", "larger than"),
        ("runs-programs", "exec"),
        ("Upper_Case", "name"),
        ("empty", "kubeconfig"),
        ("metadata", "metadata service"),
        ("nowhere", "no kubeconfig"),
    ] {
        let (outcome, reason) = of(&report, name);
        assert!(outcome == "refused" && reason.contains(why), "{name}: {outcome}: {reason}");
    }
    let twice: Vec<&str> = report
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["name"] == "edge-00000")
        .map(|row| row["outcome"].as_str().unwrap())
        .collect();
    assert!(twice.contains(&"registered") && twice.contains(&"refused"), "{report:#}");
    let listed = daemon.ok(&["cluster", "list", "-o", "json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

#[test]
fn a_repeated_import_describes_anew_and_keeps_credentials() {
    let daemon = Daemon::start(&[]);
    let simulated = Simulated::start(2, daemon.folder.path());
    let folder = simulated.kubeconfigs.to_str().unwrap();
    let import = |more: &[&str]| {
        let arguments = [&["cluster", "import", folder, "-o", "json"], more].concat();
        daemon.ok(&arguments).json()
    };
    import(&["--label", "site=ulm"]);
    daemon.ok(&["cluster", "label", "edge-00001", "owner=ops"]);
    assert_eq!(of(&import(&["--label", "site=ulm"]), "edge-00001"), ("unchanged", ""));

    let file = simulated.kubeconfigs.join("edge-00001.yaml");
    let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    kubeconfig["users"][0]["user"]["token"] = "another".into();
    fs::write(&file, kubeconfig.to_string()).unwrap();
    let report = import(&["--label", "site=bonn", "--namespace", "storage"]);
    assert_eq!(of(&report, "edge-00000"), ("changed", "label site, namespace"));
    let (outcome, reason) = of(&report, "edge-00001");
    assert!(outcome == "changed" && reason.contains("credential differs") && !reason.contains("another"), "{reason}");
    let shown = daemon.ok(&["cluster", "show", "edge-00001", "-o", "json"]).json();
    assert_eq!(shown["labels"], serde_json::json!({"site": "bonn", "owner": "ops"}));
    assert_eq!(shown["namespace"], "storage");
    // The credential is the one that worked before: what fails is the new namespace, by name.
    let checked = daemon.run(&["cluster", "check", "edge-00001"]);
    assert!(checked.out.contains("watch, create, patch, delete jobs.batch in namespace storage"), "{}", checked.out);
    daemon.ok(&["audit", "verify"]);
}
