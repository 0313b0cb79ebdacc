//! Errors on the wire: RFC 9457 problem documents.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::{Flaw, Refusal};
use crate::store::StoreError;

/// An answer that says what went wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem, for programs: `urn:fleetlift:problem:` and a word.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status code's meaning.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// What happened, in a sentence.
    pub detail: String,
    /// Every mistake of a document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaws: Vec<Flaw>,
}

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    /// A problem of this status.
    pub fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:fleetlift:problem:{kind}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            flaws: Vec::new(),
        }
    }

    /// Nobody whom we know asked.
    pub fn unauthorized() -> Self {
        let detail = "a valid token is needed: send one `Authorization: Bearer flt_…` header";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// The request is not what this route takes.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not-found", detail),
            Refusal::Invalid(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
            Refusal::Flawed { flaws, .. } => {
                Self { flaws, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "flawed", detail) }
            }
            Refusal::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", detail),
            Refusal::Changed { .. } => Self::new(StatusCode::PRECONDITION_FAILED, "changed", detail),
            Refusal::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", detail),
            Refusal::Edge { .. } => Self::new(StatusCode::BAD_GATEWAY, "edge", detail),
            Refusal::Store(error) => {
                // The caller learns that it may try again; what failed is the operator's to read.
                tracing::error!(error = %chain(&error), "the store failed: {}", chain(&error));
                let detail = match error {
                    StoreError::Full(_) => {
                        "the disk under the hub's database is full; nothing was changed: make room there, and try again"
                    }
                    StoreError::Corrupt { .. } | StoreError::Unusable { .. } => {
                        "the hub's database cannot be read as it is; nothing was changed: its log says more"
                    }
                    _ => "the hub's database does not answer; nothing was changed, try again later",
                };
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", detail)
            }
        }
    }
}

/// An error with its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What a principal was denied, for the audit; beside the answer, not in it.
#[derive(Debug, Clone)]
pub struct Denied(pub String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let denied = (status == StatusCode::FORBIDDEN).then(|| Denied(self.detail.clone()));
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(denied) = denied {
            response.extensions_mut().insert(denied);
        }
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
