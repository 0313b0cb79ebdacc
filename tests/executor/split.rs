//! Jiva volumes from before 1.9: their one Deployment of replicas becomes one for each, their address stays, and never do
//! two replicas run on one folder.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use fleetlift::executor::problem::Cause;

use crate::arrange::{Home, Site};
use crate::wire::{Cut, Wire};

/// Names of all Deployments and Services of the volume, with their namespaces.
pub async fn parts(site: &Site) -> BTreeSet<String> {
    let of_volume = ListParams::default().labels(&format!("openebs.io/persistent-volume={}", site.resource.name));
    let mut found = BTreeSet::new();
    for (place, namespace) in [("openebs", &site.cluster.namespace), ("claim", &site.cluster.claims_namespace)] {
        let deployments: Api<Deployment> = Api::namespaced(site.cluster.client.clone(), namespace);
        let services: Api<Service> = Api::namespaced(site.cluster.client.clone(), namespace);
        for deployment in deployments.list(&of_volume).await.unwrap() {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            found.insert(format!("{place}/{}×{replicas}", short(site, &deployment.name_any())));
        }
        for service in services.list(&of_volume).await.unwrap() {
            found.insert(format!("{place}/{}", short(site, &service.name_any())));
        }
    }
    found
}

fn short(site: &Site, name: &str) -> String {
    name.strip_prefix(&site.resource.name).unwrap_or(name).to_owned()
}

fn named<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

async fn portal(site: &Site) -> String {
    let volumes: Api<k8s_openapi::api::core::v1::PersistentVolume> = Api::all(site.cluster.client.clone());
    let spec = volumes.get(&site.resource.name).await.unwrap().spec.unwrap();
    spec.iscsi.unwrap().target_portal.strip_suffix(":3260").unwrap().to_owned()
}

async fn deployment(site: &Site, suffix: &str) -> Value {
    let name = format!("{}{suffix}", site.resource.name);
    site.cluster.get("apps/v1", "Deployment", &name).await.unwrap_or_else(|| panic!("there is no Deployment {name}"))
}

/// What is left of the volume is what volumes look like since 1.9, at the target.
pub async fn is_split(site: &Site) {
    assert_eq!(
        parts(site).await,
        named(["openebs/-ctrl×1", "openebs/-rep-1×1", "openebs/-rep-2×1", "openebs/-ctrl-svc"])
    );
    assert_eq!(site.left_behind().await, vec![]);
    let service = format!("{}-ctrl-svc", site.resource.name);
    let service = site.cluster.get("v1", "Service", &service).await.unwrap();
    assert_eq!(service["spec"]["clusterIP"], portal(site).await.as_str());
    for (suffix, node) in [("-rep-1", "n1"), ("-rep-2", "n2")] {
        let affinity = deployment(site, suffix).await["spec"]["template"]["spec"]["affinity"].clone();
        let terms = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        let expected = json!([{"matchExpressions":
            [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]);
        assert_eq!(*terms, expected);
        assert!(affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"].is_array());
    }
}

/// Watches the Pods of old and new replicas; says so if both were ever there.
pub struct Folders {
    clash: Arc<Mutex<Option<String>>>,
    work: tokio::task::JoinHandle<()>,
}

impl Folders {
    pub fn watch(site: &Site) -> Self {
        let clash = Arc::new(Mutex::new(None));
        let (namespaces, client) =
            ([&site.cluster.namespace, &site.cluster.claims_namespace].map(Clone::clone), site.cluster.client.clone());
        let (volume, told) = (site.resource.name.clone(), Arc::clone(&clash));
        let work = tokio::spawn(async move {
            loop {
                let mut running = Vec::new();
                for namespace in &namespaces {
                    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
                    let replicas = ListParams::default()
                        .labels(&format!("openebs.io/replica=jiva-replica,openebs.io/persistent-volume={volume}"));
                    let Ok(pods) = pods.list(&replicas).await else { continue };
                    running.extend(pods.iter().filter(|pod| runs(pod)).map(kube::ResourceExt::name_any));
                }
                let is_new = |name: &String| ["1", "2"].iter().any(|n| name.starts_with(&format!("{volume}-rep-{n}-")));
                if running.iter().any(is_new) && !running.iter().all(is_new) {
                    *told.lock().unwrap() = Some(running.join(", "));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { clash, work }
    }

    pub fn never_shared(&self) {
        assert_eq!(*self.clash.lock().unwrap(), None);
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn runs(pod: &Pod) -> bool {
    !matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

async fn is_upgraded_from(home: Home) {
    let site = Site::to_split(home).await;
    let folders = Folders::watch(&site);
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    is_split(&site).await;
    folders.never_shared();
    let steps = site.steps().await;
    let names: Vec<&str> = steps.iter().map(|(step, _)| step.as_str()).collect();
    assert_eq!(names, ["PRE_UPGRADE", "REPLICA_UPGRADE", "TARGET_UPGRADE", "VERIFY"]);
    // Once more: nothing is left to do, and it says so.
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    is_split(&site).await;
}

#[tokio::test]
async fn a_jiva_volume_of_the_claims_namespace_is_split_and_moves() {
    is_upgraded_from(Home::Claim).await;
}

#[tokio::test]
async fn a_jiva_volume_of_openebs_namespace_is_split_where_it_is() {
    is_upgraded_from(Home::OpenEbs).await;
}

#[tokio::test]
async fn the_moved_controller_goes_on_looking_for_its_application_where_that_is() {
    let site = Site::to_split(Home::Claim).await;
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    let affinity = deployment(&site, "-ctrl").await["spec"]["template"]["spec"]["affinity"].clone();
    let terms = &affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(terms[0]["namespaces"], json!([site.cluster.claims_namespace]));
}

/// Makes somebody else's Service with that address.
async fn take(client: kube::Client, namespace: String, address: String) {
    let thief = json!({"metadata": {"name": "thief"},
        "spec": {"clusterIP": address, "ports": [{"port": 80}], "selector": {"app": "thief"}}});
    let services: Api<Service> = Api::namespaced(client, &namespace);
    crate::support::until("the address is taken", || async {
        services.create(&PostParams::default(), &serde_json::from_value(thief.clone()).unwrap()).await.ok()
    })
    .await;
}

#[tokio::test]
async fn an_address_that_is_taken_in_between_is_told_and_given_back_is_used() {
    let site = Site::to_split(Home::Claim).await;
    let folders = Folders::watch(&site);
    let address = portal(&site).await;
    let (client, namespace) = (site.cluster.client.clone(), site.cluster.claims_namespace.clone());
    let thief = address.clone();
    let wire = Wire::watched(
        Cut::Never,
        Arc::new(move |method, path| {
            let taken = (client.clone(), namespace.clone(), thief.clone());
            if method == "DELETE" && path.ends_with("-ctrl-svc") {
                Box::pin(async move { take(taken.0, taken.1, taken.2).await })
            } else {
                Box::pin(std::future::ready(()))
            }
        }),
    );
    let executor = wire.client(&site.cluster.executor_kubeconfig().await).await;
    let failure = site.execute_through(executor, &site.command(), std::future::pending()).await.unwrap_err();
    assert_eq!(failure.step, "REPLICA_UPGRADE");
    let is_told = |problem: &fleetlift::executor::problem::Problem| {
        assert!(problem.seen.contains(&address), "{problem}");
        assert!(problem.remedy.contains(&format!("kubectl get services -A | grep -w {address}")), "{problem}");
    };
    is_told(&failure.problem);
    let status = site.upgrade_task().await.unwrap()["status"].clone();
    assert_eq!(status["phase"], "Error");
    is_told(&site.upgrade().await.unwrap_err().problem);
    let services: Api<Service> = Api::namespaced(site.cluster.client.clone(), &site.cluster.claims_namespace);
    services.delete("thief", &kube::api::DeleteParams::default()).await.unwrap();
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    is_split(&site).await;
    folders.never_shared();
}

async fn is_refused_untouched(site: &Site, expected: &str) {
    let before = parts(site).await;
    let failure = site.upgrade().await.unwrap_err();
    assert_eq!((failure.step.as_str(), failure.problem.cause), ("PRE_UPGRADE", Cause::Failed), "{}", failure.problem);
    assert!(failure.problem.to_string().contains(expected), "{}", failure.problem);
    assert_eq!(parts(site).await, before);
}

#[tokio::test]
async fn nodes_that_are_not_those_of_the_replicas_are_refused() {
    let site = Site::to_split(Home::OpenEbs).await;
    let only = json!({"spec": {"template": {"spec": {"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}}}}}}});
    site.cluster.merge("apps/v1", "Deployment", &format!("{}-rep", site.resource.name), &only).await;
    site.wait_rolled_out().await;
    is_refused_untouched(&site, "its nodeAffinity names 1 nodes (n1); expected 2, one for each replica").await;
}

#[tokio::test]
async fn old_and_new_replicas_that_run_side_by_side_are_refused() {
    let site = Site::to_split(Home::OpenEbs).await;
    let mut new = deployment(&site, "-rep").await;
    let name = format!("{}-rep-1", site.resource.name);
    new["metadata"] = json!({"name": name, "namespace": site.cluster.namespace, "labels": new["metadata"]["labels"]});
    new["spec"]["replicas"] = json!(1);
    new.as_object_mut().unwrap().remove("status");
    site.cluster.apply(&new).await;
    site.wait_rolled_out().await;
    is_refused_untouched(&site, "on the same folders").await;
}

#[tokio::test]
async fn a_release_that_knows_no_single_replicas_is_refused_as_a_target() {
    let site = Site::to_split(Home::OpenEbs).await;
    crate::support::openebs::on(&site.cluster).maya_apiserver("1.8.0").await;
    let command = ["jiva-volume", "--from-version=1.6.0", "--to-version=1.8.0", &site.resource.name];
    site.wait_rolled_out().await;
    let failure = crate::support::until("the old control plane is there", || async {
        let failure = site.execute(&command.map(str::to_owned)).await.unwrap_err();
        (failure.problem.object != "maya-apiserver").then_some(failure)
    })
    .await;
    assert_eq!(failure.problem.expected, "1.9.0 or later", "{}", failure.problem);
}
