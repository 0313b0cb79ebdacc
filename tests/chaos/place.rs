//! Whole rollouts over simulated clusters, typed beside a daemon.

use std::path::Path;

use serde_json::Value;

use crate::edges::Edges;
use crate::hub::{LONG, Place, until, until_or};

impl Place {
    /// Registers every cluster, reads what they run, applies `fleet`, and starts a rollout; gives its id.
    pub fn rollout(&self, edges: &Edges, fleet: &str) -> String {
        self.rollout_of(edges, fleet, |_| ())
    }

    /// The same, with something happening to the clusters of these names between plan and start.
    pub fn rollout_of(&self, edges: &Edges, fleet: &str, meanwhile: impl FnOnce(&[String])) -> String {
        let text = |path: &Path| path.display().to_string();
        let (kubeconfigs, labels) = edges.write(self.folder());
        self.ok(&["cluster", "import", &text(&kubeconfigs), "--labels", &text(&labels)]);
        let file = self.file("fleet.yaml");
        std::fs::write(&file, fleet).unwrap();
        self.ok(&["fleet", "apply", &text(&file)]);
        until("every cluster is in the plan", LONG, || {
            let clusters = self.ok(&["cluster", "list", "-o", "json"]).json();
            let reachable = |cluster: &&Value| cluster["state"] == "reachable";
            clusters.as_array().unwrap().iter().filter(reachable).count() == edges.count()
        });
        let plan = self.ok(&["plan", "-o", "json"]).json();
        let digest = plan["digest"].as_str().unwrap_or_else(|| panic!("{plan}")).to_owned();
        meanwhile(&edges.names());
        let started = self.ok(&["rollout", "start", &digest, "-o", "json"]).json();
        started["id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned()
    }

    /// Waits until the rollout has succeeded.
    pub fn succeeded(&self, rollout: &str) {
        let mut seen = Value::Null;
        // As long as it gets on: how long that takes depends on the machine and on how many there are.
        while seen["state"] != "finished" {
            let goes_on = || {
                let before = seen["targets"]["succeeded"].as_u64();
                seen_over(self.status(rollout), &mut seen) || seen["targets"]["succeeded"].as_u64() > before
            };
            until_or("the rollout goes on or is over", LONG, goes_on, || self.unfinished(rollout));
        }
        assert_eq!(seen["verdict"], "succeeded", "{seen:#}\n{}", self.log());
    }

    fn unfinished(&self, rollout: &str) -> String {
        let clusters = self.run(&["rollout", "status", rollout, "--clusters"]);
        format!("{}\n{}\n{}", clusters.out, clusters.err, self.log())
    }

    /// Every result succeeded, and none took more attempts than `attempts`; the audit is whole.
    pub fn results_are_whole(&self, rollout: &str, edges: &Edges, attempts: u64) {
        let results = self.ok(&["result", "list", rollout, "-o", "json"]).json();
        let results = results.as_array().unwrap();
        assert_eq!(results.len(), edges.count());
        for result in results {
            let fine =
                result["outcome"] == "succeeded" && (1..=attempts).contains(&result["attempts"].as_u64().unwrap());
            let shown = || self.run(&["result", "show", rollout, result["cluster"].as_str().unwrap()]).out;
            assert!(fine, "{result:#}\n{}", shown());
        }
        self.ok(&["audit", "verify"]);
    }
}

fn seen_over(status: Value, seen: &mut Value) -> bool {
    if !status.is_null() {
        *seen = status;
    }
    seen["state"] == "finished"
}
