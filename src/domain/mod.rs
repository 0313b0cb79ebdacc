//! The nouns and their laws: pure values, no I/O, no clocks of their own.

pub mod clock;
pub mod ids;
pub mod resource;
pub mod version;

pub use clock::{Clock, Entropy, Timestamp};
pub use ids::{
    AttemptId, ClusterId, DaemonId, HubId, InventoryDigest, PlanDigest, Revision, RolloutId, TargetId, TaskId, TokenId,
};
pub use resource::{ResourceKind, ResourceRef};
pub use version::Version;
