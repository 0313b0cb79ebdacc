//! The nouns and their laws: pure values, no I/O, no clocks of their own.

pub mod attempt;
pub mod budget;
pub mod clock;
pub mod cluster;
pub mod event;
pub mod fleet;
pub mod ids;
pub mod inventory;
pub mod observation;
pub mod plan;
pub mod resource;
pub mod rollout;
pub mod selector;
pub mod target;
pub mod version;
pub mod window;
pub mod zone;

pub use attempt::Attempt;
pub use clock::{Clock, Entropy, Timestamp};
pub use fleet::{Fleet, Seconds, Strategy};
pub use ids::{
    AttemptId, ClusterId, DaemonId, HubId, InventoryDigest, PlanDigest, Revision, RolloutId, TargetId, TaskId, TokenId,
};
pub use inventory::Inventory;
pub use plan::Plan;
pub use resource::{ResourceKind, ResourceRef};
pub use selector::Selector;
pub use version::Version;
pub use window::Window;
pub use zone::Zone;
