//! Every query of every panel of the dashboard, executed by a real Prometheus against a daemon with a rollout under way.

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

/// Title and query of each target of each panel.
fn queries() -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/fleetlift.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let mut queries = Vec::new();
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
