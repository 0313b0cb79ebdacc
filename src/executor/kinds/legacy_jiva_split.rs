//! The split of a legacy Jiva volume from before 1.9 (`openebs.md` §3.6): its replicas shared one Deployment, `<pv>-rep`,
//! possibly in the claim's namespace; since then each has a Deployment of its own, in the namespace of OpenEBS.
//!
//! What is new is made first, without Pods (`prepare`). Then, with the controller stopped, the old replicas are stopped
//! and the Service moves, keeping its address (`hand_over`); only now do the new replicas start, for two Pods on one
//! folder would destroy the data in it. The old Deployments go last, when the volume is proven (`clean_up`). Each part
//! looks first, so that an attempt may end anywhere: nothing here depends on what an earlier one remembers, and the
//! address is the PersistentVolume's, which outlives the Service.

use serde_json::{Value, json};

use super::legacy_jiva_parts as parts;
use super::legacy_jiva_volume::{SERVICE, controller_selector, replica_selector, replication_factor};
use crate::executor::api::{Merge, Refusal, explain};
use crate::executor::object::{
    Collection, DEPLOYMENTS, Object, PERSISTENT_VOLUMES, PODS, Place, SERVICES, exactly_one,
};
use crate::executor::problem::{Cause, During, Problem};
use crate::executor::task::{Look, Task};
use crate::executor::workload;

/// A volume that has, or lately had, its old shape.
pub(super) struct Split {
    /// The namespace in which the volume was made.
    home: String,
    /// `<pv>-rep`; `None` once it is cleaned up.
    replicas: Option<Object>,
    /// The nodes that its affinity names.
    nodes: Vec<String>,
    /// The controller in a namespace that it leaves; `None` if it stays, and once it is cleaned up.
    controller: Option<Object>,
    /// The Service in a namespace that it leaves.
    service: Option<Object>,
    persistent: Object,
    address: String,
}

/// What of the volume is in its old shape; `None` if nothing is. Refuses what cannot be split safely.
pub(super) async fn find(task: &Task) -> Result<Option<Split>, Problem> {
    let persistent = task.api().get(&PERSISTENT_VOLUMES.named("", task.name())).await?;
    let claims = persistent.text("/spec/claimRef/namespace").to_owned();
    let shared = shared_deployment(task, task.namespace()).await?;
    let stays = shared.is_some() || claims.is_empty() || claims == task.namespace();
    let split = if stays {
        if shared.is_none() {
            return Ok(None);
        }
        let address = parts::address(&persistent)?;
        let home = task.namespace().to_owned();
        Split { home, replicas: shared, nodes: Vec::new(), controller: None, service: None, persistent, address }
    } else {
        let Some((replicas, controller, service)) = left_with_claim(task, &claims).await? else { return Ok(None) };
        let address = parts::address(&persistent)?;
        Split { home: claims, replicas, nodes: Vec::new(), controller, service, persistent, address }
    };
    split.checked(task).await.map(Some)
}

/// Replicas, controller and Service that are still in the claim's namespace.
type Left = (Option<Object>, Option<Object>, Option<Object>);

async fn left_with_claim(task: &Task, namespace: &str) -> Result<Option<Left>, Problem> {
    let replicas = match shared_deployment(task, namespace).await {
        // Whoever upgraded it had to look there. A volume that is whole without is no concern of that namespace.
        Err(problem) if problem.cause == Cause::Forbidden && is_whole(task).await? => {
            tracing::warn!("whether something old of it is left cannot be seen: {problem}");
            return Ok(None);
        }
        seen => seen?,
    };
    let controller = at_most_one(task, &DEPLOYMENTS, namespace, &controller_selector(task.name())).await?;
    let service = at_most_one(task, &SERVICES, namespace, &format!("{SERVICE},{}", volume_label(task))).await?;
    let nothing = replicas.is_none() && controller.is_none() && service.is_none();
    Ok((!nothing).then_some((replicas, controller, service)))
}

impl Split {
    /// The address of the volume's Service, before and after.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// How many replicas the volume has.
    pub(super) fn replicas(&self, controller: &Object) -> usize {
        replication_factor(controller).unwrap_or(self.nodes.len())
    }

    /// The controller that serves until the split.
    pub(super) fn old_controller(&self) -> Option<&Object> {
        self.controller.as_ref()
    }

    /// The Service as it is in the end.
    pub(super) fn service(&self, task: &Task) -> Place {
        SERVICES.named(task.namespace(), &format!("{}-ctrl-svc", task.name()))
    }

    fn moves(&self, task: &Task) -> bool {
        self.home != task.namespace()
    }

    async fn checked(mut self, task: &Task) -> Result<Self, Problem> {
        for object in [&self.replicas, &self.controller, &self.service].into_iter().flatten() {
            workload::located(object, task.versions())?;
        }
        if self.moves(task) {
            for deployment in [&self.replicas, &self.controller].into_iter().flatten() {
                parts::check_movable(deployment, task.namespace())?;
            }
        }
        if let Some(service) = &self.service {
            let seen = service.text("/spec/clusterIP");
            if seen != self.address {
                let expected = format!("{}, as in spec.iscsi.targetPortal of its PersistentVolume", self.address);
                return Err(Problem::refused(&service.place, format!("its clusterIP is {seen}"), expected)
                    .remedy("find out which of the two the volume is reached by; it cannot be moved like this"));
            }
        }
        if let Some(replicas) = &self.replicas {
            self.nodes = parts::nodes(replicas)?;
            self.check_count(task, replicas).await?;
            self.check_only_one_side_runs(task, replicas).await?;
        }
        Ok(self)
    }

    /// Each replica's data is on one node: a node too few would leave data behind, one too many an empty replica.
    async fn check_count(&self, task: &Task, replicas: &Object) -> Result<(), Problem> {
        let controller = match &self.controller {
            Some(controller) => Some(controller.clone()),
            None => at_most_one(task, &DEPLOYMENTS, task.namespace(), &controller_selector(task.name())).await?,
        };
        let factor = controller.as_ref().and_then(replication_factor);
        let running = replicas.number("/spec/replicas").unwrap_or(1);
        // An attempt that was stopped has brought it to 0, which says nothing any more.
        let running = usize::try_from(running).ok().filter(|running| *running > 0);
        let named = self.nodes.len();
        match [factor, running].into_iter().flatten().find(|count| *count != named) {
            None => Ok(()),
            Some(count) => Err(Problem::refused(
                &replicas.place,
                format!("its nodeAffinity names {named} nodes ({})", self.nodes.join(", ")),
                format!("{count}, one for each replica"),
            )
            .remedy("set the nodeAffinity to the nodes that have the replicas' data, then run the upgrade again")),
        }
    }

    async fn check_only_one_side_runs(&self, task: &Task, replicas: &Object) -> Result<(), Problem> {
        if replicas.number("/spec/replicas") == Some(0) {
            return Ok(());
        }
        let own = own_replicas(task).await?;
        match own.iter().find(|own| own.number("/spec/replicas") != Some(0)) {
            None => Ok(()),
            Some(running) => Err(Problem::on(
                &running.place,
                format!("it runs beside {}, on the same folders", replicas.place),
                "one of the two",
            )
            .remedy("find out which of them has the data of now, scale the other to 0, then run the upgrade again")),
        }
    }

    /// Makes what is to come, without Pods: from here on it is known that the API server takes it.
    pub(super) async fn prepare(&self, task: &Task) -> Result<(), Problem> {
        if let Some(old) = &self.replicas {
            self.prepare_replicas(task, old).await?;
        }
        if let Some(old) = &self.controller {
            let place = DEPLOYMENTS.named(task.namespace(), old.name());
            create(task, &place, &parts::controller(old, &place)).await?;
        }
        if !self.moves(task) || self.service_is_there(task).await? {
            return Ok(());
        }
        // Without the address, which a rehearsal does not try: all else is in order before the old Service goes.
        let place = self.service(task);
        let body = parts::service(&self.persistent, &place, "", &task.versions().from.to_string());
        task.api().rehearse(&place, &body).await.map_err(|refusal| explain(refusal, &place))
    }

    async fn prepare_replicas(&self, task: &Task, old: &Object) -> Result<(), Problem> {
        let own = own_replicas(task).await?;
        let nodes_of = |deployment: &Object| parts::nodes(deployment).map(|nodes| nodes.join(", "));
        for (number, node) in (1..).zip(&self.nodes) {
            let place = DEPLOYMENTS.named(task.namespace(), &format!("{}-{number}", old.name()));
            match own.iter().find(|deployment| deployment.place == place) {
                None => create(task, &place, &parts::replica(old, &place, node)).await?,
                Some(there) if nodes_of(there)? == *node => {}
                Some(there) => {
                    let seen = format!("it is there already, for {}", nodes_of(there)?);
                    return Err(Problem::on(&there.place, seen, format!("a Deployment for {node}"))
                        .remedy("if it has no Pods, delete it and run the upgrade again"));
                }
            }
        }
        match own.len().checked_sub(self.nodes.len()) {
            None | Some(0) => Ok(()),
            Some(_) => Err(Problem::on(
                &old.place,
                format!("{} Deployments of single replicas are there already", own.len()),
                format!("{}, one for each node in its affinity", self.nodes.len()),
            )
            .remedy("find out where the others come from, and delete those without data")),
        }
    }

    /// With the controller stopped: stops the old replicas, and moves the Service.
    pub(super) async fn hand_over(&self, task: &Task) -> Result<(), Problem> {
        if let Some(old) = &self.replicas {
            self.stop_replicas(task, old).await.during("failed to get scale down replica deployment")?;
        }
        if self.moves(task) {
            self.move_service(task).await.during("failed to get migrate target service")?;
        }
        Ok(())
    }

    async fn stop_replicas(&self, task: &Task, old: &Object) -> Result<(), Problem> {
        scale_to_zero(task, &old.place).await?;
        let expected = "no Pod of it (the volume is off line until the upgrade goes on)";
        task.wait(&old.place, expected, async || {
            let pods = task.api().list(&PODS, &self.home, &replica_selector(task.name())).await?;
            // The new replicas' Pods have the same labels, and may run here if an earlier attempt came that far.
            let left = pods.iter().find(|pod| runs(pod) && workload::owner(pod).is_none_or(|name| name == old.name()));
            Ok(left.map_or(Look::Ready(()), |pod| Look::NotYet(format!("Pod {} is still there", pod.name()))))
        })
        .await
    }

    async fn move_service(&self, task: &Task) -> Result<(), Problem> {
        if self.service_is_there(task).await? {
            return self.remove(task, self.service.as_ref()).await;
        }
        self.remove(task, self.service.as_ref()).await?;
        let place = self.service(task);
        let body = parts::service(&self.persistent, &place, &self.address, &task.versions().from.to_string());
        let began = task.run.clock.now();
        let lasts = task.run.pace.refusal_lasts;
        let expected = format!("a Service with clusterIP {}", self.address);
        task.wait(&place, &expected, async || match task.api().create(&place, &body).await {
            Ok(_) | Err(Refusal::Exists) => Ok(Look::Ready(())),
            // API servers give an address back a moment after its Service is gone.
            Err(Refusal::Invalid(words)) if task.run.clock.now().since(began) < lasts => Ok(Look::NotYet(words)),
            Err(Refusal::Invalid(words)) => Err(self.address_is_taken(&place, &words)),
            Err(refusal) => Err(explain(refusal, &place)),
        })
        .await
    }

    /// Whether the Service is where it shall be. One with another address is in the way.
    async fn service_is_there(&self, task: &Task) -> Result<bool, Problem> {
        let place = self.service(task);
        let Some(there) = task.api().find(&place).await? else { return Ok(false) };
        match there.text("/spec/clusterIP") {
            seen if seen == self.address => Ok(true),
            seen => Err(Problem::on(&place, format!("its clusterIP is {seen}"), &*self.address).remedy(
                "delete it and run the upgrade again: it is made anew with the address that the volume is reached by",
            )),
        }
    }

    fn address_is_taken(&self, place: &Place, words: &str) -> Problem {
        let address = &self.address;
        let expected = format!("clusterIP {address}, by which the volume is reached");
        Problem::on(place, format!("the API server does not give it {address}: {words}"), expected).remedy(format!(
            "`kubectl get services -A | grep -w {address}` shows who has it: delete that Service, or make it anew \
             without the address, then run the upgrade again; until then the volume is off line, its data untouched"
        ))
    }

    /// With the volume proven in its new shape: removes what is left of the old one.
    pub(super) async fn clean_up(&self, task: &Task) -> Result<(), Problem> {
        for old in [&self.replicas, &self.controller].into_iter().flatten() {
            let Some(fresh) = task.api().find(&old.place).await? else { continue };
            if fresh.number("/spec/replicas") != Some(0) {
                return Err(Problem::on(&old.place, "somebody has scaled it up again", "it stays at 0 replicas")
                    .remedy("scale it to 0, then run the upgrade again"));
            }
            self.remove(task, Some(&fresh)).await?;
        }
        Ok(())
    }

    async fn remove(&self, task: &Task, object: Option<&Object>) -> Result<(), Problem> {
        let Some(object) = object else { return Ok(()) };
        task.api().delete(object).await?;
        tracing::info!(upgrade = %task.resource, "deleted {} in namespace {}", object.place, self.home);
        task.wait(&object.place, "it is gone", async || {
            Ok(match task.api().find(&object.place).await? {
                None => Look::Ready(()),
                Some(_) => Look::NotYet("it is being deleted".to_owned()),
            })
        })
        .await
    }
}

/// The Deployments of one replica each, in the order of their names.
pub(super) async fn own_replicas(task: &Task) -> Result<Vec<Object>, Problem> {
    let all = task.api().list(&DEPLOYMENTS, task.namespace(), &replica_selector(task.name())).await?;
    let mut own: Vec<Object> = all.into_iter().filter(|one| one.name() != shared_name(task)).collect();
    own.sort_by(|one, other| one.name().cmp(other.name()));
    Ok(own)
}

/// Brings a Deployment to no Pods.
pub(super) async fn scale_to_zero(task: &Task, place: &Place) -> Result<(), Problem> {
    let stopped = task.bring(place, Merge::Strategic, |seen| {
        Ok((seen.number("/spec/replicas") != Some(0)).then(|| json!({"spec": {"replicas": 0}})))
    });
    stopped.await.map(drop)
}

/// Whether a Pod may still do something.
pub(super) fn runs(pod: &Object) -> bool {
    !matches!(pod.text("/status/phase"), "Failed" | "Succeeded")
}

fn shared_name(task: &Task) -> String {
    format!("{}-rep", task.name())
}

fn volume_label(task: &Task) -> String {
    format!("{}={}", crate::executor::health::VOLUME_LABEL, task.name())
}

async fn shared_deployment(task: &Task, namespace: &str) -> Result<Option<Object>, Problem> {
    let all = task.api().list(&DEPLOYMENTS, namespace, &replica_selector(task.name())).await?;
    Ok(all.into_iter().find(|one| one.name() == shared_name(task)))
}

async fn is_whole(task: &Task) -> Result<bool, Problem> {
    let controller = at_most_one(task, &DEPLOYMENTS, task.namespace(), &controller_selector(task.name())).await?;
    let service = format!("{SERVICE},{}", volume_label(task));
    let service = at_most_one(task, &SERVICES, task.namespace(), &service).await?;
    Ok(controller.is_some() && service.is_some() && !own_replicas(task).await?.is_empty())
}

async fn at_most_one(
    task: &Task,
    collection: &'static Collection,
    namespace: &str,
    selector: &str,
) -> Result<Option<Object>, Problem> {
    let found = task.api().list(collection, namespace, selector).await?;
    if found.is_empty() { Ok(None) } else { exactly_one(found, collection, namespace, selector).map(Some) }
}

/// Creates an object that is not there yet; one that is there is its kind's to judge.
async fn create(task: &Task, place: &Place, body: &Value) -> Result<(), Problem> {
    if task.api().find(place).await?.is_some() {
        return Ok(());
    }
    match task.api().create(place, body).await {
        Ok(_) | Err(Refusal::Exists) => {
            tracing::info!(upgrade = %task.resource, "created {place} in namespace {}", place.namespace);
            Ok(())
        }
        Err(refusal) => Err(explain(refusal, place)),
    }
}
