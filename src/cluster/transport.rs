//! The transport under `kube::Client`: adds who we are, sends, and judges the answer.
//!
//! Whoever sits above gets either a JSON answer (or a log) with a body that keeps to its limits, or an [`EdgeError`].

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::core::Status;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use tower::Service;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::access::{Credential, ServerUrl};
use super::asked::Asked;
use super::body::Guarded;
use super::dial::unreachable;
use super::link::{Lease, Link, NotSent};
use super::text::plain;
use super::{EdgeError, Limits, Phase, WaitingFor};
use crate::metrics::Metrics;

/// How long a whole call may take, where it is not [`Limits::total`]. Put into a request's extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Within(pub Duration);

/// The text of a cluster's own error that is kept.
const MESSAGE_CHARS_MAX: usize = 500;
/// More of an error's body is not read; a `Status` is a few hundred bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// An API server that asks for more than this is asked again all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// Who the cluster must be.
pub(super) enum Identity {
    /// The UID of namespace kube-system that was stored at registration.
    Expected(String),
    /// Registration: whoever answers first, and nobody else afterwards.
    Learned(OnceLock<String>),
}

/// One cluster's transport. Cheap to clone.
#[derive(Clone)]
pub(super) struct Transport(Arc<Inner>);

struct Inner {
    server: ServerUrl,
    link: Arc<Link>,
    authorization: Option<HeaderValue>,
    /// To keep a server from echoing it into our errors.
    token: Option<SecretString>,
    limits: Limits,
    identity: Identity,
    metrics: Arc<Metrics>,
}

impl Transport {
    pub fn new(
        link: Link,
        server: ServerUrl,
        credential: &Credential,
        limits: Limits,
        identity: Identity,
        metrics: Arc<Metrics>,
    ) -> Self {
        let token = match credential {
            Credential::Token(token) => Some(token.clone()),
            Credential::ClientCertificate { .. } => None,
        };
        let authorization = token.as_ref().and_then(|token| {
            // A token that was read holds only visible characters.
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self(Arc::new(Inner { server, link: Arc::new(link), authorization, token, limits, identity, metrics }))
    }

    /// The cluster's identity, as expected or as learned.
    pub fn identity(&self) -> Option<&str> {
        match &self.0.identity {
            Identity::Expected(uid) => Some(uid),
            Identity::Learned(uid) => uid.get().map(String::as_str),
        }
    }

    /// Whether a connection is open now.
    pub fn is_open(&self) -> bool {
        self.0.link.is_open()
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Guarded>;
    type Error = EdgeError;
    type Future = BoxFuture<'static, Result<Response<Guarded>, EdgeError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), EdgeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        async move { inner.answer(request).await }.boxed()
    }
}

impl Inner {
    async fn answer(&self, request: Request<Body>) -> Result<Response<Guarded>, EdgeError> {
        let asked = Asked::of(request.method(), request.uri());
        let began = Instant::now();
        let mut status = None;
        let span = tracing::debug_span!(
            "request",
            otel.kind = "client",
            verb = asked.verb,
            path = request.uri().path(),
            status = Empty,
            error = Empty
        );
        let answered = self.judged_answer(request, &asked, began, &mut status).instrument(span.clone()).await;
        if let Some(status) = status {
            span.record("status", status);
        }
        if let Err(error) = &answered {
            span.record("error", tracing::field::display(error));
        }
        self.metrics.edge_request(asked.verb, status, began.elapsed());
        answered
    }

    async fn judged_answer(
        &self,
        mut request: Request<Body>,
        asked: &Asked,
        began: Instant,
        status: &mut Option<u16>,
    ) -> Result<Response<Guarded>, EdgeError> {
        let total = request.extensions().get::<Within>().map_or(self.limits.total, |within| within.0);
        self.address(&mut request)?;
        let (response, lease) = self.send(request, total).await?;
        let (head, body) = response.into_parts();
        *status = Some(head.status.as_u16());
        if !head.status.is_success() {
            let body = Guarded::answer(body, lease, &self.limits, began, total.max(self.limits.idle));
            return Err(self.refusal(asked, head.status, &head.headers, body).await);
        }
        // Checked once more where it counts: whatever the request asked for, compression was not part of it.
        if head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(not_kubernetes("a compressed answer, though none was asked for"));
        }
        let content = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_json =
            content.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        if !is_json && !asked.plain_text {
            return Err(not_kubernetes(&format!("content of type `{}`", plain(content, 60))));
        }
        let body = if asked.watches() {
            Guarded::watch(body, lease, &self.limits)
        } else {
            Guarded::answer(body, lease, &self.limits, began, total)
        };
        Ok(Response::from_parts(head, body))
    }

    /// Puts the server's path before the request's own, and says who asks.
    fn address(&self, request: &mut Request<Body>) -> Result<(), EdgeError> {
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let path = format!("{}{path}", self.server.path());
        *request.uri_mut() =
            path.parse().map_err(|_| EdgeError::Impossible("its path is no part of a URL".to_owned()))?;
        let headers = request.headers_mut();
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("fleetlift/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(())
    }

    async fn send(
        &self,
        request: Request<Body>,
        total: Duration,
    ) -> Result<(Response<hyper::body::Incoming>, Lease), EdgeError> {
        let mut request = request;
        // A connection that the server closed just now costs one more try; the request surely was not sent on it.
        for last_try in [false, true] {
            let leasing = self.link.lease(async |lease| self.verify(lease).await);
            let mut lease = match tokio::time::timeout(total, leasing).await {
                Ok(leased) => leased?,
                Err(_) => return Err(unreachable(Phase::Opening, format!("no connection within {total:?}"))),
            };
            let headers = self.limits.headers.min(total);
            match tokio::time::timeout(headers, lease.send(&self.server, request)).await {
                Err(_) => return Err(EdgeError::TimedOut { waiting_for: WaitingFor::Headers, after: headers }),
                Ok(Ok(response)) => return Ok((response, lease)),
                Ok(Err(NotSent { error: _, request: Some(unsent) })) if !last_try => request = unsent,
                Ok(Err(NotSent { error, request: _ })) => return Err(error),
            }
        }
        Err(unreachable(Phase::Opening, "every connection was closed at once"))
    }

    /// Asks a new connection which cluster it leads to.
    async fn verify(&self, lease: &mut Lease) -> Result<(), EdgeError> {
        let mut request = Request::get("/api/v1/namespaces/kube-system").body(Body::empty()).map_err(impossible)?;
        let asked = Asked::of(request.method(), request.uri());
        self.address(&mut request)?;
        let (waiting_for, after) = (WaitingFor::Headers, self.limits.headers);
        let response = tokio::time::timeout(after, lease.send(&self.server, request))
            .await
            .map_err(|_| EdgeError::TimedOut { waiting_for, after })?
            // Nothing that matters was sent yet, however this one ended.
            .map_err(|NotSent { error, request: _ }| match error {
                EdgeError::Unreachable { why, .. } => EdgeError::Unreachable { phase: Phase::Opening, why },
                other => other,
            })?;
        let (head, body) = response.into_parts();
        let reading = collect(body, ERROR_BYTES_MAX * 4);
        let (waiting_for, after) = (WaitingFor::End, self.limits.idle);
        let body =
            tokio::time::timeout(after, reading).await.map_err(|_| EdgeError::TimedOut { waiting_for, after })??;
        if !head.status.is_success() {
            return Err(self.classify(&asked, head.status, &head.headers, &body));
        }
        let namespace: IdentityOf = serde_json::from_slice(&body)
            .map_err(|_| not_kubernetes("an answer to `get namespaces kube-system` that is no Namespace"))?;
        let seen = namespace.metadata.uid;
        if namespace.kind != "Namespace" || namespace.metadata.name != "kube-system" || seen.is_empty() {
            return Err(not_kubernetes("an answer to `get namespaces kube-system` that is no Namespace"));
        }
        let expected = match &self.identity {
            Identity::Expected(uid) => uid,
            Identity::Learned(uid) => uid.get_or_init(|| plain(&seen, 64)),
        };
        if *expected == seen {
            return Ok(());
        }
        Err(EdgeError::AnotherCluster { expected: expected.clone(), seen: plain(&seen, 64) })
    }

    async fn refusal(&self, asked: &Asked, status: StatusCode, headers: &HeaderMap, body: Guarded) -> EdgeError {
        // What is wrong is in the status already; a body that does not come adds nothing.
        let body = collect(body, ERROR_BYTES_MAX).await.unwrap_or_default();
        self.classify(asked, status, headers, &body)
    }

    fn classify(&self, asked: &Asked, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> EdgeError {
        let said = serde_json::from_slice::<KindOnly>(body)
            .ok()
            .filter(|answer| answer.kind == "Status")
            .and_then(|_| serde_json::from_slice::<Status>(body).ok());
        let message = match &said {
            Some(said) => self.quote(&said.message),
            None => "without an explanation that Kubernetes would give".to_owned(),
        };
        let code = status.as_u16();
        match status {
            _ if status.is_redirection() || status.is_informational() => EdgeError::Redirected { status: code },
            StatusCode::UNAUTHORIZED => EdgeError::Unauthorized,
            StatusCode::FORBIDDEN => EdgeError::Forbidden { verb: asked.verb, resource: asked.right(), message },
            StatusCode::NOT_FOUND => absence(asked, said.as_ref(), body),
            StatusCode::CONFLICT => EdgeError::Conflict {
                resource: asked.object(),
                exists: said.is_some_and(|said| said.reason == "AlreadyExists"),
                message,
            },
            StatusCode::GONE => EdgeError::Gone,
            StatusCode::TOO_MANY_REQUESTS => EdgeError::Throttled { retry_after: retry_after(headers) },
            _ if status.is_server_error() => EdgeError::ServerError { status: code, message },
            _ => {
                let reason = said.map_or_else(String::new, |said| plain(&said.reason, 60));
                EdgeError::Refused { status: code, reason, message }
            }
        }
    }

    /// A server's words, without the token that we sent it.
    fn quote(&self, message: &str) -> String {
        let message = match &self.token {
            Some(token) => message.replace(token.expose_secret(), "(the token)"),
            None => message.to_owned(),
        };
        plain(&message, MESSAGE_CHARS_MAX)
    }
}

/// 404 has three meanings, and only the first one says that an object does not exist.
fn absence(asked: &Asked, said: Option<&Status>, body: &[u8]) -> EdgeError {
    if let Some(said) = said {
        let details = said.details.as_ref();
        // `namespaces "x" not found` answers a creation in a namespace that is not there.
        let resource = match details {
            Some(details) if !details.name.is_empty() && asked.name.as_deref() != Some(&details.name) => {
                format!("{} {}", plain(&details.kind, 60), plain(&details.name, 253))
            }
            _ => asked.object(),
        };
        return EdgeError::NotFound { resource };
    }
    // What an API server says of a path that it does not serve.
    if body.trim_ascii() == b"404 page not found" {
        return EdgeError::NoSuchApi { resource: asked.resource.clone() };
    }
    not_kubernetes("HTTP 404 from something that is no API server")
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds =
        headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    // A date, or nonsense, is taken for the shortest wait.
    Duration::from_secs(seconds.unwrap_or(1)).clamp(Duration::from_secs(1), RETRY_AFTER_MAX)
}

/// Everything of `body`, up to `bytes_max`.
async fn collect<B>(body: B, bytes_max: usize) -> Result<Vec<u8>, EdgeError>
where
    B: http_body::Body<Data = hyper::body::Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut body = body;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreachable(Phase::Answering, error))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > bytes_max {
                return Err(EdgeError::TooLarge { bytes_max });
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

fn not_kubernetes(what: &str) -> EdgeError {
    EdgeError::NotKubernetes { what: what.to_owned() }
}

fn impossible(error: impl std::fmt::Display) -> EdgeError {
    EdgeError::Impossible(error.to_string())
}

#[derive(Deserialize)]
struct KindOnly {
    #[serde(default)]
    kind: String,
}

/// The part of a Namespace that tells clusters apart.
#[derive(Deserialize)]
struct IdentityOf {
    #[serde(default)]
    kind: String,
    metadata: IdentityMeta,
}

#[derive(Deserialize)]
struct IdentityMeta {
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
}
