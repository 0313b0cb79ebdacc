//! The listener: plain HTTP on loopback, TLS everywhere else.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;

use super::certificate::Certificate;

/// Where to listen, and with which certificate.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// PEM files of certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Why nobody can be served. The text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Tokens would travel in clear.
    #[error(
        "listening on {0} without TLS would send tokens in clear: set api.tls_certificate and api.tls_key, or listen on 127.0.0.1"
    )]
    Clear(SocketAddr),
    /// Somebody else has the port, or the address is not ours.
    #[error("can't listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate or its key can't be used.
    #[error("can't use certificate {} with key {}", certificate.display(), key.display())]
    Certificate {
        /// The chain's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("the server on {address} ended")]
    Serve {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Headers must be there within this time of a connection's (or the next request's) beginning.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// More streams than this on one HTTP/2 connection are the client's to queue.
const STREAMS_MAX: u32 = 128;

/// A socket that listens already: its address is known before anything is served.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Certificate>,
    address: SocketAddr,
}

impl Server {
    /// Takes the address; refuses anything but loopback without TLS.
    pub async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let Listen { address, tls } = listen;
        if tls.is_none() && !address.ip().is_loopback() {
            return Err(ListenError::Clear(*address));
        }
        Self::bind_anywhere(listen).await
    }

    /// Takes the address, in clear if need be: for listeners that carry no secrets (metrics).
    pub async fn bind_anywhere(listen: &Listen) -> Result<Self, ListenError> {
        let Listen { address, tls } = listen;
        let tls = match tls {
            None => None,
            Some((certificate, key)) => {
                Some(Certificate::read(certificate.clone(), key.clone()).await.map_err(|source| {
                    ListenError::Certificate { certificate: certificate.clone(), key: key.clone(), source }
                })?)
            }
        };
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bind().map_err(|source| ListenError::Bind { address: *address, source })?;
        Ok(Self { listener, tls, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base address that clients use.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until `stop`; then answers what was asked already, for at most `drain`.
    pub async fn serve(self, router: Router, stop: CancellationToken, drain: Duration) -> Result<(), ListenError> {
        let Self { listener, tls, address } = self;
        let handle = Handle::new();
        let shutdown = handle.clone();
        let watch = async move {
            stop.cancelled().await;
            shutdown.graceful_shutdown(Some(drain));
            std::future::pending::<()>().await;
        };
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let serve = async move {
            match tls {
                None => {
                    let mut server = axum_server::from_tcp(listener)?.handle(handle);
                    bound(server.http_builder());
                    server.serve(service).await
                }
                Some(certificate) => {
                    let mut server = axum_server::from_tcp_rustls(listener, certificate.config())?.handle(handle);
                    bound(server.http_builder());
                    tokio::select! {
                        served = server.serve(service) => served,
                        never = certificate.follow() => match never {},
                    }
                }
            }
        };
        tokio::select! {
            served = serve => served.map_err(|source| ListenError::Serve { address, source }),
            () = watch => Ok(()),
        }
    }
}

/// Slow headers and endless streams are cut before anything is read into memory.
fn bound(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_DEADLINE).max_headers(100);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(HEADER_DEADLINE)
        .max_header_list_size(64 << 10);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn anything_but_loopback_needs_tls() {
        let refused = Server::bind(&Listen { address: ([0, 0, 0, 0], 0).into(), tls: None }).await;
        assert!(matches!(refused, Err(ListenError::Clear(_))));
        let server = Server::bind(&Listen { address: ([127, 0, 0, 1], 0).into(), tls: None }).await.unwrap();
        assert!(server.url().starts_with("http://127.0.0.1:"));
        assert!(!server.url().ends_with(":0"));
    }
}
