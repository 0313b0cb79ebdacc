//! Who asks, whether the hub is ready, and what was denied.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, Principal, Refusal};
use crate::domain::Timestamp;
use crate::domain::event::{Actor, Event, EventType, Subject};

/// Who the token is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The name in the audit.
    pub actor: String,
    /// What it may do.
    pub role: String,
    /// The clusters that it may touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The hub's version.
    pub version: String,
}

impl App {
    /// Who asks.
    pub fn whoami(&self, by: &Principal) -> WhoAmI {
        WhoAmI {
            actor: by.actor.to_string(),
            role: by.role.to_string(),
            selector: by.selector.as_ref().map(ToString::to_string),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether the store answers.
    pub async fn ready(&self) -> Result<(), Refusal> {
        self.store.audit_head().await?;
        Ok(())
    }

    /// Keeps how often each source asked without a valid token since `since`.
    pub async fn record_strangers(&self, since: Timestamp, counts: &[(String, u64)]) -> Result<(), Refusal> {
        let now = self.clock.now();
        let event = |(source, count): &(String, u64)| {
            Event::new(now, EventType::RequestUnauthenticated, Actor::unknown(), Subject::default())
                .with("source", source.as_str())
                .with("count", *count)
                .with("since", since.to_string())
        };
        Ok(self.store.record(counts.iter().map(event).collect()).await?)
    }

    /// Keeps that a known principal asked for what it may not do.
    pub async fn record_denial(&self, by: &Principal, asked: &str) -> Result<(), Refusal> {
        let event = self.event(by, EventType::RequestDenied, Subject::default()).because(asked);
        Ok(self.store.record(vec![event]).await?)
    }
}
