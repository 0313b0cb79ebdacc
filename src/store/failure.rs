//! What the database's errors mean to us.

use std::error::Error;
use std::fmt::{self, Display};
use std::sync::Arc;

use super::StoreError;

/// What sqlx says, as what the caller can do about it.
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(database) => {
            use sqlx::error::ErrorKind;
            match database.kind() {
                ErrorKind::UniqueViolation
                | ErrorKind::ForeignKeyViolation
                | ErrorKind::NotNullViolation
                | ErrorKind::CheckViolation => {
                    let what = database.constraint().unwrap_or_else(|| database.message());
                    StoreError::Conflict { what: format!("a row ({what})") }
                }
                _ if is_damaged(database.code().as_deref()) => {
                    StoreError::Corrupt { what: "a page".to_owned(), why: database.message().to_owned() }
                }
                // Postgres's class "data exception": trying the same value again cannot help.
                _ if database.code().is_some_and(|code| code.len() == 5 && code.starts_with("22")) => {
                    StoreError::Corrupt { what: "a value".to_owned(), why: database.message().to_owned() }
                }
                _ => StoreError::Unavailable(Box::new(error)),
            }
        }
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_) => corrupt("an answer", &error),
        _ => StoreError::Unavailable(Box::new(error)),
    }
}

/// SQLite's "malformed" and "not a database", Postgres's class "internal error: data or index corrupted".
fn is_damaged(code: Option<&str>) -> bool {
    matches!(code, Some("11" | "26" | "XX001" | "XX002"))
}

pub(super) fn corrupt(what: &str, why: &dyn Display) -> StoreError {
    StoreError::Corrupt { what: what.to_owned(), why: why.to_string() }
}

pub(super) fn conflict(what: impl Into<String>) -> StoreError {
    StoreError::Conflict { what: what.into() }
}

/// A conflict unless exactly one row was changed.
pub(super) fn exactly_one(changed: u64, what: impl FnOnce() -> String) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(conflict(what())) }
}

/// One failure that several callers are told of.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<dyn Error + Send + Sync>);

impl Shared {
    pub(super) fn new(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(error.into())
    }

    pub(super) fn saying(sentence: &str) -> Self {
        Self::new(sentence.into())
    }

    pub(super) fn unavailable(&self) -> StoreError {
        StoreError::Unavailable(Box::new(self.clone()))
    }
}

impl Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
