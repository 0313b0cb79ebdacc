//! S9, S12, S15: secrets planted in every way in, then looked for in everything that a daemon writes and answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::arrange::{Daemon, FLEET, Simulated, until};

const EGRESS_PASSWORD: &str = "canary-egress-31c9";
const REFUSED_PASSWORD: &str = "canary-password-b7f2";
const REFUSED_VARIABLE: &str = "canary-variable-0d55";
const GUESSED_TOKEN: &str = "flt_canary-guess-e8a4";
const MISPLACED_TOKEN: &str = "canary-misplaced-6671";

/// Everything at its most talkative: what is usually kept quiet must be named.
const TALKATIVE: &str = "trace,kube_client=trace,tower=trace,hyper=trace,hyper_util=trace,h2=trace,rustls=trace,\
                         sqlx=trace,reqwest=trace";

/// Everything that was found in one place of the daemon's, under the name of the place.
type Places = BTreeMap<String, String>;

#[test]
fn no_planted_secret_is_in_the_database_the_logs_the_answers_or_the_metrics() {
    let daemon = Daemon::start_with(
        tempfile::tempdir().unwrap(),
        &[],
        &[
            ("RUST_LOG", TALKATIVE),
            ("FLEETLIFT_EDGE__EGRESS__BERLIN", &format!("socks5://hub:{EGRESS_PASSWORD}@127.0.0.1:9")),
        ],
    );
    let folder = daemon.folder.path();
    let simulated = Simulated::start(3, folder);
    let mut secrets = vec![
        EGRESS_PASSWORD.to_owned(),
        REFUSED_PASSWORD.to_owned(),
        REFUSED_VARIABLE.to_owned(),
        GUESSED_TOKEN.to_owned(),
        MISPLACED_TOKEN.to_owned(),
        daemon.token(),
        fs::read_to_string(folder.join("data/sealing.key")).unwrap().trim().to_owned(),
    ];
    secrets.extend((0..3).map(|number| token_of(&simulated, number)));
    secrets.extend(register(&daemon, &simulated));
    let created = daemon.ok(&["token", "create", "eve", "--role", "viewer"]).out.trim().to_owned();
    secrets.push(created.clone());

    let rollout = work(&daemon);
    let mut places = Places::new();
    ask_wrongly(&daemon, &mut places);
    ask_everything(&daemon, &rollout, &mut places);
    daemon.run(&["cluster", "remove", "edge-00002", "--yes"]);
    daemon.ok(&["token", "revoke", "eve", "--yes"]);
    // While it runs the write-ahead log is there, and after its end what was moved out of it.
    files_of(&folder.join("data"), "running", &mut places);
    assert!(places.keys().any(|place| place.ends_with("fleetlift.db-wal")), "{:?}", places.keys());
    let (folder, _) = daemon.end("-TERM");
    files_of(&folder.path().join("data"), "ended", &mut places);
    places.insert("log".to_owned(), text_of(&folder.path().join("daemon.log")));

    // What is looked through holds what is no secret.
    for part in ["running/fleetlift.db", "ended/fleetlift.db", "GET /api/v1/clusters", "GET /metrics", "audit export"] {
        let told = |(place, text): (&String, &String)| place.starts_with(part) && text.contains("edge-00001");
        assert!(places.iter().any(told), "{part} of {:?}", places.keys());
    }
    let log = &places["log"];
    assert!(
        log.contains("made a sealing key") && log.lines().count() > 100,
        "the libraries were listened to: {log:.3000}"
    );
    for secret in &secrets {
        let written = [secret.clone(), STANDARD.encode(secret)];
        let told = places.iter().filter(|(_, text)| written.iter().any(|secret| text.contains(secret)));
        let told: Vec<&String> = told.map(|(place, _)| place).collect();
        assert!(told.is_empty(), "{secret:.12}… is in {told:?}");
    }
}

fn token_of(simulated: &Simulated, number: usize) -> String {
    kubeconfig(simulated, number)["users"][0]["user"]["token"].as_str().unwrap().to_owned()
}

fn kubeconfig(simulated: &Simulated, number: usize) -> Value {
    let text = fs::read(simulated.kubeconfigs.join(format!("edge-0000{number}.yaml"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Registers clusters with tokens, one with a key, one behind the egress; and offers what is refused. Answers lines from
/// the middle of the key, as it is and as a kubeconfig carries it.
fn register(daemon: &Daemon, simulated: &Simulated) -> Vec<String> {
    let folder = daemon.folder.path();
    let labels = folder.join("labels.csv").display().to_string();
    daemon.ok(&["cluster", "import", &simulated.kubeconfigs.display().to_string(), "--labels", &labels]);
    let add = |name: &str, kubeconfig: &Value, more: &[&str]| {
        let file = folder.join(format!("{name}.yaml"));
        fs::write(&file, kubeconfig.to_string()).unwrap();
        daemon.run(&[&["cluster", "add", name, "--kubeconfig", &file.display().to_string()], more].concat())
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let mut keyed = kubeconfig(simulated, 1);
    keyed["users"][0]["user"] = json!({"client-certificate-data": STANDARD.encode(certificate.pem()),
        "client-key-data": STANDARD.encode(key.serialize_pem())});
    let added = add("keyed", &keyed, &[]);
    assert_eq!(added.code, 0, "{added:?}");
    let added = add("behind", &kubeconfig(simulated, 2), &["--egress", "berlin"]);
    assert_eq!(added.code, 0, "{added:?}");

    let mut refused = kubeconfig(simulated, 1);
    refused["users"][0]["user"] = json!({"username": "admin", "password": REFUSED_PASSWORD});
    assert_eq!(add("password", &refused, &[]).code, 1);
    let environment = json!([{"name": "TOKEN", "value": REFUSED_VARIABLE}]);
    refused["users"][0]["user"] = json!({"exec": {"command": "login", "env": environment}});
    assert_eq!(add("program", &refused, &[]).code, 1);
    refused["users"][0]["user"] = json!({"token": format!("{REFUSED_PASSWORD}\nX: y")});
    assert_eq!(add("line", &refused, &[]).code, 1);

    let pem = key.serialize_pem();
    let encoded = STANDARD.encode(&pem);
    vec![pem.lines().nth(1).unwrap().to_owned(), encoded[80..140].to_owned()]
}

/// Checks, plans that fail and one that does not, and its rollout to the end. Answers the rollout.
fn work(daemon: &Daemon) -> String {
    let folder = daemon.folder.path();
    for name in ["edge-00000", "edge-00001", "keyed", "behind", "nobody"] {
        daemon.run(&["cluster", "check", name]);
        daemon.run(&["cluster", "resources", name, "--refresh"]);
    }
    let wrong = folder.join("wrong.yaml").display().to_string();
    fs::write(&wrong, FLEET.replace("strategy: careful", "strategy: none")).unwrap();
    assert_eq!(daemon.run(&["fleet", "apply", &wrong]).code, 1);
    let fleet = folder.join("fleet.yaml").display().to_string();
    fs::write(&fleet, FLEET.replace(", approval: after", "")).unwrap();
    daemon.ok(&["fleet", "apply", &fleet]);
    assert_eq!(daemon.run(&["plan", "--group", "nowhere"]).code, 1);
    assert_eq!(daemon.run(&["plan", "--group", "stores", "--to", "9.9.9"]).code, 0);
    until("every inventory was read", || {
        (0..3).all(|number| daemon.run(&["cluster", "resources", &format!("edge-0000{number}")]).code == 0)
    });
    let plan = folder.join("plan.json").display().to_string();
    daemon.ok(&["plan", "--group", "stores", "--out", &plan]);
    let started = daemon.ok(&["rollout", "start", &plan, "-o", "json"]).json();
    let rollout = started["id"].as_str().unwrap().to_owned();
    daemon.ok(&["rollout", "wait", &rollout, "--timeout", "60s"]);
    rollout
}

/// Requests with secrets where none belong.
fn ask_wrongly(daemon: &Daemon, places: &mut Places) {
    let clusters = format!("{}/api/v1/clusters", daemon.url());
    let admin = daemon.token();
    let body = json!({"name": "odd", "kubeconfig": {"users": [{"token": REFUSED_PASSWORD}]}, "pass": MISPLACED_TOKEN});
    let requests = |http: &reqwest::Client| {
        [
            ("a guess", http.get(&clusters).bearer_auth(GUESSED_TOKEN)),
            ("a token in the query", http.get(format!("{clusters}?token={MISPLACED_TOKEN}")).bearer_auth(&admin)),
            ("another scheme", http.get(&clusters).basic_auth("admin", Some(GUESSED_TOKEN))),
            ("a body of other types", http.post(&clusters).bearer_auth(&admin).json(&body)),
            (
                "a body that is no JSON",
                http.post(&clusters)
                    .bearer_auth(&admin)
                    .header("content-type", "application/json")
                    .body(format!("{{\"kubeconfig\": {MISPLACED_TOKEN}")),
            ),
            ("no such route", http.get(format!("{clusters}/x/credential/{MISPLACED_TOKEN}")).bearer_auth(&admin)),
        ]
    };
    let http = client();
    for (what, request) in requests(&http) {
        let (status, text) = answer(request);
        assert!(status >= 400 || what == "a token in the query", "{what}: {status}");
        places.insert(what.to_owned(), text);
    }
}

/// Every route that can be read, with every name that there is.
fn ask_everything(daemon: &Daemon, rollout: &str, places: &mut Places) {
    let http = client();
    let get = |path: &str| answer(http.get(format!("{}{path}", daemon.url())).bearer_auth(daemon.token()));
    let json = |path: &str| -> Value {
        let (_, text) = get(path);
        serde_json::from_str(text.split_once('\n').unwrap().1).unwrap()
    };
    let described = json("/openapi.json");
    let plan = json(&format!("/api/v1/rollouts/{rollout}"));
    let plan = plan["plan"].as_str().unwrap_or_default().to_owned();
    let paths = described["paths"].as_object().unwrap();
    let readable = paths.iter().filter(|(path, methods)| methods.get("get").is_some() && !path.ends_with("/events"));
    let mut answered = 0;
    for (path, _) in readable {
        for cluster in ["edge-00000", "keyed", "behind"] {
            let path = path
                .replace("{rollout}", rollout)
                .replace("{cluster}", cluster)
                .replace("{name}", cluster)
                .replace("{digest}", &plan)
                .replace("{plan}", &plan);
            let (status, text) = get(&path);
            answered += usize::from(status == 200);
            places.insert(format!("GET {path}"), text);
        }
    }
    assert!(answered > 20, "{answered} of {:?}", paths.keys());
    places.insert("GET /metrics".to_owned(), get("/metrics").1);
    for command in [
        &["audit", "export"][..],
        &["result", "export", rollout],
        &["explain", rollout, "edge-00000"],
        &["cluster", "show", "keyed", "-o", "json"],
        &["token", "list", "-o", "json"],
    ] {
        let done = daemon.run(command);
        places.insert(command.join(" "), [done.out, done.err].concat());
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// The status, and headers and body in one text: its first line, and the rest.
fn answer(request: reqwest::RequestBuilder) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let headers = format!("{:?}", answer.headers());
        (status, format!("{headers}\n{}", answer.text().await.unwrap()))
    })
}

/// Every file of the data folder but the two that are made to hold a secret.
fn files_of(data: &Path, when: &str, places: &mut Places) {
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_file() && name != "sealing.key" && name != "admin.token" {
            places.insert(format!("{when}/{name}"), text_of(&path));
        }
    }
}

/// As text: what is none is replaced, and no secret is such.
fn text_of(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()
}
