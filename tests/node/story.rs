//! The operator's story on the real node, typed in full: from the manifest to the verified audit.

use std::process::Stdio;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::attempt::IMAGE;
use crate::hub::{CALM, CLUSTER, Hub};
use crate::kubectl::Kubectl;
use crate::operators::Operators;
use crate::real_node::RealNode;
use crate::support::hub::{BINARY, LONG, until_or};
use crate::support::openebs::released::released_on_one_node;
use crate::support::{TestCluster, openebs};

const FROM: &str = "2.11.0";
const TO: &str = "2.12.2";

/// What is in the cluster, in the order in which it is upgraded: pools, their parents, volumes.
const PLANNED: [&str; 9] = [
    "cstorPoolInstance/cspc-a-a1b2",
    "cstorPoolInstance/cspc-a-c3d4",
    "cstorPool/spc-storage-a1b2",
    "cstorPool/spc-storage-c3d4",
    "cstorPoolCluster/cspc-a",
    "storagePoolClaim/spc-storage",
    "cstorVolume/pvc-a",
    "legacyCstorVolume/pvc-c",
    "jivaVolume/pvc-b",
];

/// Written by a user who read `fleet-config/demo.yaml`.
fn fleet() -> String {
    format!(
        "
apiVersion: fleetlift.io/v1
kind: Fleet
metadata: {{name: retail}}
spec:
  timeZone: Europe/Berlin
  groups:
    - name: stores
      selector: tier=store
      target:
        openebs: {TO}
        executor: {{use: fleetlift, image: '{IMAGE}'}}
        # Other tests' claims are cluster-wide, too.
        resources: {{names: [cspc-a, spc-storage, pvc-a, pvc-b, pvc-c]}}
      strategy: careful
  strategies:
    - name: careful
      waves:
        - {{name: canary, size: 1, soak: 1s, approval: after}}
        - {{name: rest}}
      limits: {{running: 200, per: [{{label: site, running: 2}}]}}
      failures: {{allow: 0, atLeastSucceeded: 95%}}
      attached: warn
      deadlines: {{task: 10m, cluster: 6h, rollout: 14d}}
      retries: {{attempts: 3, backoff: {{first: 1s, longest: 30s}}}}
      unreachable: {{retryEvery: 15m, minReached: 98%}}
"
    )
}

/// As OpenEBS's operators made it.
async fn cluster_at_work() -> (TestCluster, Operators, TempDir) {
    RealNode::shared().await;
    let cluster = TestCluster::untouched("storage", "fleetlift").await;
    let operators = openebs::on(&cluster);
    operators.csi_operators(TO).await;
    operators.maya_apiserver(TO).await;
    let data = tempfile::tempdir().unwrap();
    let objects = released_on_one_node(&cluster, data.path());
    objects.pool_cluster("cspc-a", FROM).await;
    objects.cstor_volume("pvc-a", "cspc-a", FROM).await;
    objects.jiva_volume("pvc-b", FROM).await;
    objects.storage_pool_claim("spc-storage", FROM).await;
    objects.legacy_cstor_volume("pvc-c", "spc-storage", FROM).await;
    openebs::all_rolled_out(&cluster).await;
    let operators = Operators::looking_every(CALM, &cluster);
    (cluster, operators, data)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn the_operators_story_ends_upgraded_on_a_real_node() {
    let (cluster, _operators, _data) = cluster_at_work().await;
    let hub = Hub::over(&cluster);
    let admin = hub.place.write("berlin.yaml", &cluster.admin_kubeconfig());
    let kubectl = Kubectl::with(&admin);

    // The cluster's owner.
    let manifest = hub.ok(&["edge", "manifest", "--namespace", "storage"]);
    kubectl.apply(&manifest);
    let allowed = json!({"data": {"images": IMAGE.rsplit_once(':').unwrap().0}}).to_string();
    let add = ["cluster", "add", CLUSTER, "--bootstrap", "--kubeconfig", &admin, "--namespace", "storage"];
    let added = hub.place.ok(&[&add[..], &["--label", "tier=store", "--label", "site=berlin"]].concat());
    assert!(added.err.contains("lives until"), "{added:?}");
    kubectl.ok(&["patch", "configmap", "fleetlift-allowed", "-n", "storage", "--type=merge", "-p", &allowed]);

    // The fleet's operator, who does what the check says and checks again.
    let checked = hub.ok(&["cluster", "check", CLUSTER]);
    assert!(checked.contains("identity"), "{checked}");
    let in_shop = format!("`kubectl -n {} ", cluster.claims_namespace);
    let remedy = checked.split_once(&in_shop).and_then(|(_, remedy)| remedy.split_once('`'));
    let (remedy, _) = remedy.unwrap_or_else(|| panic!("{checked}"));
    kubectl.ok(&["-n", &cluster.claims_namespace].into_iter().chain(remedy.split(' ')).collect::<Vec<_>>());
    let checked = hub.ok(&["cluster", "check", CLUSTER]);
    assert!(!checked.contains(&in_shop), "{checked}");
    let resources = hub.ok(&["cluster", "resources", CLUSTER, "--refresh"]);
    for resource in PLANNED {
        let (_, name) = resource.split_once('/').unwrap();
        assert!(resources.contains(name), "{name}: {resources}");
    }
    let folder = hub.place.file("my-fleet");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("fleet.yaml"), fleet()).unwrap();
    hub.ok(&["fleet", "apply", &folder.display().to_string()]);
    let plan = hub.place.file("plan.json").display().to_string();
    let planned = hub.ok(&["plan", "--group", "stores", "--out", &plan]);
    assert!(planned.contains("9 tasks in 1 cluster"), "{planned}");
    hub.ok(&["rollout", "start", &plan]);
    let watch = hub.place.program(BINARY).args(["rollout", "watch", "latest"]).stdout(Stdio::piped()).spawn().unwrap();
    tokio::task::block_in_place(|| {
        until_or(
            "the canary waits for approval",
            4 * LONG,
            || hub.place.status("latest")["waves"][0]["status"] == "awaiting_approval",
            || format!("{}\n{}", hub.explain(), hub.place.log()),
        );
    });
    hub.ok(&["rollout", "approve", "latest", "--remark", "the canary is fine"]);
    let watched = tokio::task::block_in_place(|| watch.wait_with_output().unwrap());
    assert!(watched.status.success(), "{watched:?}");
    assert!(String::from_utf8_lossy(&watched.stdout).contains("succeeded"), "{watched:?}");
    let explained = hub.explain();
    assert!(explained.contains("succeeded"), "{explained}");

    let results = hub.json(&["result", "list", "latest"]);
    everything_succeeded_at_once_and_in_order(&results);
    let shown = hub.ok(&["result", "show", "latest", CLUSTER]);
    assert!(shown.contains("evidence") && shown.contains("POOL_INSTANCE_UPGRADE"), "{shown}");
    hub.ok(&["audit", "verify"]);
    hub.witness.assert_never_two_at_once();
    nothing_of_the_old_version_runs(&cluster).await;
    one_pod_each_had_the_executors_account(&cluster, &results).await;
}

fn everything_succeeded_at_once_and_in_order(results: &Value) {
    let mut seen: Vec<(jiff::Timestamp, String)> = Vec::new();
    for result in results.as_array().unwrap() {
        assert_eq!((&result["outcome"], &result["attempts"]), (&json!("succeeded"), &json!(1)), "{result:#}");
        let ended = result["endedAt"].as_str().unwrap().parse().unwrap();
        let text = |pointer: &str| result.pointer(pointer).and_then(Value::as_str).unwrap();
        seen.push((ended, format!("{}/{}", text("/resource/kind"), text("/resource/name"))));
    }
    seen.sort();
    let order: Vec<&str> = seen.iter().map(|(_, resource)| resource.as_str()).collect();
    assert_eq!(order, PLANNED);
}

async fn nothing_of_the_old_version_runs(cluster: &TestCluster) {
    let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    let old: Vec<String> = pods
        .items
        .iter()
        .filter(|pod| {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            pod.metadata.deletion_timestamp.is_none()
                && containers.filter_map(|one| one.image.as_deref()).any(|image| image.ends_with(FROM))
        })
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(old, Vec::<String>::new());
}

/// One Pod for each result, of our image, as the executor's account.
async fn one_pod_each_had_the_executors_account(cluster: &TestCluster, results: &Value) {
    for result in results.as_array().unwrap() {
        let job = result["job"]["name"].as_str().unwrap();
        let own = ListParams::default().labels(&format!("job-name={job}"));
        let pods = cluster.api::<Pod>().list(&own).await.unwrap().items;
        let spec = pods[0].spec.as_ref().unwrap();
        let seen = (pods.len(), spec.service_account_name.as_deref(), spec.containers[0].image.as_deref());
        assert_eq!(seen, (1, Some("fleetlift-executor"), Some(IMAGE)), "{job}");
    }
}
