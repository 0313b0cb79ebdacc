//! OpenEBS's operators, played: they bring `versionDetails.status.current` to what is desired, or refuse, or are silent;
//! and a pool that was restarted has its replicas rebuild for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::TestCluster;

/// As fast as the executors in the tests' own process look.
const ROUND: Duration = Duration::from_millis(50);

/// Every kind with `versionDetails`; the last two are cluster-wide.
const KINDS: [(&str, &str); 11] = [
    ("cstor.openebs.io/v1", "CStorPoolCluster"),
    ("cstor.openebs.io/v1", "CStorPoolInstance"),
    ("cstor.openebs.io/v1", "CStorVolume"),
    ("cstor.openebs.io/v1", "CStorVolumeReplica"),
    ("cstor.openebs.io/v1", "CStorVolumeConfig"),
    ("openebs.io/v1", "JivaVolume"),
    ("openebs.io/v1alpha1", "JivaVolume"),
    ("openebs.io/v1alpha1", "CStorVolume"),
    ("openebs.io/v1alpha1", "CStorVolumeReplica"),
    ("openebs.io/v1alpha1", "CStorPool"),
    ("openebs.io/v1alpha1", "StoragePoolClaim"),
];

/// What the operators do about a desired version.
#[derive(Debug, Clone, Default)]
pub enum Answer {
    /// They make it the current one.
    #[default]
    Reconcile,
    /// They say no, in these words.
    Refuse(&'static str),
    /// Nothing.
    Silence,
}

/// Cluster-wide objects of several tests lie beside each other: a claim ends in its cluster's namespace, its pools have
/// a part of their own behind that.
pub fn named_after(namespace: &str, name: &str) -> bool {
    let claim = format!("-{namespace}");
    name.ends_with(&claim) || name.contains(&format!("{claim}-"))
}

/// Operators at work; they stop with this value.
pub struct Operators {
    shared: Arc<Mutex<Shared>>,
    work: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    answer: Answer,
    /// Rounds for which replicas rebuild after their pool was upgraded.
    rebuild_rounds: u32,
    /// Replica → rounds left.
    rebuilding: BTreeMap<String, u32>,
    /// The most replicas of one volume that were not healthy at once.
    worst: usize,
}

impl Operators {
    /// Begins to look after everything of `cluster`'s namespace, and cluster-wide objects that carry its name.
    pub fn start(cluster: &TestCluster) -> Self {
        Self::looking_every(ROUND, cluster)
    }

    /// The same with so much time between two looks at everything.
    pub fn looking_every(round: Duration, cluster: &TestCluster) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let worker = Worker {
            client: cluster.client.clone(),
            namespace: cluster.namespace.clone(),
            claims_namespace: cluster.claims_namespace.clone(),
            shared: Arc::clone(&shared),
            round,
        };
        Self { shared, work: tokio::spawn(worker.work()) }
    }

    /// From now on they answer so.
    pub fn answer(&self, answer: Answer) {
        self.shared.lock().unwrap().answer = answer;
    }

    /// From now on replicas rebuild for that many rounds when their pool was upgraded.
    pub fn rebuild_for(&self, rounds: u32) {
        self.shared.lock().unwrap().rebuild_rounds = rounds;
    }

    /// The most replicas of one volume that were seen not healthy at once.
    pub fn worst(&self) -> usize {
        self.shared.lock().unwrap().worst
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        self.work.abort();
    }
}

struct Worker {
    client: kube::Client,
    namespace: String,
    /// Where legacy volumes may live.
    claims_namespace: String,
    shared: Arc<Mutex<Shared>>,
    round: Duration,
}

impl Worker {
    async fn work(self) {
        loop {
            for (api_version, kind) in KINDS {
                // An API server that is busy or restarts is asked again in the next round.
                drop(self.look_after(self.api(api_version, kind), kind).await);
            }
            let (legacy, volumes) = ("openebs.io/v1alpha1", "CStorVolume");
            drop(self.look_after(self.api_in(&self.claims_namespace, legacy, volumes), volumes).await);
            drop(self.heal().await);
            tokio::time::sleep(self.round).await;
        }
    }

    fn api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        self.api_in(&self.namespace, api_version, kind)
    }

    fn api_in(&self, namespace: &str, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match kind {
            "CStorPool" | "StoragePoolClaim" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    async fn look_after(&self, api: Api<DynamicObject>, kind: &str) -> kube::Result<()> {
        for object in api.list(&ListParams::default()).await? {
            let name = object.metadata.name.clone().unwrap_or_default();
            let ours = object.metadata.namespace.is_some() || named_after(&self.namespace, &name);
            let details = &object.data["versionDetails"];
            let desired = details["desired"].as_str().unwrap_or_default();
            if !ours || desired == details["status"]["current"].as_str().unwrap_or_default() {
                continue;
            }
            let answer = self.shared.lock().unwrap().answer.clone();
            let status = match answer {
                Answer::Reconcile => json!({"current": desired, "state": "Reconciled", "message": "", "reason": ""}),
                Answer::Refuse(words) => json!({"state": "ReconcileInProgress",
                    "message": format!("Failed to reconcile {kind} version"), "reason": words}),
                Answer::Silence => continue,
            };
            if kind == "CStorPoolInstance" && matches!(answer, Answer::Reconcile) {
                self.restart(&name).await?;
            }
            let patch = json!({"versionDetails": {"status": status}});
            api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        Ok(())
    }

    /// Replicas on a pool that was restarted have to catch up.
    async fn restart(&self, pool: &str) -> kube::Result<()> {
        let rounds = self.shared.lock().unwrap().rebuild_rounds;
        if rounds == 0 {
            return Ok(());
        }
        let on_pool = ListParams::default().labels(&format!("cstorpoolinstance.openebs.io/name={pool}"));
        let replicas = self.api("cstor.openebs.io/v1", "CStorVolumeReplica");
        for replica in replicas.list(&on_pool).await? {
            let name = replica.metadata.name.unwrap_or_default();
            self.phase(&name, "Rebuilding").await?;
            self.shared.lock().unwrap().rebuilding.insert(name, rounds);
        }
        Ok(())
    }

    async fn heal(&self) -> kube::Result<()> {
        let healed: Vec<String> = {
            let mut shared = self.shared.lock().unwrap();
            shared.rebuilding.values_mut().for_each(|rounds| *rounds = rounds.saturating_sub(1));
            shared.rebuilding.iter().filter(|(_, rounds)| **rounds == 0).map(|(name, _)| name.clone()).collect()
        };
        self.count_ailing().await?;
        for name in healed {
            self.phase(&name, "Healthy").await?;
            self.shared.lock().unwrap().rebuilding.remove(&name);
        }
        Ok(())
    }

    async fn count_ailing(&self) -> kube::Result<()> {
        let replicas = self.api("cstor.openebs.io/v1", "CStorVolumeReplica").list(&ListParams::default()).await?;
        let mut ailing: BTreeMap<String, usize> = BTreeMap::new();
        for replica in replicas.items.iter().filter(|replica| replica.data["status"]["phase"] != "Healthy") {
            let labels = replica.metadata.labels.clone().unwrap_or_default();
            *ailing.entry(labels["openebs.io/persistent-volume"].clone()).or_default() += 1;
        }
        let mut shared = self.shared.lock().unwrap();
        shared.worst = shared.worst.max(ailing.into_values().max().unwrap_or(0));
        Ok(())
    }

    async fn phase(&self, replica: &str, phase: &str) -> kube::Result<()> {
        let patch: Value = json!({"status": {"phase": phase}});
        let replicas = self.api("cstor.openebs.io/v1", "CStorVolumeReplica");
        replicas.patch(replica, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }
}
