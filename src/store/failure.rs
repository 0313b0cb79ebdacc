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
                _ if is_full(database.code().as_deref()) => StoreError::Full(Box::new(error)),
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

/// SQLite's "full", Postgres's "disk full".
fn is_full(code: Option<&str>) -> bool {
    matches!(code, Some("13" | "53100"))
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
pub(super) struct Shared {
    why: Arc<dyn Error + Send + Sync>,
    full: bool,
}

impl Shared {
    pub(super) fn new(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => Self { why: why.into(), full: false },
            StoreError::Full(why) => Self { why: why.into(), full: true },
            other => Self { why: Arc::new(other), full: false },
        }
    }

    pub(super) fn saying(sentence: &str) -> Self {
        let why: Box<dyn Error + Send + Sync> = sentence.into();
        Self { why: why.into(), full: false }
    }

    pub(super) fn to_error(&self) -> StoreError {
        let why = Box::new(self.clone());
        if self.full { StoreError::Full(why) } else { StoreError::Unavailable(why) }
    }
}

impl Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.why.source()
    }
}
