//! One attempt as the hub makes it: its UpgradeTask and its Job, created with the hub's rights.

use std::time::Duration;

use fleetlift::domain::plan::PlannedTask;
use fleetlift::domain::{AttemptId, Clock as _, HubId, RolloutId, TaskId};
use fleetlift::openebs::UpgradeTask;
use fleetlift::openebs::job::{AttemptObjects, AttemptOrder, build};
use fleetlift::openebs::termination::Termination;
use fleetlift::system::{SystemClock, SystemEntropy};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams};

use crate::arrange::{Waiting, client_of};
use crate::support::until;

/// The image that ships, as `tests/node/run` put it on the node.
pub const IMAGE: &str = "fleetlift.test/executor:test";

/// An attempt under way.
pub struct Attempt {
    /// What was sent.
    pub objects: AttemptObjects,
    /// The hub's rights.
    pub hub: kube::Client,
    namespace: String,
}

impl Attempt {
    /// Sends the `number`th attempt at what waits there, with that image; an UpgradeTask left over is deleted first.
    pub async fn begin(site: &Waiting, number: u32, image: &str, deadline: Duration) -> Self {
        let now = SystemClock.now();
        let planned = PlannedTask {
            resource: site.resource.clone(),
            resource_namespace: site.cluster.namespace.clone(),
            namespace: site.cluster.namespace.clone(),
            from: site.from.parse().unwrap(),
            to: site.to.parse().unwrap(),
            image: image.to_owned(),
            pull_secrets: vec![],
            own_executor: true,
            service_account: "fleetlift-executor".to_owned(),
            image_prefix: String::new(),
            image_tag: String::new(),
            pools: vec![],
            workloads: vec![],
            repair: false,
            expected_seconds: 60,
        };
        let order = AttemptOrder {
            hub: HubId::new(now, &SystemEntropy),
            rollout: RolloutId::new(now, &SystemEntropy),
            task: TaskId::new(now, &SystemEntropy),
            attempt: AttemptId::new(now, &SystemEntropy),
            number,
            epoch: 1,
            deadline,
            planned: &planned,
        };
        let objects = build(&order).unwrap();
        let hub = client_of(&site.cluster.hub_kubeconfig().await).await;
        let attempt = Self { objects, hub, namespace: site.cluster.namespace.clone() };
        let (tasks, name) = (attempt.tasks(), attempt.objects.upgrade_task.metadata.name.clone().unwrap());
        drop(tasks.delete(&name, &DeleteParams::default()).await);
        tasks.create(&PostParams::default(), &attempt.objects.upgrade_task).await.unwrap();
        attempt.jobs().create(&PostParams::default(), &attempt.objects.job).await.unwrap();
        attempt
    }

    /// The Job's last condition, once it has ended: its type and reason.
    pub async fn verdict(&self) -> (String, String) {
        self.eventually("the Job has ended", || async {
            let conditions = self.jobs().get(self.job()).await.ok()?.status?.conditions?;
            let end = conditions
                .into_iter()
                .find(|one| matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True")?;
            Some((end.type_, end.reason.unwrap_or_default()))
        })
        .await
    }

    /// The UpgradeTask as it is.
    pub async fn task(&self) -> UpgradeTask {
        self.tasks().get(self.objects.upgrade_task.metadata.name.as_deref().unwrap()).await.unwrap()
    }

    /// Steps and phases, as the UpgradeTask tells.
    pub async fn steps(&self) -> Vec<(String, String)> {
        let steps = self.task().await.status.upgrade_detailed_statuses;
        steps.into_iter().map(|step| (step.step, step.phase)).collect()
    }

    /// The executor's Pods that exist.
    pub async fn pods(&self) -> Vec<Pod> {
        let labels = ListParams::default().labels(&format!("job-name={}", self.job()));
        let pods: Api<Pod> = Api::namespaced(self.hub.clone(), &self.namespace);
        pods.list(&labels).await.unwrap().items
    }

    /// The executor's exit code and last words, once its Pod has ended.
    pub async fn last_words(&self) -> (i32, Termination) {
        self.eventually("the Pod has ended", || async {
            let status = self.pods().await.into_iter().next()?.status?;
            let ended = status.container_statuses?.into_iter().next()?.state?.terminated?;
            let message = ended.message.unwrap_or_default();
            let words = Termination::read(&message).unwrap_or_else(|| panic!("not ours: {message}"));
            Some((ended.exit_code, words))
        })
        .await
    }

    /// Waits until the step of that name is under way.
    pub async fn comes_to(&self, step: &str) {
        self.eventually(&format!("{step} is under way"), || async {
            let last = self.steps().await.pop()?;
            (last.0 == step && last.1 == "Waiting").then_some(())
        })
        .await;
    }

    /// The Job's name.
    pub fn job(&self) -> &str {
        self.objects.job.metadata.name.as_deref().unwrap()
    }

    /// The Jobs of the namespace, with the hub's rights.
    pub fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.hub.clone(), &self.namespace)
    }

    fn tasks(&self) -> Api<UpgradeTask> {
        Api::namespaced(self.hub.clone(), &self.namespace)
    }

    /// Real Pods start and end in their own time: longer than `until` waits, not for ever.
    async fn eventually<T, F: Future<Output = Option<T>>>(&self, what: &str, mut look: impl FnMut() -> F) -> T {
        for _ in 0..4 {
            let found = tokio::time::timeout(Duration::from_secs(55), until(what, &mut look)).await;
            if let Ok(found) = found {
                return found;
            }
        }
        let task = self.task().await;
        panic!(
            "waited in vain until {what}: {:?}, {:?}",
            task.status,
            self.pods().await.into_iter().map(|pod| pod.status).collect::<Vec<_>>()
        );
    }
}
