//! An instant on the wire: RFC 3339 in UTC.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Timestamp;

/// An instant as people and scripts read it: `2026-12-01T22:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, format = DateTime)]
pub struct When(pub Timestamp);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Timestamp> for When {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl From<When> for String {
    fn from(when: When) -> Self {
        when.0.to_jiff().to_string()
    }
}

impl TryFrom<String> for When {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<jiff::Timestamp>() {
            Ok(instant) => Ok(Self(Timestamp::from_jiff(instant))),
            Err(_) => Err(format!("`{text}` is no time (expected RFC 3339, for example 2026-12-01T22:00:00Z)")),
        }
    }
}
