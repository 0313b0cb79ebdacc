//! The hub's account as `deploy/edge/hub.yaml` makes it: enough for everything, and for nothing else.

use fleetlift::cluster::check::{Level, check};
use fleetlift::cluster::manifest::Manifest;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::hand::edge;
use crate::jobs::job;
use crate::support::edge::apply_manifest;
use crate::support::{TestCluster, openebs, until};

#[tokio::test]
async fn the_hub_may_do_its_work() {
    let cluster = TestCluster::new().await;
    let hub = cluster.hub_client().await;
    let jobs: Api<Job> = Api::namespaced(hub.clone(), &cluster.namespace);
    jobs.create(&PostParams::default(), &job("allowed")).await.unwrap();
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    jobs.patch("allowed", &PatchParams::default(), &suspend).await.unwrap();
    jobs.delete("allowed", &DeleteParams::foreground()).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(hub, &cluster.account_namespace);
    let renewed =
        accounts.create_token_request("fleetlift-hub", &PostParams::default(), &TokenRequest::default()).await;
    assert!(!renewed.unwrap().status.unwrap().token.is_empty());
}

#[tokio::test]
async fn the_hub_may_do_nothing_else() {
    let cluster = TestCluster::new().await;
    let hub = cluster.hub_client().await;
    let ours = &cluster.namespace;
    forbidden(&Api::<Secret>::namespaced(hub.clone(), ours).list(&ListParams::default()).await);
    forbidden(&Api::<Namespace>::all(hub.clone()).list(&ListParams::default()).await);
    forbidden(&Api::<Pod>::all(hub.clone()).list(&ListParams::default()).await);
    forbidden(&Api::<Pod>::namespaced(hub.clone(), ours).delete("any", &DeleteParams::default()).await);
    forbidden(&Api::<Job>::namespaced(hub.clone(), "default").create(&PostParams::default(), &job("elsewhere")).await);
    let deployments: Api<Deployment> = Api::namespaced(hub.clone(), ours);
    forbidden(&deployments.patch("any", &PatchParams::default(), &Patch::Merge(json!({}))).await);
    let accounts: Api<ServiceAccount> = Api::namespaced(hub, &cluster.account_namespace);
    let of_another = accounts.create_token_request("default", &PostParams::default(), &TokenRequest::default()).await;
    forbidden(&of_another);
}

#[tokio::test]
async fn the_preflight_names_each_right_that_is_missing() {
    let cluster = TestCluster::new().await;
    openebs::on(&cluster).csi_operators("3.6.0").await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"namespace": cluster.namespace}});
    let lean = json!({"rules": [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]});
    cluster.like(&role).patch("fleetlift-hub", &PatchParams::default(), &Patch::Merge(lean)).await.unwrap();
    let checked = check(&edge(&cluster).await, None).await;
    let failing: Vec<_> = checked.findings.iter().filter(|finding| finding.level == Level::Fail).collect();
    let failing = format!("{failing:#?}");
    for missing in ["create", "patch", "jobs", "upgradetasks"] {
        assert!(failing.contains(missing), "{missing} is not named in:\n{failing}");
    }
    // The command that it prints repairs them.
    let TestCluster { namespace, account_namespace, .. } = &cluster;
    let command = format!(
        "`fleetlift edge manifest --namespace {namespace} --account-namespace {account_namespace} --no-admission | \
         kubectl apply -f -`"
    );
    assert!(failing.contains(&command), "{failing}");
    let printed = Manifest { openebs: namespace, account: account_namespace, admission: false, ..Manifest::default() };
    apply_manifest(&cluster.client, printed).await;
    until("no right is missing any more", || async {
        let checked = check(&edge(&cluster).await, None).await;
        checked.findings.iter().any(|finding| finding.what == "rights" && finding.level == Level::Ok).then_some(())
    })
    .await;
}

fn forbidden<T: std::fmt::Debug>(answer: &kube::Result<T>) {
    assert!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 403), "{answer:?}");
}
