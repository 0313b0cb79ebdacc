//! A hub as people run it: the real program as a daemon, and the commands that they type beside it.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

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
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it told.
    pub err: String,
}

impl Done {
    /// The answer as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_default()
    }
}

impl Place {
    /// With an embedded store, and leave to talk to API servers on loopback.
    pub fn embedded() -> Self {
        let settings = vec![("FLEETLIFT_EDGE__ALLOW_NETWORKS".to_owned(), "127.0.0.0/8".to_owned())];
        Self { folder: tempfile::tempdir().expect("a folder"), settings }
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
        Self { folder: tempfile::tempdir().expect("a folder"), settings: other.settings.clone() }
    }

    /// Sets a variable for daemons and commands.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// The folder that the data lies in, and whatever else belongs to this hub.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of that name beside the data.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the data and gives its path, as it is typed.
    pub fn write(&self, name: &str, text: &str) -> String {
        let file = self.file(name);
        std::fs::write(&file, text).expect("the folder is ours");
        file.display().to_string()
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

    /// Where the rollout stands; `null` while no daemon answers.
    pub fn status(&self, rollout: &str) -> Value {
        self.run(&["rollout", "status", rollout, "-o", "json"]).json()
    }

    /// Waits for something that commands tell; whatever else runs in the test goes on.
    pub fn wait(&self, what: &str, holds: impl FnMut() -> bool) {
        self.wait_at_most(2 * LONG, what, holds);
    }

    fn wait_at_most(&self, at_most: Duration, what: &str, holds: impl FnMut() -> bool) {
        let stands = || self.run(&["rollout", "status", "latest", "--clusters"]).out;
        let or = || format!("{}\n{}", stands(), self.log());
        tokio::task::block_in_place(|| until_or(what, at_most, holds, or));
    }

    /// Waits for the end of the latest rollout, and gives its status.
    pub fn finished(&self) -> Value {
        self.finished_within(2 * LONG)
    }

    /// The same for a rollout that may take longer than others.
    pub fn finished_within(&self, at_most: Duration) -> Value {
        let mut status = Value::Null;
        self.wait_at_most(at_most, "the rollout has finished", || {
            status = self.status("latest");
            status["state"] == "finished"
        });
        status
    }

    /// What the hub says about a cluster of the latest rollout.
    pub fn explain(&self, cluster: &str) -> String {
        let Done { out, err, .. } = self.run(&["explain", "latest", cluster]);
        out + &err
    }

    /// Waits until `explain` says all of this, and gives the whole answer.
    pub fn explains(&self, cluster: &str, parts: &[&str]) -> String {
        let mut said = String::new();
        self.wait(&format!("{cluster} is explained by {parts:?}"), || {
            said = self.explain(cluster);
            parts.iter().all(|part| said.contains(part))
        });
        said
    }
}

/// A daemon's process; killed when dropped.
pub struct Daemon(Child);

impl Daemon {
    /// Starts a daemon and waits until it answers.
    pub fn start(place: &Place) -> Self {
        let mut daemon = Self::begin(place, place.program(BINARY));
        daemon.answers(place);
        daemon
    }

    /// Starts a daemon by `command`, which is the program with whatever stands before its arguments.
    pub fn begin(place: &Place, mut command: Command) -> Self {
        // One log for all daemons of a place: what the one before did is half of the story.
        let log = OpenOptions::new().append(true).create(true).open(place.file("daemon.log")).expect("a log");
        // What the one before left would lead to a port that may be somebody else's by now.
        let _ = std::fs::remove_file(place.file("data/daemon.address"));
        let process = command.args(["daemon", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(log).spawn();
        Self(process.expect("the program runs"))
    }

    /// Waits until it answers.
    pub fn answers(&mut self, place: &Place) {
        until("the daemon answers", LONG, || {
            assert!(self.0.try_wait().expect("our child").is_none(), "the daemon ended: {}", place.log());
            place.file("data/daemon.address").exists()
                && place.run(&["version", "-o", "json"]).json()["hub"].is_string()
        });
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal by its name, for example `-STOP`.
    pub fn signal(&self, name: &str) {
        let signalled = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(signalled.is_ok_and(|status| status.success()));
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.0.kill().expect("our child");
        self.ended();
    }

    /// Waits until it has ended, and gives its exit code.
    pub fn ended(&mut self) -> i32 {
        self.0.wait().expect("our child").code().unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end.
pub fn done(command: &mut Command) -> Done {
    let output = command.output().expect("the program runs");
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until something holds.
///
/// # Panics
/// When it did not in time; `what` says what was waited for.
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
