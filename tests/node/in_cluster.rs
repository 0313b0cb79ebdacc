//! The hub as a Pod on the real node: installed as `deploy/README.md` says, it upgrades a volume of the cluster in which it
//! runs, and goes on after its Pod was deleted.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

use crate::attempt::IMAGE;
use crate::hub::{CALM, CLUSTER, fleet, ours};
use crate::operators::{Answer, Operators};
use crate::real_node::{NAME, RealNode};
use crate::support::identity::Authority;
use crate::support::{TestCluster, openebs, until};

/// The hub's image, as `tests/node/run` put it on the node.
const HUB: (&str, &str) = ("fleetlift.test/hub", "test");

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
        // It is there, with the volume in it.
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

    /// A command of the hub's, typed in its Pod.
    fn hub(&self, command: &str) -> String {
        self.types(&format!("kubectl exec -i fleetlift-0 -n {} -- fleetlift {command}", self.namespace))
    }

    fn rollout(&self) -> Value {
        serde_json::from_str(&self.hub("rollout status latest -o json")).unwrap()
    }
}

/// A namespace as shut in as Kubernetes has them, and in it a volume for the hub's claim.
async fn prepare(cluster: &TestCluster, namespace: &str, folder: &Path) {
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}))
        .await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}},
        "storageClassName": "local"});
    let source = json!({"local": {"path": folder}, "nodeAffinity": {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}]}]}}});
    cluster.provide(namespace, "data-fleetlift-0", &spec, &source).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn a_hub_in_a_pod_upgrades_its_own_cluster_and_goes_on_after_its_pod_was_deleted() {
    RealNode::shared().await;
    let cluster = TestCluster::new().await;
    let objects = openebs::on(&cluster);
    objects.csi_operators("3.6.0").await;
    let claimed = format!("pvc-{}", cluster.namespace);
    objects.jiva_volume(&claimed, "3.5.0", 1).await;
    openebs::all_rolled_out(&cluster).await;
    let operators = Operators::looking_every(CALM, &cluster);
    operators.answer(Answer::Silence);

    // As Pods know the API server.
    let kubeconfig = cluster.hub_kubeconfig().await.replace(cluster.plane.server(), "https://10.96.0.1:443");
    let desk = Desk::of(&cluster, &kubeconfig);
    let data = tempfile::tempdir().unwrap();
    prepare(&cluster, &desk.namespace, data.path()).await;
    let add = "cluster add berlin-1 --kubeconfig -";
    let here = format!("{add} --namespace {} --label tier=store", cluster.namespace);
    desk.types(&chapter(&desk.namespace).replace(add, &here));

    fs::write(desk.folder.path().join("fleet.yaml"), fleet("3.6.0", &ours(IMAGE), "10m", 1)).unwrap();
    desk.hub("fleet apply - <fleet.yaml");
    desk.hub(&format!("cluster resources {CLUSTER} --refresh"));
    desk.hub(&format!("plan --group stores --resource {claimed} -o json >plan.json"));
    desk.hub("rollout start - <plan.json");
    until("the upgrade is under way", || async {
        tokio::task::block_in_place(|| desk.hub(&format!("explain latest {CLUSTER}")))
            .contains("TARGET_UPGRADE")
            .then_some(())
    })
    .await;

    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &desk.namespace);
    let before = pods.get("fleetlift-0").await.unwrap();
    pods.delete("fleetlift-0", &DeleteParams::default()).await.unwrap();
    until("another Pod is ready", || async {
        let pod = pods.get_opt("fleetlift-0").await.ok()??;
        let ready = pod.status?.conditions?.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
        (ready && pod.metadata.uid != before.metadata.uid).then_some(())
    })
    .await;
    operators.answer(Answer::Reconcile);
    until("the rollout is done", || async {
        let rollout = tokio::task::block_in_place(|| desk.rollout());
        (rollout["state"] == "finished").then_some(())
    })
    .await;
    let results: Value = serde_json::from_str(&desk.hub("result list latest -o json")).unwrap();
    assert_eq!((&results[0]["outcome"], &results[0]["attempts"]), (&json!("succeeded"), &json!(1)), "{results:#}");
    desk.hub("audit verify");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn what_runs_two_hubs_on_postgres_is_taken_by_the_api_server_to_the_last_field() {
    RealNode::shared().await;
    let cluster = TestCluster::new().await;
    let desk = Desk::of(&cluster, "");
    let here = format!("sed 's/namespace: fleetlift$/namespace: {}/'", cluster.namespace);
    let taken = desk.types(&format!(
        "kubectl kustomize deploy/hub-postgres | {here} | kubectl apply --dry-run=server --validate=strict -o json -f -"
    ));
    let taken: Value = serde_json::from_str(&taken).unwrap();
    let set = taken["items"].as_array().unwrap().iter().find(|one| one["kind"] == "StatefulSet").unwrap();
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!((&set["spec"]["replicas"], &set["spec"]["volumeClaimTemplates"]), (&json!(2), &Value::Null));
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        let store = |name: &str| container["env"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
        let url = store("FLEETLIFT_DATABASE__URL").unwrap();
        assert_eq!(url["valueFrom"]["secretKeyRef"], json!({"name": "fleetlift-store", "key": "url"}));
        assert!(store("FLEETLIFT_SEALING__KEY").is_some());
    }
}
