//! One test's cluster: a namespace for OpenEBS and one for the hub's account, on a control plane that others may share.

use std::sync::Arc;

use fleetlift::cluster::manifest::Manifest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::crds::{self, UpgradeTaskSchema};
use super::edge;
use super::{ControlPlane, until};

/// A cluster as a test sees it. All clusters of one control plane share their identity (the UID of `kube-system`), their
/// custom resource definitions and their cluster-wide kinds.
pub struct TestCluster {
    /// The control plane that it is part of.
    pub plane: Arc<ControlPlane>,
    /// May do everything.
    pub client: Client,
    /// OpenEBS's.
    pub namespace: String,
    /// The hub's account's.
    pub account_namespace: String,
    /// Where the claims of all volumes are, and the Pods that use them.
    pub claims_namespace: String,
}

impl TestCluster {
    /// On the control plane that all tests of this process share.
    pub async fn new() -> Self {
        Self::on(shared_plane().await).await
    }

    /// The same before anybody has prepared it for a hub, with these names for OpenEBS's namespace and for the one that
    /// the hub's account will get. No two tests may use the same.
    pub async fn untouched(openebs: &str, account: &str) -> Self {
        Self::with_openebs(shared_plane().await, openebs.to_owned(), account.to_owned()).await
    }

    /// On a control plane of its own, with that definition of UpgradeTasks; costs seconds.
    pub async fn alone(schema: UpgradeTaskSchema) -> Self {
        let plane = ControlPlane::start().await;
        crds::install(&plane.admin(), schema).await;
        Self::on(plane).await
    }

    /// One more on `plane`, which has the definitions.
    pub async fn on(plane: Arc<ControlPlane>) -> Self {
        let number = plane.next_number();
        let cluster = Self::with_openebs(plane, format!("openebs-{number}"), format!("fleetlift-{number}")).await;
        let manifest = Manifest {
            openebs: &cluster.namespace,
            account: &cluster.account_namespace,
            admission: false,
            ..Manifest::default()
        };
        edge::apply_manifest(&cluster.client, manifest).await;
        cluster
    }

    /// Namespaces, and the accounts under which OpenEBS's Pods run.
    async fn with_openebs(plane: Arc<ControlPlane>, namespace: String, account_namespace: String) -> Self {
        let claims_namespace = format!("shop-of-{namespace}");
        let cluster = Self { client: plane.admin(), claims_namespace, namespace, account_namespace, plane };
        for namespace in [&cluster.namespace, &cluster.claims_namespace] {
            cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
        }
        for account in ["openebs-cstor-operator", "jiva-operator", "openebs-maya-operator"] {
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": account, "namespace": cluster.namespace}});
            cluster.apply(&account).await;
        }
        cluster
    }

    /// A kubeconfig with the hub's account's token and no rights but those of `deploy/edge/hub.yaml`.
    pub async fn hub_kubeconfig(&self) -> String {
        self.plane.token_kubeconfig(&self.token("fleetlift-hub", &self.account_namespace).await)
    }

    /// A client with the hub's account's token and its rights.
    pub async fn hub_client(&self) -> Client {
        self.plane.token_client(&self.token("fleetlift-hub", &self.account_namespace).await)
    }

    /// A kubeconfig with the executor's account's token, as its Pod would show it.
    pub async fn executor_kubeconfig(&self) -> String {
        self.plane.token_kubeconfig(&self.token("fleetlift-executor", &self.namespace).await)
    }

    /// A kubeconfig that may do everything.
    pub fn admin_kubeconfig(&self) -> String {
        self.plane.admin_kubeconfig()
    }

    /// Typed access to OpenEBS's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Untyped access to the kind that `example` is of, in its namespace.
    pub fn like(&self, example: &Value) -> Api<DynamicObject> {
        untyped(&self.client, example)
    }

    /// Untyped access to a kind in OpenEBS's namespace.
    pub fn kind(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        untyped(
            &self.client,
            &json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": self.namespace}}),
        )
    }

    /// Holds the hub's account to the Jobs that it is meant to make, and waits until that is in force.
    pub async fn hold_the_hub_to_its_jobs(&self) {
        let manifest = Manifest { openebs: &self.namespace, account: &self.account_namespace, ..Manifest::default() };
        edge::apply_manifest(&self.client, manifest).await;
        let jobs: Api<Job> = Api::namespaced(self.hub_client().await, &self.namespace);
        let never = PostParams { dry_run: true, ..PostParams::default() };
        let job: Job = serde_json::from_value(json!({"metadata": {"name": "dry"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "x", "image": "x:1"}]}}}}))
        .expect("a Job");
        until("the admission policy is in force", || async { jobs.create(&never, &job).await.err() }).await;
    }

    /// Lets the hub see the Pods in the claims' namespace, as `deploy/edge/hub.yaml` says how.
    pub async fn let_the_hub_see_claims(&self) {
        self.apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "fleetlift-hub-volumes", "namespace": self.claims_namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "fleetlift-hub-volumes"},
            "subjects": [{"kind": "ServiceAccount", "name": "fleetlift-hub", "namespace": self.account_namespace}]}))
        .await;
    }

    /// Creates an object or changes it to be like `object`.
    pub async fn apply(&self, object: &Value) {
        apply(&self.client, object).await;
    }

    /// Claim `name` in `namespace`, bound to a volume of `source`, before anybody asks for it: no controller here binds
    /// volumes. `spec` is the claim's.
    pub async fn provide(&self, namespace: &str, name: &str, spec: &Value, source: &Value) {
        let volume = format!("{namespace}-{name}");
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace, "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": spec});
        claim["spec"]["volumeName"] = volume.as_str().into();
        self.apply(&claim).await;
        let claims = self.like(&claim);
        let bound = Patch::Merge(json!({"status": {"phase": "Bound", "accessModes": spec["accessModes"],
            "capacity": spec["resources"]["requests"]}}));
        let claim = claims.patch_status(name, &PatchParams::default(), &bound).await.expect("it is there");
        let mut volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {"capacity": spec["resources"]["requests"], "accessModes": spec["accessModes"],
                "storageClassName": spec["storageClassName"], "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name,
                    "uid": claim.metadata.uid}}});
        if let (Value::Object(spec), Value::Object(source)) = (&mut volume["spec"], source.clone()) {
            spec.extend(source);
        }
        self.apply(&volume).await;
    }

    /// Merges `patch` into an object of OpenEBS's namespace.
    pub async fn merge(&self, api_version: &str, kind: &str, name: &str, patch: &Value) {
        self.kind(api_version, kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap_or_else(|error| panic!("{kind} {name} can be patched: {error}"));
    }

    /// Everything of a custom kind in OpenEBS's namespace, as JSON.
    pub async fn get(&self, api_version: &str, kind: &str, name: &str) -> Option<Value> {
        let found = self.kind(api_version, kind).get_opt(name).await.expect("it can be read");
        found.map(|object| serde_json::to_value(object).expect("it came as JSON"))
    }

    async fn token(&self, account: &str, namespace: &str) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 7200}}))
            .expect("a token request");
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        answer.expect("the account exists").status.expect("it was granted").token
    }
}

/// The control plane that all tests of this process share, with all definitions.
async fn shared_plane() -> Arc<ControlPlane> {
    static INSTALLED: Mutex<bool> = Mutex::const_new(false);
    let plane = ControlPlane::shared().await;
    let mut installed = INSTALLED.lock().await;
    if !*installed {
        crds::install(&plane.admin(), UpgradeTaskSchema::Fleetlift).await;
        *installed = true;
    }
    drop(installed);
    plane
}

/// Creates an object or changes it to be like `object`.
///
/// # Panics
/// When the API server refuses it, with what it says.
pub async fn apply(client: &Client, object: &Value) {
    let name = object["metadata"]["name"].as_str().expect("it has a name");
    let parameters = PatchParams::apply("fleetlift-tests").force();
    let applied = untyped(client, object).patch(name, &parameters, &Patch::Apply(object)).await;
    if let Err(error) = applied {
        panic!("{} {name} can be applied: {error}", object["kind"]);
    }
}

/// Access to the kind that `example` is of; in its namespace if it names one.
fn untyped(client: &Client, example: &Value) -> Api<DynamicObject> {
    let (api_version, kind) = (&example["apiVersion"], example["kind"].as_str().expect("it has a kind"));
    let api_version = api_version.as_str().expect("it has an apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match example["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
