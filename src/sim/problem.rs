//! What the API server answers when it does not do what was asked: a `Status` object, in its own words.

use serde_json::{Value, json};

use super::resources::Resource;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// 404: no object of that name.
    NotFound(Resource, String),
    /// 404 in plain text: no such path, as for kinds whose CRD is missing.
    NoSuchPath,
    /// 409: an object of that name exists.
    Exists(Resource, String),
    /// 409: not the object, or not the version of it, that was meant.
    Conflict(Resource, String, String),
    /// 422: the object is not acceptable; field and what is wrong with it.
    Invalid(Resource, String, String),
    /// 400.
    BadRequest(String),
    /// 401.
    Unauthorized,
    /// 403, with the whole message.
    Forbidden(Resource, String, String),
    /// 405.
    NotAllowed,
    /// 410: that version is no longer known.
    Expired(String),
    /// 415: the body's type.
    UnsupportedType(String),
    /// 413: the body's size.
    TooLarge,
}

impl Problem {
    /// A write that names another version than the present one.
    pub fn modified(resource: Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::Conflict(resource, name.to_owned(), why.to_owned())
    }

    /// The HTTP status.
    pub const fn code(&self) -> u16 {
        match self {
            Self::NotFound(..) | Self::NoSuchPath => 404,
            Self::Exists(..) | Self::Conflict(..) => 409,
            Self::Invalid(..) => 422,
            Self::BadRequest(_) => 400,
            Self::Unauthorized => 401,
            Self::Forbidden(..) => 403,
            Self::NotAllowed => 405,
            Self::Expired(_) => 410,
            Self::UnsupportedType(_) => 415,
            Self::TooLarge => 413,
        }
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let (reason, message, details) = match self {
            Self::NotFound(resource, name) => {
                ("NotFound", format!("{} \"{name}\" not found", resource.qualified()), details(*resource, name))
            }
            Self::NoSuchPath => ("NotFound", "the server could not find the requested resource".to_owned(), json!({})),
            Self::Exists(resource, name) => (
                "AlreadyExists",
                format!("{} \"{name}\" already exists", resource.qualified()),
                details(*resource, name),
            ),
            Self::Conflict(resource, name, why) => (
                "Conflict",
                format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified()),
                details(*resource, name),
            ),
            Self::Invalid(resource, name, why) => {
                let row = resource.row();
                let kind =
                    if row.group.is_empty() { row.kind.to_owned() } else { format!("{}.{}", row.kind, row.group) };
                let details = json!({"name": name, "group": row.group, "kind": row.kind});
                ("Invalid", format!("{kind} \"{name}\" is invalid: {why}"), details)
            }
            Self::BadRequest(message) => ("BadRequest", message.clone(), json!({})),
            Self::Unauthorized => ("Unauthorized", "Unauthorized".to_owned(), json!({})),
            Self::Forbidden(resource, name, message) => ("Forbidden", message.clone(), details(*resource, name)),
            Self::NotAllowed => {
                let message = "the server does not allow this method on the requested resource";
                ("MethodNotAllowed", message.to_owned(), json!({}))
            }
            Self::Expired(message) => ("Expired", message.clone(), json!({})),
            Self::UnsupportedType(kind) => {
                ("UnsupportedMediaType", format!("the body of the request was in an unknown format: {kind}"), json!({}))
            }
            Self::TooLarge => {
                ("RequestEntityTooLarge", "Request entity too large: limit is 3145728".to_owned(), json!({}))
            }
        };
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "details": details, "code": self.code()})
    }
}

fn details(resource: Resource, name: &str) -> Value {
    let row = resource.row();
    let mut details = json!({"kind": row.plural});
    if !row.group.is_empty() {
        details["group"] = row.group.into();
    }
    if !name.is_empty() {
        details["name"] = name.into();
    }
    details
}
