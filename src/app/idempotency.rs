//! Creations that may be repeated: the first answer is kept and given again.

use super::{App, Principal, Refusal};

impl App {
    /// The answer that was kept for this principal and key, if any.
    pub async fn answered_before(&self, by: &Principal, key: &str) -> Result<Option<String>, Refusal> {
        let now = self.clock.now();
        Ok(self.store.idempotent(&by.id.to_string(), key, None, now).await?)
    }

    /// Keeps the answer for this principal and key.
    pub async fn keep_answer(&self, by: &Principal, key: &str, answer: &str) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.store.idempotent(&by.id.to_string(), key, Some(answer), now).await?;
        Ok(())
    }
}
