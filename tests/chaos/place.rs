//! Where a hub lives: a data folder, perhaps a database elsewhere, and the commands that people type beside it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::edges::Edges;

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_fleetlift");

/// Longer than anything takes that ends at all, on a machine that does much else.
pub const LONG: Duration = Duration::from_secs(150);

/// A data folder and the settings of whoever starts a daemon there.
pub struct Place {
    folder: tempfile::TempDir,
    /// Settings, as environment variables.
    settings: Vec<(String, String)>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// The answer as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_default()
    }
}

impl Place {
    /// With an embedded store.
    pub fn embedded() -> Self {
        let settings = vec![("FLEETLIFT_EDGE__ALLOW_NETWORKS".to_owned(), "127.0.0.0/8".to_owned())];
        Self { folder: tempfile::tempdir().unwrap(), settings }
    }

    /// With a database that others use, too. All of them need the same key.
    pub fn on(database: &str) -> Self {
        let mut place = Self::embedded();
        place.set("FLEETLIFT_DATABASE__URL", database);
        place.set("FLEETLIFT_SEALING__KEY", "Y2hhb3MtY2hhb3MtY2hhb3MtY2hhb3MtY2hhb3MtISE=");
        place
    }

    /// Another data folder with the same settings: of another machine, so to speak.
    pub fn beside(other: &Self) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), settings: other.settings.clone() }
    }

    /// Sets a variable for daemons and commands.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// A file of that name beside the data.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, with nothing of whoever runs the tests around it.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.folder.path()).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command.env("FLEETLIFT_DATA_DIR", self.file("data")).envs(self.settings.iter().cloned());
        command
    }

    /// Runs a command beside the daemon.
    pub fn run(&self, arguments: &[&str]) -> Done {
        done(self.program(BINARY).args(arguments))
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Done {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}\n{}", self.log());
        done
    }

    /// What daemons in this folder logged.
    pub fn whole_log(&self) -> String {
        std::fs::read_to_string(self.file("daemon.log")).unwrap_or_default()
    }

    /// The end of it.
    pub fn log(&self) -> String {
        let log = self.whole_log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// The first administrator's token.
    pub fn token(&self) -> Option<String> {
        std::fs::read_to_string(self.file("data/admin.token")).ok().map(|token| token.trim().to_owned())
    }

    /// Registers every cluster, reads what they run, applies `fleet`, and starts a rollout; gives its id.
    pub fn rollout(&self, edges: &Edges, fleet: &str) -> String {
        self.rollout_of(edges, fleet, |_| ())
    }

    /// The same, with something happening to the clusters of these names between plan and start.
    pub fn rollout_of(&self, edges: &Edges, fleet: &str, meanwhile: impl FnOnce(&[String])) -> String {
        let text = |path: &Path| path.display().to_string();
        let (kubeconfigs, labels) = edges.write(self.folder.path());
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

    /// Where the rollout stands; `null` while no daemon answers.
    pub fn status(&self, rollout: &str) -> Value {
        self.run(&["rollout", "status", rollout, "-o", "json"]).json()
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

/// Runs a command to its end.
pub fn done(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until something holds.
pub fn until(what: &str, at_most: Duration, holds: impl FnMut() -> bool) {
    until_or(what, at_most, holds, String::new);
}

/// The same, with more to say when it does not.
pub fn until_or(what: &str, at_most: Duration, mut holds: impl FnMut() -> bool, or: impl Fn() -> String) {
    let end = Instant::now() + at_most;
    while !holds() {
        assert!(Instant::now() < end, "waited {at_most:?} in vain until {what}\n{}", or());
        std::thread::sleep(Duration::from_millis(50));
    }
}
