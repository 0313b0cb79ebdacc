//! The connections to one cluster: a single one where the server speaks HTTP/2, a few where it does not.
//!
//! Every new connection is asked for the cluster's identity before anything else is sent on it. So a kubeconfig whose
//! address now leads to another cluster, or a load balancer that mixes two, never gets a request that was meant for
//! the registered one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::access::ServerUrl;
use super::dial::{Dialer, unreachable};
use super::{EdgeError, Limits, Phase};

/// Connections to a server that speaks only HTTP/1.1: each call and each watch holds one.
const H1_CONNECTIONS_MAX: usize = 8;
/// Header fields of one answer; Kubernetes sends about ten.
const HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// A window large enough for a list at 100 ms of latency, small enough for thousands of clusters.
const H2_WINDOW_BYTES: u32 = 512 * 1024;

/// An idle HTTP/1.1 connection is ready, or it is not worth waiting for.
const READY_WITHIN: Duration = Duration::from_millis(100);

/// All connections to one cluster.
pub(super) struct Link {
    dialer: Dialer,
    limits: Limits,
    pool: Mutex<Pool>,
    /// Held while connecting, so that a hundred waiting calls make one connection.
    connecting: tokio::sync::Mutex<()>,
    h1_permits: Arc<Semaphore>,
    /// Whether the server was seen not to speak HTTP/2.
    exclusive: AtomicBool,
}

#[derive(Default)]
struct Pool {
    shared: Option<(http2::SendRequest<Body>, Arc<Usage>)>,
    idle: Vec<(http1::SendRequest<Body>, Arc<Usage>)>,
    /// How often connecting failed, and how it failed last: who waited meanwhile fails with it instead of waiting again.
    failures: u64,
    last_failure: Option<EdgeError>,
}

/// The right to send one request on a connection.
pub(super) struct Lease {
    sender: Option<Sender>,
    usage: Arc<Usage>,
    home: Weak<Link>,
    /// Whether the connection was shown to lead to the right cluster; others are never used again.
    verified: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

enum Sender {
    Shared(http2::SendRequest<Body>),
    Exclusive(http1::SendRequest<Body>),
}

/// Who uses a connection, and when it was used last.
struct Usage {
    users: AtomicUsize,
    idle_since: Mutex<Instant>,
}

/// A request that failed; with the request itself if it surely was not sent.
pub(super) struct NotSent {
    pub error: EdgeError,
    pub request: Option<Request<Body>>,
}

impl Link {
    pub fn new(dialer: Dialer, limits: Limits) -> Self {
        Self {
            dialer,
            limits,
            pool: Mutex::default(),
            connecting: tokio::sync::Mutex::new(()),
            h1_permits: Arc::new(Semaphore::new(H1_CONNECTIONS_MAX)),
            exclusive: AtomicBool::new(false),
        }
    }

    /// A connection to send on: one that is open, else a new one that `verify` has approved.
    pub async fn lease<V>(self: &Arc<Self>, verify: V) -> Result<Lease, EdgeError>
    where
        V: AsyncFnOnce(&mut Lease) -> Result<(), EdgeError>,
    {
        let failures_before = self.pool().failures;
        loop {
            // Before looking for an idle connection, so that all of them together never exceed the permits.
            let mut permit = if self.exclusive.load(Ordering::Acquire) {
                Arc::clone(&self.h1_permits).acquire_owned().await.ok()
            } else {
                None
            };
            if let Some(lease) = self.open_lease(&mut permit).await {
                return Ok(lease);
            }
            let _alone = self.connecting.lock().await;
            if permit.is_none() && self.exclusive.load(Ordering::Acquire) {
                continue;
            }
            if let Some(lease) = self.open_lease(&mut permit).await {
                return Ok(lease);
            }
            if let Some(error) = self.failed_since(failures_before) {
                return Err(error);
            }
            let connected = async {
                let mut lease = self.connect(permit).await?;
                verify(&mut lease).await?;
                Ok(lease.verified())
            };
            let connected = connected.await;
            match &connected {
                Ok(lease) => self.publish(lease),
                Err(error) => {
                    let mut pool = self.pool();
                    pool.failures += 1;
                    pool.last_failure = Some(EdgeError::clone(error));
                }
            }
            return connected;
        }
    }

    fn failed_since(&self, failures: u64) -> Option<EdgeError> {
        let pool = self.pool();
        if pool.failures > failures { pool.last_failure.clone() } else { None }
    }

    /// Whether a connection is open now.
    pub fn is_open(&self) -> bool {
        let pool = self.pool();
        pool.shared.as_ref().is_some_and(|(sender, _)| !sender.is_closed())
            || pool.idle.iter().any(|(sender, _)| !sender.is_closed())
    }

    async fn open_lease(self: &Arc<Self>, permit: &mut Option<OwnedSemaphorePermit>) -> Option<Lease> {
        loop {
            let candidate = {
                let mut pool = self.pool();
                if let Some((sender, usage)) = &pool.shared {
                    if !sender.is_closed() {
                        let sender = Sender::Shared(sender.clone());
                        return Some(self.lease_of(sender, Arc::clone(usage), permit.take()).verified());
                    }
                    pool.shared = None;
                }
                permit.as_ref()?;
                pool.idle.pop()
            };
            let (mut sender, usage) = candidate?;
            // Ready at once, or the last body was dropped half-read and the connection is about to close.
            if tokio::time::timeout(READY_WITHIN, sender.ready()).await.is_ok_and(|ready| ready.is_ok()) {
                return Some(self.lease_of(Sender::Exclusive(sender), usage, permit.take()).verified());
            }
        }
    }

    async fn connect(self: &Arc<Self>, permit: Option<OwnedSemaphorePermit>) -> Result<Lease, EdgeError> {
        let stream = self.dialer.dial().await?;
        let speaks_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.exclusive.store(!speaks_h2, Ordering::Release);
        let usage = Arc::new(Usage { users: AtomicUsize::new(0), idle_since: Mutex::new(Instant::now()) });
        let io = TokioIo::new(stream);
        if speaks_h2 {
            let handshake = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(self.limits.ping)
                .keep_alive_timeout(self.limits.ping)
                .max_header_list_size(HEADERS_BYTES_MAX)
                .initial_stream_window_size(H2_WINDOW_BYTES)
                .initial_connection_window_size(H2_WINDOW_BYTES * 2)
                .handshake(io);
            let (sender, connection) = self.opening(handshake).await?;
            tokio::spawn(drive(connection, Arc::clone(&usage), self.limits.idle_connection));
            return Ok(self.lease_of(Sender::Shared(sender), usage, None));
        }
        // Without one only while the server's protocol was not known: this is its first connection.
        let permit = permit.or_else(|| Arc::clone(&self.h1_permits).try_acquire_owned().ok());
        let handshake = http1::Builder::new().max_header_size(HEADERS_BYTES_MAX as usize).handshake(io);
        let (sender, connection) = self.opening(handshake).await?;
        tokio::spawn(drive(connection, Arc::clone(&usage), self.limits.idle_connection));
        Ok(self.lease_of(Sender::Exclusive(sender), usage, permit))
    }

    async fn opening<T>(&self, handshake: impl Future<Output = hyper::Result<T>>) -> Result<T, EdgeError> {
        match tokio::time::timeout(self.limits.connect, handshake).await {
            Ok(opened) => opened.map_err(|error| unreachable(Phase::Opening, error)),
            Err(_) => Err(unreachable(Phase::Opening, "no answer")),
        }
    }

    fn publish(&self, lease: &Lease) {
        if let Some(Sender::Shared(sender)) = &lease.sender {
            self.pool().shared = Some((sender.clone(), Arc::clone(&lease.usage)));
        }
    }

    fn lease_of(self: &Arc<Self>, sender: Sender, usage: Arc<Usage>, permit: Option<OwnedSemaphorePermit>) -> Lease {
        usage.users.fetch_add(1, Ordering::AcqRel);
        Lease { sender: Some(sender), usage, home: Arc::downgrade(self), verified: false, _permit: permit }
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        // Every change of the pool is a single assignment: a panic elsewhere leaves it whole.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn verified(mut self) -> Self {
        self.verified = true;
        self
    }

    /// Sends `request`, whose URI is a path and query.
    pub async fn send(
        &mut self,
        server: &ServerUrl,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, NotSent> {
        let shared = matches!(self.sender, Some(Sender::Shared(_)));
        if let Err(error) = shape(&mut request, server, shared) {
            return Err(NotSent { error, request: None });
        }
        let sent = match &mut self.sender {
            Some(Sender::Shared(sender)) => sender.try_send_request(request).await,
            Some(Sender::Exclusive(sender)) => sender.try_send_request(request).await,
            None => {
                let error = unreachable(Phase::Opening, "the connection is closed");
                return Err(NotSent { error, request: Some(request) });
            }
        };
        sent.map_err(|mut failed| {
            let request = failed.take_message();
            let phase = if request.is_some() { Phase::Opening } else { Phase::Answering };
            NotSent { error: unreachable(phase, innermost(failed.error())), request }
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.usage.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.usage.users.fetch_sub(1, Ordering::AcqRel);
        if let (Some(Sender::Exclusive(sender)), Some(home)) = (self.sender.take(), self.home.upgrade())
            && self.verified
            && !sender.is_closed()
        {
            home.pool().idle.push((sender, Arc::clone(&self.usage)));
        }
    }
}

/// HTTP/2 wants the whole URI, HTTP/1.1 a path and a Host.
fn shape(request: &mut Request<Body>, server: &ServerUrl, shared: bool) -> Result<(), EdgeError> {
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let impossible = |_| EdgeError::Impossible("its path is no part of a URL".to_owned());
    if shared {
        *request.uri_mut() = format!("https://{}{path}", server.authority()).parse().map_err(impossible)?;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(http::header::HOST);
    } else {
        *request.uri_mut() = path.parse().map_err(impossible)?;
        *request.version_mut() = Version::HTTP_11;
        let host = server.authority().parse().map_err(|_| EdgeError::Impossible("the server's name".to_owned()))?;
        request.headers_mut().insert(http::header::HOST, host);
    }
    Ok(())
}

/// Moves the bytes of one connection until it ends or nobody has used it for `idle`; dropping it closes it.
async fn drive(connection: impl Future<Output = hyper::Result<()>>, usage: Arc<Usage>, idle: Duration) {
    tokio::pin!(connection);
    loop {
        tokio::select! {
            // How a connection ended is told by the requests that were on it.
            _ = &mut connection => return,
            () = tokio::time::sleep(idle / 2) => {
                let since = *usage.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
                if usage.users.load(Ordering::Acquire) == 0 && since.elapsed() >= idle {
                    return;
                }
            }
        }
    }
}

fn innermost(error: &hyper::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
