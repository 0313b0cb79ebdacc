//! The bad ways, from the daemon: what it says meanwhile, its verdict and reason, what is left behind. The executors are
//! real; never are there two for one volume.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::attempt::IMAGE;
use crate::hub::{CALM, CLUSTER, Hub, ours};
use crate::operators::{Answer, Operators};
use crate::real_node::RealNode;
use crate::support::crds::UpgradeTaskSchema;
use crate::support::{Node, TestCluster, openebs, until};

const FROM: &str = "3.5.0";
const TO: &str = "3.6.0";

/// One Jiva volume on the real node, a daemon, and a rollout that can be started.
pub struct Trouble {
    pub cluster: Arc<TestCluster>,
    pub operators: Operators,
    pub hub: Hub,
    pub volume: String,
}

impl Trouble {
    /// With a volume of one replica, whose upgrade gets so much time and so many attempts.
    pub async fn awaits(deadline: &str, attempts: u32) -> Self {
        Self::of(&ours(IMAGE), deadline, attempts).await
    }

    /// The same, by another executor.
    pub async fn of(executor: &str, deadline: &str, attempts: u32) -> Self {
        RealNode::shared().await;
        Self::on(TestCluster::new().await, executor, deadline, attempts).await
    }

    async fn on(cluster: TestCluster, executor: &str, deadline: &str, attempts: u32) -> Self {
        let cluster = Arc::new(cluster);
        let volume = format!("pvc-{}", cluster.namespace);
        let objects = openebs::on(&cluster);
        objects.csi_operators(TO).await;
        objects.jiva_volume(&volume, FROM, 1).await;
        openebs::all_rolled_out(&cluster).await;
        let operators = Operators::looking_every(CALM, &cluster);
        let hub = Hub::over(&cluster);
        hub.register(&cluster, TO, executor, deadline, attempts).await;
        Self { cluster, operators, hub, volume }
    }

    /// Plans and starts.
    pub fn start(&self) {
        let plan = self.hub.plan(&[&self.volume], 1);
        self.hub.ok(&["rollout", "start", &plan]);
    }

    /// The Pods of the hub's Jobs that exist.
    async fn pods(&self) -> Vec<Pod> {
        let ours = ListParams::default().labels("job-name");
        let pods = self.cluster.api::<Pod>().list(&ours).await.unwrap().items;
        let of_hub =
            |pod: &Pod| pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("fleetlift.io/resource"));
        pods.into_iter().filter(of_hub).collect()
    }

    /// Waits until an executor's step of that name waits for something, and gives its Pod's name.
    pub async fn comes_to(&self, step: &str) -> String {
        self.hub.explains(&[step, "is under way"]);
        self.pods().await.remove(0).metadata.name.unwrap()
    }

    /// The volume is upgraded, as the result says, by that many attempts.
    pub async fn ends_upgraded(&self, attempts: u32) {
        let (verdict, result) = self.hub.verdict();
        let seen = (verdict.as_str(), &result["outcome"], &result["attempts"]);
        assert_eq!(seen, ("succeeded", &json!("succeeded"), &json!(attempts)), "{result:#}\n{}", self.hub.explain());
        assert_eq!(self.current().await, TO);
    }

    /// The rollout failed; gives the result's reason.
    pub fn ends_failed(&self, attempts: u32) -> String {
        let (verdict, result) = self.hub.verdict();
        let seen = (verdict.as_str(), &result["outcome"], &result["attempts"]);
        assert_eq!(seen, ("failed", &json!("failed"), &json!(attempts)), "{result:#}\n{}", self.hub.explain());
        let reason = result["reason"].as_str().unwrap().to_owned();
        // Whoever asks why reads the same.
        assert!(self.hub.explain().contains(&reason), "{reason}\n{}", self.hub.explain());
        reason
    }

    /// The version that the volume says it has.
    async fn current(&self) -> String {
        let volume = self.cluster.get("openebs.io/v1", "JivaVolume", &self.volume).await.unwrap();
        volume.pointer("/versionDetails/status/current").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// An upgrade Job of the official kind for the same volume, made by hand; it idles.
    async fn somebody_elses_job(&self) -> String {
        let job = json!({"metadata": {"name": "by-hand"}, "spec": {"backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [{"name": "upgrade",
            "image": "docker.io/openebs/jiva:3.5.0", "args": ["jiva-volume", format!("--from-version={FROM}"),
            format!("--to-version={TO}"), &self.volume]}]}}}});
        let job: Job = serde_json::from_value(job).unwrap();
        self.cluster.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
        "by-hand".to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn an_operator_that_refuses_the_version_is_quoted_in_the_result() {
    let trouble = Trouble::awaits("4m", 1).await;
    trouble.operators.answer(Answer::Refuse("invalid current version 3.5.0"));
    trouble.start();
    let reason = trouble.ends_failed(1);
    assert!(reason.contains("invalid current version 3.5.0") && reason.contains("TARGET_UPGRADE"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn an_operator_that_never_answers_costs_the_deadline_and_the_result_says_what_was_waited_for() {
    let trouble = Trouble::awaits("30s", 1).await;
    trouble.operators.answer(Answer::Silence);
    trouble.start();
    let reason = trouble.ends_failed(1);
    assert!(reason.contains("TARGET_UPGRADE") && reason.contains(TO), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn a_deleted_and_an_evicted_pod_cost_an_attempt_each_and_the_third_finishes() {
    let trouble = Trouble::awaits("5m", 3).await;
    trouble.operators.answer(Answer::Silence);
    trouble.start();
    let pods = trouble.cluster.api::<Pod>();
    let first = trouble.comes_to("TARGET_UPGRADE").await;
    pods.delete(&first, &DeleteParams::default().grace_period(0)).await.unwrap();
    let second = until("the second attempt is under way", || async {
        let running = trouble.pods().await.into_iter().find(|pod| {
            pod.metadata.deletion_timestamp.is_none()
                && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
        })?;
        running.metadata.name.filter(|name| *name != first)
    })
    .await;
    trouble.comes_to("TARGET_UPGRADE").await;
    pods.evict(&second, &EvictParams::default()).await.unwrap();
    trouble.operators.answer(Answer::Reconcile);
    trouble.ends_upgraded(3).await;
    let audit = trouble.hub.ok(&["audit", "export"]);
    assert!(audit.contains("SIGTERM"), "the evicted one said why it stopped: {audit}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn an_image_that_cannot_be_pulled_is_named_meanwhile_and_in_the_result() {
    let image = IMAGE.replace(":test", ":missing");
    let trouble = Trouble::of(&ours(&image), "30s", 1).await;
    trouble.start();
    trouble.hub.explains(&["ImagePull", &image]);
    let reason = trouble.ends_failed(1);
    assert!(reason.contains("ImagePull") && reason.contains(&image), "{reason}");
    assert_eq!(trouble.current().await, FROM);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn a_quota_that_forbids_the_pod_is_named_and_once_it_is_lifted_the_same_job_goes_on() {
    let trouble = Trouble::awaits("5m", 1).await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "no-more-pods", "namespace": trouble.cluster.namespace}, "spec": {"hard": {"pods": "1"}}});
    trouble.cluster.apply(&quota).await;
    // As the quota controller would, which does not run here.
    let status = Patch::Merge(json!({"status": {"hard": {"pods": "1"}, "used": {"pods": "1"}}}));
    let quotas: Api<k8s_openapi::api::core::v1::ResourceQuota> = trouble.cluster.api();
    quotas.patch_status("no-more-pods", &PatchParams::default(), &status).await.unwrap();
    trouble.start();
    trouble.hub.explains(&["no Pod", "exceeded quota: no-more-pods"]);
    quotas.delete("no-more-pods", &DeleteParams::default()).await.unwrap();
    trouble.ends_upgraded(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn a_right_that_the_executor_lacks_is_named_in_the_result() {
    let trouble = Trouble::awaits("3m", 1).await;
    let roles: Api<k8s_openapi::api::rbac::v1::Role> = trouble.cluster.api();
    let mut role = roles.get("fleetlift-executor").await.unwrap();
    for rule in role.rules.iter_mut().flatten() {
        if rule.resources.iter().flatten().any(|resource| resource == "statefulsets") {
            rule.verbs.retain(|verb| verb != "patch");
        }
    }
    roles.replace("fleetlift-executor", &PostParams::default(), &role).await.unwrap();
    trouble.start();
    let reason = trouble.ends_failed(1);
    assert!(reason.contains("patch") && reason.contains("statefulsets"), "{reason}");
    assert_eq!(trouble.current().await, FROM);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn without_the_definition_of_upgrade_tasks_nothing_is_made_and_the_remedy_is_named() {
    let cluster = TestCluster::alone(UpgradeTaskSchema::Fleetlift).await;
    // No executor will run here: a played node does.
    let _node = Node::join(&cluster).await;
    let trouble = Trouble::on(cluster, &ours(IMAGE), "3m", 1).await;
    let definitions: Api<kube::api::DynamicObject> = trouble.cluster.like(
        &json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": ""}}),
    );
    let plan = trouble.hub.plan(&[&trouble.volume], 1);
    definitions.delete("upgradetasks.openebs.io", &DeleteParams::default()).await.unwrap();
    until("the definition is gone", || async {
        definitions.get_opt("upgradetasks.openebs.io").await.unwrap().is_none().then_some(())
    })
    .await;
    trouble.hub.ok(&["rollout", "start", &plan]);
    trouble.hub.explains(&["upgradetasks"]);
    let checked = trouble.hub.place.run(&["cluster", "check", CLUSTER]);
    assert!(checked.code == 1 && checked.out.contains("edge manifest --crd"), "{checked:?}");
    assert_eq!(trouble.cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items.len(), 0);
    assert_eq!(trouble.current().await, FROM);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn somebody_elses_job_is_waited_for_by_name_and_one_that_comes_later_is_left_alone() {
    let trouble = Trouble::awaits("5m", 1).await;
    let plan = trouble.hub.plan(&[&trouble.volume], 1);
    let theirs = trouble.somebody_elses_job().await;
    trouble.hub.ok(&["rollout", "start", &plan]);
    trouble.hub.explains(&["working on it", &theirs]);
    assert!(trouble.pods().await.is_empty());
    let jobs = trouble.cluster.api::<Job>();
    jobs.delete(&theirs, &DeleteParams::foreground()).await.unwrap();

    trouble.operators.answer(Answer::Silence);
    trouble.comes_to("TARGET_UPGRADE").await;
    until("the first one's name is free", || async { jobs.get_opt("by-hand").await.unwrap().is_none().then_some(()) })
        .await;
    let theirs = trouble.somebody_elses_job().await;
    trouble.operators.answer(Answer::Reconcile);
    trouble.ends_upgraded(1).await;
    let left = jobs.get(&theirs).await.unwrap();
    assert_ne!(left.spec.unwrap().suspend, Some(true), "it is theirs");
}
