//! What goes back over the wire: whole answers, streams, and bodies that misbehave.

use std::convert::Infallible;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};

use super::problem::Problem;

/// Any of our bodies.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Each piece of a body that never ends.
const ENDLESS_PIECE: &[u8] = &[b' '; 16 * 1024];

/// What Kubernetes says of itself.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON answer.
pub(super) fn json(code: u16, value: &Value) -> Response<Body> {
    bytes(code, serde_json::to_vec(value).unwrap_or_default())
}

/// An answer whose JSON text is there already.
pub(super) fn bytes(code: u16, body: Vec<u8>) -> Response<Body> {
    let mut answer = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// Plain text: logs, and what the API server says of paths that it does not know.
pub(super) fn text(code: u16, body: &str) -> Response<Body> {
    let mut answer = bytes(code, body.as_bytes().to_vec());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// A refusal.
pub(super) fn refusal(problem: &Problem) -> Response<Body> {
    match problem {
        Problem::NoSuchPath => text(404, "404 page not found\n"),
        problem => json(problem.code(), &problem.status()),
    }
}

/// The lines of a watch.
pub(super) fn stream(lines: impl stream::Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
    let mut answer = Response::new(UnsyncBoxBody::new(StreamBody::new(frames)));
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// A failure of the server's own, or of what stands before it.
pub(super) fn failure(code: u16) -> Response<Body> {
    let (reason, message) = match code {
        403 => ("Forbidden", "forbidden: not yet ready to handle request"),
        429 => ("TooManyRequests", "Too many requests, please try again later."),
        500 => ("InternalError", "Internal error occurred: etcdserver: leader changed"),
        503 => ("ServiceUnavailable", "apiserver not ready"),
        504 => ("Timeout", "the server was unable to return a response in the time allotted"),
        _ => ("Unknown", "something is wrong with this request"),
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code});
    let mut answer = json(code, &status);
    if matches!(code, 429 | 503) {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// A login page.
pub(super) fn html() -> Response<Body> {
    let mut answer = bytes(200, b"<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>".to_vec());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}

/// Sends the client elsewhere.
pub(super) fn redirect(to: &str) -> Response<Body> {
    let mut answer = text(302, "");
    if let Ok(to) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(LOCATION, to);
    }
    answer
}

/// A body without end.
pub(super) fn endless() -> Response<Body> {
    stream(stream::repeat(Bytes::from_static(ENDLESS_PIECE)))
}

/// The answer, one byte a second.
pub(super) async fn drip(answer: Response<Body>) -> Response<Body> {
    let (head, body) = collected(answer).await;
    let drops = stream::unfold((body, 0), |(body, at)| async move {
        let next = body.get(at..=at).map(Bytes::copy_from_slice)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((next, (body, at + 1)))
    });
    let (_, slow) = stream(drops).into_parts();
    Response::from_parts(head, slow)
}

/// The first half of the answer, which promises the whole; `cut` is called when the half is on its way.
pub(super) async fn half(answer: Response<Body>, cut: impl FnOnce() + Send + 'static) -> Response<Body> {
    let (mut head, body) = collected(answer).await;
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let first = body.slice(..body.len() / 2);
    let pieces = stream::once(async move { first }).chain(stream::once(async move {
        // Time for the half to leave.
        tokio::time::sleep(Duration::from_millis(20)).await;
        cut();
        std::future::pending::<Bytes>().await
    }));
    let (_, half) = stream(pieces).into_parts();
    Response::from_parts(head, half)
}

async fn collected(answer: Response<Body>) -> (http::response::Parts, Bytes) {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (head, body)
}
