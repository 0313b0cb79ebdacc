//! What routes take from a request, with problem documents for what does not fit.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::app::{PageRequest, Principal};

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(';').next().is_some_and(|kind| kind.trim() == "application/json"));
        if !json {
            let detail = "the body must be JSON: send `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the request is larger than this hub reads")
            }
            _ => Problem::malformed("the request's body ended early"),
        })?;
        // serde_json bounds nesting at 128 by itself.
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Problem::malformed(format!("the body: {error}")))
    }
}

/// The query's parameters; unknown ones are refused by types that deny them.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(params)| Self(params)).map_err(|error| Problem::malformed(format!("the query: {error}")))
    }
}

/// `limit` and `cursor` of a list.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// At most so many entries.
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
}

impl From<Paging> for PageRequest {
    fn from(Paging { limit, cursor }: Paging) -> Self {
        Self { limit, cursor }
    }
}

/// Who asks; the guard put it there.
impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthorized)
    }
}

/// `If-Match: "7"`: the version (of the fleet: the revision) that the caller read; `None` where it does not say.
#[derive(Debug, Clone, Copy)]
pub struct IfMatch<V = i64>(pub Option<V>);

impl<S: Send + Sync, V: FromStr> FromRequestParts<S> for IfMatch<V> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        if value == "*" {
            return Ok(Self(None));
        }
        let version = value.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
        version
            .map(|version| Self(Some(version)))
            .ok_or_else(|| Problem::malformed("`If-Match` is no ETag of this hub"))
    }
}

/// The ETag of a version.
pub fn etag(version: impl Display) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{version}\""))]
}
