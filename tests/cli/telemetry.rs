//! What the hub tells others while it works: traces for a collector, events for whoever follows.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::arrange::{Daemon, FLEET, Simulated, until};

/// A collector that keeps whatever is sent to it.
struct Collector {
    url: String,
    traces: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let traces = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&traces);
        // Ends with the process, as the listener does.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || while receive(stream.as_ref().unwrap(), &kept).is_some() {});
            }
        });
        Self { url, traces }
    }

    /// Whether that text was sent: in OTLP's encoding, texts stand in clear.
    fn has(&self, text: &str) -> bool {
        self.traces.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// Takes one request; `None` when there are no more.
fn receive(stream: &TcpStream, kept: &Mutex<Vec<u8>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    assert!(line.starts_with("POST /v1/traces "), "{line}");
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    kept.lock().unwrap().extend(body);
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").ok()
}

/// Registers the simulated clusters, and starts a rollout that waits for approval after its first wave.
fn begin(daemon: &Daemon, simulated: &Simulated) -> String {
    let folder = daemon.folder.path();
    let text = |name: &str| folder.join(name).display().to_string();
    daemon.ok(&["cluster", "import", &simulated.kubeconfigs.display().to_string(), "--labels", &text("labels.csv")]);
    fs::write(folder.join("fleet.yaml"), FLEET).unwrap();
    daemon.ok(&["fleet", "apply", &text("fleet.yaml")]);
    let plan = daemon.ok(&["plan", "--group", "stores", "-o", "json"]).json();
    let started = daemon.ok(&["rollout", "start", plan["digest"].as_str().unwrap(), "-o", "json"]).json();
    started["id"].as_str().unwrap().to_owned()
}

#[test]
fn each_step_is_a_span_with_its_cluster_and_its_requests_below_it() {
    let collector = Collector::start();
    let settings = [("FLEETLIFT_TELEMETRY__OTLP_ENDPOINT", collector.url.as_str())];
    let daemon = Daemon::start_with(tempfile::tempdir().unwrap(), &[], &settings);
    let simulated = Simulated::start(2, daemon.folder.path());
    let rollout = begin(&daemon, &simulated);
    until("the canary waits for approval", || {
        daemon.ok(&["rollout", "status", "-o", "json"]).json()["waves"][0]["status"] == "awaiting_approval"
    });
    // What is not sent yet goes out before the end.
    let (_folder, code) = daemon.end("-TERM");
    assert_eq!(code, 0);
    for text in ["service.name", "fleetlift", "step", "edge-0000", &rollout, "request", "/namespaces/openebs/jobs"] {
        assert!(collector.has(text), "no span tells of {text}");
    }
}

/// A stream of events, read until `enough` of them came.
fn follow(
    daemon: &Daemon,
    query: &str,
    last: Option<u64>,
    enough: impl Fn(&[(u64, Value)]) -> bool,
) -> Vec<(u64, Value)> {
    let address = daemon.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let resumed = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
    let token = daemon.token();
    let request = format!(
        "GET /api/v1/events?{query} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{resumed}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(crate::arrange::LONG)).unwrap();
    let mut events: Vec<(u64, Value)> = Vec::new();
    let mut id = None;
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(number) = line.strip_prefix("id:") {
            id = Some(number.trim().parse().unwrap());
        } else if let Some(data) = line.strip_prefix("data:") {
            events.push((id.take().unwrap(), serde_json::from_str(data.trim()).unwrap()));
            if enough(&events) {
                return events;
            }
        }
    }
    panic!("the stream ended after {events:?}");
}

#[test]
fn whoever_follows_events_sees_each_once_and_in_order_also_after_a_break() {
    let daemon = Daemon::start(&[]);
    let simulated = Simulated::start(2, daemon.folder.path());
    let rollout = begin(&daemon, &simulated);
    let settled = |events: &[(u64, Value)]| events.iter().any(|(_, event)| event["type"] == "wave.settled");
    let first = follow(&daemon, &format!("after=0&rollout={rollout}"), None, |events| events.len() == 4);
    let broken_off = first.last().unwrap().0;
    let rest = follow(&daemon, &format!("rollout={rollout}"), Some(broken_off), settled);

    let seen: Vec<u64> = first.iter().chain(&rest).map(|(id, _)| *id).collect();
    assert!(seen.is_sorted(), "{seen:?}");
    let audited = daemon.ok(&["audit", "list", "--rollout", &rollout, "-o", "json"]).json();
    let audited: BTreeSet<u64> =
        audited.as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    let last = *seen.last().unwrap();
    assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), audited.range(..=last).copied().collect());
    assert_eq!(seen.len(), audited.range(..=last).count());
    for (_, event) in &first {
        assert_eq!(
            event["rollout"].as_str().or_else(|| event["subject"]["rollout"].as_str()),
            Some(rollout.as_str()),
            "{event}"
        );
    }
}
