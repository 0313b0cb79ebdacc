//! What every request passes before its route: who asks, how often, whether it may, and for how long.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Denied, Problem};
use super::{Api, once};
use crate::app::{Access, Principal};

/// The only paths that are open to everybody; they say one word.
pub const OPEN: [&str; 2] = ["/livez", "/readyz"];

/// Lets nobody past without a valid token, known routes and unknown ones alike.
pub async fn authenticate(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let now = api.app.clock.now();
    let principal = match bearer(request.headers()) {
        None => None,
        Some(secret) => match api.app.authenticate(secret).await {
            Ok(principal) => principal,
            Err(refusal) => return Problem::from(refusal).into_response(),
        },
    };
    let Some(principal) = principal else {
        let source = source(&request);
        api.strangers.note(source, now);
        if api.strangers_rate.admits(&source, now) {
            return api.counted(Problem::unauthorized());
        }
        return too_many(&api);
    };
    if !api.principals.admits(&principal.id, now) {
        return too_many(&api);
    }
    request.extensions_mut().insert(principal);
    next.run(request).await
}

fn too_many(api: &Api) -> Response {
    api.counted(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "too many requests: wait a second"))
}

/// Where the request comes from, as far as the connection tells (headers are the sender's to invent).
fn source(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

/// The secret of the one `Authorization: Bearer` header; two headers are none.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret)
}

/// What one route needs.
#[derive(Clone)]
pub struct Needs {
    /// The whole interface.
    pub api: Arc<Api>,
    /// What the principal must be allowed to do.
    pub access: Access,
    /// Streams end when the client goes; everything else within the request deadline.
    pub streams: bool,
    /// The route's pattern.
    pub route: &'static str,
    /// Whether an answer may be kept for whoever repeats the request with the same `Idempotency-Key`.
    pub repeatable: bool,
}

/// Lets the principal past when its role allows what the route needs, for as long as a request may take.
pub async fn authorize(State(needs): State<Needs>, request: Request, next: Next) -> Response {
    let response = let_past(&needs, request, next).await;
    needs.api.metrics.api_request(needs.route, response.status().as_u16());
    response
}

async fn let_past(needs: &Needs, request: Request, next: Next) -> Response {
    let Some(principal) = request.extensions().get::<Principal>().cloned() else {
        return Problem::unauthorized().into_response();
    };
    let method = request.method().clone();
    if !principal.role.may(needs.access) {
        let asked = format!("{method} {}", needs.route);
        if let Err(refusal) = needs.api.app.record_denial(&principal, &asked).await {
            return Problem::from(refusal).into_response();
        }
        let detail = format!("{asked} is not for the role {}", principal.role);
        return Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into_response();
    }
    if needs.streams {
        return next.run(request).await;
    }
    let work = async {
        if needs.repeatable && request.headers().contains_key(once::HEADER) {
            return once::answer(&needs.api, &principal, request, next).await;
        }
        next.run(request).await
    };
    match tokio::time::timeout(needs.api.request_deadline, work).await {
        Ok(response) => denied_is_audited(needs, &principal, &method, response).await,
        Err(_) => {
            let detail = "the request took too long and was given up; what it began may still be done";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "deadline", detail).into_response()
        }
    }
}

/// What the route itself denied (a cluster that the principal's selector does not reach) is kept like what a role is
/// denied.
async fn denied_is_audited(needs: &Needs, by: &Principal, method: &Method, response: Response) -> Response {
    let Some(Denied(why)) = response.extensions().get() else { return response };
    let asked = format!("{method} {}: {why}", needs.route);
    match needs.api.app.record_denial(by, &asked).await {
        Ok(()) => response,
        Err(refusal) => Problem::from(refusal).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer one"));
        assert_eq!(bearer(&headers), Some("one"));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer two"));
        assert_eq!(bearer(&headers), None);
    }

    #[test]
    fn other_schemes_are_none() {
        for value in ["Basic YTpi", "Bearer", "one", ""] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            assert_eq!(bearer(&headers), None, "{value}");
        }
    }
}
