//! A daemon in a folder of its own, commands without any flags, and a simulated fleet.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleetlift::sim::{Fleet, FleetSpec, Mix, Oracle, Pace};
use fleetlift::system::SystemClock;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_fleetlift");

/// How long anything may take that takes a second on a machine that has nothing else to do.
pub const LONG: Duration = Duration::from_mins(1);

/// A running daemon; killed when dropped.
pub struct Daemon {
    pub folder: tempfile::TempDir,
    process: Child,
}

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// The answer as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl Daemon {
    /// Starts a daemon with these arguments beside the usual ones, and waits until it answers.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// The same in a folder that may have a hub's data already.
    pub fn start_in(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[])
    }

    /// The same with settings as environment variables.
    pub fn start_with(folder: tempfile::TempDir, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut daemon = Self::spawn(folder, arguments, settings);
        until("the daemon answers", || {
            assert!(daemon.process.try_wait().unwrap().is_none(), "the daemon ended: {}", daemon.log());
            daemon.run(&["version", "-o", "json"]).json()["hub"].is_string()
        });
        daemon
    }

    /// The same without waiting.
    pub fn spawn(folder: tempfile::TempDir, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        rustls_provider();
        let log = std::fs::File::create(folder.path().join("daemon.log")).unwrap();
        let said = std::fs::File::create(folder.path().join("daemon.out")).unwrap();
        let process = command(folder.path())
            .args(["daemon", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("FLEETLIFT_EDGE__ALLOW_NETWORKS", "127.0.0.0/8")
            .envs(settings.iter().copied())
            .stdout(said)
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, process }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Serves by TLS, under a certificate for `localhost` by the authority in `ca.pem`.
    pub fn start_with_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let ca = authority.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::from_params(&authority, &ca_key);
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        };
        write("ca.pem", &ca);
        let (certificate, key) = (write("hub.pem", &certificate.pem()), write("hub.key", &key.serialize_pem()));
        let settings = [("FLEETLIFT_API__TLS_CERTIFICATE", &*certificate), ("FLEETLIFT_API__TLS_KEY", &*key)];
        Self::start_with(folder, &[], &settings)
    }

    /// Where it listens for everybody, by the name that its certificate has.
    pub fn listens_on(&self) -> String {
        let said = std::fs::read_to_string(self.folder.path().join("daemon.out")).unwrap();
        let url = said.lines().find_map(|line| line.strip_prefix("listening on ")).unwrap();
        url.replace("127.0.0.1", "localhost")
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("daemon.log")).unwrap()
    }

    /// Runs a command on the daemon's machine: no server, no token, only the data folder.
    pub fn run(&self, arguments: &[&str]) -> Done {
        done(command(self.folder.path()).args(arguments))
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Done {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}\ndaemon: {}", self.log());
        done
    }

    /// Begins a command whose answer goes to a file of that name as it comes; what it remarks goes there, too.
    pub fn begin(&self, arguments: &[&str], file: &str) -> Begun {
        let file = self.folder.path().join(file);
        let told = std::fs::File::create(&file).unwrap();
        let mut command = command(self.folder.path());
        command.args(arguments).stdin(Stdio::null()).stdout(told.try_clone().unwrap()).stderr(told);
        Begun { process: command.spawn().unwrap(), file }
    }

    /// Runs a command as another principal.
    pub fn as_token(&self, token: &str, arguments: &[&str]) -> Done {
        done(command(self.folder.path()).env("FLEETLIFT_TOKEN", token).args(arguments))
    }

    /// The base address.
    pub fn url(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("data/daemon.address")).unwrap().trim().to_owned()
    }

    /// The first administrator's token.
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("data/admin.token")).unwrap().trim().to_owned()
    }

    /// Sends a signal by name and waits for the end; the folder stays.
    pub fn end(mut self, signal: &str) -> (tempfile::TempDir, i32) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let code = self.process.wait().unwrap().code().unwrap_or(-1);
        // The folder outlives the daemon: what Drop would do is done.
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (folder, code)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command under way; killed when dropped.
pub struct Begun {
    process: Child,
    file: PathBuf,
}

impl Begun {
    /// What it has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    /// Waits for its end.
    pub fn code(&mut self) -> i32 {
        self.process.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    // Nothing of whoever runs the tests: no login, no settings.
    command.env_clear().env("HOME", folder).env("FLEETLIFT_DATA_DIR", folder.join("data"));
    command
}

/// Runs the binary with nothing around it.
pub fn bare(folder: &Path, arguments: &[&str]) -> Done {
    done(command(folder).env_remove("FLEETLIFT_DATA_DIR").args(arguments))
}

fn done(command: &mut Command) -> Done {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A simulated fleet in this process, and the folder with its kubeconfigs.
pub struct Simulated {
    pub fleet: Fleet,
    pub kubeconfigs: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Simulated {
    /// `count` clusters of one volume each; kubeconfigs are written below `folder`.
    pub fn start(count: usize, folder: &Path) -> Self {
        Self::start_at(count, folder, Duration::from_millis(100))
    }

    /// The same, with upgrades that take long enough to be looked at.
    pub fn start_slowly(count: usize, folder: &Path) -> Self {
        Self::start_at(count, folder, Duration::from_secs(4))
    }

    fn start_at(count: usize, folder: &Path, upgrade: Duration) -> Self {
        rustls_provider();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut spec = FleetSpec::generated(count, Mix::OneVolume, 1);
        spec.pace = Pace { upgrade_min: upgrade, upgrade_max: upgrade * 2, ..Pace::default() };
        let fleet = {
            let _inside = runtime.enter();
            Fleet::start(spec, Arc::new(SystemClock), Oracle::in_memory(), 1).unwrap()
        };
        let kubeconfigs = folder.join("kubeconfigs");
        fleet.write_kubeconfigs(&kubeconfigs).unwrap();
        fleet.write_labels(&folder.join("labels.csv")).unwrap();
        Self { fleet, kubeconfigs, runtime }
    }

    /// All replicas of the JivaVolume of that cluster, which has no other, are in this mode from now on.
    pub fn only_jiva_volume_becomes(&self, cluster: &str, mode: &str) {
        let admin = Kubeconfig::from_yaml(&self.fleet.admin_kubeconfig(cluster).unwrap()).unwrap();
        self.runtime.block_on(async {
            #[expect(clippy::disallowed_methods, reason = "the kubeconfig is our own")]
            let config = Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await.unwrap();
            let client = Client::try_from(config).unwrap();
            let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("openebs.io", "v1", "JivaVolume"));
            let volumes: Api<DynamicObject> = Api::namespaced_with(client, "openebs", &kind);
            let mut volume = volumes.list(&ListParams::default()).await.unwrap().items.remove(0);
            for replica in volume.data["status"]["replicaStatus"].as_array_mut().unwrap() {
                replica["mode"] = mode.into();
            }
            let name = volume.metadata.name.clone().unwrap();
            volumes.replace(&name, &PostParams::default(), &volume).await.unwrap();
        });
    }
}

fn rustls_provider() {
    // Several tests of one process try; the first does it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A fleet file for the simulated clusters.
pub const FLEET: &str = r"
apiVersion: fleetlift.io/v1
kind: Fleet
metadata: {name: retail}
spec:
  groups:
    - name: stores
      selector: tier=store
      target: {openebs: 3.6.0}
      strategy: careful
  strategies:
    - name: careful
      waves:
        - {name: canary, size: 1, approval: after}
        - {name: rest}
      limits: {running: 3}
      failures: {allow: 1}
      retries: {attempts: 2, backoff: {first: 1s, longest: 1s}}
      unreachable: {retryEvery: 2s, minReached: 50%}
      deadlines: {task: 60s, cluster: 5m, rollout: 30m}
";
