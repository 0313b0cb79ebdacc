//! A process that writes without pause and says what it was promised, to be killed, stopped or starved by the tests:
//! this test binary itself, run again for one ignored test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleetlift::domain::TargetId;
use fleetlift::domain::event::EventType;
use fleetlift::domain::target::{Deferral, TargetState};
use fleetlift::store::{Fence, Lease, Options, StartTarget, Store, StoreError, TargetCommit};
use futures::future::join_all;

use crate::arrange::{NOW, Scene, daemon_id, event, hub_claim};

const URL: &str = "STORE_TEST_URL";

/// Slots that the victim may take, of the eight targets that it works on.
pub const SLOTS: u32 = 5;

/// The running victim.
pub struct Victim {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Victim {
    pub fn start(url: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "victim::it_writes_without_pause", "--nocapture"])
            .env(URL, url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// Waits for `count` more promises.
    pub fn promises(&mut self, count: usize) -> Vec<String> {
        let mut promises = Vec::new();
        while promises.len() < count {
            promises.push(self.next().expect("the victim lives and writes"));
        }
        promises
    }

    /// Kills it; what it was promised before that may still be in the pipe.
    pub fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::iter::from_fn(|| self.next()).collect()
    }

    pub fn signal(&self, name: &str) {
        let signalled = Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap();
        assert!(signalled.success());
    }

    fn next(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // A line that was cut by the kill is no promise that anybody has heard.
            if let Some(promise) = line.strip_suffix('\n').and_then(|line| line.strip_prefix("promised ")) {
                return Some(promise.to_owned());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the tests run it as a process of its own and kill it"]
#[expect(clippy::disallowed_methods, reason = "a process is told where to write by its environment")]
async fn it_writes_without_pause() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = fleetlift::store::open(&url, Options::default()).await.unwrap();
    if store.rollouts(None, 1).await.unwrap().is_empty() {
        Scene::on(Arc::clone(&store), 8).await;
    }
    // Whoever is killed is succeeded at once.
    let lease = store.renew_lease(daemon_id(), Duration::ZERO).await.unwrap();
    store.claim_due(&lease, NOW, 100).await.unwrap();
    let rollout = store.rollouts(None, 1).await.unwrap().remove(0);
    let targets = store.snapshot(rollout.id).await.unwrap().targets;
    let counter = AtomicU64::new(0);
    join_all(targets.iter().map(|target| work(store.as_ref(), lease, target.id, &counter))).await;
}

/// Starts and defers one target again and again.
async fn work(store: &dyn Store, lease: Lease, target: TargetId, counter: &AtomicU64) {
    loop {
        let Ok(work) = store.target_work(target).await else { continue };
        let promise = format!("{}-{}", lease.daemon, counter.fetch_add(1, Ordering::Relaxed));
        let told = |kind| vec![event(kind).because(promise.clone())];
        let version = work.target.version;
        let done = if let TargetState::Running { .. } = work.target.state {
            let reason = Deferral::Busy { by: "somebody".into() };
            let commit = TargetCommit {
                target,
                fence: Fence { lease, version },
                state: Some(TargetState::Deferred { reason, retry_at: NOW }),
                tasks: vec![],
                attempt: None,
                at: NOW,
                due_at: Some(NOW),
            };
            store.commit_target(commit, told(EventType::TargetDeferred)).await
        } else {
            let state = TargetState::Running { since: NOW, unseen_since: None, doing: String::new() };
            let start = StartTarget { target, version, state, at: NOW, lease, claims: vec![hub_claim(SLOTS)] };
            store.start_target(start, told(EventType::TargetStarted)).await
        };
        match done {
            // One call, so that the line is whole or not there.
            Ok(()) => std::io::stdout().write_all(format!("promised {promise}\n").as_bytes()).unwrap(),
            Err(StoreError::BudgetUsedUp { .. } | StoreError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other:?}"),
        }
    }
}
