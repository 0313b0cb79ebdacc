//! Rollouts that people steer and follow: tried again, paused, waited for.

use std::fs;

use fleetlift::sim::{Behaviour, UpgradeFault, UpgradeTrouble};

use crate::arrange::{Daemon, FLEET, Simulated, bare, until};

/// One wave, and nobody is asked.
fn at_once() -> String {
    FLEET
        .replace("        - {name: canary, size: 1, approval: after}\n", "")
        .replace("failures: {allow: 1}", "failures: {allow: 0}")
}

/// Registers the clusters and starts a rollout over all of them at once; answers its id.
fn start(daemon: &Daemon, simulated: &Simulated) -> String {
    start_by(&at_once(), daemon, simulated)
}

/// The same as a fleet file says.
fn start_by(text: &str, daemon: &Daemon, simulated: &Simulated) -> String {
    let folder = daemon.folder.path();
    let (kubeconfigs, labels) = (simulated.kubeconfigs.display().to_string(), folder.join("labels.csv"));
    daemon.ok(&["cluster", "import", &kubeconfigs, "--labels", &labels.display().to_string()]);
    let fleet = folder.join("fleet.yaml");
    fs::write(&fleet, text).unwrap();
    daemon.ok(&["fleet", "apply", &fleet.display().to_string()]);
    let plan = daemon.ok(&["plan", "-o", "json"]).json();
    let started = daemon.ok(&["rollout", "start", plan["digest"].as_str().unwrap(), "-o", "json"]).json();
    started["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_rollout_that_failed_succeeds_when_its_cluster_is_repaired_and_tried_again() {
    let daemon = Daemon::start(&[]);
    let simulated = Simulated::start(3, daemon.folder.path());
    let what = UpgradeTrouble::Fails("no such image".to_owned());
    let fails = UpgradeFault { kind: None, name: None, times: None, what };
    assert!(simulated.fleet.behave("edge-00001", Behaviour { upgrades: vec![fails], ..Behaviour::default() }));
    let rollout = start(&daemon, &simulated);
    assert_eq!(daemon.run(&["rollout", "wait", &rollout, "--timeout", "60s"]).code, 1);
    let failed = daemon.ok(&["rollout", "status", &rollout, "-o", "json"]).json();
    assert_eq!((&failed["verdict"], &failed["waves"][0]["targets"]["failed"]), (&"failed".into(), &1.into()));

    let clusters = |state: &str| daemon.ok(&["rollout", "status", &rollout, "--state", state, "-o", "json"]).json();
    assert_eq!(clusters("failed").as_array().map(Vec::len), Some(1), "{}", clusters("failed"));
    assert_eq!(clusters("failed")[0]["cluster"], "edge-00001");
    assert_eq!(clusters("deferred"), serde_json::json!([]));
    let told =
        daemon.ok(&["audit", "list", "--cluster", "edge-00001", "--type", "attempt.judged", "-o", "json"]).json();
    let told = told.as_array().unwrap();
    assert!(!told.is_empty() && told.iter().all(|event| event["data"]["outcome"] == "failed"), "{told:#?}");

    // What is over is not left out of, nor approved.
    let skipped = daemon.run(&["rollout", "skip", &rollout, "edge-00001"]);
    assert!(skipped.code == 1 && skipped.err.contains("is finished"), "{skipped:?}");
    let approved = daemon.run(&["rollout", "approve", &rollout, "--wave", "rest"]);
    assert!(approved.code == 1 && approved.err.contains("is finished"), "{approved:?}");
    let succeeded = daemon.run(&["rollout", "retry", &rollout, "edge-00000"]);
    assert!(succeeded.code == 1 && succeeded.err.contains("is succeeded, not failed"), "{succeeded:?}");
    assert_eq!(daemon.ok(&["rollout", "status", &rollout, "-o", "json"]).json(), failed, "nothing was changed");

    assert!(simulated.fleet.behave("edge-00001", Behaviour::default()));
    daemon.ok(&["rollout", "retry", &rollout, "edge-00001", "--remark", "the image is there"]);
    daemon.ok(&["rollout", "wait", &rollout, "--timeout", "60s"]);
    let status = daemon.ok(&["rollout", "status", &rollout, "-o", "json"]).json();
    assert_eq!((&status["verdict"], &status["waves"][0]["status"]), (&"succeeded".into(), &"passed".into()));
    assert_eq!(status["waves"][0]["targets"]["succeeded"], 3);
    let again = daemon.run(&["rollout", "retry", &rollout]);
    assert!(again.code == 1 && again.err.contains("nothing to try again"), "{again:?}");
    daemon.ok(&["audit", "verify"]);
}

#[test]
fn a_volume_that_turns_ill_while_its_wave_soaks_holds_the_rollout_until_somebody_has_looked() {
    let daemon = Daemon::start(&[]);
    let simulated = Simulated::start(2, daemon.folder.path());
    let soaking = FLEET.replace("approval: after", "soak: 5s");
    assert_ne!(soaking, FLEET);
    let rollout = start_by(&soaking, &daemon, &simulated);
    let status = || daemon.ok(&["rollout", "status", &rollout, "-o", "json"]).json();
    until("the first wave soaks", || status()["waves"][0]["status"] == "soaking");
    let succeeded = ["rollout", "status", &rollout, "--clusters", "--state", "succeeded", "-o", "json"];
    let canary = daemon.ok(&succeeded).json()[0]["cluster"].as_str().unwrap().to_owned();
    simulated.only_jiva_volume_becomes(&canary, "WO");
    until("it is found out", || status()["state"] == "paused");
    let paused = daemon.ok(&["rollout", "status", &rollout]).out;
    assert!(paused.contains(&canary) && paused.contains("jivaVolume/"), "{paused}");
    assert_eq!(status()["waves"][1]["targets"]["succeeded"], 0, "{:#}", status());

    simulated.only_jiva_volume_becomes(&canary, "RW");
    daemon.ok(&["rollout", "resume", &rollout, "--remark", "the disk was full"]);
    daemon.ok(&["rollout", "wait", &rollout, "--timeout", "60s"]);
}

#[test]
fn an_aborted_rollout_is_not_tried_again() {
    let daemon = Daemon::start(&[]);
    let simulated = Simulated::start(1, daemon.folder.path());
    let rollout = start(&daemon, &simulated);
    daemon.ok(&["rollout", "abort", &rollout, "--yes"]);
    assert_eq!(daemon.run(&["rollout", "wait", &rollout, "--timeout", "60s"]).code, 1);
    let refused = daemon.run(&["rollout", "retry", &rollout]);
    assert!(refused.code == 1 && refused.err.contains("was aborted by token:admin"), "{refused:?}");
}

#[test]
fn whoever_follows_a_rollout_reads_that_it_is_paused_and_why() {
    let daemon = Daemon::start(&[]);
    let simulated = Simulated::start_slowly(2, daemon.folder.path());
    let rollout = start(&daemon, &simulated);
    let mut watch = daemon.begin(&["rollout", "watch", &rollout], "watch.log");
    let mut wait = daemon.begin(&["rollout", "wait", &rollout], "wait.log");
    daemon.ok(&["rollout", "pause", &rollout, "--remark", "lunch"]);
    until("both say it", || [&watch, &wait].iter().all(|follower| follower.said().contains("lunch")));
    assert!(watch.said().contains("rollout paused: paused by token:admin: lunch"), "{}", watch.said());
    assert!(wait.said().contains("waiting: the rollout is paused: paused by token:admin: lunch"), "{}", wait.said());
    daemon.ok(&["rollout", "resume", &rollout]);
    assert_eq!((watch.code(), wait.code()), (0, 0));
    assert!(
        watch.said().contains("rollout running\n") && watch.said().contains("rollout finished"),
        "{}",
        watch.said()
    );
}

#[test]
fn waiting_goes_on_while_the_hub_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "flt_any").unwrap();
    // Nothing listens on port 1.
    let hub = ["--server", "http://127.0.0.1:1", "--token-file", token.to_str().unwrap()];
    let waited = bare(folder.path(), &[&hub[..], &["rollout", "wait", "--timeout", "2s"]].concat());
    assert_eq!(waited.code, 3, "{waited:?}");
    assert_eq!(waited.err.matches("no answer from http://127.0.0.1:1: asking on until the timeout").count(), 1);
}

/// Whoever may work on other clusters only changes nothing about these, by whatever route.
#[test]
fn an_operator_of_other_clusters_is_denied_and_each_denial_is_audited() {
    let daemon = Daemon::start(&[]);
    let simulated = Simulated::start(1, daemon.folder.path());
    let rollout = start(&daemon, &simulated);
    daemon.ok(&["rollout", "wait", &rollout, "--timeout", "60s"]);
    let digest = daemon.ok(&["rollout", "list", "-o", "json"]).json()[0]["plan"].as_str().unwrap().to_owned();
    let create = ["token", "create", "olga", "--role", "operator", "--selector", "site=elsewhere"];
    let olga = daemon.ok(&create).out.trim().to_owned();
    let denied: &[(&str, &[&str])] = &[
        ("POST /api/v1/rollouts:", &["rollout", "start", &digest]),
        ("/approve:", &["rollout", "approve", &rollout]),
        ("/pause:", &["rollout", "pause", &rollout]),
        ("/resume:", &["rollout", "resume", &rollout]),
        ("/abort:", &["rollout", "abort", &rollout, "--yes"]),
        ("{rollout}/retry:", &["rollout", "retry", &rollout]),
        ("{cluster}/retry:", &["rollout", "retry", &rollout, "edge-00000"]),
        ("/skip:", &["rollout", "skip", &rollout, "edge-00000"]),
        ("/check:", &["cluster", "check", "edge-00000"]),
        ("/resources:", &["cluster", "resources", "edge-00000", "--refresh"]),
    ];
    for (route, command) in denied {
        let done = daemon.as_token(&olga, command);
        assert!(done.code == 1 && done.err.contains("lies outside"), "{command:?}: {done:?}");
        let told = daemon.ok(&["audit", "list", "--type", "request.denied", "--last", "1"]).out;
        assert!(told.contains("token:olga") && told.contains(route) && told.contains("edge-00000"), "{route}: {told}");
    }
    for look in
        [&["cluster", "show", "edge-00000"][..], &["result", "list", &rollout], &["explain", &rollout, "edge-00000"]]
    {
        assert_eq!(daemon.as_token(&olga, look).code, 0, "a selector limits changes, not looking: {look:?}");
    }
}
