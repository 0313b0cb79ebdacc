//! The daemon itself: settings, first start, roles, restarts.

use std::fs;

use serde_json::Value;

use crate::arrange::{Daemon, FLEET, Simulated, bare, until};

#[test]
fn usage_errors_end_with_two_and_failures_with_one() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(bare(folder.path(), &["rollout", "begin"]).code, 2);
    assert_eq!(bare(folder.path(), &["--help"]).code, 0);
    for usage in [
        &["plan", "--at", "tomorrow"][..],
        &["cluster", "label", "berlin", "site"],
        &["cluster", "import", ".", "--label", "site"],
    ] {
        assert_eq!(bare(folder.path(), usage).code, 2, "{usage:?}");
    }
    let hub = ["--server", "http://127.0.0.1:1", "--token-file", "/dev/null"];
    let bootstrap = ["cluster", "add", "berlin", "--bootstrap", "--kubeconfig", "-"];
    assert_eq!(bare(folder.path(), &[&hub[..], &bootstrap].concat()).code, 2);
    let nothing = bare(folder.path(), &["cluster", "list", "--data-dir", "nowhere"]);
    assert!(nothing.code == 1 && nothing.err.contains("no hub"), "{nothing:?}");
}

#[test]
fn settings_are_printed_with_secrets_masked_and_mistakes_named() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://hub:canary@db/fleet";
    let printed = bare(folder.path(), &["daemon", "--print-settings", "--database", url, "--data-dir", "d"]);
    assert!(printed.code == 0 && printed.out.contains("db/fleet") && !printed.out.contains("canary"), "{printed:?}");
    let file = folder.path().join("hub.toml");
    fs::write(&file, "[engine]\nmax_runing = 3\n").unwrap();
    let refused = bare(folder.path(), &["daemon", "--config", &file.display().to_string()]);
    assert!(refused.code == 1 && refused.err.contains("max_runing") && refused.err.contains("hub.toml"), "{refused:?}");
}

#[test]
fn the_daemon_does_not_listen_in_clear_beyond_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let refused = bare(folder.path(), &["daemon", "--listen", "0.0.0.0:0", "--data-dir", &data]);
    assert!(refused.code == 1 && refused.err.contains("tls_certificate"), "{refused:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_daemon_that_crashes_leaves_no_dump_of_its_memory() {
    let daemon = Daemon::start(&[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[test]
fn a_daemon_whose_database_does_not_answer_stops_when_it_is_told_to() {
    let database = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://hub@{}/hub", database.local_addr().unwrap());
    let daemon = Daemon::spawn(tempfile::tempdir().unwrap(), &["--database", &url], &[]);
    let _asks = database.accept().unwrap();
    let (_, code) = daemon.end("-TERM");
    assert_eq!(code, 0);
}

#[test]
fn half_a_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (half, other) in [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")] {
        let settings = folder.path().join("half.toml");
        fs::write(&settings, format!("[api]\n{half} = \"/nowhere.pem\"\n")).unwrap();
        let (data, settings) = (folder.path().join("data").display().to_string(), settings.display().to_string());
        let refused =
            bare(folder.path(), &["daemon", "--listen", "127.0.0.1:0", "--data-dir", &data, "--config", &settings]);
        assert!(refused.code == 1 && refused.err.contains(&format!("without api.{other}")), "{refused:?}");
    }
}

#[test]
fn over_tls_strangers_are_proven_the_hub_and_this_machine_needs_no_flags() {
    let daemon = Daemon::start_with_tls();
    assert_eq!(daemon.ok(&["cluster", "list", "-o", "json"]).json(), Value::Array(Vec::new()));
    let folder = daemon.folder.path();
    let token = folder.join("token");
    fs::write(&token, daemon.token()).unwrap();
    let (server, token) = (daemon.listens_on(), token.display().to_string());
    assert!(server.starts_with("https://localhost:"), "{server}");
    let list = ["--server", &server, "--token-file", &token, "cluster", "list"];
    let ca = folder.join("ca.pem").display().to_string();
    assert_eq!(bare(folder, &[&list[..], &["--ca-file", &ca]].concat()).code, 0);
    let unproven = bare(folder, &list);
    assert!(unproven.code == 1 && unproven.err.contains("no answer"), "{unproven:?}");
    let login = bare(folder, &["login", &server, "--token-file", &token, "--ca-file", &ca]);
    assert_eq!(login.code, 0, "{login:?}");
    assert_eq!(bare(folder, &["cluster", "list"]).code, 0, "the CA was kept, too");
}

#[test]
fn whoever_lost_the_last_administrators_token_makes_another_one_on_the_daemons_machine() {
    let daemon = Daemon::start(&[]);
    let lost = daemon.token();
    let refused = daemon.run(&["token", "revoke", "admin", "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("last administrator"), "{refused:?}");
    fs::remove_file(daemon.folder.path().join("data/admin.token")).unwrap();
    assert_eq!(daemon.run(&["token", "list"]).code, 1);
    let recovered = daemon.ok(&["token", "recover"]).out;
    assert!(recovered.contains("admin.token"), "{recovered}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(daemon.folder.path().join("data/admin.token")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    daemon.ok(&["token", "revoke", "admin", "--yes"]);
    assert_eq!(daemon.as_token(&lost, &["token", "list"]).code, 1);
    let told = daemon.ok(&["audit", "list", "--type", "token.created", "--last", "1"]).out;
    assert!(told.contains("local:recovery") && !told.contains("first-start"), "{told}");
    daemon.ok(&["audit", "verify"]);
}

#[test]
fn roles_bind_and_revocation_is_immediate() {
    let daemon = Daemon::start(&[]);
    let viewer = daemon.ok(&["token", "create", "eve", "--role", "viewer"]).out.trim().to_owned();
    assert_eq!(daemon.as_token(&viewer, &["cluster", "list"]).code, 0);
    let denied = daemon.as_token(&viewer, &["token", "list"]);
    assert!(denied.code == 1 && denied.err.contains("viewer"), "{denied:?}");
    daemon.ok(&["token", "revoke", "eve", "--yes"]);
    assert_eq!(daemon.as_token(&viewer, &["cluster", "list"]).code, 1);
    let audit = daemon.ok(&["audit", "list"]).out;
    assert!(audit.contains("request.denied") && audit.contains("token:eve"), "{audit}");
}

#[test]
fn whoever_has_no_token_is_told_of_once_a_minute_and_at_the_end() {
    let daemon = Daemon::start(&[]);
    for token in ["flt_guess", "another", "a-third"] {
        assert_eq!(daemon.as_token(token, &["cluster", "list"]).code, 1);
    }
    let (folder, code) = daemon.end("-TERM");
    assert_eq!(code, 0);
    let daemon = Daemon::start_in(folder, &[]);
    let audited = daemon.ok(&["audit", "list", "-o", "json"]).json();
    let strangers: Vec<_> =
        audited.as_array().unwrap().iter().filter(|event| event["type"] == "request.unauthenticated").collect();
    assert_eq!(strangers.len(), 1, "{audited:#}");
    let told = &strangers[0];
    assert_eq!((&told["actor"], &told["data"]["source"]), (&"unknown".into(), &"127.0.0.1".into()), "{told:#}");
    assert!(told["data"]["count"].as_u64() >= Some(3), "{told:#}");
    assert!(!audited.to_string().contains("flt_guess"), "what was tried is nobody's business");
    daemon.ok(&["audit", "verify"]);
}

#[test]
fn what_login_saved_is_used_without_flags() {
    let daemon = Daemon::start(&[]);
    let folder = daemon.folder.path();
    let token = folder.join("token");
    fs::write(&token, daemon.token()).unwrap();
    let login = bare(folder, &["login", &daemon.url(), "--token-file", &token.display().to_string()]);
    assert!(login.code == 0 && login.out.contains("admin"), "{login:?}");
    assert_eq!(bare(folder, &["cluster", "list"]).code, 0);
    let wrong = bare(folder, &["login", &daemon.url(), "--token-file", "/dev/null"]);
    assert_eq!(wrong.code, 1);
}

#[test]
fn a_restart_keeps_everything_and_a_wrong_sealing_key_is_refused() {
    let daemon = Daemon::start(&[]);
    daemon.ok(&["token", "create", "kept"]);
    let (folder, code) = daemon.end("-TERM");
    assert_eq!(code, 0);
    let daemon = Daemon::start_in(folder, &[]);
    assert!(daemon.ok(&["token", "list"]).out.contains("kept"));
    let verified = daemon.ok(&["audit", "verify"]).out;
    assert!(verified.contains("checkpoints fit"), "{verified}");
    let (folder, _) = daemon.end("-INT");
    let key = folder.path().join("other.key");
    fs::write(&key, "b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXkhIS4=\n").unwrap();
    let data = folder.path().join("data").display().to_string();
    let settings = folder.path().join("other.toml");
    fs::write(&settings, format!("[sealing]\nkey_file = \"{}\"\n", key.display())).unwrap();
    let refused = bare(
        folder.path(),
        &["daemon", "--listen", "127.0.0.1:0", "--data-dir", &data, "--config", &settings.display().to_string()],
    );
    assert!(refused.code == 1 && refused.err.contains("key"), "{refused:?}");
}

#[test]
fn a_new_sealing_key_takes_over_and_the_one_before_is_no_longer_needed() {
    let daemon = Daemon::start(&[]);
    let simulated = Simulated::start(3, daemon.folder.path());
    daemon.ok(&["cluster", "import", simulated.kubeconfigs.to_str().unwrap()]);
    let (folder, _) = daemon.end("-TERM");
    let data = folder.path().join("data");
    fs::rename(data.join("sealing.key"), data.join("before.key")).unwrap();
    fs::write(data.join("sealing.key"), "bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LWtleSE=\n").unwrap();
    let settings = data.join("fleetlift.toml");
    fs::write(&settings, format!("[sealing]\nprevious_key_file = \"{}\"\n", data.join("before.key").display()))
        .unwrap();
    let daemon = Daemon::start_in(folder, &[]);
    assert!(daemon.log().contains("3 credentials are sealed with the new key"), "{}", daemon.log());
    let (folder, _) = daemon.end("-TERM");

    fs::remove_file(settings).unwrap();
    fs::remove_file(folder.path().join("data/before.key")).unwrap();
    let daemon = Daemon::start_in(folder, &[]);
    daemon.ok(&["cluster", "resources", "edge-00001", "--refresh"]);
    let audit = daemon.ok(&["audit", "list"]).out;
    assert_eq!(audit.matches("sealing_key.rotated").count(), 1);
    daemon.ok(&["audit", "verify"]);
}

#[test]
fn an_audit_whose_end_was_cut_off_is_told_at_start_and_by_verify() {
    let daemon = Daemon::start(&[]);
    daemon.ok(&["token", "create", "forgotten"]);
    let (folder, _) = daemon.end("-TERM");
    let database = format!("sqlite:{}", folder.path().join("data/fleetlift.db").display());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        use sqlx::Connection as _;
        let mut database = sqlx::SqliteConnection::connect(&database).await.unwrap();
        let cut = "drop trigger events_are_not_deleted;
            delete from events where seq = (select max(seq) from events);
            update audit_head set seq = (select max(seq) from events),
                hash = (select hash from events order by seq desc limit 1);";
        sqlx::raw_sql(cut).execute(&mut database).await.unwrap();
    });
    let daemon = Daemon::start_in(folder, &[]);
    until("the daemon tells", || daemon.log().contains("the audit does not lead to the checkpoint"));
    let verified = daemon.run(&["audit", "verify"]);
    assert!(verified.code == 1 && verified.err.contains("history was"), "{verified:?}");
}

#[test]
fn checkpoints_that_are_kept_elsewhere_are_compared_too() {
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("checkpoints.jsonl");
    let settings = kept.path().join("hub.toml");
    fs::write(&settings, format!("[audit]\ncheckpoint_file = \"{}\"\n", file.display())).unwrap();
    let settings = settings.display().to_string();
    let daemon = Daemon::start(&["--config", &settings]);
    until("a checkpoint is written", || file.exists());
    let verify = ["audit", "verify", "--config", &settings];
    let verified = daemon.ok(&verify).out;
    assert!(verified.contains("1 checkpoints fit"), "{verified}");
    fs::remove_file(&file).unwrap();
    assert_eq!(daemon.run(&verify).code, 1, "what is said to be there and is not is no proof");
}

#[test]
fn a_folder_of_fleet_files_is_applied_whenever_it_changes() {
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("fleet.yaml"), FLEET).unwrap();
    let daemon = Daemon::start(&["--fleet-config", &files.path().display().to_string()]);
    let name = || daemon.run(&["fleet", "show"]).out;
    until("the fleet is applied", || name().contains("retail"));
    fs::write(files.path().join("fleet.yaml"), FLEET.replace("retail", "wholesale")).unwrap();
    until("the change is applied", || name().contains("wholesale"));
    fs::write(files.path().join("fleet.yaml"), FLEET.replace("strategy: careful", "strategy: none")).unwrap();
    until("the mistake is told", || daemon.log().contains("was not applied"));
    assert!(name().contains("wholesale"));
}
