//! The hub in Pods on the real node: installed as `deploy/README.md` says, it upgrades a volume of the cluster in which it
//! runs, and goes on after its Pods were deleted.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

use crate::attempt::IMAGE;
use crate::hub::{CALM, CLUSTER, fleet, ours};
use crate::operators::{Answer, Operators};
use crate::real_node::{NAME, RealNode, route_to_service};
use crate::support::identity::Authority;
use crate::support::postgres::Postgres;
use crate::support::{TestCluster, openebs, until};

/// The hub's image, as `tests/node/run` put it on the node.
const HUB: (&str, &str) = ("fleetlift.test/hub", "test");

const STORAGE_CLASS: &str = "local";

const README: &str = include_str!("../../deploy/README.md");

/// What its chapter says to type, with the names of this test.
fn chapter(namespace: &str) -> String {
    let (_, chapter) = README.split_once("## The hub in a cluster").unwrap();
    let (_, block) = chapter.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    let (executor, _) = IMAGE.rsplit_once(':').unwrap();
    let (name, tag) = HUB;
    let fill_in = [
        ("REGISTRY/fleetlift-executor", executor),
        ("newName: REGISTRY/fleetlift, newTag: VERSION", &format!("newName: {name}, newTag: {tag}")),
        ("-n fleetlift", &format!("-n {namespace}")),
        ("namespace: fleetlift", &format!("namespace: {namespace}")),
        ("STORAGECLASS", STORAGE_CLASS),
        // It is there already.
        ("kubectl create namespace fleetlift", "true"),
    ];
    fill_in.iter().fold(block.to_owned(), |block, (words, ours)| {
        assert!(block.contains(words), "{words}");
        block.replace(words, ours)
    })
}

/// The folder in which the user types, with what the user has.
struct Desk {
    folder: tempfile::TempDir,
    namespace: String,
}

impl Desk {
    fn of(cluster: &TestCluster, kubeconfig: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Authority::new().server();
        let files = [
            ("kubeconfig", cluster.admin_kubeconfig()),
            ("berlin.yaml", kubeconfig.to_owned()),
            ("tls.crt", certificate.certificate),
            ("tls.key", certificate.key),
        ];
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"), folder.path().join("deploy"))
            .unwrap();
        Self { folder, namespace: format!("hub-of-{}", cluster.namespace) }
    }

    /// A script of which every line must succeed; gives what it printed.
    fn types(&self, script: &str) -> String {
        let mut command = Command::new("bash");
        command.args(["-e", "-c", script]).current_dir(self.folder.path()).stdin(Stdio::null());
        let done = command.env("KUBECONFIG", self.folder.path().join("kubeconfig")).output().unwrap();
        assert!(done.status.success(), "{script}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// A command of the hub's, typed in its Pod of that number.
    fn hub(&self, number: u32, command: &str) -> String {
        self.types(&format!("kubectl exec -i fleetlift-{number} -n {} -- fleetlift {command}", self.namespace))
    }
}

/// A namespace as shut in as Kubernetes has them.
async fn enclose(cluster: &TestCluster, namespace: &str) {
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}))
        .await;
}

/// As an administrator provides it for the claim of the hub of that number.
async fn volume(cluster: &TestCluster, namespace: &str, number: u32, folder: &Path) {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}},
        "storageClassName": STORAGE_CLASS});
    let source = json!({"local": {"path": folder}, "nodeAffinity": {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}]}]}}});
    cluster.provide(namespace, &format!("data-fleetlift-{number}"), &spec, &source).await;
}

/// A cluster with a volume behind its operators, and somebody at a desk who is to have a hub there upgrade it.
struct Site {
    cluster: TestCluster,
    operators: Operators,
    desk: Desk,
    volume: String,
}

impl Site {
    async fn new() -> Self {
        RealNode::shared().await;
        let cluster = TestCluster::new().await;
        let objects = openebs::on(&cluster);
        objects.csi_operators("3.6.0").await;
        let volume = format!("pvc-{}", cluster.namespace);
        objects.jiva_volume(&volume, "3.5.0", 1).await;
        openebs::all_rolled_out(&cluster).await;
        let operators = Operators::looking_every(CALM, &cluster);
        // As Pods know the API server.
        let kubeconfig = cluster.hub_kubeconfig().await.replace(cluster.plane.server(), "https://10.96.0.1:443");
        let desk = Desk::of(&cluster, &kubeconfig);
        Self { cluster, operators, desk, volume }
    }

    /// A rollout over the registered cluster, until its executor waits for the operator, who is silent.
    async fn begins(&self) {
        let Self { cluster, operators, desk, volume } = self;
        operators.answer(Answer::Silence);
        let add = format!("cluster add {CLUSTER} --kubeconfig - --namespace {} --label tier=store", cluster.namespace);
        desk.hub(0, &format!("{add} <berlin.yaml"));
        fs::write(desk.folder.path().join("fleet.yaml"), fleet("3.6.0", &ours(IMAGE), "10m", 1)).unwrap();
        desk.hub(0, "fleet apply - <fleet.yaml");
        desk.hub(0, &format!("cluster resources {CLUSTER} --refresh"));
        desk.hub(0, &format!("plan --group stores --resource {volume} -o json >plan.json"));
        desk.hub(0, "rollout start - <plan.json");
        until("the upgrade is under way", || async {
            let explained = tokio::task::block_in_place(|| desk.hub(0, &format!("explain latest {CLUSTER}")));
            explained.contains("TARGET_UPGRADE").then_some(())
        })
        .await;
    }

    /// The hub's Pod of that number is deleted, and another one takes its place.
    async fn loses(&self, number: u32) {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.desk.namespace);
        let name = format!("fleetlift-{number}");
        let before = pods.get(&name).await.unwrap();
        pods.delete(&name, &DeleteParams::default()).await.unwrap();
        until("another Pod is ready", || async {
            let pod = pods.get_opt(&name).await.ok()??;
            let ready = pod.status?.conditions?.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
            (ready && pod.metadata.uid != before.metadata.uid).then_some(())
        })
        .await;
    }

    /// With the operator back at work, in the attempt that was under way all the time.
    async fn ends_upgraded(&self) {
        let Self { operators, desk, .. } = self;
        operators.answer(Answer::Reconcile);
        until("the rollout is done", || async {
            let status = tokio::task::block_in_place(|| desk.hub(0, "rollout status latest -o json"));
            let status: Value = serde_json::from_str(&status).unwrap();
            (status["state"] == "finished").then_some(())
        })
        .await;
        let results: Value = serde_json::from_str(&desk.hub(0, "result list latest -o json")).unwrap();
        assert_eq!((&results[0]["outcome"], &results[0]["attempts"]), (&json!("succeeded"), &json!(1)), "{results:#}");
        desk.hub(0, "audit verify");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn a_hub_in_a_pod_upgrades_its_own_cluster_and_goes_on_after_its_pod_was_deleted() {
    let site = Site::new().await;
    let Site { desk, cluster, .. } = &site;
    let data = tempfile::tempdir().unwrap();
    enclose(cluster, &desk.namespace).await;
    volume(cluster, &desk.namespace, 0, data.path()).await;
    let token = desk.types(&chapter(&desk.namespace));
    assert!(token.lines().last().unwrap().starts_with("flt_"), "the last that is printed is a token");
    site.begins().await;
    site.loses(0).await;
    site.ends_upgraded().await;
}

/// The address by which Pods know Postgres: no Service has it.
const POSTGRES: &str = "10.96.0.2";

/// The chapter with `hub-postgres` in the place of `hub`, as it says.
fn two_hubs(chapter: &str, namespace: &str, database: &str) -> String {
    let store = format!("kubectl create secret generic fleetlift-store -n {namespace} --from-literal='url={database}'");
    let (install, _) = chapter.rsplit_once('\n').unwrap();
    install
        .replace("resources: [../deploy/hub]", "resources: [../deploy/hub-postgres]")
        .replace("kubectl apply", &format!("{store}\nkubectl apply"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn two_hubs_on_one_postgres_do_each_others_work_while_one_is_away() {
    let site = Site::new().await;
    let database = Postgres::shared().database();
    let (_, place) = database.split_once('@').unwrap();
    let (there, name) = place.split_once('/').unwrap();
    route_to_service(POSTGRES, 5432, there);
    let Site { desk, cluster, .. } = &site;
    enclose(cluster, &desk.namespace).await;
    let data = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (number, data) in (0..).zip(&data) {
        volume(cluster, &desk.namespace, number, data.path()).await;
    }
    let database = format!("postgres://fleetlift@{POSTGRES}:5432/{name}?sslmode=disable");
    desk.types(&two_hubs(&chapter(&desk.namespace), &desk.namespace, &database));
    desk.hub(0, "token recover");
    site.begins().await;
    site.loses(0).await;
    desk.hub(1, "token recover");
    desk.hub(1, &format!("explain latest {CLUSTER}"));
    site.loses(1).await;
    site.ends_upgraded().await;
}
