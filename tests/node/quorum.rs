//! Two pools of one cluster, a volume over both with an application that uses it, replicas that rebuild for a while when
//! their pool was restarted: the volume always keeps a pool, and no pool is begun while another's replica rebuilds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::attempt::IMAGE;
use crate::hub::{CALM, Hub, ours};
use crate::operators::Operators;
use crate::real_node::RealNode;
use crate::support::{TestCluster, openebs};

const POOLS: [&str; 2] = ["cspc-a-n1", "cspc-a-n2"];

/// A minute, with the time that each look takes: several times as long as a pool's whole upgrade.
const REBUILD_ROUNDS: u32 = 80;

/// Looks on all the time, with an administrator's eyes, and writes down what must not be.
struct Observer {
    notes: Arc<Mutex<Notes>>,
    work: JoinHandle<()>,
}

#[derive(Debug, Default, Clone)]
struct Notes {
    violations: BTreeSet<String>,
    /// Pools that were seen away, and whose replicas were seen rebuilding: what there was to go wrong.
    away: BTreeSet<String>,
    rebuilt: BTreeSet<String>,
}

impl Observer {
    fn of(cluster: &TestCluster) -> Self {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let look = Look {
            pods: cluster.api(),
            jobs: cluster.api(),
            replicas: cluster.kind("cstor.openebs.io/v1", "CStorVolumeReplica"),
        };
        let kept = Arc::clone(&notes);
        let work = tokio::spawn(async move {
            loop {
                drop(look.note(&kept).await);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { notes, work }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.work.abort();
    }
}

struct Look {
    pods: Api<Pod>,
    jobs: Api<Job>,
    replicas: Api<DynamicObject>,
}

impl Look {
    async fn note(&self, notes: &Mutex<Notes>) -> kube::Result<()> {
        // What rebuilds before and after the other two were read did so in between.
        let before = self.rebuilding().await?;
        let away = self.away().await?;
        let begun = self.begun().await?;
        let rebuilding: BTreeSet<String> = self.rebuilding().await?.intersection(&before).cloned().collect();
        let mut notes = notes.lock().unwrap();
        if away.len() == POOLS.len() {
            notes.violations.insert("both pools were away".to_owned());
        }
        for pool in &rebuilding {
            for other in away.iter().filter(|other| *other != pool) {
                notes.violations.insert(format!("{other} was away while a replica on {pool} rebuilt"));
            }
            for other in begun.iter().filter(|other| *other != pool) {
                notes.violations.insert(format!("{other} was begun while a replica on {pool} rebuilt"));
            }
        }
        notes.away.extend(away);
        notes.rebuilt.extend(rebuilding);
        Ok(())
    }

    /// Pools without a Pod that is ready.
    async fn away(&self) -> kube::Result<BTreeSet<String>> {
        let of_pools = ListParams::default().labels("app=cstor-pool");
        let mut ready: BTreeMap<String, bool> = POOLS.iter().map(|pool| ((*pool).to_owned(), false)).collect();
        for pod in self.pods.list(&of_pools).await?.items {
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            let is_ready = conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True");
            if is_ready && pod.metadata.deletion_timestamp.is_none() {
                ready.insert(pod.labels()["openebs.io/cstor-pool-instance"].clone(), true);
            }
        }
        Ok(ready.into_iter().filter(|(_, ready)| !ready).map(|(pool, _)| pool).collect())
    }

    /// Pools that a Job of the hub works on.
    async fn begun(&self) -> kube::Result<BTreeSet<String>> {
        let jobs = self.jobs.list(&ListParams::default()).await?.items;
        let active = jobs.into_iter().filter(|job| {
            let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            !conditions.iter().any(|one| matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True")
        });
        let resources = active.filter_map(|job| job.annotations().get("fleetlift.io/resource").cloned());
        Ok(resources.filter_map(|resource| resource.strip_prefix("cstorPoolInstance/").map(str::to_owned)).collect())
    }

    /// Pools with a replica that is not healthy.
    async fn rebuilding(&self) -> kube::Result<BTreeSet<String>> {
        let replicas = self.replicas.list(&ListParams::default()).await?.items;
        let ailing = replicas.into_iter().filter(|one| one.data["status"]["phase"] != "Healthy");
        Ok(ailing.map(|one| one.labels()["cstorpoolinstance.openebs.io/name"].clone()).collect())
    }
}

/// A Pod that uses the volume. No driver of it is on the node, so nobody schedules the Pod: what counts is that it is
/// there, and runs as far as anybody can see.
async fn application(cluster: &TestCluster, volume: &str) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "till-0", "namespace": cluster.claims_namespace},
        "spec": {"schedulerName": "nobody", "automountServiceAccountToken": false,
            "containers": [{"name": "till", "image": "docker.io/openebs/jiva:3.5.0"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": format!("claim-of-{volume}")}}]}});
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.claims_namespace);
    crate::support::until("the Pod is taken", || async {
        // The namespace's default account is made by a controller in its own time.
        pods.create(&kube::api::PostParams::default(), &serde_json::from_value(pod.clone()).unwrap()).await.ok()
    })
    .await;
    let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
    pods.patch_status("till-0", &PatchParams::default(), &running).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn a_volume_in_use_keeps_a_pool_while_replicas_rebuild() {
    RealNode::shared().await;
    let cluster = TestCluster::new().await;
    let volume = format!("pvc-on-{}", cluster.namespace);
    let objects = openebs::on(&cluster);
    objects.csi_operators("3.6.0").await;
    objects.pool_cluster("cspc-a", "3.5.0", &["n1", "n2"]).await;
    objects.cstor_volume(&volume, "3.5.0", "cspc-a", &POOLS).await;
    openebs::all_rolled_out(&cluster).await;
    cluster.let_the_hub_see_claims().await;
    application(&cluster, &volume).await;
    let operators = Operators::looking_every(CALM, &cluster);
    operators.rebuild_for(REBUILD_ROUNDS);
    let hub = Hub::over(&cluster);
    hub.register(&cluster, "3.6.0", &ours(IMAGE), "10m", 1).await;
    let plan = hub.place.file("plan.json").display().to_string();
    let planned = hub.ok(&["plan", "--group", "stores", "--out", &plan]);
    assert!(planned.contains("4 tasks") && planned.contains("till-0"), "{planned}");

    let observer = Observer::of(&cluster);
    hub.ok(&["rollout", "start", &plan]);
    assert_eq!(hub.verdict().0, "succeeded", "{}", hub.explain());
    let notes = observer.notes.lock().unwrap().clone();
    let both: BTreeSet<String> = POOLS.iter().map(|pool| (*pool).to_owned()).collect();
    assert_eq!((&notes.away, &notes.rebuilt), (&both, &both), "the observer saw what there was to see");
    assert_eq!(notes.violations, BTreeSet::new());
    assert_eq!(operators.worst(), 1);
}
