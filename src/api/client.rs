//! The typed client that the command line uses.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::{MEDIA_TYPE, Problem};
use crate::app::Page;

/// One hub, as one principal.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: HeaderValue,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address or the token is no such thing.
    #[error("{0}")]
    Unusable(String),
    /// The hub can't be reached.
    #[error("no answer from {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The hub says what is wrong.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// Somebody else answers there, or another version.
    #[error("{url} answered {status} with something that this version does not understand: {excerpt}")]
    Unexpected {
        /// Where.
        url: String,
        /// The status.
        status: StatusCode,
        /// How the answer begins.
        excerpt: String,
    },
}

impl ClientError {
    /// Whether the same request may succeed later without anybody's doing: a hub that restarts, one that is busy, a
    /// proxy before it.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unusable(_) => false,
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => matches!(problem.status, 429 | 503 | 504),
            Self::Unexpected { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

/// Longer than the hub's own deadline for a request, so that its answer says what happened.
const DEADLINE: Duration = Duration::from_secs(150);

/// The largest answer that is read: the resources of one cluster at their limit.
const ANSWER_BYTES_MAX: usize = 64 << 20;

impl Client {
    /// A client for the hub at `base`, trusting `ca` (PEM) instead of the system's roots when it is given.
    pub fn new(base: &str, token: &str, ca: Option<&[u8]>) -> Result<Self, ClientError> {
        let unusable = |what: &str| ClientError::Unusable(format!("`{base}` is no address of a hub: {what}"));
        let base_url: Url = format!("{}/", base.trim_end_matches('/')).parse().map_err(|_| unusable("no URL"))?;
        let host = base_url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("fleetlift/", env!("CARGO_PKG_VERSION")));
        builder = match base_url.scheme() {
            // Nothing to trust: reading the system's roots would only cost start-up time.
            "http" if loopback => builder.tls_certs_only([]).no_proxy(),
            "http" => return Err(unusable("tokens are sent over http to this machine only: use https")),
            "https" => builder,
            _ => return Err(unusable("expected http:// or https://")),
        };
        if let Some(pem) = ca {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| ClientError::Unusable(format!("the CA file can't be used: {error}")))?;
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder.build().map_err(|error| ClientError::Unusable(format!("no HTTP client: {error}")))?;
        let mut token = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| ClientError::Unusable("the token has characters that no token has".to_owned()))?;
        token.set_sensitive(true);
        Ok(Self { http, base: base_url, token })
    }

    /// Where the hub is.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Asks for `path` (below `/api/v1/`).
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path, query)?.timeout(DEADLINE);
        json(send(request).await?).await
    }

    /// Every entry of a list, page by page.
    pub async fn list<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut asked = query.to_vec();
            asked.push(("limit", "1000".to_owned()));
            asked.extend(cursor.map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, &asked).await?;
            items.extend(page.items);
            let Some(next) = page.next else { return Ok(items) };
            cursor = Some(next);
        }
    }

    /// Sends `body` to `path` and reads the answer.
    pub async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let request = self.request(method, path, &[])?.json(body).timeout(DEADLINE);
        json(send(request).await?).await
    }

    /// Replaces what `path` names, only if `read` is its ETag still, where it is given.
    pub async fn replace<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        read: Option<&str>,
        body: &B,
    ) -> Result<T, ClientError> {
        let mut request = self.request(Method::PUT, path, &[])?.json(body).timeout(DEADLINE);
        if let Some(read) = read {
            request = request.header(reqwest::header::IF_MATCH, format!("\"{read}\""));
        }
        json(send(request).await?).await
    }

    /// Sends `body` to `path`, creating at most once: a repeated `key` gets the first answer again.
    pub async fn create<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let request =
            self.request(Method::POST, path, &[])?.header("Idempotency-Key", key).json(body).timeout(DEADLINE);
        json(send(request).await?).await
    }

    /// Removes what `path` names.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        send(self.request(Method::DELETE, path, &[])?.timeout(DEADLINE)).await.map(drop)
    }

    /// Opens a stream that has no deadline: the caller reads it until it ends.
    pub async fn stream(&self, path: &str, query: &[(&str, String)]) -> Result<Response, ClientError> {
        send(self.request(Method::GET, path, query)?).await
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, String)]) -> Result<RequestBuilder, ClientError> {
        let unusable = || ClientError::Unusable(format!("`{path}` can't be part of an address"));
        if path.split('/').any(|segment| segment.is_empty() || segment == "." || segment == "..") {
            return Err(unusable());
        }
        let mut url = self.base.join(&format!("api/v1/{path}")).map_err(|_| unusable())?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.request(method, url).header(AUTHORIZATION, self.token.clone()).header(ACCEPT, "application/json"))
    }
}

/// `text` as one segment of a path.
pub fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

async fn send(request: RequestBuilder) -> Result<Response, ClientError> {
    let response = request.send().await.map_err(unreachable)?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let url = response.url().to_string();
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == MEDIA_TYPE);
    let body = read(response).await?;
    if is_problem && let Ok(problem) = serde_json::from_slice(&body) {
        return Err(ClientError::Problem(Box::new(problem)));
    }
    Err(ClientError::Unexpected { url, status, excerpt: excerpt(&body) })
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let (status, url) = (response.status(), response.url().to_string());
    let body = read(response).await?;
    // An empty answer (204) is null to whoever expects nothing.
    let body: &[u8] = if body.is_empty() { b"null" } else { &body };
    serde_json::from_slice(body).map_err(|error| ClientError::Unexpected {
        url,
        status,
        excerpt: format!("{error} in {}", excerpt(body)),
    })
}

async fn read(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let (status, url) = (response.status(), response.url().to_string());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::Unexpected {
                url,
                status,
                excerpt: format!("more than {ANSWER_BYTES_MAX} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error) -> ClientError {
    let url = error.url().map_or_else(String::new, |url| url.origin().ascii_serialization());
    ClientError::Unreachable { url, source: error.without_url() }
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_segment() {
        assert_eq!(segment("berlin-1"), "berlin-1");
        assert_eq!(segment("../a b?"), "..%2Fa%20b%3F");
    }

    #[test]
    fn tokens_are_not_sent_in_clear_over_the_network() {
        assert!(Client::new("http://10.0.0.1:8480", "flt_x", None).is_err());
        assert!(Client::new("http://127.0.0.1:8480", "flt_x", None).is_ok());
        assert!(Client::new("http://[::1]:8480", "flt_x", None).is_ok());
        assert!(Client::new("ftp://127.0.0.1", "flt_x", None).is_err());
    }
}
