//! What the store says at the moment of a scrape.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::Timestamp;

/// Everything that is read from the store for one scrape.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// This program's version.
    pub version: &'static str,
    /// The registered clusters.
    pub clusters: Vec<ClusterGauges>,
    /// Rollouts that have not finished, and the newest that have.
    pub rollouts: Vec<RolloutGauges>,
    /// Limits and how much of them is in use.
    pub limits: Vec<Limit>,
    /// Deferred targets by reason.
    pub deferred: Vec<(&'static str, u64)>,
    /// Running targets past the deadline of their cluster.
    pub stuck_targets: u64,
    /// The number of the audit chain's last entry.
    pub audit_head: Option<i64>,
}

/// One cluster.
#[derive(Debug, Clone)]
pub struct ClusterGauges {
    /// Its name.
    pub name: String,
    /// `reachable`, `unreachable`, `quarantined` or `unknown`.
    pub state: &'static str,
    /// When its credential expires, where it says.
    pub credential_expiry: Option<Timestamp>,
    /// The OpenEBS release of its control plane, where known.
    pub version: Option<String>,
}

/// One rollout.
#[derive(Debug, Clone)]
pub struct RolloutGauges {
    /// Its id.
    pub id: String,
    /// Its state's name.
    pub state: &'static str,
    /// How many targets are in which state, by wave: `(wave, state, count)`.
    pub targets: Vec<(String, &'static str, u64)>,
    /// When it will be done, as far as can be told.
    pub eta: Option<Timestamp>,
}

/// One limit.
#[derive(Debug, Clone)]
pub struct Limit {
    /// `hub`, `fleet/retail`, `label/site=berlin` …
    pub scope: String,
    /// The most that may be in use.
    pub limit: u64,
    /// What is in use.
    pub running: u64,
}

macro_rules! labels {
    ($($name:ident { $($label:ident: $kind:ty),* })*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($label: $kind),* }
    )*};
}

labels! {
    State { state: &'static str }
    Cluster { cluster: String }
    ClusterVersion { cluster: String, version: String }
    RolloutState { rollout: String, state: &'static str }
    Targets { rollout: String, wave: String, state: &'static str }
    Rollout { rollout: String }
    Scope { scope: String }
    Reason { reason: &'static str }
    Version { version: &'static str }
}

type Seconds = Gauge<f64, AtomicU64>;

/// Every state that a rollout can be in, so that a state's series goes to 0 instead of vanishing.
const ROLLOUT_STATES: [&str; 4] = ["running", "paused", "stopping", "finished"];

/// Every reason for which a target can be deferred.
const DEFERRALS: [&str; 8] =
    ["unreachable", "unverified", "refused", "control_plane", "busy", "unsettled", "in_use", "outside_window"];

/// Every state that a cluster can be counted under.
const CLUSTER_STATES: [&str; 4] = ["reachable", "unreachable", "quarantined", "unknown"];

impl Gauges {
    /// A registry with these values in it, of the same prefix as the counters'.
    pub(super) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("fleetlift");
        registry.register("build", "This program", Info::new(Version { version: self.version }));
        let stuck = Gauge::<i64>::default();
        stuck.set(whole(self.stuck_targets));
        registry.register("stuck_targets", "Targets that run past the deadline of their cluster", stuck);
        self.add_clusters(&mut registry);
        self.add_rollouts(&mut registry);
        self.add_limits(&mut registry);
        if let Some(seq) = self.audit_head {
            let head = Gauge::<i64>::default();
            head.set(seq);
            registry.register("audit_head", "The number of the last audit entry", head);
        }
        registry
    }

    fn add_clusters(&self, registry: &mut Registry) {
        let states = Family::<State, Gauge>::default();
        let reachable = Family::<Cluster, Gauge>::default();
        let expiry = Family::<Cluster, Seconds>::default();
        let versions = Family::<ClusterVersion, Gauge>::default();
        for state in CLUSTER_STATES {
            states.get_or_create(&State { state }).set(0);
        }
        for ClusterGauges { name, state, credential_expiry, version } in &self.clusters {
            states.get_or_create(&State { state }).inc();
            let cluster = Cluster { cluster: name.clone() };
            if *state != "unknown" {
                reachable.get_or_create(&cluster).set(i64::from(*state == "reachable"));
            }
            if let Some(at) = credential_expiry {
                expiry.get_or_create(&cluster).set(seconds(*at));
            }
            if let Some(version) = version {
                versions.get_or_create(&ClusterVersion { cluster: name.clone(), version: version.clone() }).set(1);
            }
        }
        registry.register("clusters", "Registered clusters by state", states);
        registry.register("cluster_reachable", "Whether the last look at the cluster succeeded", reachable);
        registry.register_with_unit(
            "cluster_credential_expiry_timestamp",
            "When the cluster's credential expires",
            Unit::Seconds,
            expiry,
        );
        registry.register("cluster_version_info", "The OpenEBS release of the cluster's control plane", versions);
    }

    fn add_rollouts(&self, registry: &mut Registry) {
        let states = Family::<RolloutState, Gauge>::default();
        let targets = Family::<Targets, Gauge>::default();
        let etas = Family::<Rollout, Seconds>::default();
        for RolloutGauges { id, state: present, targets: counts, eta } in &self.rollouts {
            for state in ROLLOUT_STATES {
                let labels = RolloutState { rollout: id.clone(), state };
                states.get_or_create(&labels).set(i64::from(state == *present));
            }
            for (wave, state, count) in counts {
                let labels = Targets { rollout: id.clone(), wave: wave.clone(), state };
                targets.get_or_create(&labels).set(whole(*count));
            }
            if let Some(at) = eta {
                etas.get_or_create(&Rollout { rollout: id.clone() }).set(seconds(*at));
            }
        }
        registry.register("rollout_state", "1 for the state that the rollout is in", states);
        registry.register("rollout_targets", "Targets by wave and state", targets);
        registry.register_with_unit(
            "rollout_eta_timestamp",
            "When the rollout will be done, as far as can be told",
            Unit::Seconds,
            etas,
        );
    }

    fn add_limits(&self, registry: &mut Registry) {
        let running = Family::<Scope, Gauge>::default();
        let limits = Family::<Scope, Gauge>::default();
        for Limit { scope, limit, running: in_use } in &self.limits {
            let labels = Scope { scope: scope.clone() };
            limits.get_or_create(&labels).set(whole(*limit));
            running.get_or_create(&labels).set(whole(*in_use));
        }
        registry.register("running", "Slots in use", running);
        registry.register("limit", "Slots that may be in use", limits);
        let deferred = Family::<Reason, Gauge>::default();
        for reason in DEFERRALS {
            deferred.get_or_create(&Reason { reason }).set(0);
        }
        for &(reason, count) in &self.deferred {
            deferred.get_or_create(&Reason { reason }).set(whole(count));
        }
        registry.register("deferred", "Deferred targets by reason", deferred);
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit a double to the microsecond until 2255")]
fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / 1e6
}
