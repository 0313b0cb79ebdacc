//! What runs inside a Pod: an executor, official or ours, as far as the outside can tell; or a program that just ends.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::behaviour::UpgradeTrouble;
use super::claims;
use super::cluster::Cluster;
use super::kubelet::{self, Ending};
use super::object::{Key, text};
use super::resources::Resource;
use super::seed::Seed;
use super::store::Store;
use super::task_status::{self, TaskStatus};
use super::upgrade::{self, Failure, Order};
use crate::domain::{ResourceRef, Timestamp};
use crate::openebs::claim::Claim;
use crate::openebs::{UpgradeTask, kinds};

/// Characters of a log's end that stand in for a missing termination message, as the kubelet takes them.
const LAST_WORDS_MAX: usize = 2_048;

/// A container's only process.
pub(super) struct Process {
    pub cluster: Arc<Cluster>,
    pod: Key,
    uid: String,
    object: Value,
    killed: CancellationToken,
}

/// The process was killed, or its Pod is gone: it does nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Killed;

impl Process {
    pub fn new(cluster: Arc<Cluster>, pod: Key, uid: String, object: Value, killed: CancellationToken) -> Self {
        Self { cluster, pod, uid, object, killed }
    }

    /// Runs to its end, and gives the Pod its own.
    pub async fn run(self) {
        let work = async {
            let ending = self.work().await?;
            self.act(|store, now| kubelet::end(store, &self.pod, &ending, now))
        };
        tokio::select! {
            () = self.killed.cancelled() => {}
            () = self.cluster.world.stopped.cancelled() => {}
            _ = work => {}
        }
    }

    async fn work(&self) -> Result<Ending, Killed> {
        let spec = &self.object["spec"];
        let Some(claim) = claims::first_of(spec) else {
            tokio::time::sleep(sleep_of(spec).unwrap_or(self.cluster.world.pace.upgrade_min)).await;
            return Ok(Ending { code: 0, message: String::new() });
        };
        let orders = self.orders(&claim)?;
        if orders.is_empty() {
            return Ok(self.fatal("no upgradetasks found, or resource details are missing"));
        }
        for order in orders {
            self.say(&format!("Upgrading {} to {}", order.resource, order.to));
            if let Err(failure) = self.upgrade(&order).await? {
                return Ok(self.fatal(&format!("Failed to upgrade {}: {}", order.resource, failure.reason)));
            }
            self.say(&format!("Successfully upgraded {} to {}", order.resource, order.to));
        }
        Ok(Ending { code: 0, message: String::new() })
    }

    /// What it is told to do: by its arguments, or by the UpgradeTasks that its selector finds.
    fn orders(&self, claim: &Claim) -> Result<Vec<Order>, Killed> {
        let spec = &self.object["spec"];
        let official = is_official(spec);
        self.act(|store, _| match claim {
            Claim::Named(_) => {
                let (from, to) = (flag(spec, "--from-version"), flag(spec, "--to-version"));
                let (prefix, tag) = (flag(spec, "--to-version-image-prefix"), flag(spec, "--to-version-image-tag"));
                let named = claims::of_pod(store, self.namespace(), spec);
                let order = |resource: ResourceRef| Order {
                    task: crate::openebs::names::upgrade_task(&resource),
                    resource,
                    from: from.clone(),
                    to: to.clone(),
                    prefix: prefix.clone(),
                    tag: tag.clone(),
                    official,
                    by_arguments: true,
                };
                named.into_iter().map(order).collect()
            }
            Claim::Selected(selector) => {
                // What cannot be read means all, as in the official executors.
                let selector: crate::domain::Selector = selector.parse().unwrap_or_default();
                let tasks = store.list(Resource::UpgradeTasks, Some(self.namespace()), None);
                let tasks = tasks.filter(|task| selector.matches(&task.labels));
                let tasks: Vec<UpgradeTask> =
                    tasks.filter_map(|task| serde_json::from_slice(task.bytes()).ok()).collect();
                tasks.iter().filter_map(|task| order_of(store, self.namespace(), task, official)).collect()
            }
            Claim::Task(_) | Claim::Anything => Vec::new(),
        })
    }

    /// One resource, with its UpgradeTask's status written as it goes.
    pub async fn upgrade(&self, order: &Order) -> Result<Result<(), Failure>, Killed> {
        let trouble = self.cluster.troubles.of_upgrade(&self.cluster.behaviour(), &order.resource);
        self.status(order, |status, _| status.begin())?;
        let done = if trouble == Some(UpgradeTrouble::Lies) {
            self.pause(self.share(order, 1)).await;
            Ok(())
        } else {
            self.steps(order, trouble.as_ref()).await?
        };
        match &done {
            Ok(()) if order.by_arguments && !order.reports_success() => {}
            Ok(()) => self.status(order, |status, _| status.succeed())?,
            Err(_) => {
                let gives_up = !order.official || self.retries_are_used_up(order)?;
                self.status(order, |status, _| status.fail(gives_up))?;
            }
        }
        Ok(done)
    }

    async fn steps(&self, order: &Order, trouble: Option<&UpgradeTrouble>) -> Result<Result<(), Failure>, Killed> {
        let steps = kinds::of(order.resource.kind).steps;
        if steps.is_empty() {
            return upgrade::parent(self, order, trouble).await;
        }
        let share = self.share(order, steps.len());
        for (number, step) in steps.iter().enumerate() {
            self.status(order, |status, _| status.wait_for(step))?;
            self.say(&format!("{step}: {}", order.resource));
            if trouble == Some(&UpgradeTrouble::Hangs) {
                std::future::pending::<()>().await;
            }
            self.pause(share).await;
            let done = match trouble {
                Some(UpgradeTrouble::Fails(reason)) if number + 1 == steps.len() => {
                    Err(Failure { message: task_status::failed_message(step).to_owned(), reason: reason.clone() })
                }
                _ => upgrade::step(self, order, step).await?,
            };
            match done {
                Ok(()) => self.status(order, |status, _| status.complete(step))?,
                Err(failure) => {
                    self.say(&format!("{}: {}", failure.message, failure.reason));
                    self.status(order, |status, _| status.err(step, &failure.message, &failure.reason))?;
                    return Ok(Err(failure));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Does something in the cluster, if the Pod is still there to do it.
    pub fn act<R>(&self, act: impl FnOnce(&mut Store, Timestamp) -> R) -> Result<R, Killed> {
        self.cluster.with(false, |store, now| {
            let alive = store.get(&self.pod).is_some_and(|pod| *pod.uid == *self.uid);
            if alive && !self.killed.is_cancelled() { Ok(act(store, now)) } else { Err(Killed) }
        })
    }

    /// Waits until `seen` sees what it looks for, for as long as the Pod lives: so do the official executors.
    pub async fn until(&self, seen: impl Fn(&Store) -> bool) -> Result<(), Killed> {
        let mut changes = self.act(|store, _| store.changes())?;
        loop {
            changes.mark_unchanged();
            if self.act(|store, _| seen(store))? {
                return Ok(());
            }
            if changes.changed().await.is_err() {
                return Err(Killed);
            }
        }
    }

    /// Writes the status of the order's UpgradeTask; one that is not there is made, as the official executors do.
    pub fn status(&self, order: &Order, edit: impl FnOnce(&mut TaskStatus, &str)) -> Result<(), Killed> {
        self.act(|store, now| {
            let at = now.to_string();
            let key = Key::new(Resource::UpgradeTasks, self.namespace(), &order.task);
            if store.get(&key).is_none() {
                // A name that is too long for a name is the one thing that can be wrong with it.
                let _ = store.create(Resource::UpgradeTasks, self.namespace(), order.upgrade_task(), now);
            }
            store.change(&key, |task| {
                let mut status = TaskStatus::of(task, &at);
                edit(&mut status, &at);
                status.write(task);
            });
        })
    }

    /// Adds a line to the log.
    pub fn say(&self, line: &str) {
        let at = self.cluster.world.clock.now();
        self.cluster.log_line(&self.uid, &format!("I {at} {line}"));
    }

    /// The namespace that it works in.
    pub fn namespace(&self) -> &str {
        &self.pod.namespace
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(self.cluster.paced(time)).await;
    }

    /// How long one of `steps` steps takes: the same for the same resource, attempt after attempt.
    fn share(&self, order: &Order, steps: usize) -> Duration {
        let pace = &self.cluster.world.pace;
        let name = format!("{}/{}", self.cluster.spec.name, order.resource);
        let mut seed: Seed = self.cluster.world.seed.branch(&name);
        seed.between(pace.upgrade_min, pace.upgrade_max) / u32::try_from(steps.max(1)).unwrap_or(1)
    }

    /// As upstream counts: `Error` is written when the retries, this one included, equal the Job's limit.
    fn retries_are_used_up(&self, order: &Order) -> Result<bool, Killed> {
        self.act(|store, _| {
            let own = store.get(&self.pod).and_then(|pod| super::jobs::owner(store, pod));
            let job = own.and_then(|key| store.get(&key)).map(|job| job.value()).unwrap_or_default();
            let limit = job["spec"]["backoffLimit"].as_i64().unwrap_or(6);
            let key = Key::new(Resource::UpgradeTasks, self.namespace(), &order.task);
            let task = store.get(&key).map(|task| task.value()).unwrap_or_default();
            task["status"]["retries"].as_i64().unwrap_or(0) + 1 == limit
        })
    }

    /// The last words of one that gives up.
    fn fatal(&self, line: &str) -> Ending {
        self.say(line);
        let log = self.cluster.log(&self.uid);
        let cut = log.len().saturating_sub(LAST_WORDS_MAX);
        let cut = (cut..=log.len()).find(|&at| log.is_char_boundary(at)).unwrap_or(log.len());
        Ending { code: 1, message: log[cut..].to_owned() }
    }
}

fn order_of(store: &Store, namespace: &str, task: &UpgradeTask, official: bool) -> Option<Order> {
    let resource = claims::of_task(store, namespace, task).into_iter().next()?;
    let spec = &task.spec;
    let own_name = task.metadata.name.clone().unwrap_or_default();
    Some(Order {
        // The official ones look for a name that they compute, whatever the selected one is called.
        task: crate::openebs::names::upstream_upgrade_task(&resource).filter(|_| official).unwrap_or(own_name),
        resource,
        from: spec.from_version.clone(),
        to: spec.to_version.clone(),
        prefix: spec.image_prefix.clone(),
        tag: spec.image_tag.clone(),
        official,
        by_arguments: false,
    })
}

/// Whether it is one of the project's own images.
fn is_official(spec: &Value) -> bool {
    let image = text(&spec["containers"][0], "image").rsplit('/').next().unwrap_or_default();
    let image = image.split([':', '@']).next().unwrap_or_default();
    image == "m-upgrade" || image == "upgrade" || image.starts_with("upgrade-")
}

/// The value of a flag among the first container's arguments; empty where it is not given.
fn flag(spec: &Value, name: &str) -> String {
    let mut words = spec["containers"][0]["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().to_owned()
}

/// How long `sleep N` sleeps.
fn sleep_of(spec: &Value) -> Option<Duration> {
    let container = &spec["containers"][0];
    let words = ["command", "args"].into_iter().flat_map(|member| container[member].as_array().into_iter().flatten());
    let words: Vec<&str> = words.filter_map(Value::as_str).flat_map(str::split_whitespace).collect();
    let at = words.iter().position(|word| *word == "sleep")?;
    words.get(at + 1)?.parse().ok().map(Duration::from_secs)
}
