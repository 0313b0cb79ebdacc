//! One daemon on its embedded store: killed again and again, or standing still for longer than its lease.

use std::time::Duration;

use fleetlift::sim::oracle::Limits;
use fleetlift::sim::{ClusterSpec, UpgradeFault, UpgradeTrouble};

use crate::ROUNDS;
use crate::edges::Edges;
use crate::hub::{Daemon, Place};
use crate::seed::{Seed, rounds};

/// What the fleet file below allows.
pub fn limits() -> Limits {
    Limits { running: Some(12), per_cluster: Some(1), per_label: vec![("site".to_owned(), 4)], attempts: Some(3) }
}

/// A fleet file for the simulated clusters: one wave, tight limits, quick retries.
pub const FLEET: &str = r"
apiVersion: fleetlift.io/v1
kind: Fleet
metadata: {name: chaos}
spec:
  groups:
    - {name: stores, selector: tier=store, target: {openebs: 3.6.0}, strategy: steady}
  strategies:
    - name: steady
      waves: [{name: all}]
      limits: {running: 12, per: [{label: site, running: 4}]}
      failures: {allow: 0}
      retries: {attempts: 3, backoff: {first: 1s, longest: 2s}}
      unreachable: {retryEvery: 2s, minReached: 100%}
      deadlines: {task: 60s, cluster: 10m, rollout: 60m}
";

/// Every tenth upgrade fails at its first try, so that attempts are counted over restarts.
pub fn some_fail(number: usize, cluster: &mut ClusterSpec) {
    if number % 10 == 3 {
        let what = UpgradeTrouble::Fails("no such image".to_owned());
        cluster.behaviour.upgrades = vec![UpgradeFault { kind: None, name: None, times: Some(1), what }];
    }
}

#[test]
fn a_daemon_that_is_killed_at_random_moments_doubles_nothing_and_loses_nothing() {
    let mut seed = Seed::or(11);
    let kills = rounds(ROUNDS, 15);
    let clusters = usize::try_from(kills * 4).unwrap();
    let edges = Edges::start(clusters, seed.number, (Duration::from_millis(300), Duration::from_secs(2)), some_fail);
    let place = Place::embedded();
    let mut daemon = Daemon::start(&place);
    let rollout = place.rollout(&edges, FLEET);
    for kill in 0..kills {
        assert_ne!(place.status(&rollout)["state"], "finished", "it was over before kill {kill}");
        // After some more work, or after some time, in which it may also be doing nothing but take over.
        let (work, time) = (seed.between(1, 12), seed.between(10, 4_500));
        edges.until_requests(usize::try_from(work).unwrap(), Duration::from_millis(time));
        daemon.kill();
        daemon = Daemon::start(&place);
    }
    place.succeeded(&rollout);
    place.results_are_whole(&rollout, &edges, 3);
    edges.saw_nothing_wrong(&limits());
}

#[test]
fn a_daemon_that_stands_still_for_longer_than_its_lease_goes_on_where_it_was() {
    let mut seed = Seed::or(12);
    let edges = Edges::start(24, seed.number, (Duration::from_secs(1), Duration::from_secs(4)), some_fail);
    let place = Place::embedded();
    let daemon = Daemon::start(&place);
    let rollout = place.rollout(&edges, FLEET);
    for _ in 0..rounds(ROUNDS, 2) {
        edges.until_requests(usize::try_from(seed.between(3, 15)).unwrap(), Duration::from_secs(5));
        daemon.signal("-STOP");
        // Longer than the lease, and longer than the upgrades: their ends come while nobody looks.
        std::thread::sleep(Duration::from_millis(seed.between(4_000, 6_000)));
        daemon.signal("-CONT");
    }
    place.succeeded(&rollout);
    place.results_are_whole(&rollout, &edges, 3);
    edges.saw_nothing_wrong(&limits());
}
