//! The use cases, one file each: what the API and the command line can ask for.
//!
//! Each is one public method of [`App`]: it takes who asks and what for, and answers in the shape that the wire shows.

mod page;
mod principal;
mod refusal;
mod tokens;
mod when;
mod whoami;

use std::sync::Arc;

pub use page::{Page, PageRequest};
pub use principal::{Access, Principal, Role};
pub use refusal::{Flaw, Refusal};
pub use tokens::{CreateToken, CreatedToken, TokenView};
pub use when::When;
pub use whoami::WhoAmI;

use crate::domain::event::{Event, EventType, Subject};
use crate::domain::{Clock, Entropy};
use crate::store::Store;

/// What every use case works with. Cheap to clone through its `Arc`s; made once by the composition root.
pub struct App {
    /// What the hub remembers.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids and tokens.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// An event of this moment, by this principal.
    pub(crate) fn event(&self, principal: &Principal, kind: EventType, subject: Subject) -> Event {
        Event::new(self.clock.now(), kind, principal.actor.clone(), subject)
    }
}
