//! A hub over one cluster of the real node: the real daemon, and what its operator types.

use std::time::Duration;

use serde_json::Value;

use crate::attempt::IMAGE;
use crate::support::TestCluster;
use crate::support::hub::{Daemon, Place};
use crate::support::witness::Witness;

/// A running daemon, one registered cluster, and somebody who watches what becomes of Jobs and Pods.
pub struct Hub {
    /// Where the daemon keeps its data.
    pub place: Place,
    /// Never two at once.
    pub witness: Witness,
    _daemon: Daemon,
}

/// How often played operators look where executors in Pods wait for them, which look every two seconds themselves.
pub const CALM: Duration = Duration::from_millis(500);

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

    /// Registers the cluster with the hub's account's token, and applies a fleet of one group to it, for which `executor`
    /// works.
    pub async fn register(&self, cluster: &TestCluster, to: &str, executor: &str, deadline: &str, attempts: u32) {
        let kubeconfig = self.place.write("berlin.yaml", &cluster.hub_kubeconfig().await);
        let add = ["cluster", "add", CLUSTER, "--kubeconfig", &kubeconfig, "--namespace", &cluster.namespace];
        self.ok(&[&add[..], &["--label", "tier=store"]].concat());
        let fleet = self.place.write("fleet.yaml", &fleet(to, executor, deadline, attempts));
        self.ok(&["fleet", "apply", &fleet]);
        self.ok(&["cluster", "resources", CLUSTER, "--refresh"]);
    }

    /// Plans for these resources alone, which takes so many tasks; gives the plan's file.
    pub fn plan(&self, resources: &[&str], tasks: usize) -> String {
        let plan = self.place.file("plan.json").display().to_string();
        let chosen = resources.iter().flat_map(|resource| ["--resource", resource]);
        let arguments: Vec<&str> = ["plan", "--group", "stores", "--out", &plan].into_iter().chain(chosen).collect();
        let planned = self.ok(&arguments);
        assert!(planned.contains(&format!("{tasks} task")), "{planned}");
        plan
    }

    /// What the latest rollout came to: its verdict, and its one result.
    pub fn verdict(&self) -> (String, Value) {
        self.verdict_of(&self.place.finished())
    }

    /// The same of a rollout that has finished so.
    pub fn verdict_of(&self, status: &Value) -> (String, Value) {
        let results = self.json(&["result", "list", "latest"]);
        self.ok(&["audit", "verify"]);
        self.witness.assert_never_two_at_once();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&status["verdict"]), results[0].clone())
    }

    /// Waits until `explain` says all of this, and gives the whole answer.
    pub fn explains(&self, parts: &[&str]) -> String {
        self.place.explains(CLUSTER, parts)
    }

    /// What the hub says about the cluster.
    pub fn explain(&self) -> String {
        self.place.explain(CLUSTER)
    }
}

/// Ours, in that image, as a fleet's config says it.
pub fn ours(image: &str) -> String {
    format!("{{use: fleetlift, image: '{image}'}}")
}

/// A fleet as a user writes it: one group, one wave.
pub fn fleet(to: &str, executor: &str, deadline: &str, attempts: u32) -> String {
    format!(
        "
apiVersion: fleetlift.io/v1
kind: Fleet
metadata: {{name: retail}}
spec:
  timeZone: Europe/Berlin
  groups:
    - name: stores
      selector: tier=store
      target: {{openebs: {to}, executor: {executor}}}
      strategy: careful
  strategies:
    - name: careful
      waves: [{{name: all}}]
      failures: {{allow: 0}}
      attached: warn
      deadlines: {{task: {deadline}, cluster: 30m, rollout: 1h}}
      retries: {{attempts: {attempts}, backoff: {{first: 1s, longest: 1s}}}}
      unreachable: {{retryEvery: 2s}}
"
    )
}
