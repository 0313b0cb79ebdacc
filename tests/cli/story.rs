//! The operator's story, typed in full.

use std::fs;

use serde_json::Value;

use crate::arrange::{Daemon, FLEET, Simulated, bare, until};

#[test]
fn an_operator_gets_from_kubeconfigs_to_verified_results() {
    let daemon = Daemon::start(&[]);
    let folder = daemon.folder.path();
    let simulated = Simulated::start(5, folder);
    let file = |name: &str| folder.join(name).display().to_string();

    // Clusters: one by hand, the others at once; repeating it changes nothing.
    let one = simulated.kubeconfigs.join("edge-00000.yaml").display().to_string();
    let added = daemon.ok(&["cluster", "add", "edge-00000", "--kubeconfig", &one, "--label", "tier=store"]);
    assert!(added.out.contains("it answers"), "{added:?}");
    let kubeconfigs = simulated.kubeconfigs.display().to_string();
    let labels = file("labels.csv");
    let import = ["cluster", "import", &kubeconfigs, "--labels", &labels];
    assert!(daemon.ok(&import).out.contains("4 registered, 1 changed, 0 unchanged, 0 refused"));
    assert!(daemon.ok(&import).out.contains("0 registered, 0 changed, 5 unchanged, 0 refused"));
    let listed = daemon.ok(&["cluster", "list", "-o", "json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 5);
    let checked = daemon.ok(&["cluster", "check", "edge-00001"]);
    assert!(checked.out.contains("identity"), "{checked:?}");
    until("every inventory was read", || {
        let every = |name: &str| daemon.run(&["cluster", "resources", name]).code == 0;
        (0..5).all(|number| every(&format!("edge-0000{number}")))
    });
    let resources = daemon.ok(&["cluster", "resources", "edge-00002"]);
    assert!(resources.out.contains("jivaVolume") && resources.out.contains("3.5.0"), "{resources:?}");

    // The fleet: every mistake with its place, then what is meant.
    fs::write(file("wrong.yaml"), FLEET.replace("3.6.0", "3.6").replace("careful\n      waves", "other\n      wafes"))
        .unwrap();
    let wrong = daemon.run(&["fleet", "check", &file("wrong.yaml")]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.out.contains("wrong.yaml:9:") && wrong.out.contains("wafes"), "{wrong:?}");
    fs::write(file("fleet.yaml"), FLEET).unwrap();
    assert_eq!(daemon.run(&["fleet", "apply", &file("wrong.yaml")]).code, 1);
    daemon.ok(&["fleet", "apply", &file("fleet.yaml")]);
    let revision = daemon.ok(&["fleet", "show", "-o", "json"]).json()["revision"].as_str().unwrap().to_owned();
    daemon.ok(&["fleet", "apply", &file("fleet.yaml"), "--over", &revision[..12]]);
    let stale = daemon.run(&["fleet", "apply", &file("fleet.yaml"), "--over", "0123456789ab"]);
    assert!(stale.code != 0 && stale.err.contains(&revision[..12]), "{stale:?}");
    assert!(daemon.ok(&["fleet", "diff", &file("fleet.yaml")]).out.contains("nothing changes"));

    // The plan and the rollout.
    let plan = file("plan.json");
    let planned = daemon.ok(&["plan", "--group", "stores", "--out", &plan]);
    assert!(planned.out.contains("5 tasks in 5 clusters"), "{planned:?}");
    let started = daemon.ok(&["rollout", "start", &plan, "-o", "json"]).json();
    let rollout = started["id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.run(&["rollout", "wait", &rollout, "--timeout", "1ms"]).code, 3);
    until("the canary waits for approval", || {
        daemon.ok(&["rollout", "status", "-o", "json"]).json()["waves"][0]["status"] == "awaiting_approval"
    });
    let waiting = daemon.ok(&["explain", "latest", "edge-00004"]);
    assert!(waiting.out.contains("waiting: ") && waiting.out.contains("behind wave canary"), "{waiting:?}");
    daemon.ok(&["rollout", "pause", &rollout, "--remark", "lunch"]);
    assert!(daemon.ok(&["rollout", "status", &rollout]).out.contains("lunch"));
    daemon.ok(&["rollout", "approve", &rollout, "--remark", "looked at the canary"]);
    daemon.ok(&["rollout", "resume", &rollout]);
    daemon.ok(&["rollout", "wait", &rollout, "--timeout", "60s"]);
    status_has_what_scripts_need(&daemon.ok(&["rollout", "status", &rollout, "-o", "json"]).json());

    // What was done is known at once.
    let after = daemon.ok(&["plan", "--group", "stores", "-o", "json"]).json();
    assert_eq!((&after["tasks"], &after["clusters"]), (&0.into(), &0.into()), "{after}");
    assert!(
        after["report"]["left_out"].as_array().unwrap().iter().all(|out| out["code"] == "already_there"),
        "{after}"
    );
    let resources = daemon.ok(&["cluster", "resources", "edge-00001"]).out;
    assert!(resources.contains("NEEDS") && resources.contains("already"), "{resources}");
    let read = daemon.ok(&["cluster", "resources", "edge-00001", "--refresh", "-o", "json"]).json();
    assert_eq!(
        (&read["overtaken"], &read["needs"][0]["resource"]["kind"].is_string()),
        (&false.into(), &true),
        "{read}"
    );

    // Results and the audit.
    let results = daemon.ok(&["result", "list", &rollout, "-o", "json"]).json();
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), 5);
    results.iter().for_each(result_has_what_scripts_need);
    assert_eq!(daemon.ok(&["result", "export", &rollout]).out.lines().count(), 6);
    assert!(daemon.ok(&["result", "show", &rollout, "edge-00001"]).out.contains("evidence"));
    let chain = file("audit.jsonl");
    daemon.ok(&["audit", "verify"]);
    daemon.ok(&["audit", "export", "--out", &chain]);
    assert_eq!(bare(folder, &["audit", "verify", &chain]).code, 0);
    let checkpoint = file("checkpoint.jsonl");
    daemon.ok(&["audit", "checkpoint", "--out", &checkpoint]);
    daemon.ok(&["audit", "export", "--out", &chain]);
    let kept = bare(folder, &["audit", "verify", &chain, "--checkpoints", &checkpoint]);
    assert!(kept.code == 0 && kept.out.contains("1 checkpoints fit"), "{kept:?}");
    let whole = fs::read_to_string(&chain).unwrap();
    let cut = file("cut.jsonl");
    fs::write(&cut, &whole[..=whole.trim_end().rfind('\n').unwrap()]).unwrap();
    assert_eq!(bare(folder, &["audit", "verify", &cut]).code, 0, "by itself a cut end can't be seen");
    let cut_off = bare(folder, &["audit", "verify", &cut, "--checkpoints", &checkpoint]);
    assert!(cut_off.code == 1 && cut_off.err.contains("cut off"), "{cut_off:?}");
    fs::write(&checkpoint, fs::read_to_string(&checkpoint).unwrap().replace("\"seq\":", "\"seq\":1")).unwrap();
    let forged = bare(folder, &["audit", "verify", &cut, "--checkpoints", &checkpoint]);
    assert!(forged.code == 1 && forged.err.contains("signature"), "{forged:?}");
    fs::write(&chain, whole.replacen("lunch", "lurch", 1)).unwrap();
    let broken = bare(folder, &["audit", "verify", &chain]);
    assert!(broken.code == 1 && broken.err.contains("edited"), "{broken:?}");
}

fn status_has_what_scripts_need(status: &Value) {
    for key in
        ["id", "fleet", "revision", "state", "verdict", "cause", "waves", "limits", "running", "startedAt", "eta"]
    {
        assert!(status.get(key).is_some(), "{key} is missing in {status}");
    }
    assert_eq!((status["state"].as_str(), status["verdict"].as_str()), (Some("finished"), Some("succeeded")));
    for wave in status["waves"].as_array().unwrap() {
        for key in ["name", "status", "reason"] {
            assert!(wave[key].is_string(), "{key} is missing in {wave}");
        }
        for state in ["pending", "running", "succeeded", "failed", "deferred", "skipped"] {
            assert!(wave["targets"][state].is_u64(), "{state} is missing in {wave}");
        }
    }
}

fn result_has_what_scripts_need(result: &Value) {
    assert_eq!(result["outcome"], "succeeded", "{result}");
    for pointer in [
        "/cluster",
        "/resource/kind",
        "/resource/name",
        "/from",
        "/to",
        "/reason",
        "/startedAt",
        "/endedAt",
        "/job/name",
        "/job/uid",
        "/upgradeTask/name",
        "/upgradeTask/uid",
    ] {
        assert!(result.pointer(pointer).is_some_and(Value::is_string), "{pointer} is missing in {result}");
    }
    assert_eq!(result["attempts"], 1);
}

#[test]
fn refusals_name_the_field_and_never_the_value() {
    let daemon = Daemon::start(&[]);
    let file = daemon.folder.path().join("bad.yaml");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n\
                clusters: [{name: a, cluster: {server: 'http://10.0.0.1', certificate-authority: /etc/canary}}]\n\
                users: [{name: a, user: {exec: {command: canary-program, apiVersion: client.authentication.k8s.io/v1}}}]\n";
    fs::write(&file, text).unwrap();
    let refused = daemon.run(&["cluster", "add", "a", "--kubeconfig", &file.display().to_string()]);
    assert_eq!(refused.code, 1);
    for field in ["exec", "certificate-authority", "server"] {
        assert!(refused.err.contains(field), "{field} is not named: {refused:?}");
    }
    assert!(!refused.err.contains("canary") && !daemon.log().contains("canary"), "{refused:?}");
    let many = daemon.run(&["cluster", "import", &file.display().to_string()]);
    assert!(many.code == 1 && many.out.contains("1 refused") && !many.out.contains("canary"), "{many:?}");
}
