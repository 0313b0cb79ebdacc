//! A cluster with one resource of any kind at the old version, operators at the new one, and the executor to run on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser as _;
use fleetlift::domain::{ResourceKind, ResourceRef};
use fleetlift::executor::api::Api;
use fleetlift::executor::arguments::Arguments;
use fleetlift::executor::run::{Failure, run};
use fleetlift::executor::task::{Pace, Run};
use fleetlift::openebs::{kinds, names};
use fleetlift::system::SystemClock;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::operators::{Operators, named_after};
use crate::support::node::JIVA_CONTROLLER_IP;
use crate::support::openebs::released::released;
use crate::support::{Node, TestCluster, openebs};

/// Faster than in a Pod, so that a test takes a second.
const PACE: Pace = Pace {
    look_every: Duration::from_millis(50),
    refusal_lasts: Duration::from_millis(600),
    silence_lasts: Duration::from_millis(600),
    mute_lasts: Duration::from_millis(600),
};

/// A cluster in which one resource waits for its upgrade: the resource at the old version, the operators at the new one.
pub struct Waiting {
    pub cluster: TestCluster,
    pub operators: Operators,
    pub resource: ResourceRef,
    pub from: &'static str,
    pub to: &'static str,
}

/// Where a legacy volume was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In its claim's namespace.
    Claim,
    /// In the namespace of OpenEBS.
    OpenEbs,
}

impl Home {
    /// Its name.
    pub fn namespace(self, cluster: &TestCluster) -> &str {
        match self {
            Self::Claim => &cluster.claims_namespace,
            Self::OpenEbs => &cluster.namespace,
        }
    }
}

/// The same with a node that is played, and with the executor to run in this process.
pub struct Site {
    waiting: Waiting,
    pub node: Node,
    /// Speaks for the executor.
    pub client: kube::Client,
    jiva_controller: String,
    modes: Arc<Mutex<Vec<&'static str>>>,
    untouched: Vec<(String, String)>,
    /// Plays the Pods of legacy volumes that were made in their claims' namespace.
    _claims_node: Option<Node>,
}

impl std::ops::Deref for Site {
    type Target = Waiting;

    fn deref(&self) -> &Waiting {
        &self.waiting
    }
}

impl Waiting {
    /// A resource of that kind. A Jiva volume has `jiva_replicas`; those of a legacy one cannot share a node.
    pub async fn on(cluster: TestCluster, kind: ResourceKind, jiva_replicas: u32) -> Self {
        let legacy = kinds::of(kind).line == kinds::Line::Legacy;
        Self::since(cluster, kind, if legacy { "2.11.0" } else { "3.5.0" }, jiva_replicas).await
    }

    /// The same at another old version.
    pub async fn since(cluster: TestCluster, kind: ResourceKind, from: &'static str, jiva_replicas: u32) -> Self {
        let legacy = kinds::of(kind).line == kinds::Line::Legacy;
        let to = if legacy { "2.12.2" } else { "3.6.0" };
        let resource = ResourceRef { kind, name: name_of(kind, &cluster.namespace) };
        let objects = openebs::on(&cluster);
        match kind {
            ResourceKind::CstorPoolInstance | ResourceKind::CstorPoolCluster => {
                objects.csi_operators(to).await;
                objects.pool_cluster("cspc-a", from, &["n1", "n2"]).await;
                objects.cstor_volume(&volume(&cluster), from, "cspc-a", &["cspc-a-n1", "cspc-a-n2"]).await;
            }
            ResourceKind::CstorVolume => {
                objects.csi_operators(to).await;
                objects.pool_cluster("cspc-a", to, &["n1", "n2"]).await;
                objects.cstor_volume(&resource.name, from, "cspc-a", &["cspc-a-n1", "cspc-a-n2"]).await;
            }
            ResourceKind::JivaVolume => {
                objects.csi_operators(to).await;
                objects.jiva_volume(&resource.name, from, jiva_replicas).await;
            }
            ResourceKind::CstorPool | ResourceKind::StoragePoolClaim => {
                objects.maya_apiserver(to).await;
                let claim = claim(&cluster);
                objects.storage_pool_claim(&claim, from, &["n1", "n2"]).await;
                let pools = [format!("{claim}-n1"), format!("{claim}-n2")];
                objects.legacy_cstor_volume(&volume(&cluster), from, &[&pools[0], &pools[1]]).await;
            }
            ResourceKind::LegacyCstorVolume => {
                objects.maya_apiserver(to).await;
                let claim = claim(&cluster);
                objects.storage_pool_claim(&claim, to, &["n1", "n2"]).await;
                let pools = [format!("{claim}-n1"), format!("{claim}-n2")];
                objects.legacy_cstor_volume(&resource.name, from, &[&pools[0], &pools[1]]).await;
            }
            ResourceKind::LegacyJivaVolume => {
                objects.maya_apiserver(to).await;
                objects.legacy_jiva_volume(&resource.name, from, jiva_replicas).await;
            }
        }
        let operators = Operators::start(&cluster);
        Self { cluster, operators, resource, from, to }
    }

    /// The same as the operators of that release made it, with every field: pools end in `-a1b2` and `-c3d4`, Jiva volumes
    /// have three replicas.
    pub async fn released(cluster: TestCluster, kind: ResourceKind, from: &'static str) -> Self {
        let to = if kinds::of(kind).line == kinds::Line::Legacy { "2.12.2" } else { "3.6.0" };
        let (claim, volume) = (claim(&cluster), volume(&cluster));
        let name = match kind {
            ResourceKind::CstorPoolInstance => "cspc-a-a1b2".to_owned(),
            ResourceKind::CstorPool => format!("{claim}-a1b2"),
            _ => name_of(kind, &cluster.namespace),
        };
        let (operators, objects) = (openebs::on(&cluster), released(&cluster));
        match kinds::of(kind).line {
            kinds::Line::Legacy => operators.maya_apiserver(to).await,
            kinds::Line::Csi => operators.csi_operators(to).await,
        }
        match kind {
            ResourceKind::CstorPoolInstance | ResourceKind::CstorPoolCluster => {
                objects.pool_cluster("cspc-a", from).await;
                objects.cstor_volume(&volume, "cspc-a", from).await;
            }
            ResourceKind::CstorVolume => {
                objects.pool_cluster("cspc-a", to).await;
                objects.cstor_volume(&name, "cspc-a", from).await;
            }
            ResourceKind::JivaVolume => objects.jiva_volume(&name, from).await,
            ResourceKind::CstorPool | ResourceKind::StoragePoolClaim => {
                objects.storage_pool_claim(&claim, from).await;
                objects.legacy_cstor_volume(&volume, &claim, from).await;
            }
            ResourceKind::LegacyCstorVolume => {
                objects.storage_pool_claim(&claim, to).await;
                objects.legacy_cstor_volume(&name, &claim, from).await;
            }
            ResourceKind::LegacyJivaVolume => {
                objects.legacy_jiva_volume(&name, from).await;
                bind_claims_namespace(&cluster).await;
            }
        }
        let operators = Operators::start(&cluster);
        Self { cluster, operators, resource: ResourceRef { kind, name }, from, to }
    }

    /// A Jiva volume from before 1.9 with a replica on each of these nodes, made in `home`.
    pub async fn to_split(cluster: TestCluster, home: Home, nodes: &[&str]) -> Self {
        let (from, to) = ("1.8.0", "2.12.2");
        let kind = ResourceKind::LegacyJivaVolume;
        let resource = ResourceRef { kind, name: name_of(kind, &cluster.namespace) };
        let objects = openebs::on(&cluster);
        objects.maya_apiserver(to).await;
        let namespace = home.namespace(&cluster);
        objects.jiva_volume_to_split(&resource.name, from, nodes, namespace).await;
        if home == Home::Claim {
            bind_claims_namespace(&cluster).await;
        }
        let operators = Operators::start(&cluster);
        Self { cluster, operators, resource, from, to }
    }

    /// A cStor volume of the external provisioner that was made in its claim's namespace, its pools being done.
    pub async fn cstor_volume_with_claim(cluster: TestCluster) -> Self {
        let (from, to) = ("2.11.0", "2.12.2");
        let kind = ResourceKind::LegacyCstorVolume;
        let resource = ResourceRef { kind, name: name_of(kind, &cluster.namespace) };
        let objects = openebs::on(&cluster);
        objects.maya_apiserver(to).await;
        let claim = claim(&cluster);
        objects.storage_pool_claim(&claim, to, &["n1", "n2"]).await;
        let pools = [format!("{claim}-n1"), format!("{claim}-n2")];
        let home = &cluster.claims_namespace;
        objects.legacy_cstor_volume_in(home, &resource.name, from, &[&pools[0], &pools[1]]).await;
        bind_claims_namespace(&cluster).await;
        let operators = Operators::start(&cluster);
        Self { cluster, operators, resource, from, to }
    }

    /// The sub-command that upgrades the resource, in argument mode.
    pub fn command(&self) -> Vec<String> {
        let word = match self.resource.kind {
            ResourceKind::CstorPoolInstance => "cstor-pool-instance",
            ResourceKind::CstorPoolCluster => "cstor-cspc",
            ResourceKind::CstorPool => "cstor-pool",
            ResourceKind::StoragePoolClaim => "cstor-spc",
            ResourceKind::CstorVolume | ResourceKind::LegacyCstorVolume => "cstor-volume",
            ResourceKind::JivaVolume | ResourceKind::LegacyJivaVolume => "jiva-volume",
        };
        vec![
            word.to_owned(),
            format!("--from-version={}", self.from),
            format!("--to-version={}", self.to),
            self.resource.name.clone(),
            "--v=4".to_owned(),
        ]
    }

    /// The resource's UpgradeTask.
    pub async fn upgrade_task(&self) -> Option<Value> {
        self.cluster.get("openebs.io/v1alpha1", "UpgradeTask", &names::upgrade_task(&self.resource)).await
    }

    /// Steps and phases as the UpgradeTask tells them.
    pub async fn steps(&self) -> Vec<(String, String)> {
        let task = self.upgrade_task().await.expect("there is an UpgradeTask");
        let steps = task["status"]["upgradeDetailedStatuses"].as_array().cloned().unwrap_or_default();
        steps.iter().map(|step| (text(&step["step"]), text(&step["phase"]))).collect()
    }

    /// Every version on every object of the namespace and on the cluster-wide pools that are this cluster's.
    pub async fn versions(&self) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        let kinds = [
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("v1", "Service"),
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
        for (api_version, kind) in kinds {
            let example = match kind {
                "CStorPool" | "StoragePoolClaim" => serde_json::json!({"apiVersion": api_version, "kind": kind}),
                _ => serde_json::json!({"apiVersion": api_version, "kind": kind,
                    "metadata": {"namespace": self.cluster.namespace}}),
            };
            let listed = match self.cluster.like(&example).list(&kube::api::ListParams::default()).await {
                // Served in one version or the other.
                Err(kube::Error::Api(status)) if status.code == 404 && kind == "JivaVolume" => continue,
                listed => listed.unwrap(),
            };
            for object in listed {
                let name = object.metadata.name.clone().unwrap_or_default();
                if object.metadata.namespace.is_none() && !named_after(&self.cluster.namespace, &name) {
                    continue;
                }
                let label = object.metadata.labels.and_then(|labels| labels.get("openebs.io/version").cloned());
                let workload = object.data.pointer("/spec/template/spec/containers").and_then(Value::as_array);
                let images = workload.into_iter().flatten().map(|container| text(&container["image"]));
                let tags = images.filter_map(|image| Some(image.rsplit_once(':')?.1.to_owned()));
                let current = object.data.pointer("/versionDetails/status/current").map(text);
                // Labels of CV and CVC are left alone by the official executors, too; the current version counts.
                let told = current.into_iter().chain(tags);
                let all: Vec<String> = match kind {
                    "Service" => label.into_iter().collect(),
                    _ => told.collect(),
                };
                seen.extend(all.into_iter().map(|version| (format!("{kind}/{name}"), version)));
            }
        }
        seen
    }

    /// What is not at the target, of what the resource consists of.
    pub async fn left_behind(&self) -> Vec<(String, String)> {
        let mut all = self.versions().await;
        all.retain(|(_, version)| version != self.to);
        match self.resource.kind {
            // One pool was asked for; the other, the parent and the volume stay.
            ResourceKind::CstorPoolInstance | ResourceKind::CstorPool => {
                all.retain(|(object, _)| object.ends_with(&format!("/{}", self.resource.name)));
            }
            ResourceKind::CstorPoolCluster | ResourceKind::StoragePoolClaim => {
                let volume = volume(&self.cluster);
                all.retain(|(object, _)| !object.contains(&volume));
            }
            _ => {}
        }
        all
    }

    /// Waits until all that was arranged runs.
    pub async fn wait_rolled_out(&self) {
        use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
        let (deployments, sets) = (self.cluster.api::<Deployment>(), self.cluster.api::<StatefulSet>());
        let elsewhere: kube::Api<Deployment> =
            kube::Api::namespaced(self.cluster.client.clone(), &self.cluster.claims_namespace);
        crate::support::until("everything is rolled out", || async {
            let all = kube::api::ListParams::default();
            let mut found = deployments.list(&all).await.ok()?.items;
            found.extend(elsewhere.list(&all).await.ok()?.items);
            let deployments = found.into_iter().all(|one| {
                let wanted = one.spec.and_then(|spec| spec.replicas);
                one.status.is_some_and(|status| status.available_replicas >= wanted)
            });
            let sets = sets.list(&all).await.ok()?.items.into_iter().all(|one| {
                let wanted = one.spec.and_then(|spec| spec.replicas);
                one.status.is_some_and(|status| status.ready_replicas >= wanted && status.updated_replicas >= wanted)
            });
            (deployments && sets).then_some(())
        })
        .await;
    }
}

impl Site {
    /// With a resource of that kind, on the shared control plane, under the executor's rights.
    pub async fn with(kind: ResourceKind) -> Self {
        Self::on(TestCluster::new().await, kind).await
    }

    /// The same on a given cluster.
    pub async fn on(cluster: TestCluster, kind: ResourceKind) -> Self {
        let node = Node::join(&cluster).await;
        Self::of(Waiting::on(cluster, kind, jiva_replicas(kind)).await, node, None).await
    }

    /// The same at another old version, on the shared control plane.
    pub async fn since(kind: ResourceKind, from: &'static str) -> Self {
        let cluster = TestCluster::new().await;
        let node = Node::join(&cluster).await;
        Self::of(Waiting::since(cluster, kind, from, jiva_replicas(kind)).await, node, None).await
    }

    /// With a resource as the operators of that release made it, on the shared control plane.
    pub async fn released(kind: ResourceKind, from: &'static str) -> Self {
        let cluster = TestCluster::new().await;
        let node = Node::join(&cluster).await;
        let claims_node = Node::join_for(&cluster, &cluster.claims_namespace).await;
        let waiting = Waiting::released(cluster, kind, from).await;
        let site = Self::of(waiting, node, Some(claims_node)).await;
        site.replicas_are(&["RW"; 3]);
        site
    }

    /// With a Jiva volume from before 1.9, on the shared control plane, under the executor's rights.
    pub async fn to_split(home: Home) -> Self {
        let cluster = TestCluster::new().await;
        let node = Node::join(&cluster).await;
        let claims_node = Node::join_for(&cluster, &cluster.claims_namespace).await;
        Self::of(Waiting::to_split(cluster, home, &["n1", "n2"]).await, node, Some(claims_node)).await
    }

    /// With a legacy cStor volume in its claim's namespace, on the shared control plane, under the executor's rights.
    pub async fn with_claim() -> Self {
        let cluster = TestCluster::new().await;
        let node = Node::join(&cluster).await;
        let claims_node = Node::join_for(&cluster, &cluster.claims_namespace).await;
        Self::of(Waiting::cstor_volume_with_claim(cluster).await, node, Some(claims_node)).await
    }

    /// The same with `waiting` arranged otherwise.
    pub async fn of(waiting: Waiting, node: Node, claims_node: Option<Node>) -> Self {
        waiting.wait_rolled_out().await;
        let client = client_of(&waiting.cluster.executor_kubeconfig().await).await;
        let replicas = jiva_replicas(waiting.resource.kind);
        let modes = Arc::new(Mutex::new(vec!["RW"; replicas as usize]));
        let (jiva_controller, untouched) = (jiva_controller(Arc::clone(&modes)).await, waiting.versions().await);
        Self { waiting, node, client, jiva_controller, modes, untouched, _claims_node: claims_node }
    }

    /// From now on the Jiva volume's controller says this of its replicas; nothing at all if it is nothing.
    pub fn replicas_are(&self, modes: &[&'static str]) {
        *self.modes.lock().unwrap() = modes.to_vec();
    }

    /// From now on connections to the Jiva volume's controller are refused.
    pub fn nobody_listens_at_the_controller(&mut self) {
        "127.0.0.1:1".clone_into(&mut self.jiva_controller);
    }

    /// Runs the executor to its end.
    pub async fn upgrade(&self) -> Result<(), Failure> {
        self.execute(&self.command()).await
    }

    /// Runs the executor with these arguments to its end.
    pub async fn execute(&self, arguments: &[String]) -> Result<(), Failure> {
        self.execute_until(arguments, std::future::pending()).await
    }

    /// Runs the executor with these arguments until its end or until it is told to stop.
    pub async fn execute_until(
        &self,
        arguments: &[String],
        stop: impl Future<Output = &'static str>,
    ) -> Result<(), Failure> {
        self.execute_through(self.client.clone(), arguments, stop).await
    }

    /// The same, speaking through `client`.
    pub async fn execute_through(
        &self,
        client: kube::Client,
        arguments: &[String],
        stop: impl Future<Output = &'static str>,
    ) -> Result<(), Failure> {
        let namespace = format!("--openebs-namespace={}", self.cluster.namespace);
        let program = ["fleetlift-executor".to_owned(), namespace];
        let arguments = Arguments::try_parse_from(program.iter().chain(arguments)).expect("official arguments");
        let request = arguments.request().map_err(|problem| Failure { step: String::new(), problem })?;
        let api = Api::new(client, Duration::from_mins(1));
        let mut surroundings = Run::new(api, arguments.namespace(), PACE, Arc::new(SystemClock));
        let jiva_controller = self.jiva_controller.clone();
        surroundings.pod = arguments.pod().map(str::to_owned);
        // A CSI volume's controller is asked in its Pod; whoever is at the Service's address may be a replica.
        let any = self.resource.kind != ResourceKind::JivaVolume;
        surroundings.route = Box::new(move |ip, _| match any || ip == JIVA_CONTROLLER_IP {
            true => jiva_controller.clone(),
            false => "127.0.0.1:1".to_owned(),
        });
        Box::pin(run(surroundings, request, stop)).await
    }

    /// A Pod of a Job that is ended after so many seconds.
    pub async fn pod_of_a_job(&self, seconds: u32) -> String {
        let container = serde_json::json!({"name": "upgrade", "image": "executor:1"});
        let job = serde_json::json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "upgrade", "namespace": self.cluster.namespace},
            "spec": {"activeDeadlineSeconds": seconds, "backoffLimit": 0,
                "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}});
        self.cluster.apply(&job).await;
        self.node.running_pod("upgrade").await
    }

    /// What has another version than in the beginning.
    pub async fn touched(&self) -> Vec<(String, String)> {
        let mut all = self.versions().await;
        all.retain(|seen| !self.untouched.contains(seen));
        all
    }
}

/// Those of a legacy volume cannot share a node.
fn jiva_replicas(kind: ResourceKind) -> u32 {
    if kind == ResourceKind::JivaVolume { 3 } else { 2 }
}

/// As `deploy/edge/executor.yaml` says how.
async fn bind_claims_namespace(cluster: &TestCluster) {
    let binding = serde_json::json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "fleetlift-executor-volumes", "namespace": cluster.claims_namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "fleetlift-executor-volumes"},
        "subjects": [{"kind": "ServiceAccount", "name": "fleetlift-executor", "namespace": cluster.namespace}]});
    cluster.apply(&binding).await;
}

fn name_of(kind: ResourceKind, namespace: &str) -> String {
    match kind {
        ResourceKind::CstorPoolCluster => "cspc-a".to_owned(),
        ResourceKind::CstorPoolInstance => "cspc-a-n1".to_owned(),
        ResourceKind::StoragePoolClaim => format!("spc-{namespace}"),
        ResourceKind::CstorPool => format!("spc-{namespace}-n1"),
        _ => format!("pvc-{namespace}"),
    }
}

fn claim(cluster: &TestCluster) -> String {
    format!("spc-{}", cluster.namespace)
}

fn volume(cluster: &TestCluster) -> String {
    format!("pvc-on-{}", cluster.namespace)
}

/// A text of JSON; empty for anything else.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Answers as a Jiva controller with replicas in these modes.
async fn jiva_controller(modes: Arc<Mutex<Vec<&'static str>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            drop(stream.read(&mut request).await);
            if modes.lock().unwrap().is_empty() {
                continue;
            }
            let replicas: Vec<Value> =
                modes.lock().unwrap().iter().map(|mode| serde_json::json!({"address": "a", "mode": mode})).collect();
            let body = serde_json::json!({"data": replicas, "type": "collection"});
            let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    address
}

/// A client with a kubeconfig's rights.
pub async fn client_of(kubeconfig: &str) -> kube::Client {
    kube::Client::try_from(config_of(kubeconfig).await).unwrap()
}

/// What a client with a kubeconfig's rights is made from.
pub async fn config_of(kubeconfig: &str) -> kube::Config {
    let read = kube::config::Kubeconfig::from_yaml(kubeconfig).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the kubeconfig is our own")]
    let mut config =
        kube::Config::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    config
}
