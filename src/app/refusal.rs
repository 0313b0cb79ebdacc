//! Why a use case did not do what it was asked.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::StoreError;

/// Why a use case did not do what it was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What was named is not there.
    #[error("there is no {noun} {name}")]
    NotFound {
        /// `cluster`, `rollout`, …
        noun: &'static str,
        /// As it was asked for.
        name: String,
    },
    /// The request can't be meant; the sentence names the field and the remedy.
    #[error("{0}")]
    Invalid(String),
    /// The document has mistakes: all of them.
    #[error("{summary}")]
    Flawed {
        /// How many, in what.
        summary: String,
        /// Each one.
        flaws: Vec<Flaw>,
    },
    /// It contradicts what is there; the sentence says what to do.
    #[error("{0}")]
    Conflict(String),
    /// It was changed since the caller read it.
    #[error("{what} was changed since you read it: read it again and decide anew")]
    Changed {
        /// What.
        what: String,
    },
    /// The caller may not do that.
    #[error("{0}")]
    Forbidden(String),
    /// The edge cluster did not do its part.
    #[error("cluster {cluster}: {reason}")]
    Edge {
        /// The cluster's name.
        cluster: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// The store failed.
    #[error("the store refused")]
    Store(#[source] StoreError),
}

/// One mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flaw {
    /// The file, or the field of the request.
    pub place: String,
    /// The line, from 1; 0 where there is none.
    #[serde(default)]
    pub line: u64,
    /// The column, from 1; 0 where there is none.
    #[serde(default)]
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty where the message says it all.
    #[serde(default)]
    pub remedy: String,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what, name } => Self::NotFound { noun: what, name },
            // The caller named no version: it lost a race that it did not know of.
            StoreError::Conflict { what } => {
                Self::Conflict(format!("{what} was changed by somebody else meanwhile: look again, and decide anew"))
            }
            StoreError::Exists { what, name } => Self::Conflict(format!("{what} {name} exists already")),
            error @ StoreError::SameCluster { .. } => Self::Conflict(error.to_string()),
            error @ (StoreError::BudgetUsedUp { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Unusable { .. }
            | StoreError::Unavailable(_)
            | StoreError::Full(_)) => Self::Store(error),
        }
    }
}
