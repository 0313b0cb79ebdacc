//! S12: whatever happens to a credential on its way to a cluster, no log line, error or Debug output tells it.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetlift::cluster::nouns::{JOBS, PODS};
use fleetlift::cluster::{Edge, EdgeAccess, EdgeError, Egress, Vault, kubeconfig};
use fleetlift::domain::cluster::StoredCredential;
use fleetlift::domain::{ClusterId, HubId};
use fleetlift::seal::{Keyring, SealingKey};
use fleetlift::system::SystemEntropy;
use http::Response;
use serde_json::{Value, json};

use crate::server::{Answer, Piecewise, Server, Setup, TOKEN, UID, around, limits, status};

const PROXY_PASSWORD: &str = "canary-proxy-77aa";

/// Everything that any library logs on this thread, at its most talkative.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A server on a thread of its own: what it receives it may log, and that is not what is tested.
fn elsewhere(setup: Setup) -> Server {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let server = Server::start(setup, |request| match request.uri().path().rsplit('/').next().unwrap() {
                "echo" => status(403, "Forbidden", &format!("{:?}", request.headers().get("authorization"))),
                "nonsense" => Answer::Json(200, format!("{{\"kind\": {TOKEN}")),
                "html" => {
                    let page = Response::builder().header("content-type", "text/html");
                    Answer::Full(page.body(Piecewise::once(TOKEN)).unwrap())
                }
                "cut" => Answer::Cut,
                "silence" => Answer::Silence,
                _ => Answer::Json(200, json!({"kind": "PodList", "items": [], "gitVersion": "v1.34.4"}).to_string()),
            })
            .await;
            sender.send(server).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv_timeout(Duration::from_secs(30)).unwrap()
}

async fn use_it(edge: &Edge) -> Vec<String> {
    let mut said = Vec::new();
    let mut note = |error: EdgeError| said.push(format!("{error} {error:?}"));
    let _ = edge.version().await.map_err(&mut note);
    let _ = edge.list::<Value>(&PODS, Some("openebs"), "").await.map_err(&mut note);
    for name in ["echo", "nonsense", "html", "cut", "silence"] {
        note(edge.get::<Value>(&JOBS, Some("openebs"), name).await.unwrap_err());
    }
    said
}

#[tokio::test]
async fn s12_no_log_line_and_no_error_tells_a_credential() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || lines.clone())
        .with_ansi(false)
        .finish();
    let listening = tracing::subscriber::set_default(subscriber);

    let mut said = Vec::new();
    let mut key_part = String::new();
    for h2 in [true, false] {
        let server = elsewhere(Setup { h2, ..Setup::default() });
        let with_token = server.access_at("");
        said.push(format!("{with_token:?}"));
        said.extend(use_it(&edge(&with_token, None)).await);

        let (certificate, key) = &server.client_certificate;
        // A line from the middle of the key: enough to recognise it by.
        key_part = key.lines().nth(2).unwrap().to_owned();
        let user = format!(
            "client-certificate-data: {}, client-key-data: {}",
            STANDARD.encode(certificate),
            STANDARD.encode(key)
        );
        let yaml = server.kubeconfig(&format!("https://{}", server.address), &user);
        let with_key = kubeconfig::read(yaml.as_bytes(), None).unwrap();
        said.push(format!("{with_key:?}"));
        said.extend(use_it(&edge(&with_key, None)).await);

        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let egress: Egress = format!("http://hub:{PROXY_PASSWORD}@{nobody}").parse().unwrap();
        said.push(format!("{egress:?}"));
        said.push(format!("{:?}", edge(&with_token, Some(egress)).version().await));

        let vault = Vault::new(
            Keyring::new(SealingKey::generate(&SystemEntropy), None),
            "0190b3f0-0000-7000-8000-000000000001".parse::<HubId>().unwrap(),
        );
        let cluster: ClusterId = "0190b3f0-0000-7000-8000-000000000002".parse().unwrap();
        let (sealed, sealing) = vault.seal(cluster, 1, &with_token, &SystemEntropy).unwrap();
        assert!(!sealed.envelope.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
        said.push(format!("{sealed:?}"));
        let stored = StoredCredential { sealed, last: Some(sealing) };
        said.push(format!("{:?}", vault.open(cluster, "https://elsewhere.example", &stored).err()));
    }
    drop(listening);

    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.lines().count() > 100, "the libraries were listened to");
    let basic = STANDARD.encode(format!("hub:{PROXY_PASSWORD}"));
    for secret in [TOKEN, &STANDARD.encode(TOKEN), PROXY_PASSWORD, &basic, &key_part] {
        let told: Vec<&str> =
            log.lines().chain(said.iter().map(String::as_str)).filter(|l| l.contains(secret)).collect();
        assert_eq!(told, Vec::<&str>::new());
    }
}

fn edge(access: &EdgeAccess, egress: Option<Egress>) -> Edge {
    Edge::new(access, egress, "openebs", Some(UID.to_owned()), &around(limits())).unwrap()
}
