//! From a TCP connection to answered requests: TLS, HTTP, and the troubles that befall both.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::answer::{self, Body};
use super::behaviour::{Manner, Moment, Trouble};
use super::cluster::Cluster;
use super::oracle::{Record, Request as RequestRecord, What};
use super::tls::{Authority, Keys};
use super::wire::{self, Call, Done};
use crate::openebs::job;

/// A connection that is not secured within this time is nobody's.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// Streams of one connection at once: a client that watches needs a handful.
const STREAMS_MAX: u32 = 250;

/// One cluster's API server.
pub(super) struct Server {
    pub cluster: Arc<Cluster>,
    pub address: SocketAddr,
    pub authority: Authority,
    keys: Arc<Keys>,
    tls: OnceLock<Arc<ServerConfig>>,
    /// How it cannot be reached now, if it cannot.
    outage: watch::Sender<Option<Manner>>,
    answered: AtomicU64,
    changed: AtomicU64,
    /// Keeps the port while nobody listens.
    _port: Option<TcpSocket>,
}

impl Server {
    /// Listens on a free port of loopback; nothing is accepted before [`Server::serve`].
    pub fn bind(cluster: Arc<Cluster>, keys: Arc<Keys>) -> std::io::Result<(Arc<Self>, TcpListener)> {
        let outages = !cluster.spec.behaviour.outages.is_empty();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        // Only a port that will be closed and opened again has to be kept meanwhile.
        let port = outages.then(|| bound(loopback)).transpose()?;
        let at = port.as_ref().map_or(Ok(loopback), TcpSocket::local_addr)?;
        let listener = if outages {
            bound(at)?
        } else {
            TcpSocket::new_v4().and_then(|socket| socket.bind(at).map(|()| socket))?
        };
        let listener = listener.listen(BACKLOG)?;
        let authority = keys.authority(&cluster.spec.name).map_err(std::io::Error::other)?;
        let server = Self {
            address: listener.local_addr()?,
            authority,
            keys,
            tls: OnceLock::new(),
            outage: watch::Sender::new(None),
            answered: AtomicU64::new(0),
            changed: AtomicU64::new(0),
            _port: port,
            cluster,
        };
        Ok((Arc::new(server), listener))
    }

    /// Cannot be reached from now on, or can again.
    pub fn set_outage(&self, manner: Option<Manner>) {
        self.outage.send_replace(manner);
    }

    /// Accepts until the fleet is stopped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let stopped = self.cluster.world.stopped.clone();
        let mut outage = self.outage.subscribe();
        let mut listener = Some(listener);
        loop {
            let refuses = *outage.borrow_and_update() == Some(Manner::Refuse);
            if refuses {
                listener = None;
            } else if listener.is_none() {
                listener = self.listen_again();
            }
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopped.cancelled() => return,
                changed = outage.changed() => if changed.is_err() { return },
                accepted = accepted => match accepted {
                    Ok((stream, _)) => {
                        self.cluster.world.tasks.spawn(Arc::clone(&self).connection(stream));
                    }
                    // Out of descriptors, as a rule: those who wait may still get one.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
            }
        }
    }

    fn listen_again(&self) -> Option<TcpListener> {
        bound(self.address).and_then(|socket| socket.listen(BACKLOG)).ok()
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let cut = CancellationToken::new();
        let stopped = self.cluster.world.stopped.clone();
        let mut outage = self.outage.subscribe();
        drop(stream.set_nodelay(true));
        // Whoever is cut off sees a reset, as from a router that forgot the connection.
        drop(stream.set_zero_linger());
        let served = Arc::clone(&self).serve_connection(stream, cut.clone());
        tokio::pin!(served);
        loop {
            let manner = *outage.borrow_and_update();
            match manner {
                Some(Manner::Refuse) => return,
                // Not even looked at: what was sent stays in the kernel's buffers.
                Some(Manner::Blackhole) => tokio::select! {
                    () = stopped.cancelled() => return,
                    changed = outage.changed() => if changed.is_err() { return },
                },
                None | Some(Manner::Status(_)) => tokio::select! {
                    () = stopped.cancelled() => return,
                    () = cut.cancelled() => return,
                    changed = outage.changed() => if changed.is_err() { return },
                    () = &mut served => return,
                },
            }
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, cut: CancellationToken) {
        let Some(tls) = self.tls() else { return };
        let secured = tokio::time::timeout(HANDSHAKE_MAX, TlsAcceptor::from(tls).accept(stream)).await;
        let Ok(Ok(stream)) = secured else { return };
        let service = service_fn(|request: Request<Incoming>| {
            let (server, cut) = (Arc::clone(&self), cut.clone());
            async move { Ok::<_, Infallible>(server.answer(request, cut).await) }
        });
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new());
        http.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
        // Whatever ends it, the client sees.
        drop(http.serve_connection(TokioIo::new(stream), service).await);
    }

    fn tls(&self) -> Option<Arc<ServerConfig>> {
        if let Some(tls) = self.tls.get() {
            return Some(Arc::clone(tls));
        }
        let made = self.keys.server(&self.cluster.spec.name, &self.authority).ok()?;
        Some(Arc::clone(self.tls.get_or_init(|| made)))
    }

    async fn answer(&self, request: Request<Incoming>, cut: CancellationToken) -> Response<Body> {
        let cluster = &self.cluster;
        let behaviour = cluster.behaviour();
        if behaviour.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(behaviour.latency_ms)).await;
        }
        let call = match Call::read(request).await {
            Ok(call) => call,
            Err(problem) => return answer::refusal(&problem),
        };
        let outage = *self.outage.borrow();
        let trouble = match outage {
            Some(Manner::Status(code)) => Some(Trouble::Status(code)),
            _ => cluster.troubles.of_request(&behaviour, call.method.as_str(), &call.path),
        };
        let carried_out = !matches!(
            trouble,
            Some(
                Trouble::ResetBefore | Trouble::Status(_) | Trouble::Html | Trouble::Redirect(_) | Trouble::EndlessBody
            )
        );
        let mut done = Done::default();
        let answer = if carried_out { wire::answer(cluster, &call, &mut done) } else { answer::failure(500) };
        self.count(&call, &done, answer.status().as_u16(), trouble.as_ref(), carried_out);
        match trouble {
            None => answer,
            Some(Trouble::ResetBefore | Trouble::ResetAfter) => {
                cut.cancel();
                std::future::pending().await
            }
            Some(Trouble::Status(code)) => answer::failure(code),
            Some(Trouble::Html) => answer::html(),
            Some(Trouble::Redirect(to)) => answer::redirect(&to),
            Some(Trouble::EndlessBody) => answer::endless(),
            Some(Trouble::Drip) => answer::drip(answer).await,
            Some(Trouble::HalfBody) => answer::half(answer, move || cut.cancel()).await,
            Some(Trouble::StallMs(long)) => {
                tokio::time::sleep(Duration::from_millis(long)).await;
                answer
            }
        }
    }

    /// Counts the request, logs it if it would change something, and begins the outages that wait for it.
    fn count(&self, call: &Call, done: &Done, code: u16, trouble: Option<&Trouble>, carried_out: bool) {
        let answered = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        let mut changed = self.changed.load(Ordering::Relaxed);
        if call.changes() {
            changed = self.changed.fetch_add(1, Ordering::Relaxed) + 1;
            self.note(call, done, if carried_out { code } else { 0 }, trouble);
        }
        for outage in &self.cluster.behaviour().outages {
            let begins = match outage.from {
                Moment::StartedMs(_) => false,
                Moment::Requests(count) => count == answered,
                Moment::Changes(count) => call.changes() && count == changed,
            };
            if begins {
                self.begin_outage(outage.manner, Duration::from_millis(outage.lasting_ms));
            }
        }
    }

    /// An outage that ends by itself.
    pub fn begin_outage(&self, manner: Manner, lasting: Duration) {
        let (outage, stopped) = (self.outage.clone(), self.cluster.world.stopped.clone());
        self.cluster.world.tasks.spawn(async move {
            // The answer to the request that began it still gets out.
            tokio::time::sleep(Duration::from_millis(20)).await;
            outage.send_replace(Some(manner));
            tokio::select! {
                () = stopped.cancelled() => {}
                () = tokio::time::sleep(lasting) => {}
            }
            outage.send_replace(None);
        });
    }

    fn note(&self, call: &Call, done: &Done, code: u16, trouble: Option<&Trouble>) {
        let object = done.object.as_ref();
        let epoch = object.map(|object| object.value()["metadata"]["annotations"][job::EPOCH].clone());
        let request = RequestRecord {
            method: call.method.to_string(),
            path: call.path.clone(),
            name: done.name.clone(),
            uid: object.map(|object| object.uid.to_string()).unwrap_or_default(),
            labels: object.map(|object| object.labels.clone()).unwrap_or_default(),
            epoch: epoch.and_then(|epoch| epoch.as_str().map(str::to_owned)).unwrap_or_default(),
            code,
            trouble: trouble.map(|trouble| format!("{trouble:?}")).unwrap_or_default(),
        };
        let record = Record {
            at_us: self.cluster.world.clock.now().as_micros(),
            cluster: self.cluster.spec.name.clone(),
            what: What::Request(request),
        };
        self.cluster.world.oracle.note([record]);
    }
}

/// A socket that shares its port with others of ours, so that the port is never free for strangers.
fn bound(at: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    Ok(socket)
}
