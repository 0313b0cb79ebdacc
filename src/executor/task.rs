//! One upgrade under way: its order, its record, and the two things that every kind does: steps and waits.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::api::{Api, Merge, Refusal, explain};
use super::job::{self, End};
use super::journal::{Journal, Step};
use super::object::{Object, Place};
use super::order::{Images, Order, Versions};
use super::problem::Problem;
use crate::domain::{Clock, ResourceRef, Timestamp};

/// How long a step may take unless the UpgradeTask says otherwise. Ten minutes for a pool's Pod were seen on slow edge
/// nodes, and a rebuild comes after it: an hour says "stuck" without calling slow nodes broken.
const STEP_DEFAULT: Duration = Duration::from_hours(1);
/// Looking changes nothing, so there is less to wait for: health that is about to come back.
const PRE_UPGRADE_DEFAULT: Duration = Duration::from_mins(10);
/// Fresh looks at an object that others change at the same time.
const CONFLICTS_MAX: u32 = 20;

/// How often to look, and how long a controller may say no before its no is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks at what is waited for.
    pub look_every: Duration,
    /// Controllers keep the words of an earlier refusal until their next sync, and try again by themselves: only what
    /// they still say after this long counts.
    pub refusal_lasts: Duration,
    /// How long a controller may say nothing before it is told where its log is.
    pub silence_lasts: Duration,
    /// How long nobody may listen at a Jiva controller before it counts as one without an API: one that has just
    /// started is silent for a few seconds.
    pub mute_lasts: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(2),
            refusal_lasts: Duration::from_secs(90),
            silence_lasts: Duration::from_mins(5),
            mute_lasts: Duration::from_secs(15),
        }
    }
}

/// From a Pod's or Service's IP and port to the address that is connected to: in a Pod they are the address, elsewhere it is the
/// end of a tunnel.
pub type Route = Box<dyn Fn(&str, u16) -> String + Send + Sync>;

/// What all upgrades of one run share.
pub struct Run {
    /// The API server.
    pub api: Api,
    /// The namespace of OpenEBS.
    pub namespace: String,
    /// How often to look.
    pub pace: Pace,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The way to Pods and Services.
    pub route: Route,
    /// The Pod that the run is in, if it is known.
    pub pod: Option<String>,
    /// When its Job will be ended, as far as that is known.
    end: OnceLock<End>,
    /// The records that have begun, parents before children: what has to be told when the Pod is stopped.
    records: Mutex<Vec<Arc<Journal>>>,
}

impl Run {
    /// A run in a Pod of `namespace`.
    pub fn new(api: Api, namespace: &str, pace: Pace, clock: Arc<dyn Clock>) -> Self {
        let route = Box::new(socket_address);
        let records = Mutex::default();
        Self { api, namespace: namespace.to_owned(), pace, clock, route, pod: None, end: OnceLock::new(), records }
    }

    /// Looks when the Job that this run is in will be ended; no wait goes beyond that.
    pub async fn find_end(&self) {
        let Some(pod) = &self.pod else { return };
        if let Some(end) = job::end(&self.api, &self.namespace, pod).await {
            tracing::info!("{}", end.why);
            self.end.get_or_init(|| end);
        }
    }

    /// The records that have begun, parents before children.
    pub fn records(&self) -> Vec<Arc<Journal>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One more record has begun.
    pub fn remember(&self, journal: &Arc<Journal>) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(journal));
    }
}

/// As it is connected to; IPv6 has colons of its own.
fn socket_address(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// One upgrade under way.
pub struct Task {
    /// What all upgrades of this run share.
    pub run: Arc<Run>,
    /// What is upgraded.
    pub resource: ResourceRef,
    /// What was asked for.
    pub order: Order,
    /// The record.
    pub journal: Arc<Journal>,
    deadline: Mutex<Timestamp>,
}

/// What one look at something that is waited for showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<T> {
    /// It is there.
    Ready(T),
    /// Not yet: what was seen, in a few words.
    NotYet(String),
}

impl Task {
    /// A task that has begun its record.
    pub fn new(run: &Arc<Run>, resource: ResourceRef, order: Order, journal: Arc<Journal>) -> Self {
        let deadline = Mutex::new(run.clock.now() + PRE_UPGRADE_DEFAULT);
        Self { run: Arc::clone(run), resource, order, journal, deadline }
    }

    /// The API server.
    pub fn api(&self) -> &Api {
        &self.run.api
    }

    /// The namespace of OpenEBS.
    pub fn namespace(&self) -> &str {
        &self.run.namespace
    }

    /// From where to where.
    pub fn versions(&self) -> &Versions {
        &self.order.versions
    }

    /// With which images.
    pub fn images(&self) -> &Images {
        &self.order.images
    }

    /// The resource's name.
    pub fn name(&self) -> &str {
        &self.resource.name
    }

    /// Carries out one step and records how it ended.
    pub async fn step<T>(
        &self,
        step: Step,
        done: &str,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        self.journal.waiting(step).await?;
        let default = if step == Step::PreUpgrade { PRE_UPGRADE_DEFAULT } else { STEP_DEFAULT };
        self.set_deadline(self.run.clock.now() + self.order.step_timeout.unwrap_or(default));
        let result = work.await?;
        self.journal.completed(done).await?;
        Ok(result)
    }

    /// Looks again and again until it is there, telling in the record what it waits for, until the step's deadline or
    /// the Job's, whichever is first.
    pub async fn wait<T>(
        &self,
        object: &Place,
        expected: &str,
        mut look: impl AsyncFnMut() -> Result<Look<T>, Problem>,
    ) -> Result<T, Problem> {
        let began = self.run.clock.now();
        loop {
            let seen = match look().await? {
                Look::Ready(there) => return Ok(there),
                Look::NotYet(seen) => seen,
            };
            let now = self.run.clock.now();
            let waited = now.since(began).as_secs();
            // Later than this there is no time to say anything: the Pod is ended.
            if let Some(end) = self.run.end.get().filter(|end| now >= end.at && end.at < self.deadline()) {
                return Err(Problem::on(object, format!("after {waited} s its Job's time was up: {seen}"), expected)
                    .remedy(format!(
                        "repair what is named here, or give the Job more time ({}); run the upgrade again, it carries \
                         on where it stopped",
                        end.why
                    )));
            }
            if now >= self.deadline() {
                return Err(Problem::on(object, format!("after {waited} s: {seen}"), expected).remedy(
                    "repair what is named here and run the upgrade again, it carries on where it stopped; a slow \
                     cluster may need more time: spec.options.timeout (seconds for each step)",
                ));
            }
            self.journal.waits_for(&format!("waiting for {object}: {seen}; expected {expected}")).await?;
            tokio::time::sleep(self.run.pace.look_every).await;
        }
    }

    /// Brings an object to where `plan` wants it: looks, patches what differs, and looks again if somebody else changed
    /// it in between. Answers the object as it is afterwards.
    pub async fn bring(
        &self,
        place: &Place,
        merge: Merge,
        plan: impl Fn(&Object) -> Result<Option<Value>, Problem>,
    ) -> Result<Object, Problem> {
        for _ in 0..CONFLICTS_MAX {
            let seen = self.api().get(place).await?;
            let Some(patch) = plan(&seen)? else { return Ok(seen) };
            match self.api().patch(&seen, merge, patch).await {
                Ok(changed) => {
                    tracing::info!(upgrade = %self.resource, "patched {place}");
                    return Ok(changed);
                }
                Err(Refusal::Conflict) => {}
                Err(refusal) => return Err(explain(refusal, place)),
            }
        }
        Err(explain(Refusal::Conflict, place))
    }

    /// One part of a step that has several of them is done: the next has a step's time again.
    pub fn renew_deadline(&self) {
        self.set_deadline(self.run.clock.now() + self.order.step_timeout.unwrap_or(STEP_DEFAULT));
    }

    fn deadline(&self) -> Timestamp {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_deadline(&self, deadline: Timestamp) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_is_put_in_brackets() {
        assert_eq!(socket_address("10.0.0.1", 9501), "10.0.0.1:9501");
        assert_eq!(socket_address("fd00::1", 9501), "[fd00::1]:9501");
    }
}
