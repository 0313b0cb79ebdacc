//! Who asks, and what they may do.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Refusal;
use crate::domain::event::Actor;
use crate::domain::{Selector, TokenId};

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything but the audit and the tokens.
    Viewer,
    /// Plans and carries rollouts out, as far as its selector reaches.
    Operator,
    /// Everything.
    Admin,
    /// Reads everything, the audit included.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Auditor];

    /// The name in the store, the API and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
        }
    }

    /// Whether this role may do what needs `access`.
    pub const fn may(self, access: Access) -> bool {
        match access {
            Access::Read => true,
            Access::Audit => matches!(self, Self::Admin | Self::Auditor),
            Access::Operate => matches!(self, Self::Admin | Self::Operator),
            Access::Administer => matches!(self, Self::Admin),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("`{text}` is no role (viewer, operator, admin or auditor)"))
    }
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Look at clusters, fleets, plans, rollouts, results.
    Read,
    /// Look at the audit.
    Audit,
    /// Plan and carry rollouts out.
    Operate,
    /// Register clusters, apply fleets, make tokens.
    Administer,
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The token.
    pub id: TokenId,
    /// The name under which it appears in the audit.
    pub actor: Actor,
    /// What it may do.
    pub role: Role,
    /// The clusters that it may change something about; all without one.
    pub selector: Option<Selector>,
}

impl Principal {
    /// Refuses to touch a cluster with these labels when the principal's selector does not reach it.
    pub fn must_reach(&self, cluster: &str, labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
        match &self.selector {
            Some(selector) if !selector.matches(labels) => Err(Refusal::Forbidden(format!(
                "cluster {cluster} lies outside of what {} may touch ({selector})",
                self.actor
            ))),
            _ => Ok(()),
        }
    }
}
