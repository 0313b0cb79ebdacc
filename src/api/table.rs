//! The route table: one row a route, from which the router, the OpenAPI document and the tests of access are made.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::Api;
use super::guard::{Needs, authorize};
use crate::app::Access;

/// One route.
pub struct Row {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for what varies.
    pub path: &'static str,
    /// What the principal must be allowed to do.
    pub access: Access,
    /// What it does, for the document.
    pub summary: &'static str,
    /// What the body holds.
    pub takes: Option<Shape>,
    /// What the answer holds.
    pub answers: Option<Shape>,
    /// The query's parameters.
    pub query: &'static [(&'static str, &'static str)],
    /// Whether the answer is a stream without end or deadline.
    pub streams: bool,
    /// Whether the answer holds a secret, and is never kept.
    pub secret: bool,
    handler: MethodRouter<Arc<Api>>,
}

/// The schema of a body, and every schema that it refers to.
pub struct Shape {
    /// The schema itself.
    pub schema: RefOr<Schema>,
    /// What it refers to, by name.
    pub parts: Vec<(String, RefOr<Schema>)>,
}

impl Shape {
    fn of<T: ToSchema>() -> Self {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        Self { schema: T::schema(), parts }
    }
}

/// `limit` and `cursor`.
pub const PAGING: &[(&str, &str)] =
    &[("limit", "at most so many entries (1 to 1000)"), ("cursor", "the `next` of the page before")];

impl Row {
    fn new<H, T>(method: Method, path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        // The methods are ours: each has a filter.
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        let handler = on(filter, handler);
        Self {
            method,
            path,
            access,
            summary,
            takes: None,
            answers: None,
            query: &[],
            streams: false,
            secret: false,
            handler,
        }
    }

    /// A route that only looks.
    pub fn get<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        Self::new(Method::GET, path, access, summary, handler)
    }

    /// A route that does something.
    pub fn post<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        Self::new(Method::POST, path, access, summary, handler)
    }

    /// A route that replaces.
    pub fn put<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        Self::new(Method::PUT, path, access, summary, handler)
    }

    /// A route that changes a part.
    pub fn patch<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        Self::new(Method::PATCH, path, access, summary, handler)
    }

    /// A route that removes.
    pub fn delete<H, T>(path: &'static str, access: Access, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        Self::new(Method::DELETE, path, access, summary, handler)
    }

    /// The body's shape.
    pub fn takes<T: ToSchema>(self) -> Self {
        Self { takes: Some(Shape::of::<T>()), ..self }
    }

    /// The answer's shape.
    pub fn answers<T: ToSchema>(self) -> Self {
        Self { answers: Some(Shape::of::<T>()), ..self }
    }

    /// The query's parameters, each with its meaning.
    pub fn query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    /// The answer is a stream without end or deadline.
    pub fn streams(self) -> Self {
        Self { streams: true, ..self }
    }

    /// The answer holds a secret: it is never kept for a repeated request.
    pub fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

/// A router of these routes, each behind what it needs.
pub fn router(rows: Vec<Row>, api: &Arc<Api>) -> Router<Arc<Api>> {
    rows.into_iter().fold(Router::new(), |router, row| {
        let repeatable = row.method == Method::POST && !row.secret;
        let needs = Needs { api: api.clone(), access: row.access, streams: row.streams, route: row.path, repeatable };
        router.route(row.path, row.handler.layer(axum::middleware::from_fn_with_state(needs, authorize)))
    })
}
