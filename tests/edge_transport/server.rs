//! An HTTPS server on loopback that does what a test tells it to: honest, hostile, or dead.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetlift::cluster::{AddressPolicy, Edge, EdgeAccess, EdgeError, Limits, Surroundings, kubeconfig};
use fleetlift::metrics::Metrics;
use fleetlift::system::SystemClock;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub const UID: &str = "0d5e7a3c-5a0e-4a39-b0a7-1f6c2d3e4f50";
pub const TOKEN: &str = "canary-token-91c2";

/// What the server saw.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub open: AtomicUsize,
    pub identity_checks: AtomicUsize,
    /// `METHOD path?query` of everything but the identity checks.
    pub requests: Mutex<Vec<String>>,
    pub authorizations: Mutex<Vec<String>>,
}

impl Seen {
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One answer.
pub enum Answer {
    Json(u16, String),
    Full(Response<Piecewise>),
    /// The connection is cut without a byte of an answer.
    Cut,
    /// Nothing ever comes.
    Silence,
}

pub fn status(code: u16, reason: &str, message: &str) -> Answer {
    Answer::Json(
        code,
        serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
            "reason": reason, "message": message})
        .to_string(),
    )
}

pub fn namespace(uid: &str) -> String {
    serde_json::json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system", "uid": uid}})
        .to_string()
}

/// A body that comes in pieces, each after a pause, for ever if told so.
pub struct Piecewise {
    pieces: VecDeque<Bytes>,
    pause: Duration,
    endless: bool,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Piecewise {
    pub fn once(text: impl Into<Bytes>) -> Self {
        let pieces = Some(text.into()).filter(|piece: &Bytes| !piece.is_empty()).into_iter().collect();
        Self { pieces, pause: Duration::ZERO, endless: false, timer: None }
    }
    /// `piece` again and again, `pause` apart.
    pub fn endless(piece: impl Into<Bytes>, pause: Duration) -> Self {
        Self { pieces: VecDeque::from([piece.into()]), pause, endless: true, timer: None }
    }
    /// These pieces, then nothing more, and no end.
    pub fn then_silence(pieces: impl IntoIterator<Item = &'static str>) -> Self {
        let mut pieces: VecDeque<Bytes> =
            pieces.into_iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        pieces.push_back(Bytes::new());
        Self { pieces, pause: Duration::ZERO, endless: false, timer: None }
    }
}

impl Body for Piecewise {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(timer) = &mut self.timer {
            std::task::ready!(timer.as_mut().poll(cx));
        }
        self.timer = (self.pause > Duration::ZERO).then(|| Box::pin(tokio::time::sleep(self.pause)));
        let Some(piece) = self.pieces.pop_front() else { return Poll::Ready(None) };
        if piece.is_empty() {
            self.pieces.push_front(piece);
            return Poll::Pending;
        }
        if self.endless {
            self.pieces.push_back(piece.clone());
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// How a server is set up.
#[derive(Clone, Copy)]
pub struct Setup {
    pub h2: bool,
    /// Requests after which it closes a connection, as servers do that are drained.
    pub requests_per_connection: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { h2: true, requests_per_connection: usize::MAX }
    }
}

type Handler = Arc<dyn Fn(&Request<Incoming>) -> Answer + Send + Sync>;

/// A running server; stops with the runtime of its test.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    pub ca_pem: String,
    pub uid: Arc<Mutex<String>>,
    pub client_certificate: (String, String),
}

impl Server {
    /// Answers the identity check by itself and everything else by `handler`.
    pub async fn start(setup: Setup, handler: impl Fn(&Request<Incoming>) -> Answer + Send + Sync + 'static) -> Self {
        let mut ca_params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let ca = ca_params.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca_params, ca_key);
        let leaf = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()]).unwrap();
            (params.signed_by(&key, &issuer).unwrap(), key)
        };
        let (certificate, key) = leaf("localhost");
        let client = leaf("hub");

        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        tls.alpn_protocols =
            if setup.h2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let uid = Arc::new(Mutex::new(UID.to_owned()));
        let handler: Handler = Arc::new(handler);
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let serving = (Arc::clone(&seen), Arc::clone(&uid));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, uid) = serving.clone();
                let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
                tokio::spawn(async move {
                    seen.connections.fetch_add(1, Ordering::SeqCst);
                    seen.open.fetch_add(1, Ordering::SeqCst);
                    serve(stream, acceptor, handler, &seen, uid, setup).await;
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, seen, ca_pem: ca.pem(), uid, client_certificate: (client.0.pem(), client.1.serialize_pem()) }
    }

    pub fn kubeconfig(&self, server: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: edge\n\
             contexts: [{{name: edge, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: '{server}', certificate-authority-data: {}}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n",
            STANDARD.encode(&self.ca_pem)
        )
    }

    pub fn access_at(&self, path: &str) -> EdgeAccess {
        let yaml = self.kubeconfig(&format!("https://{}{path}", self.address), &format!("token: {TOKEN}"));
        kubeconfig::read(yaml.as_bytes(), None).unwrap()
    }

    pub fn edge(&self) -> Edge {
        self.edge_with(&limits())
    }

    pub fn edge_with(&self, limits: &Limits) -> Edge {
        Edge::new(&self.access_at(""), None, "openebs", Some(UID.to_owned()), &around(*limits)).unwrap()
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    handler: Handler,
    seen: &Arc<Seen>,
    uid: Arc<Mutex<String>>,
    setup: Setup,
) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let client = stream.get_ref().1.peer_certificates().map_or("", |_| "client certificate");
    let served = AtomicUsize::new(0);
    let drained = tokio::sync::Notify::new();
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (handler, seen, uid) = (Arc::clone(&handler), Arc::clone(seen), Arc::clone(&uid));
        if served.fetch_add(1, Ordering::SeqCst) + 1 >= setup.requests_per_connection {
            drained.notify_one();
        }
        async move {
            if request.uri().path() == "/api/v1/namespaces/kube-system" {
                seen.identity_checks.fetch_add(1, Ordering::SeqCst);
                let body = namespace(&uid.lock().unwrap());
                return Ok(json(200, body));
            }
            let uri = request.uri().path_and_query().unwrap().to_string();
            seen.requests.lock().unwrap().push(format!("{} {uri}", request.method()));
            let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
            seen.authorizations.lock().unwrap().push(authorization.unwrap_or_else(|| client.to_owned()));
            match handler(&request) {
                Answer::Json(code, body) => Ok(json(code, body)),
                Answer::Full(response) => Ok(response),
                Answer::Cut => Err("cut"),
                Answer::Silence => std::future::pending().await,
            }
        }
    });
    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = drained.notified() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

pub fn json(code: u16, body: String) -> Response<Piecewise> {
    Response::builder()
        .status(StatusCode::from_u16(code).unwrap())
        .header("content-type", "application/json")
        .body(Piecewise::once(body))
        .unwrap()
}

/// Short, so that a test of a limit ends soon.
pub fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        headers: Duration::from_millis(700),
        idle: Duration::from_millis(700),
        total: Duration::from_secs(2),
        body_bytes: 256 * 1024,
        watch_line_bytes: 64 * 1024,
        watch_bytes: 1024 * 1024,
        ..Limits::default()
    }
}

/// Loopback allowed, as a test's settings would.
pub fn around(limits: Limits) -> Surroundings {
    let policy = AddressPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()], ..AddressPolicy::default() };
    Surroundings {
        policy: Arc::new(policy),
        lookups: Arc::default(),
        limits,
        clock: Arc::new(SystemClock),
        metrics: Arc::new(Metrics::new()),
    }
}

/// A TCP listener that hands each connection to `treat`.
pub async fn raw<F>(treat: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    address
}

/// A proxy that speaks just enough of HTTP CONNECT or SOCKS5, and notes what it was asked for.
pub async fn proxy(socks: bool, asked: Arc<Mutex<Vec<String>>>, to: SocketAddr) -> SocketAddr {
    raw(move |mut client| {
        let asked = Arc::clone(&asked);
        async move {
            if socks {
                let mut head = [0; 2];
                client.read_exact(&mut head).await.unwrap();
                let mut methods = vec![0; usize::from(head[1])];
                client.read_exact(&mut methods).await.unwrap();
                client.write_all(&[5, 0]).await.unwrap();
                let mut request = [0; 4];
                client.read_exact(&mut request).await.unwrap();
                assert_eq!(request[..2], [5, 1]);
                let target = if request[3] == 1 {
                    let mut address = [0; 4];
                    client.read_exact(&mut address).await.unwrap();
                    std::net::Ipv4Addr::from(address).to_string()
                } else {
                    let length = usize::from(client.read_u8().await.unwrap());
                    let mut name = vec![0; length];
                    client.read_exact(&mut name).await.unwrap();
                    String::from_utf8(name).unwrap()
                };
                let port = client.read_u16().await.unwrap();
                asked.lock().unwrap().push(format!("{target}:{port}"));
                client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            } else {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                asked.lock().unwrap().push(String::from_utf8(head).unwrap());
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            }
            let mut server = TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    })
    .await
}

pub fn failed<T>(result: Result<T, EdgeError>) -> EdgeError {
    let error = result.err().expect("the call should have failed");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains(TOKEN), "tells the token: {text}");
    }
    error
}
