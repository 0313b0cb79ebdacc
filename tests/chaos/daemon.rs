//! A running daemon: killed, frozen, thawed, and told to stop.

use std::fs::OpenOptions;
use std::process::{Child, Command, Stdio};

use crate::place::{BINARY, LONG, Place, until};

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
        let log = OpenOptions::new().append(true).create(true).open(place.file("daemon.log")).unwrap();
        // What the one before left would lead to a port that may be somebody else's by now.
        let _ = std::fs::remove_file(place.file("data/daemon.address"));
        let process = command.args(["daemon", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(log).spawn();
        Self(process.unwrap())
    }

    /// Waits until it answers.
    pub fn answers(&mut self, place: &Place) {
        until("the daemon answers", LONG, || {
            assert!(self.0.try_wait().unwrap().is_none(), "the daemon ended: {}", place.log());
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
        let signalled = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(signalled.success());
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.ended();
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) {
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
