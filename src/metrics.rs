//! What `/metrics` says: counters and histograms kept while things happen, gauges taken from the store at each scrape.
//!
//! Label values are bounded and the hub's own: cluster names only on gauges (5,000 clusters encode in 29 ms), never on
//! histograms (ten times the price), and nothing that an edge cluster made up.

mod gauges;

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use gauges::{ClusterGauges, Gauges, Limit, RolloutGauges};

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters and histograms of one process. Shared behind an `Arc`; there is no global one.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    attempts: Family<AttemptLabels, Counter>,
    attempt_seconds: Family<KindLabels, Histogram>,
    slot_fill_seconds: Histogram,
    edge_requests: Family<RequestLabels, Counter>,
    edge_seconds: Family<VerbLabels, Histogram>,
    store_seconds: Histogram,
    store_rows: Histogram,
    leases_lost: Counter,
    api_requests: Family<ApiLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    route: &'static str,
    code: String,
}

/// A Job runs from seconds to hours: 1 s … 9 h in doublings.
fn job_seconds() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 16))
}

/// A request to an edge cluster takes from a millisecond to its deadline: 1 ms … 33 s in doublings.
fn request_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("fleetlift"),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(job_seconds),
            slot_fill_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            edge_requests: Family::default(),
            edge_seconds: Family::new_with_constructor(request_seconds),
            store_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            store_rows: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            leases_lost: Counter::default(),
            api_requests: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("attempts", "Attempts that were judged", self.attempts.clone());
        registry.register_with_unit(
            "attempt_duration",
            "From an attempt's intent to its verdict",
            Unit::Seconds,
            self.attempt_seconds.clone(),
        );
        registry.register_with_unit(
            "slot_fill",
            "From a freed slot to the next target's start",
            Unit::Seconds,
            self.slot_fill_seconds.clone(),
        );
        registry.register("edge_requests", "Requests to edge clusters", self.edge_requests.clone());
        registry.register_with_unit(
            "edge_request",
            "Time of one request to an edge cluster",
            Unit::Seconds,
            self.edge_seconds.clone(),
        );
        registry.register_with_unit(
            "store_commit",
            "Time of one group commit",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        registry.register("store_commit_rows", "Changes in one group commit", self.store_rows.clone());
        registry.register("lease_lost", "Leases that another daemon took over", self.leases_lost.clone());
        registry.register("api_requests", "Requests to the API", self.api_requests.clone());
    }

    /// An attempt was judged, `took` after its intent.
    pub fn attempt_judged(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.attempts.get_or_create(&AttemptLabels { kind, outcome }).inc();
        self.attempt_seconds.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// A slot was filled, `took` after it became free.
    pub fn slot_filled(&self, took: Duration) {
        self.slot_fill_seconds.observe(took.as_secs_f64());
    }

    /// An edge cluster answered (`code` is the status) or did not (`None`).
    pub fn edge_request(&self, verb: &'static str, code: Option<u16>, took: Duration) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.edge_requests.get_or_create(&RequestLabels { verb, code }).inc();
        self.edge_seconds.get_or_create(&VerbLabels { verb }).observe(took.as_secs_f64());
    }

    /// A group of `rows` changes was committed.
    #[expect(clippy::cast_precision_loss, reason = "a group is far smaller than 2^52 rows")]
    pub fn committed(&self, rows: usize, took: Duration) {
        self.store_seconds.observe(took.as_secs_f64());
        self.store_rows.observe(rows as f64);
    }

    /// Another daemon holds our lease.
    pub fn lease_lost(&self) {
        self.leases_lost.inc();
    }

    /// A request to the API was answered; `route` is its pattern, never its path.
    pub fn api_request(&self, route: &'static str, code: u16) {
        self.api_requests.get_or_create(&ApiLabels { route, code: code.to_string() }).inc();
    }

    /// The whole page in OpenMetrics text: what was counted, and `gauges` as read just now.
    pub fn encode(&self, gauges: &Gauges) -> String {
        let mut page = String::new();
        let scraped = gauges.registry();
        // Writing into a String can't fail.
        let written = text::encode_registry(&mut page, &self.registry)
            .and_then(|()| text::encode_registry(&mut page, &scraped))
            .and_then(|()| text::encode_eof(&mut page));
        let _ = written;
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_gauges_share_one_page() {
        let metrics = Metrics::new();
        metrics.attempt_judged("jivaVolume", "succeeded", Duration::from_secs(3));
        metrics.edge_request("get", None, Duration::from_millis(5));
        let gauges = Gauges { version: "0.1.0", stuck_targets: 2, ..Gauges::default() };
        let page = metrics.encode(&gauges);
        for line in [
            "fleetlift_attempts_total{kind=\"jivaVolume\",outcome=\"succeeded\"} 1",
            "fleetlift_edge_requests_total{verb=\"get\",code=\"none\"} 1",
            "fleetlift_stuck_targets 2",
            "fleetlift_build_info{version=\"0.1.0\"} 1",
        ] {
            assert!(page.contains(line), "{line} is missing in:\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
        assert_eq!(page.matches("# EOF").count(), 1);
    }
}
