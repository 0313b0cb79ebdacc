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
    /// 409: another object of that name than the one that was to be deleted; here its kind is named, not its plural.
    Another(Resource, String, String),
    /// 422: the object is not acceptable; field and what is wrong with it.
    Invalid(Resource, String, String),
    /// 400.
    BadRequest(String),
    /// 500, without a reason: what the API server says of a watch from a version that is no number.
    NoVersion(String),
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
            Self::Exists(..) | Self::Conflict(..) | Self::Another(..) => 409,
            Self::Invalid(..) => 422,
            Self::BadRequest(_) => 400,
            Self::NoVersion(_) => 500,
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
            Self::Another(resource, name, why) => (
                "Conflict",
                format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind(*resource)),
                details_of(resource.row().kind, *resource, name),
            ),
            Self::Invalid(resource, name, why) => {
                let mut details = details_of(resource.row().kind, *resource, name);
                details["causes"] = json!([cause(why)]);
                ("Invalid", format!("{} \"{name}\" is invalid: {why}", kind(*resource)), details)
            }
            Self::BadRequest(message) => ("BadRequest", message.clone(), json!({})),
            Self::NoVersion(version) => {
                let parsing = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
                ("", format!("resourceVersion: Invalid value: {version:?}: {parsing}"), json!({}))
            }
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
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "code": self.code()});
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        if details.as_object().is_some_and(|details| !details.is_empty()) {
            status["details"] = details;
        }
        status
    }
}

/// Its kind with its group: `Job.batch`.
fn kind(resource: Resource) -> String {
    let row = resource.row();
    if row.group.is_empty() { row.kind.to_owned() } else { format!("{}.{}", row.kind, row.group) }
}

/// What is wrong with one field, from `FIELD: WHAT`.
fn cause(why: &str) -> Value {
    let (field, message) = why.split_once(": ").unwrap_or(("", why));
    let reason = match message {
        required if required.starts_with("Required value") => "FieldValueRequired",
        unsupported if unsupported.starts_with("Unsupported value") => "FieldValueNotSupported",
        _ => "FieldValueInvalid",
    };
    json!({"reason": reason, "message": message, "field": field})
}

fn details(resource: Resource, name: &str) -> Value {
    details_of(resource.row().plural, resource, name)
}

fn details_of(kind: &str, resource: Resource, name: &str) -> Value {
    let row = resource.row();
    let mut details = json!({"kind": kind});
    if !row.group.is_empty() {
        details["group"] = row.group.into();
    }
    if !name.is_empty() {
        details["name"] = name.into();
    }
    details
}
