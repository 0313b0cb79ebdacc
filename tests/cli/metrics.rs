//! Every query of every panel of the dashboard, executed by a real Prometheus against a daemon with a rollout under way;
//! and the alerts, each in the moment before and after it must fire.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::arrange::{Daemon, FLEET, LONG, Simulated, until};

struct Prometheus {
    process: Child,
    url: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(folder: &Path, daemon: &Daemon) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let target = daemon.url().trim_start_matches("http://").to_owned();
        fs::write(folder.join("token"), daemon.token()).unwrap();
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n- job_name: fleetlift\n  \
             authorization: {{credentials_file: {}}}\n  static_configs: [{{targets: ['{target}']}}]\n",
            folder.join("token").display()
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("prometheus.log")).unwrap())
            .spawn()
            .expect("prometheus is installed (tests/run does it)");
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        Self { process, url, http, runtime: tokio::runtime::Runtime::new().unwrap() }
    }

    /// The series that a query gives now; `None` while Prometheus does not answer yet.
    fn query(&self, query: &str) -> Option<Vec<Value>> {
        let mut url: reqwest::Url = format!("{}/api/v1/query", self.url).parse().unwrap();
        url.query_pairs_mut().append_pair("query", query);
        let answer: Value = self.runtime.block_on(async { self.http.get(url).send().await?.json().await }).ok()?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().cloned()
    }
}

/// The one that no simulated cluster has: their credentials never end.
const NEVER_SIMULATED: &str = "fleetlift_cluster_credential_expiry_timestamp_seconds";

/// The metrics that alerts are made from.
fn watched() -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/alerts.yaml");
    let rules: Value = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let words = rules.iter().flat_map(|rule| {
        let (alert, query) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        query.split(|mark: char| !mark.is_ascii_lowercase() && mark != '_').map(move |word| (alert.to_owned(), word))
    });
    let metrics = words.filter(|(_, word)| word.starts_with("fleetlift_") && *word != NEVER_SIMULATED);
    metrics.map(|(alert, word)| (alert, word.to_owned())).collect()
}

/// Title and query of each target of each panel, and the metrics of each alert.
fn queries() -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/fleetlift.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let mut queries = watched();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "30s");
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}

#[test]
fn no_panel_of_the_dashboard_is_empty_while_a_rollout_is_under_way() {
    let daemon = Daemon::start(&[]);
    let folder = daemon.folder.path();
    let simulated = Simulated::start_slowly(12, folder);
    let kubeconfigs = simulated.kubeconfigs.display().to_string();
    let labels = folder.join("labels.csv").display().to_string();
    let fleet = folder.join("fleet.yaml");
    fs::write(&fleet, FLEET.replace(", approval: after", "")).unwrap();
    daemon.ok(&["cluster", "import", &kubeconfigs, "--labels", &labels]);
    daemon.ok(&["fleet", "apply", &fleet.display().to_string()]);
    until("every cluster was read", || {
        let clusters = daemon.ok(&["cluster", "list", "-o", "json"]).json();
        clusters.as_array().unwrap().iter().all(|cluster| cluster["state"] == "reachable")
    });
    let prometheus = Prometheus::start(folder, &daemon);
    until("prometheus scrapes the daemon", || prometheus.query("up == 1").is_some_and(|series| !series.is_empty()));
    let plan = daemon.ok(&["plan", "-o", "json"]).json()["digest"].as_str().unwrap().to_owned();
    daemon.ok(&["rollout", "start", &plan]);

    let mut empty = queries();
    assert!(empty.len() > 20);
    let end = Instant::now() + LONG;
    while !empty.is_empty() {
        let state = daemon.ok(&["rollout", "status", "-o", "json"]).json()["state"].clone();
        assert!(state == "running" && Instant::now() < end, "empty while the rollout ran: {empty:#?}");
        empty.retain(|(_, query)| prometheus.query(query).is_none_or(|series| series.is_empty()));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    until("freed slots were filled", || {
        let filled = prometheus.query("fleetlift_slot_fill_seconds_count > 0");
        filled.is_some_and(|series| !series.is_empty())
    });
}

#[test]
fn each_alert_fires_when_it_must_and_not_before() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/alerts.yaml");
    let tested = Command::new("promtool").args(["test", "rules"]).arg(file).output();
    let tested = tested.expect("promtool is installed (tests/run does it)");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
}
