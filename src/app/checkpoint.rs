//! Say, signed, how far the audit has come; and whether it still leads to what was said before.

use super::{App, Refusal};
use crate::audit::chain::Head;
pub use crate::audit::checkpoint::Checkpoint;
use crate::domain::event::StoredEvent;

impl App {
    /// How far the audit has come now.
    pub async fn checkpoint(&self) -> Result<Checkpoint, Refusal> {
        let (seq, hash) = self.store.audit_head().await?;
        Ok(self.signer.sign(&Head { seq, hash }, self.clock.now()))
    }

    /// Whether the history still holds the event that `earlier` speaks of.
    pub async fn leads_to(&self, earlier: &Checkpoint) -> Result<bool, Refusal> {
        if earlier.seq == 0 {
            return Ok(true);
        }
        let found = self.store.events(earlier.seq - 1, None, 1).await?;
        let is_it = |event: &StoredEvent| event.seq == earlier.seq && event.hash == earlier.hash;
        Ok(found.first().is_some_and(is_it))
    }
}
