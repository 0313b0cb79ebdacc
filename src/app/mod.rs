//! The use cases, one file each: what the API and the command line can ask for.
//!
//! Each is one public method of [`App`]: it takes who asks and what for, and answers in the shape that the wire shows.

mod check;
mod checkpoint;
mod clusters;
mod eta;
mod events;
mod explain;
mod fleet;
mod gauges;
mod idempotency;
mod import;
mod known;
mod page;
mod plan;
mod principal;
mod refusal;
mod register;
mod rekey;
mod releases;
mod results;
mod retry;
mod rotate;
mod scene;
mod skip;
mod start;
mod status;
mod steer;
mod tokens;
mod when;
mod whoami;

use std::sync::Arc;
use std::time::Duration;

pub use check::{CheckReport, FindingView, NeedView, ResourcesView};
pub use checkpoint::Checkpoint;
pub use clusters::{ChangeCluster, ClusterView, FailingView};
pub use events::{EventView, Events};
pub use explain::{ExplainedTask, Explanation, PredicateView};
pub use fleet::{Applied, ChangeView, FleetFile, FleetFiles, FleetView};
pub use gauges::Readings;
pub use import::{ImportClusters, ImportOutcome, Imported};
pub use page::{Page, PageRequest};
pub use plan::{MakePlan, PlanCopy, PlanView};
pub use principal::{Access, Principal, Role};
pub use refusal::{Flaw, Refusal};
pub use register::RegisterCluster;
pub use releases::Releases;
pub use results::{NamedObject, ResourceName, ResultView};
pub use rotate::RotateCredential;
pub use start::StartRollout;
pub use status::{LimitView, RolloutView, TargetCounts, TargetView, WaveView};
pub use steer::{Abort, Approve, Remark};
pub use tokens::{CreateToken, CreatedToken, TokenView, recover};
pub use when::When;
pub use whoami::WhoAmI;

use crate::audit::checkpoint::Signer;
use crate::connections::Connections;
use crate::domain::event::{Event, EventType, Subject};
use crate::domain::{Clock, Entropy, HubId};
use crate::plans::Plans;
use crate::store::Store;

/// What every use case works with; made once by the composition root.
pub struct App {
    /// What the hub remembers.
    pub store: Arc<dyn Store>,
    /// The ways to the clusters.
    pub connections: Arc<Connections>,
    /// The plans that are looked at.
    pub plans: Arc<Plans>,
    /// The releases that the clusters run.
    pub releases: Releases,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids and tokens.
    pub entropy: Arc<dyn Entropy>,
    /// The hub's id.
    pub hub: HubId,
    /// Signs how far the audit has come.
    pub signer: Arc<Signer>,
    /// The most targets that the hub runs at once (`engine.max_running`).
    pub hub_limit: u32,
    /// How old inventories may be when a plan is made or started (`plan.max_age`).
    pub plan_max_age: Duration,
    /// How long a request waits for inventories that the engine is about to read.
    pub inventory_patience: Duration,
    /// Image repositories that plans may use beside OpenEBS's own and ours (`edge.images`).
    pub images: Vec<String>,
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
