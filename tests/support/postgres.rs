//! A real Postgres for the tests of one process: a temporary cluster on loopback, a database for each test.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// A running server; ends with the process.
pub struct Postgres {
    programs: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// Closed by the end of this process, which is the server's order to stop.
    _orders: ChildStdin,
    _shepherd: Child,
}

impl Postgres {
    /// The one that all tests of this process share.
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Postgres>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Arc::new(Self::start())))
    }

    /// The address of an empty database of its own.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = Command::new(self.programs.join("createdb"))
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string(), "--username", "fleetlift", &name])
            .output()
            .expect("createdb runs");
        assert!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://fleetlift@127.0.0.1:{}/{name}", self.port)
    }

    fn start() -> Self {
        let programs = programs();
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|held| held.local_addr()).expect("a free port").port();
        let folder = tempfile::Builder::new().prefix("fleetlift-postgres-").tempdir().expect("a folder").keep();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/postgres-shepherd");
        let mut shepherd = Command::new(script)
            .arg(&folder)
            .arg(&programs)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let orders = shepherd.stdin.take().expect("it is piped");
        let mut answer = [0; 5];
        let ready = shepherd.stdout.take().expect("it is piped").read_exact(&mut answer);
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(ready.is_ok() && &answer == b"ready", "Postgres did not start: {log}");
        Self { programs, port, databases: AtomicU32::new(0), _orders: orders, _shepherd: shepherd }
    }
}

/// The folder with `initdb` and its like; of several releases, the newest.
#[expect(clippy::disallowed_methods, reason = "a test is a composition root")]
fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|release| release.path().join("bin"))
        .chain(std::env::var_os("PATH").iter().flat_map(std::env::split_paths))
        .filter(|folder| ["initdb", "pg_ctl", "createdb"].iter().all(|program| folder.join(program).is_file()))
        .collect();
    found.sort();
    found
        .pop()
        .expect("this test needs Postgres, and there is no initdb on this machine: run `tests/run`, which installs it")
}
