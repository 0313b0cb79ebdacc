//! A registered cluster: how it is called, where it is, and whether it may be used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::{ClusterId, Timestamp};

/// A registered cluster, without its credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id, never reused.
    pub id: ClusterId,
    /// Its name, unique among the clusters that are not removed.
    pub name: String,
    /// Labels for selectors and limits.
    pub labels: BTreeMap<String, String>,
    /// Its IANA time zone, where it differs from the fleet's.
    pub time_zone: Option<String>,
    /// The namespace in which OpenEBS runs.
    pub namespace: String,
    /// The hub's egress that its connections take, by name.
    pub egress: Option<String>,
    /// The API server's URL.
    pub server: String,
    /// Whether its server is proven by a CA; an administrator may have waived that when its credential was stored.
    pub tls_verified: bool,
    /// The UID of namespace `kube-system` when it was registered or first seen: its identity.
    pub identity: Option<String>,
    /// When its credential ends, where that can be told.
    pub credential_expires_at: Option<Timestamp>,
    /// Whether it may be used.
    pub state: ClusterState,
    /// When it last answered, and what happened since.
    pub reach: Reach,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// Raised by each change; a write names the version that it read.
    pub version: i64,
}

/// Whether a cluster may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ClusterState {
    /// It may.
    Active,
    /// It answered as another cluster, or as one that has another name, or its credential does not open: not used until a person looked.
    Quarantined {
        /// Why, in a sentence.
        why: String,
    },
    /// It was removed; its row stays for the history, its credential is gone.
    Removed {
        /// When.
        at: Timestamp,
    },
}

impl ClusterState {
    /// The state's name in tables, metrics and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quarantined { .. } => "quarantined",
            Self::Removed { .. } => "removed",
        }
    }
}

/// When a cluster last answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// When it last answered; `None` if it never did.
    pub seen_at: Option<Timestamp>,
    /// Since when it does not answer, and what happened; `None` while it answers.
    pub failing: Option<Failing>,
    /// When it answered again after it last had not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_at: Option<Timestamp>,
}

impl Reach {
    /// As it is once the cluster has answered at `now`.
    #[must_use]
    pub fn answered(&self, now: Timestamp) -> Self {
        let back_at = if self.failing.is_some() { Some(now) } else { self.back_at };
        Self { seen_at: Some(now), failing: None, back_at }
    }
}

/// What happens when a cluster does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// What happened last.
    pub error: String,
}

/// A credential as it is stored: never in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCredential {
    /// Raised by each replacement; bound into the envelope.
    pub version: i64,
    /// The envelope (`seal`).
    pub envelope: Vec<u8>,
    /// The CA certificates, PEM; their SHA-256 is bound into the envelope.
    pub ca_pem: String,
    /// The name in the server's certificate, where it differs from the host of the URL.
    pub tls_server_name: Option<String>,
}

/// A stored credential beside what the audit says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// The credential.
    pub sealed: SealedCredential,
    /// The last sealing of this cluster that the audit tells of.
    pub last: Option<Sealing>,
}

impl StoredCredential {
    /// The version of the next sealing: above every one that there was, also where an older row was put back.
    pub fn next_version(&self) -> i64 {
        self.last.as_ref().map_or(0, |last| last.version).max(self.sealed.version) + 1
    }
}

/// What the audit keeps of a sealing, so that an older one that is put back into its row is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    /// Its version.
    pub version: i64,
    /// SHA-256 of the nonce and the ciphertext, in hexadecimal: stays the same when only the sealing key changes.
    pub ciphertext_sha256: String,
}

impl Sealing {
    const VERSION: &str = "version";
    const CIPHERTEXT: &str = "ciphertext_sha256";

    /// `event` with this sealing.
    pub fn told_by(&self, event: Event) -> Event {
        event.with(Self::VERSION, self.version).with(Self::CIPHERTEXT, self.ciphertext_sha256.as_str())
    }

    /// What `event` tells of a sealing; those of the first versions did not tell.
    pub fn of(event: &Event) -> Option<Self> {
        Some(Self {
            version: event.data.get(Self::VERSION)?.as_i64()?,
            ciphertext_sha256: event.data.get(Self::CIPHERTEXT)?.as_str()?.to_owned(),
        })
    }
}
