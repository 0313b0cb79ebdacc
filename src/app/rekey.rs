//! Seal every credential with the current key, after the daemon was given a new one beside the one before it.

use super::{App, Refusal};
use crate::domain::event::{Actor, Event, EventType, Subject};
use crate::store::StoreError;

/// Clusters are read from the store this many at a time.
const PAGE: u32 = 1_000;

impl App {
    /// Wraps every data key with the current sealing key and, when all are, stores its check value `check` instead of
    /// `before`. Safe to repeat and to interrupt: until the check value is stored, both keys are needed. Answers how many
    /// envelopes were wrapped anew. What does not open stays as it is: a new key must not launder it.
    pub async fn rekey(&self, before: &str, check: &str) -> Result<u64, Refusal> {
        let mut wrapped = 0;
        let mut after: Option<String> = None;
        loop {
            let clusters = self.store.clusters(after.as_deref(), PAGE).await?;
            let Some(last) = clusters.last() else { break };
            after = Some(last.name.clone());
            for cluster in &clusters {
                let stored = match self.store.credential(cluster.id).await {
                    // It was removed meanwhile.
                    Err(StoreError::NotFound { .. }) => continue,
                    stored => stored?,
                };
                let vault = self.connections.vault();
                match vault.rewrap(cluster.id, &cluster.server, &stored, self.entropy.as_ref()) {
                    Ok(None) => {}
                    Ok(Some(envelope)) => {
                        match self.store.rewrap_credential(cluster.id, &stored.sealed, envelope).await {
                            // Replaced meanwhile, and sealed with the current key then.
                            Ok(()) | Err(StoreError::Conflict { .. }) => wrapped += 1,
                            Err(error) => return Err(error.into()),
                        }
                    }
                    Err(error) => {
                        tracing::error!(cluster.name = %cluster.name, %error, "its credential stays unusable: rotate it");
                    }
                }
            }
        }
        let event = Event::new(self.clock.now(), EventType::SealingKeyRotated, Actor::engine(), Subject::default());
        match self.store.replace_sealing_check(before, check, vec![event.with("credentials", wrapped)]).await {
            // Another daemon was given the same keys, and was faster.
            Ok(()) | Err(StoreError::Conflict { .. }) => Ok(wrapped),
            Err(error) => Err(error.into()),
        }
    }
}
