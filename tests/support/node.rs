//! Plays the kubelet of one node: binds Pods, makes them run and get ready, lets them end when told to or when deleted.
//! What follows from that (Jobs complete, Deployments roll out) is the real controllers' doing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{TestCluster, until};

/// How often the node looks at its Pods.
const ROUND: Duration = Duration::from_millis(100);

/// A node at work; it stops with this value.
pub struct Node {
    pods: Api<Pod>,
    jobs: Api<Job>,
    habits: Arc<Mutex<Habits>>,
    work: JoinHandle<()>,
}

/// How a Pod ends.
#[derive(Debug, Clone, Copy)]
pub enum Ending<'a> {
    /// Exit code 0.
    Succeeds,
    /// With that exit code, and that for its last words (the termination message).
    Fails { code: i32, message: &'a str },
    /// By its node, which needs the room and leaves it no time for last words.
    Evicted,
}

#[derive(Default)]
struct Habits {
    /// Pods whose names begin so run and never get ready.
    unready: BTreeSet<String>,
    /// Pods whose names begin so are not started: no node has room for them.
    unscheduled: BTreeSet<String>,
    /// Pods whose names begin so go on when they are deleted: the kubelet does not answer.
    lingering: BTreeSet<String>,
}

impl Node {
    /// Joins `cluster` and takes all Pods of OpenEBS's namespace.
    pub async fn join(cluster: &TestCluster) -> Self {
        Self::join_for(cluster, &cluster.namespace).await
    }

    /// Joins `cluster` and takes all Pods of `namespace`.
    pub async fn join_for(cluster: &TestCluster, namespace: &str) -> Self {
        let name = format!("node-of-{namespace}");
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
        cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
            "labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name}}}))
            .await;
        let nodes: Api<NodeObject> = Api::all(cluster.client.clone());
        let status = json!({"status": {"nodeInfo": {"architecture": "amd64", "operatingSystem": "linux",
            "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
            "kubeletVersion": "v1.34.4", "machineID": "", "osImage": "", "systemUUID": ""},
            "conditions": [{"type": "Ready", "status": "True"}]}});
        nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.expect("a node has a status");
        let habits = Arc::new(Mutex::new(Habits::default()));
        let kubelet = Kubelet { pods: pods.clone(), name, habits: Arc::clone(&habits) };
        let jobs = Api::namespaced(cluster.client.clone(), namespace);
        Self { pods, jobs, habits, work: tokio::spawn(kubelet.work()) }
    }

    /// Pods whose names begin with `prefix` run from now on and never get ready, until [`Self::behave`].
    pub fn keep_from_ready(&self, prefix: &str) {
        self.habits().unready.insert(prefix.to_owned());
    }

    /// Pods whose names begin with `prefix` stay pending, until [`Self::behave`].
    pub fn keep_from_running(&self, prefix: &str) {
        self.habits().unscheduled.insert(prefix.to_owned());
    }

    /// Pods whose names begin with `prefix` stay although they are deleted, until [`Self::behave`].
    pub fn keep_from_leaving(&self, prefix: &str) {
        self.habits().lingering.insert(prefix.to_owned());
    }

    /// Does its duty again by all Pods.
    pub fn behave(&self) {
        *self.habits() = Habits::default();
    }

    /// Waits until the Pod of that Job runs, and gives its name.
    pub async fn running_pod(&self, job: &str) -> String {
        until(&format!("the Pod of Job {job} runs"), || async {
            let pods = self.pods_of(job).await;
            pods.iter().find(|pod| phase(pod) == "Running").map(kube::ResourceExt::name_any)
        })
        .await
    }

    /// Ends the Pod of that Job, once it runs.
    pub async fn end(&self, job: &str, ending: Ending<'_>) {
        let pod = self.running_pod(job).await;
        self.end_pod(&pod, ending).await;
    }

    /// Ends that Pod.
    pub async fn end_pod(&self, pod: &str, ending: Ending<'_>) {
        assert!(self.end_pod_if_there(pod, ending).await, "Pod {pod} is there to be ended");
    }

    /// Ends that Pod unless it is gone; says whether it was there.
    pub async fn end_pod_if_there(&self, pod: &str, ending: Ending<'_>) -> bool {
        let Ok(seen) = self.pods.get(pod).await else { return false };
        let status = ended(&seen, ending);
        self.pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(status)).await.is_ok()
    }

    /// The Pods that belong to that Job, ended ones included.
    pub async fn pods_of(&self, job: &str) -> Vec<Pod> {
        let own = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
        self.pods.list(&own).await.expect("Pods can be listed").items
    }

    /// Waits until the Job has ended, and gives the condition's type and reason: `Complete` or `Failed`.
    pub async fn verdict(&self, job: &str) -> (String, String) {
        until(&format!("Job {job} has ended"), || async {
            let seen = self.jobs.get_opt(job).await.expect("Jobs can be read")?;
            let conditions = seen.status?.conditions?;
            let last = conditions
                .into_iter()
                .find(|one| one.status == "True" && matches!(one.type_.as_str(), "Complete" | "Failed"))?;
            Some((last.type_, last.reason.unwrap_or_default()))
        })
        .await
    }

    fn habits(&self) -> std::sync::MutexGuard<'_, Habits> {
        self.habits.lock().expect("nobody panics while holding it")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.work.abort();
    }
}

struct Kubelet {
    pods: Api<Pod>,
    name: String,
    habits: Arc<Mutex<Habits>>,
}

impl Kubelet {
    async fn work(self) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            // The API server may be gone for a while: tests do that to it.
            let Ok(pods) = self.pods.list(&ListParams::default()).await else { continue };
            for pod in &pods.items {
                self.look_after(pod).await;
            }
        }
    }

    /// One step for one Pod. A refused request is tried again in the next round, with fresh eyes.
    async fn look_after(&self, pod: &Pod) {
        let name = pod.name_any();
        let (unready, unscheduled, lingering) = {
            let habits = self.habits.lock().expect("nobody panics while holding it");
            let among = |prefixes: &BTreeSet<String>| prefixes.iter().any(|prefix| name.starts_with(prefix));
            (among(&habits.unready), among(&habits.unscheduled), among(&habits.lingering))
        };
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        if pod.metadata.deletion_timestamp.is_some() {
            if !lingering {
                self.stop(pod, &name).await;
            }
        } else if !bound {
            if !unscheduled {
                self.bind(&name).await;
            }
        } else if phase(pod) == "Pending" || phase(pod) == "Running" && !unready && !is_ready(pod) {
            let status = running(pod, !unready);
            let _ = self.pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await;
        }
    }

    async fn bind(&self, name: &str) {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.name}});
        let bound: Result<Value, _> =
            self.pods.create_subresource("binding", name, &PostParams::default(), &binding).await;
        drop(bound);
    }

    async fn stop(&self, pod: &Pod, name: &str) {
        if !matches!(phase(pod), "Succeeded" | "Failed") {
            let killed = ended(pod, Ending::Fails { code: 143, message: "" });
            let _ = self.pods.patch_status(name, &PatchParams::default(), &Patch::Merge(killed)).await;
        }
        let _ = self.pods.delete(name, &DeleteParams::default().grace_period(0)).await;
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn running(pod: &Pod, ready: bool) -> Value {
    let now = now();
    let state = json!({"running": {"startedAt": now}});
    let yes = if ready { "True" } else { "False" };
    let conditions: Vec<Value> =
        [("PodScheduled", "True"), ("Initialized", "True"), ("ContainersReady", yes), ("Ready", yes)]
            .into_iter()
            .map(|(condition, status)| json!({"type": condition, "status": status, "lastTransitionTime": now}))
            .collect();
    json!({"status": {"phase": "Running", "startTime": now, "podIP": address(pod), "conditions": conditions,
        "containerStatuses": containers(pod, ready, &state)}})
}

/// The address of every Jiva volume's controller Pod.
pub const JIVA_CONTROLLER_IP: &str = "10.0.0.7";

fn address(pod: &Pod) -> &'static str {
    let component = pod.metadata.labels.as_ref().and_then(|labels| labels.get("openebs.io/component"));
    if component.is_some_and(|component| component == "jiva-controller") { JIVA_CONTROLLER_IP } else { "10.0.0.1" }
}

fn ended(pod: &Pod, ending: Ending<'_>) -> Value {
    let (phase, code, reason, message) = match ending {
        Ending::Succeeds => ("Succeeded", 0, "Completed", ""),
        Ending::Fails { code, message } => ("Failed", code, "Error", message),
        Ending::Evicted => {
            return json!({"status": {"phase": "Failed", "reason": "Evicted",
                "message": "The node was low on resource: memory. "}});
        }
    };
    let now = now();
    let state = json!({"running": null, "terminated": {"exitCode": code, "reason": reason, "message": message,
        "startedAt": now, "finishedAt": now}});
    json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now}],
        "containerStatuses": containers(pod, false, &state)}})
}

fn containers(pod: &Pod, ready: bool, state: &Value) -> Vec<Value> {
    let own = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    own.iter()
        .map(|container| {
            json!({"name": container.name, "image": container.image, "imageID": "sha256:0", "ready": ready,
                "restartCount": 0, "started": ready, "state": state})
        })
        .collect()
}

/// What the wall clock says, in the seconds that Kubernetes writes.
pub fn now() -> String {
    use fleetlift::domain::Clock as _;
    let now = fleetlift::system::SystemClock.now().to_string();
    match now.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => now,
    }
}
