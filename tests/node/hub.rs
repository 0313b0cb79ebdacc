//! A hub over one cluster of the real node: the real daemon, and what its operator types.

use serde_json::Value;

use crate::attempt::IMAGE;
use crate::support::TestCluster;
use crate::support::hub::{Daemon, Done, Place};
use crate::support::witness::Witness;

/// A running daemon, one registered cluster, and somebody who watches what becomes of Jobs and Pods.
pub struct Hub {
    /// Where the daemon keeps its data.
    pub place: Place,
    /// Never two at once.
    pub witness: Witness,
    _daemon: Daemon,
}

/// The name under which the cluster is registered.
pub const CLUSTER: &str = "berlin-1";

impl Hub {
    /// A daemon that knows no cluster yet.
    pub fn over(cluster: &TestCluster) -> Self {
        let mut place = Place::embedded();
        let (repository, _) = IMAGE.rsplit_once(':').unwrap();
        place.set("FLEETLIFT_EDGE__IMAGES", repository);
        let daemon = Daemon::start(&place);
        Self { place, witness: Witness::of(cluster), _daemon: daemon }
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.place.ok(arguments).out
    }

    /// Runs a command that must succeed, and gives what it printed as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        self.place.ok(&arguments).json()
    }

    /// What the hub says about the cluster.
    pub fn explain(&self) -> String {
        let Done { out, err, .. } = self.place.run(&["explain", "latest", CLUSTER]);
        out + &err
    }
}
