//! `Idempotency-Key`: whoever repeats a creation gets the first answer again, and nothing is created twice.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Api;
use super::problem::Problem;
use crate::app::Principal;
use crate::domain::ids;

/// The header with the caller's key.
pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// A UUID has 36 characters.
const KEY_BYTES_MAX: usize = 128;

/// Larger answers are not kept: what is created is shown in far less.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// An answer that was given.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// SHA-256 of the request's body: another body under the same key is a mistake of the caller's.
    asked: String,
    status: u16,
    body: String,
}

/// Keys whose first request has not been answered yet.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<HashSet<String>>);

struct Taken<'a>(&'a UnderWay, String);

impl UnderWay {
    fn take(&self, key: &str) -> Option<Taken<'_>> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        fresh.then(|| Taken(self, key.to_owned()))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// Answers a request with a key: as before, or by doing it now and keeping the answer.
pub async fn answer(api: &Api, by: &Principal, request: Request, next: Next) -> Response {
    match try_answer(api, by, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn try_answer(api: &Api, by: &Principal, request: Request, next: Next) -> Result<Response, Problem> {
    let key = request.headers().get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Problem::malformed(format!("`Idempotency-Key` has 1 to {KEY_BYTES_MAX} plain characters")));
    }
    let key = format!("{} {} {key}", request.method(), request.uri().path());
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, api.body_bytes_max).await.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the request is larger than this hub reads")
    })?;
    let asked = ids::hex(&Sha256::digest(&body));
    let Some(_taken) = api.under_way.take(&format!("{} {key}", by.id)) else {
        return Err(Problem::new(StatusCode::CONFLICT, "under-way", "the first request with this key is under way"));
    };
    if let Some(kept) = api.app.answered_before(by, &key).await? {
        let kept: Kept =
            serde_json::from_str(&kept).map_err(|_| Problem::malformed("the kept answer can't be read"))?;
        if kept.asked != asked {
            let detail = "this `Idempotency-Key` was used with another body";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-used", detail));
        }
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        return Ok((status, [(header::CONTENT_TYPE, "application/json")], kept.body).into_response());
    }
    let (parts, body) = next.run(Request::from_parts(parts, Body::from(body))).await.into_parts();
    let Ok(bytes) = to_bytes(body, ANSWER_BYTES_MAX).await else {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "too-large", "the answer is too large to keep"));
    };
    if parts.status.is_success() {
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let kept = Kept { asked, status: parts.status.as_u16(), body };
        api.app.keep_answer(by, &key, &serde_json::to_string(&kept).unwrap_or_default()).await?;
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}
