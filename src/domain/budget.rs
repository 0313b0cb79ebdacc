//! Budgets: how many targets may run at once, by scope. Rows in the store, taken and given back in the transactions
//! that start and end targets.

use serde::{Deserialize, Serialize};

use super::RolloutId;

/// What a limit covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope")]
pub enum Scope {
    /// Everything that this store's daemons run.
    Hub,
    /// All rollouts of one fleet.
    Fleet {
        /// Its name.
        fleet: String,
    },
    /// One rollout.
    Rollout {
        /// Which.
        rollout: RolloutId,
    },
    /// All clusters with one value of a label, across rollouts and daemons.
    Label {
        /// The label's key.
        key: String,
        /// The label's value.
        value: String,
    },
    /// One cluster: at most one rollout works on it at a time.
    Cluster {
        /// Its id.
        cluster: super::ClusterId,
    },
}

impl Scope {
    /// The key of the budget's row; the order of these keys is the order in which rows are locked.
    pub fn key(&self) -> String {
        match self {
            Self::Hub => "hub".to_owned(),
            Self::Fleet { fleet } => format!("fleet/{fleet}"),
            Self::Rollout { rollout } => format!("rollout/{rollout}"),
            Self::Label { key, value } => format!("label/{key}={value}"),
            Self::Cluster { cluster } => format!("cluster/{cluster}"),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hub => write!(f, "the hub"),
            Self::Fleet { fleet } => write!(f, "fleet {fleet}"),
            Self::Rollout { .. } => write!(f, "the rollout"),
            Self::Label { key, value } => write!(f, "{key}={value}"),
            Self::Cluster { .. } => write!(f, "the cluster"),
        }
    }
}

/// One slot wanted in one scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// Where.
    pub scope: Scope,
    /// The most that may be in use there, this one included; two claims on one scope may name different limits (each
    /// rollout brings its own), and the smaller one then binds whoever asks with it.
    pub limit: u32,
}

/// How much of a scope is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Where.
    pub scope: Scope,
    /// Slots taken.
    pub in_use: u32,
}
