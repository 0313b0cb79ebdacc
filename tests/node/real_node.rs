//! A real node of the shared control plane: containerd, kubelet, scheduler, and the way to Services.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::support::{ControlPlane, TestCluster, until};

/// Its name.
pub const NAME: &str = "node-1";

/// The node; it ends with the process.
pub struct RealNode {
    shepherd: Mutex<Shepherd>,
}

struct Shepherd {
    _process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl RealNode {
    /// The one that all tests of this process share.
    pub async fn shared() -> Arc<Self> {
        static SHARED: OnceCell<Arc<RealNode>> = OnceCell::const_new();
        Arc::clone(SHARED.get_or_init(|| async { Arc::new(Self::start().await) }).await)
    }

    async fn start() -> Self {
        let plane = ControlPlane::shared().await;
        let folder = tempfile::Builder::new().prefix("fleetlift-node-").tempdir().unwrap().keep();
        fs::create_dir(folder.join("cni")).unwrap();
        for (name, content) in [
            ("kubeconfig", plane.admin_kubeconfig()),
            ("containerd.toml", containerd(&folder)),
            ("cni/10-bridge.conflist", CNI.to_owned()),
            ("kubelet.json", kubelet(&folder)),
        ] {
            fs::write(folder.join(name), content).unwrap();
        }
        let file = |name: &str| folder.join(name).display().to_string();
        let programs = variable("KUBEBUILDER_ASSETS");
        write_args(&folder, "containerd", &["containerd".to_owned(), format!("--config={}", file("containerd.toml"))]);
        write_args(
            &folder,
            "kubelet",
            &[
                programs.join("kubelet").display().to_string(),
                format!("--config={}", file("kubelet.json")),
                format!("--kubeconfig={}", file("kubeconfig")),
                format!("--root-dir={}", file("kubelet")),
                format!("--hostname-override={NAME}"),
                "--node-ip=10.88.0.1".to_owned(),
            ],
        );
        write_args(
            &folder,
            "kube-scheduler",
            &[
                programs.join("kube-scheduler").display().to_string(),
                format!("--kubeconfig={}", file("kubeconfig")),
                "--leader-elect=false".to_owned(),
            ],
        );
        tell_more_when_a_test_fails(&folder);
        let node = Self { shepherd: Mutex::new(Shepherd::over(&folder, "containerd")) };
        let socket = file("containerd.sock");
        until("containerd answers", || async { ctr(&socket, &["version"]).then_some(()) }).await;
        for image in fs::read_dir(variable("FLEETLIFT_NODE_IMAGES")).unwrap() {
            let image = image.unwrap().path();
            let archive = image.extension().is_some_and(|extension| extension == "tar");
            let imported = || ctr(&socket, &["images", "import", "--no-unpack", &image.display().to_string()]);
            assert!(!archive || imported(), "{} can be imported", image.display());
        }
        route_to_service("10.96.0.1", 443, plane.server().trim_start_matches("https://"));
        node.order("start kubelet");
        node.order("start kube-scheduler");
        let nodes: Api<Node> = Api::all(plane.admin());
        until("the node is ready", || async {
            let conditions = nodes.get_opt(NAME).await.ok()??.status?.conditions?;
            conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True").then_some(())
        })
        .await;
        // No controller runs that would take away what the API server gave a node that was not ready yet.
        nodes.patch(NAME, &PatchParams::default(), &Patch::Merge(json!({"spec": {"taints": null}}))).await.unwrap();
        node
    }

    /// Kills the kubelet, as by a crash; the containers run on.
    pub fn kill_kubelet(&self) {
        self.order("kill kubelet");
    }

    /// Starts it again.
    pub fn start_kubelet(&self) {
        self.order("start kubelet");
    }

    fn order(&self, line: &str) {
        self.shepherd.lock().unwrap().order(line);
    }
}

/// A test that fails says why; what only the node knows (Pods that do not start, what containerd and the kubelet said
/// last) is told with it, as long as it is there.
#[expect(clippy::print_stderr, reason = "this is how a test says what is wrong")]
fn tell_more_when_a_test_fails(folder: &Path) {
    let folder = folder.to_owned();
    let told_before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told_before(panic);
        let listed = Command::new("kubectl")
            .arg(format!("--kubeconfig={}", folder.join("kubeconfig").display()))
            .args(["get", "pods", "--all-namespaces", "--request-timeout=5s"])
            .output();
        let pods = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let stuck = |line: &&str| !["Running", "Completed"].iter().any(|fine| line.contains(fine));
        eprintln!("Pods that do not run:\n{}", pods.lines().filter(stuck).collect::<Vec<_>>().join("\n"));
        for program in ["containerd", "kubelet", "kube-scheduler"] {
            let log = fs::read_to_string(folder.join(program).with_extension("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("{program} says:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }));
}

impl Shepherd {
    fn over(folder: &Path, first: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/shepherd");
        let mut command = Command::new(script);
        command.arg(folder).arg(first).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("bash is there");
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { _process: process, orders, answers }
    }

    fn order(&mut self, line: &str) {
        writeln!(self.orders, "{line}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "done", "the shepherd does {line:?}");
    }
}

/// What kube-proxy would do: the address of a Jiva volume's Service, which is in that namespace now, leads to the
/// controller's Pod, whichever and wherever that is at the time.
pub fn follow_controller(cluster: &TestCluster, namespace: &str, volume: &str) -> tokio::task::JoinHandle<()> {
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), namespace);
    let pods: Api<Pod> = Api::all(cluster.client.clone());
    let service = format!("{volume}-ctrl-svc");
    let controller = ListParams::default()
        .labels(&format!("openebs.io/controller=jiva-controller,openebs.io/persistent-volume={volume}"));
    tokio::spawn(async move {
        let service = services.get(&service).await.unwrap();
        let address = service.spec.and_then(|spec| spec.cluster_ip).unwrap();
        let mut led_to = String::new();
        loop {
            let found = pods.list(&controller).await.map(|list| list.items).unwrap_or_default();
            let ip = found.into_iter().filter_map(|pod| pod.status?.pod_ip).next_back().unwrap_or_default();
            if !ip.is_empty() && ip != led_to {
                route_to_service(&address, 9501, &format!("{ip}:9501"));
                led_to = ip;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

/// Leads what is sent to a Service's address to `there`; what led it elsewhere before is forgotten.
pub fn route_to_service(ip: &str, port: u16, there: &str) {
    let port = port.to_string();
    for chain in ["PREROUTING", "OUTPUT"] {
        let matching = ["-d", ip, "-p", "tcp", "--dport", &port, "-m", "comment", "--comment", ip, "-j", "DNAT"];
        let old = Command::new("iptables").args(["-w", "-t", "nat", "-S", chain]).output().unwrap();
        let old = String::from_utf8_lossy(&old.stdout).into_owned();
        for line in
            old.lines().filter(|line| line.contains(&format!("--comment {ip} ")) || line.contains(&format!("\"{ip}\"")))
        {
            let rule: Vec<&str> = line.split(' ').skip(1).map(|word| word.trim_matches('"')).collect();
            run("iptables", &[&["-w", "-t", "nat", "-D"], rule.as_slice()].concat());
        }
        run("iptables", &[&["-w", "-t", "nat", "-A", chain][..], &matching[..], &["--to-destination", there]].concat());
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn ctr(socket: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new("ctr");
    command.args(["--address", socket, "--namespace", "k8s.io"]).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[expect(clippy::disallowed_methods, reason = "a test is a composition root")]
fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).map_or_else(|| panic!("{name} is not set: run tests/node/run"), PathBuf::from)
}

fn write_args(folder: &Path, name: &str, lines: &[String]) {
    fs::write(folder.join(format!("{name}.args")), lines.join("\n") + "\n").unwrap();
}

const CNI: &str = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
    "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}"#;

fn containerd(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "fleetlift.test/pause:test"
  restrict_oom_score_adj = true
  # Where the shepherd clears up, not among the machine's own.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"#
    )
}

fn kubelet(folder: &Path) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs", "failSwapOn": false, "enforceNodeAllocatable": [], "evictionHard": {},
        "localStorageCapacityIsolation": false, "podLogsDir": folder.join("logs"),
        "containerRuntimeEndpoint": format!("unix://{}/containerd.sock", folder.display()),
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "maxPods": 500,
    })
    .to_string()
}
