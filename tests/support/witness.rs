//! Stands outside the system under test and writes down what becomes of Jobs and Pods, so that a test can prove
//! afterwards that no resource ever had two at work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinHandle;

use super::TestCluster;

/// A witness; it looks away when dropped.
pub struct Witness {
    record: Arc<Mutex<Vec<Entry>>>,
    watches: Vec<JoinHandle<()>>,
}

/// One change of one object.
#[derive(Debug, Clone)]
struct Entry {
    /// The API server's own order of changes, over all kinds of objects.
    order: u64,
    object: String,
    resource: String,
    /// For a Job: neither ended nor a tombstone, Pods aside. For a Pod: not ended.
    at_work: bool,
}

/// What became of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// All Jobs that there ever were, by name.
    pub jobs: BTreeSet<String>,
    /// The most Jobs that were at work at the same moment.
    pub jobs_at_once: usize,
    /// The most Pods that had not ended at the same moment.
    pub pods_at_once: usize,
}

impl Witness {
    /// Watches everything of OpenEBS's namespace that names a resource.
    pub fn of(cluster: &TestCluster) -> Self {
        let record = Arc::new(Mutex::new(Vec::new()));
        let jobs = tokio::spawn(follow(cluster.api::<Job>(), Arc::clone(&record), |job| {
            let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
            let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            let ended = |one: &str, status: &str| status == "True" && matches!(one, "Complete" | "Failed");
            !suspended && !conditions.iter().any(|one| ended(&one.type_, &one.status))
        }));
        let pods = tokio::spawn(follow(cluster.api::<Pod>(), Arc::clone(&record), |pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        }));
        Self { record, watches: vec![jobs, pods] }
    }

    /// What became of each resource, by `kind/name`.
    pub fn accounts(&self) -> BTreeMap<String, Account> {
        let mut record = self.record.lock().expect("nobody panics while holding it").clone();
        record.sort_by_key(|entry| entry.order);
        let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
        let mut at_work: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Entry { object, resource, at_work: works, .. } in record {
            let own = at_work.entry(resource.clone()).or_default();
            if works {
                own.insert(object.clone());
            } else {
                own.remove(&object);
            }
            let of = |kind: &str| own.iter().filter(|one| one.starts_with(kind)).count();
            let account = accounts.entry(resource).or_default();
            account.jobs_at_once = account.jobs_at_once.max(of("Job/"));
            account.pods_at_once = account.pods_at_once.max(of("Pod/"));
            if let Some(job) = object.strip_prefix("Job/") {
                account.jobs.insert(job.to_owned());
            }
        }
        accounts
    }

    /// # Panics
    /// When a resource had two Jobs or two Pods at work at once.
    pub fn assert_never_two_at_once(&self) {
        for (resource, account) in self.accounts() {
            assert!(account.jobs_at_once <= 1 && account.pods_at_once <= 1, "{resource}: {account:?}");
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

async fn follow<K>(objects: Api<K>, record: Arc<Mutex<Vec<Entry>>>, at_work: fn(&K) -> bool)
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let mut changes = watcher(objects, watcher::Config::default()).default_backoff().boxed();
    while let Some(change) = changes.next().await {
        let (object, gone) = match change {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => (object, false),
            Ok(watcher::Event::Delete(object)) => (object, true),
            // The API server may be gone for a while.
            Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => continue,
        };
        let Some(resource) = object.annotations().get("fleetlift.io/resource").cloned() else { continue };
        let order = object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default();
        let name = format!("{}/{}", K::kind(&()), object.name_any());
        let entry = Entry { order, object: name, resource, at_work: !gone && at_work(&object) };
        record.lock().expect("nobody panics while holding it").push(entry);
    }
}
