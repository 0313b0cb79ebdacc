//! From a server's name to a secured stream: resolve, judge, connect, tunnel, TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::{Service, ServiceExt as _};

use super::access::{EdgeAccess, ServerUrl};
use super::address::AddressPolicy;
use super::egress::{Egress, EgressKind};
use super::lookup::Lookups;
use super::tls::{self, TlsProblem};
use super::{EdgeError, Phase};

/// Idle connections through NAT and load balancers are forgotten after some minutes: probe earlier.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Addresses of one name that are tried, so that a name with hundreds of them ends.
const ADDRESSES_TRIED_MAX: usize = 4;

/// Opens connections to one cluster.
pub(super) struct Dialer {
    server: ServerUrl,
    name: ServerName<'static>,
    tls: TlsConnector,
    policy: Arc<AddressPolicy>,
    lookups: Arc<Lookups>,
    egress: Option<Egress>,
    /// For everything here together, TLS included.
    timeout: Duration,
}

/// A stream to the API server itself, its certificate proven.
pub(super) type Secured = TlsStream<TcpStream>;

impl Dialer {
    pub fn new(
        access: &EdgeAccess,
        policy: Arc<AddressPolicy>,
        lookups: Arc<Lookups>,
        egress: Option<Egress>,
        timeout: Duration,
    ) -> Result<Self, TlsProblem> {
        let config = tls::client_config(&access.trust, &access.credential)?;
        Ok(Self {
            server: access.server.clone(),
            name: tls::server_name(access)?,
            tls: TlsConnector::from(Arc::new(config)),
            policy,
            lookups,
            egress,
            timeout,
        })
    }

    pub async fn dial(&self) -> Result<Secured, EdgeError> {
        let mut phase = Phase::Resolving;
        let dialing = self.dial_in_phases(&mut phase);
        match tokio::time::timeout(self.timeout, dialing).await {
            Ok(dialed) => dialed,
            Err(_) => Err(unreachable(phase, format!("no answer within {:?}", self.timeout))),
        }
    }

    async fn dial_in_phases(&self, phase: &mut Phase) -> Result<Secured, EdgeError> {
        let stream = match &self.egress {
            Some(egress) => self.tunnel(egress, phase).await?,
            None => self.connect(phase).await?,
        };
        *phase = Phase::Securing;
        self.tls.connect(self.name.clone(), stream).await.map_err(|error| unreachable(Phase::Securing, error))
    }

    async fn connect(&self, phase: &mut Phase) -> Result<TcpStream, EdgeError> {
        let addresses = resolve(&self.lookups, self.server.host(), self.server.port()).await?;
        *phase = Phase::Connecting;
        // The address that was judged is the one that is connected to: a second look-up could answer otherwise.
        let mut denied = None;
        let mut failed = None;
        let allowed = addresses.into_iter().filter(|address| match self.policy.judge(*address) {
            Ok(()) => true,
            Err(why) => {
                denied = Some(why);
                false
            }
        });
        for address in allowed.take(ADDRESSES_TRIED_MAX).collect::<Vec<_>>() {
            match connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed
            .or(denied.map(EdgeError::from))
            .unwrap_or_else(|| unreachable(Phase::Resolving, "its name has no address")))
    }

    /// Through a proxy it is the proxy that resolves names and connects. An address in the URL is judged all the same.
    async fn tunnel(&self, egress: &Egress, phase: &mut Phase) -> Result<TcpStream, EdgeError> {
        self.policy.judge_unresolved(self.server.host(), self.server.port())?;
        *phase = Phase::Tunnelling;
        let target: Uri = format!("https://{}:{}", bracketed(self.server.host()), self.server.port())
            .parse()
            .map_err(|_| EdgeError::Impossible("the server's URL".to_owned()))?;
        let lookups = Arc::clone(&self.lookups);
        let to_proxy = tower::service_fn(move |proxy: Uri| {
            let lookups = Arc::clone(&lookups);
            async move { connect_to_proxy(&lookups, &proxy).await.map(TokioIo::new) }
        });
        let tunnelled = match egress.kind {
            EgressKind::Connect => {
                let mut tunnel = Tunnel::new(egress.uri(), to_proxy);
                if let Some(authorization) = egress.authorization() {
                    tunnel = tunnel.with_auth(authorization);
                }
                tunnel.call(target).await.map_err(|error| unreachable(Phase::Tunnelling, error))?
            }
            EgressKind::Socks5 => {
                let mut socks = SocksV5::new(egress.uri(), to_proxy);
                if let Some((user, password)) = &egress.user {
                    socks = socks.with_auth(user.clone(), secrecy::ExposeSecret::expose_secret(password).to_owned());
                }
                // Its error has no Display; its Debug names the SOCKS reply.
                socks.call(target).await.map_err(|error| unreachable(Phase::Tunnelling, format!("{error:?}")))?
            }
        };
        Ok(tunnelled.into_inner())
    }
}

/// The hub's own proxy, wherever it is: its owner put it there.
async fn connect_to_proxy(lookups: &Lookups, proxy: &Uri) -> Result<TcpStream, EdgeError> {
    let host = proxy.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let mut last = unreachable(Phase::Tunnelling, "the proxy's name has no address");
    for address in resolve(lookups, host, proxy.port_u16().unwrap_or(80)).await? {
        match connect_to(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn resolve(lookups: &Lookups, host: &str, port: u16) -> Result<Vec<SocketAddr>, EdgeError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    lookups.addresses(host, port).await.map_err(|error| unreachable(Phase::Resolving, error))
}

async fn connect_to(address: SocketAddr) -> Result<TcpStream, EdgeError> {
    // hyper's connector for the socket options (keep-alive needs a crate of its own otherwise); it is given an address,
    // so that it resolves nothing.
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_keepalive(Some(TCP_KEEP_ALIVE));
    connector.set_keepalive_interval(Some(TCP_KEEP_ALIVE / 3));
    connector.set_keepalive_retries(Some(3));
    let uri: Uri = format!("http://{address}").parse().map_err(|_| EdgeError::Impossible(address.to_string()))?;
    let connected = connector.ready().await.map_err(|error| unreachable(Phase::Connecting, innermost(&error)))?;
    let stream = connected.call(uri).await.map_err(|error| unreachable(Phase::Connecting, innermost(&error)))?;
    Ok(stream.into_inner())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The network's own words, without those of each layer in between.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "errors are handed over at every call")]
pub(super) fn unreachable(phase: Phase, why: impl ToString) -> EdgeError {
    EdgeError::Unreachable { phase, why: super::text::plain(&why.to_string(), WHY_CHARS_MAX) }
}

/// Certificate errors are the longest; more than this is somebody else's text.
const WHY_CHARS_MAX: usize = 300;
