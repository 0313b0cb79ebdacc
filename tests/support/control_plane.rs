//! A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager. Ready in seconds.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::{Client, Config};
use tokio::sync::OnceCell;

use super::identity::{Authority, Identity, token_keys};

/// The group whose members may do everything (`system:masters` is known to every API server).
const ADMINS: &str = "system:masters";

/// What makes Jobs, Deployments and StatefulSets work and cleans up behind them; the rest of the controllers would only
/// cost time, or take action against nodes that nobody runs.
const CONTROLLERS: &str = "job-controller,deployment-controller,replicaset-controller,statefulset-controller,\
    namespace-controller,garbage-collector-controller,serviceaccount-controller,serviceaccount-token-controller,\
    root-ca-certificate-publisher-controller,ttl-after-finished-controller,clusterrole-aggregation-controller,\
    validatingadmissionpolicy-status-controller";

/// As slow as a start may be while other builds use the same two cores.
const START_PATIENCE: Duration = Duration::from_mins(2);

/// A running control plane; ends with this value, or with the process.
pub struct ControlPlane {
    authority: Authority,
    server: String,
    folder: PathBuf,
    shepherd: Mutex<Shepherd>,
    clusters: AtomicU32,
}

struct Shepherd {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl ControlPlane {
    /// The one that all tests of this process share.
    pub async fn shared() -> Arc<Self> {
        static SHARED: OnceCell<Arc<ControlPlane>> = OnceCell::const_new();
        Arc::clone(SHARED.get_or_init(Self::start).await)
    }

    /// One of its own, for tests that break it or that fill its cluster-wide kinds.
    pub async fn start() -> Arc<Self> {
        // Somebody else may take a port between our finding it free and a program's binding it.
        for _ in 0..2 {
            if let Some(plane) = Self::try_start().await {
                return plane;
            }
        }
        Self::try_start().await.expect("a control plane starts; its last words are above")
    }

    async fn try_start() -> Option<Arc<Self>> {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("fleetlift-k8s-").tempdir().expect("a folder").keep();
        let [etcd_port, peer_port, api_port] = free_ports();
        let authority = Authority::new();
        let server = format!("https://127.0.0.1:{api_port}");
        write_identities(&folder, &authority, &server);
        let etcd = format!("http://127.0.0.1:{etcd_port}");
        let file = |name: &str| folder.join(name).display().to_string();
        write_args(
            &folder,
            "etcd",
            &programs,
            &[
                ("data-dir", file("etcd")),
                ("listen-client-urls", etcd.clone()),
                ("advertise-client-urls", etcd.clone()),
                ("listen-peer-urls", format!("http://127.0.0.1:{peer_port}")),
                ("unsafe-no-fsync", "true".into()),
            ],
        );
        write_args(
            &folder,
            "kube-apiserver",
            &programs,
            &[
                ("etcd-servers", etcd),
                ("bind-address", "127.0.0.1".into()),
                ("secure-port", api_port.to_string()),
                ("endpoint-reconciler-type", "none".into()),
                ("tls-cert-file", file("server.crt")),
                ("tls-private-key-file", file("server.key")),
                ("client-ca-file", file("ca.crt")),
                ("service-account-key-file", file("tokens.pub")),
                ("service-account-signing-key-file", file("tokens.key")),
                ("service-account-issuer", "https://kubernetes.default.svc".into()),
                ("service-cluster-ip-range", "10.96.0.0/16".into()),
                ("authorization-mode", "Node,RBAC".into()),
                ("profiling", "false".into()),
                // A node's name is known to nobody else.
                ("kubelet-preferred-address-types", "InternalIP".into()),
                // As nearly everywhere: what forbids privileged Pods must be our own policy.
                ("allow-privileged", "true".into()),
            ],
        );
        write_args(
            &folder,
            "kube-controller-manager",
            &programs,
            &[
                ("kubeconfig", file("admin.kubeconfig")),
                ("service-account-private-key-file", file("tokens.key")),
                ("root-ca-file", file("ca.crt")),
                ("controllers", CONTROLLERS.into()),
                ("leader-elect", "false".into()),
                ("secure-port", "0".into()),
                // Without this a Job whose Pod just ended is looked at again only after a second.
                ("kube-api-qps", "500".into()),
                ("kube-api-burst", "500".into()),
            ],
        );
        let shepherd = Shepherd::over(&folder, &["etcd", "kube-apiserver", "kube-controller-manager"]);
        let plane = Self { authority, server, folder, shepherd: Mutex::new(shepherd), clusters: AtomicU32::new(0) };
        plane.ready().await.then(|| Arc::new(plane))
    }

    /// A client that may do everything. Clients belong to the runtime of the test that made them.
    pub fn admin(&self) -> Client {
        self.client(&self.authority.user("test-admin", Some(ADMINS)))
    }

    /// A kubeconfig that may do everything, with everything inline.
    pub fn admin_kubeconfig(&self) -> String {
        self.kubeconfig_with_certificate(&self.authority.user("test-admin", Some(ADMINS)))
    }

    /// A kubeconfig for the user of that name, who may do what RBAC gives it.
    pub fn user_kubeconfig(&self, name: &str) -> String {
        self.kubeconfig_with_certificate(&self.authority.user(name, None))
    }

    /// A kubeconfig that shows `token`.
    pub fn token_kubeconfig(&self, token: &str) -> String {
        kubeconfig(&self.server, &self.authority.pem, &format!("token: {token}"))
    }

    /// `https://127.0.0.1:PORT`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The certificate authority that signed the server's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.authority.pem
    }

    /// A number that no other caller got, for names.
    pub fn next_number(&self) -> u32 {
        self.clusters.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Kills the API server, as by a power cut.
    pub fn kill_api_server(&self) {
        self.order("kill kube-apiserver");
    }

    /// Starts it again, on the same address with the same data, and waits until it serves.
    pub async fn start_api_server(&self) {
        self.order("start kube-apiserver");
        assert!(self.ready().await, "the API server comes back");
    }

    /// Rebuilds the cluster from nothing, at the same address and with the same certificates: another cluster.
    pub async fn rebuild(&self) {
        self.order("kill kube-apiserver");
        self.order("kill etcd");
        fs::remove_dir_all(self.folder.join("etcd")).expect("nobody uses it");
        self.order("start etcd");
        self.start_api_server().await;
    }

    /// Stops the API server's process without ending it: connections stay open and nothing answers.
    pub fn freeze_api_server(&self) {
        self.order("freeze kube-apiserver");
    }

    /// Lets it go on.
    pub fn thaw_api_server(&self) {
        self.order("thaw kube-apiserver");
    }

    /// Stops the controllers: Jobs are accepted, and nothing comes of them.
    pub fn kill_controllers(&self) {
        self.order("kill kube-controller-manager");
    }

    /// Starts them again.
    pub fn start_controllers(&self) {
        self.order("start kube-controller-manager");
    }

    fn order(&self, line: &str) {
        self.shepherd.lock().expect("no test panicked here").order(line);
    }

    /// A client that shows `token`.
    pub fn token_client(&self, token: &str) -> Client {
        let mut config = self.config();
        config.auth_info.token = Some(token.to_owned().into());
        Client::try_from(config).expect("a client")
    }

    fn client(&self, identity: &Identity) -> Client {
        let mut config = self.config();
        config.auth_info.client_certificate_data = Some(STANDARD.encode(&identity.certificate));
        config.auth_info.client_key_data = Some(STANDARD.encode(&identity.key).into());
        Client::try_from(config).expect("a client")
    }

    fn config(&self) -> Config {
        let mut config = Config::new(self.server.parse().expect("an address"));
        config.root_cert = Some(vec![self.authority.der.clone()]);
        config.default_retry = false;
        config
    }

    fn kubeconfig_with_certificate(&self, identity: &Identity) -> String {
        let certificate = STANDARD.encode(&identity.certificate);
        let key = STANDARD.encode(&identity.key);
        let user = format!("client-certificate-data: {certificate}\n    client-key-data: {key}");
        kubeconfig(&self.server, &self.authority.pem, &user)
    }

    /// Whether it came up; what a program said that did not is printed.
    async fn ready(&self) -> bool {
        let client = self.admin();
        let begun = Instant::now();
        while begun.elapsed() < START_PATIENCE {
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
            if client.request_text(request).await.is_ok_and(|answer| answer == "ok") {
                return true;
            }
            if fs::read_to_string(self.folder.join("kube-apiserver.log")).is_ok_and(|log| log.contains("bind: address"))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for program in ["etcd", "kube-apiserver", "kube-controller-manager"] {
            let log = fs::read_to_string(self.folder.join(program).with_extension("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(8).collect();
            eprintln!("{program} says:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        false
    }
}

impl Shepherd {
    fn over(folder: &Path, names: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/shepherd");
        let mut process = Command::new(script)
            .arg(folder)
            .args(names)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, orders, answers }
    }

    fn order(&mut self, line: &str) {
        let orders = self.orders.as_mut().expect("it still runs");
        writeln!(orders, "{line}").expect("the shepherd listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the shepherd answers");
        assert_eq!(answer.trim(), "done", "the shepherd does {line:?}");
    }
}

impl Drop for Shepherd {
    fn drop(&mut self) {
        // It takes the end of its input for the order to clear up.
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

/// The folder with the programs.
#[expect(clippy::disallowed_methods, reason = "a test is a composition root")]
fn programs() -> PathBuf {
    let folder = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from).filter(|folder| folder.is_dir());
    folder.expect(
        "this test needs a real Kubernetes API server, which it looks for in KUBEBUILDER_ASSETS: run `tests/run` \
         (it builds one, once), or `export KUBEBUILDER_ASSETS=$(tests/k8s/build)` first",
    )
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until all are found, or the same might be found twice.
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    held.map(|listener| listener.local_addr().expect("it is bound").port())
}

fn write_identities(folder: &Path, authority: &Authority, server: &str) {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("the folder is ours");
    let serving = authority.server();
    write("ca.crt", &authority.pem);
    write("server.crt", &serving.certificate);
    write("server.key", &serving.key);
    let (private, public) = token_keys();
    write("tokens.key", &private);
    write("tokens.pub", &public);
    let admin = authority.user("test-controllers", Some(ADMINS));
    let user = format!(
        "client-certificate-data: {}\n    client-key-data: {}",
        STANDARD.encode(&admin.certificate),
        STANDARD.encode(&admin.key)
    );
    write("admin.kubeconfig", &kubeconfig(server, &authority.pem, &user));
}

fn write_args(folder: &Path, name: &str, programs: &Path, flags: &[(&str, String)]) {
    let mut lines = vec![programs.join(name).display().to_string()];
    lines.extend(flags.iter().map(|(flag, value)| format!("--{flag}={value}")));
    fs::write(folder.join(format!("{name}.args")), lines.join("\n") + "\n").expect("the folder is ours");
}

fn kubeconfig(server: &str, ca_pem: &str, user: &str) -> String {
    let ca = STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: edge\n  cluster:\n    server: {server}\n    \
         certificate-authority-data: {ca}\nusers:\n- name: user\n  user:\n    {user}\ncontexts:\n- name: edge\n  \
         context:\n    cluster: edge\n    user: user\ncurrent-context: edge\n"
    )
}
