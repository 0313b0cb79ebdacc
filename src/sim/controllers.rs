//! The controllers of one cluster: each change makes something due, now or after a while, and one loop does what is due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::Cluster;
use super::object::{Key, finalizers, text};
use super::resources::Resource;
use super::store::{Change, Event, FOREGROUND, ORPHAN, Store};
use super::{collector, jobs, kubelet, operators, workloads};

/// Something that a controller will do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Chore {
    /// Look at a Job.
    Job(Key),
    /// Look at what an owner leaves that waits for its end.
    Going(Key),
    /// Look at what an owner left.
    Gone(String),
    /// Start a Pod.
    Start(Key),
    /// Stop a Pod.
    Stop(Key),
    /// Finish a rollout.
    RollOut(Key),
    /// Bring an object to the version that it asks for.
    Reconcile(Key),
}

/// What is due when; each thing once. A cluster has a few of them at a time.
#[derive(Default)]
struct Agenda(BTreeMap<Chore, Instant>);

impl Agenda {
    fn plan(&mut self, chore: Chore, at: Instant) {
        let planned = self.0.entry(chore).or_insert(at);
        *planned = at.min(*planned);
    }

    fn take_due(&mut self, now: Instant) -> Vec<Chore> {
        let due: Vec<Chore> = self.0.iter().filter(|(_, at)| **at <= now).map(|(chore, _)| chore.clone()).collect();
        for chore in &due {
            self.0.remove(chore);
        }
        due
    }

    fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }
}

/// Works until the fleet is stopped.
pub(super) async fn work(cluster: Arc<Cluster>) {
    let mut agenda = Agenda::default();
    loop {
        for event in cluster.take_unseen() {
            look(&cluster, &event, &mut agenda);
        }
        for chore in agenda.take_due(Instant::now()) {
            perform(&cluster, chore, &mut agenda);
        }
        let due = agenda.next().unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
        tokio::select! {
            () = cluster.world.stopped.cancelled() => return,
            () = cluster.changed() => {}
            () = tokio::time::sleep_until(due) => {}
        }
    }
}

/// What a change makes due.
fn look(cluster: &Arc<Cluster>, event: &Event, agenda: &mut Agenda) {
    let (key, now) = (&event.object.key, Instant::now());
    let pace = &cluster.world.pace;
    if event.change == Change::Deleted {
        agenda.plan(Chore::Gone(event.object.uid.to_string()), now);
    } else if event.object.terminating {
        let value = event.object.value();
        if finalizers(&value).iter().any(|one| [FOREGROUND, ORPHAN].contains(one)) {
            agenda.plan(Chore::Going(key.clone()), now);
        }
    }
    match key.resource {
        Resource::Jobs => agenda.plan(Chore::Job(key.clone()), now),
        Resource::Pods => {
            if event.change == Change::Deleted {
                cluster.forget_process(&event.object.uid);
            }
            for owner in owners(cluster, event) {
                agenda.plan(Chore::Job(owner.clone()), now);
                agenda.plan(Chore::Going(owner), now);
            }
            if cluster.spec.runs_pods && event.change != Change::Deleted {
                let value = event.object.value();
                let phase = text(&value["status"], "phase");
                if event.object.terminating && !matches!(phase, "Succeeded" | "Failed") {
                    let lingers = Duration::from_millis(cluster.behaviour().lingering_ms);
                    agenda.plan(Chore::Stop(key.clone()), now + cluster.paced(pace.pod_stop) + lingers);
                } else if event.object.terminating {
                    agenda.plan(Chore::Stop(key.clone()), now);
                } else if phase == "Pending" {
                    agenda.plan(Chore::Start(key.clone()), now + cluster.paced(pace.pod_start));
                }
            }
        }
        Resource::Deployments | Resource::StatefulSets => {
            if cluster.with(false, |store, _| workloads::is_behind(store, key)) {
                cluster.with(false, |store, _| workloads::begin(store, key));
                agenda.plan(Chore::RollOut(key.clone()), now + cluster.paced(pace.rollout));
            }
        }
        _ => {
            if cluster.with(false, |store, _| operators::is_behind(store, key)) {
                agenda.plan(Chore::Reconcile(key.clone()), now + cluster.paced(pace.reconcile));
            }
        }
    }
}

/// The Jobs that a Pod belongs to, or belonged to before this change.
fn owners(cluster: &Arc<Cluster>, event: &Event) -> Vec<Key> {
    let versions = [Some(&event.object), event.before.as_ref()];
    cluster.with(false, |store, _| versions.into_iter().flatten().filter_map(|pod| jobs::owner(store, pod)).collect())
}

fn perform(cluster: &Arc<Cluster>, chore: Chore, agenda: &mut Agenda) {
    match chore {
        Chore::Job(key) => {
            let (again, now) = cluster.with(false, |store, now| (jobs::look(store, &key, now), now));
            match again {
                jobs::Again::Soon => agenda.plan(Chore::Job(key), Instant::now()),
                jobs::Again::At(at) => agenda.plan(Chore::Job(key), Instant::now() + at.since(now)),
                jobs::Again::WhenChanged => {}
            }
        }
        Chore::Going(key) => cluster.with(false, |store, now| {
            if let Some(object) = store.get(&key).filter(|object| object.terminating).cloned() {
                collector::owner_going(store, &object, now);
            }
        }),
        Chore::Gone(uid) => cluster.with(false, |store, now| collector::owner_gone(store, &uid, now)),
        Chore::Start(key) => kubelet::start(cluster, &key),
        Chore::Stop(key) => kubelet::stop(cluster, &key),
        Chore::RollOut(key) => cluster.with(false, |store, _| roll_out(store, &key)),
        Chore::Reconcile(key) => {
            let refuses = kubelet::refuses(cluster, &key);
            let namespace = cluster.openebs();
            cluster.with(false, |store, now| operators::reconcile(store, namespace, &key, refuses, now));
        }
    }
}

fn roll_out(store: &mut Store, key: &Key) {
    if workloads::is_behind(store, key) {
        workloads::finish(store, key);
    }
}
