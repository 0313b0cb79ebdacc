//! Simulated clusters in this process, and what they saw.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleetlift::sim::oracle::{Limits, Record, Summary, What, summary, verify};
use fleetlift::sim::{Behaviour, ClusterSpec, Fleet, FleetSpec, Mix, Oracle, Pace};
use fleetlift::system::SystemClock;
use tokio::runtime::Runtime;

use crate::hub::{LONG, until};

/// A simulated fleet; ends when dropped.
pub struct Edges {
    fleet: Fleet,
    count: usize,
    _runtime: Runtime,
}

/// How long upgrades take that do not matter.
pub const QUICK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(600));

impl Edges {
    /// `count` clusters of one volume each, whose upgrades take as long as `upgrade` says; `spoil` may change each.
    pub fn start(
        count: usize,
        seed: u64,
        upgrade: (Duration, Duration),
        spoil: impl Fn(usize, &mut ClusterSpec),
    ) -> Self {
        // Several tests of one process try; the first does it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut spec = FleetSpec::generated(count, Mix::OneVolume, seed);
        spec.pace = Pace { upgrade_min: upgrade.0, upgrade_max: upgrade.1, ..Pace::default() };
        spec.clusters.iter_mut().enumerate().for_each(|(number, cluster)| spoil(number, cluster));
        let fleet = {
            let _inside = runtime.enter();
            Fleet::start(spec, Arc::new(SystemClock), Oracle::in_memory(), seed).unwrap()
        };
        Self { fleet, count, _runtime: runtime }
    }

    /// How many clusters.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Writes kubeconfigs and labels below `folder`.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (kubeconfigs, labels) = (folder.join("kubeconfigs"), folder.join("labels.csv"));
        self.fleet.write_kubeconfigs(&kubeconfigs).unwrap();
        self.fleet.write_labels(&labels).unwrap();
        (kubeconfigs, labels)
    }

    /// Every cluster behaves like this from now on.
    pub fn behave(&self, behaviour: &Behaviour) {
        for access in self.fleet.kubeconfigs() {
            assert!(self.fleet.behave(&access.name, behaviour.clone()));
        }
    }

    /// One cluster behaves like this from now on.
    pub fn behave_alone(&self, name: &str, behaviour: &Behaviour) {
        assert!(self.fleet.behave(name, behaviour.clone()));
    }

    /// The clusters' names, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.fleet.kubeconfigs().into_iter().map(|access| access.name).collect();
        names.sort_unstable();
        names
    }

    /// What was seen so far.
    pub fn records(&self) -> Vec<Record> {
        assert_eq!(self.fleet.oracle().lost(), 0);
        self.fleet.oracle().records()
    }

    /// What was seen so far, in numbers.
    pub fn summary(&self) -> Summary {
        summary(&self.records())
    }

    /// Waits until the clusters saw `more` changing requests.
    pub fn until_requests(&self, more: usize, at_most: Duration) {
        let before = self.requests();
        let end = std::time::Instant::now() + at_most;
        until("the clusters see more requests", LONG, || {
            self.requests() >= before + more || std::time::Instant::now() >= end
        });
    }

    fn requests(&self) -> usize {
        self.fleet.oracle().records().iter().filter(|record| matches!(record.what, What::Request(_))).count()
    }

    /// No resource ever had two unfinished Jobs or living Pods, no limit was exceeded at any instant, and each cluster
    /// had its Job complete.
    pub fn saw_nothing_wrong(&self, limits: &Limits) -> Summary {
        let records = self.records();
        let wrong = verify(&records, limits);
        assert!(wrong.is_empty(), "{:#?}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>());
        let summary = summary(&records);
        assert_eq!((summary.complete, summary.unfinished), (self.count, 0), "{summary:?}");
        summary
    }
}
