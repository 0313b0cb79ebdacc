//! Make a plan, and keep it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fleet::no_fleet;
use super::known::Known;
use super::{App, Principal, Refusal, When};
use crate::domain::event::{EventType, Subject};
use crate::domain::fleet::ResourceName;
use crate::domain::plan::{Plan, Report};
use crate::domain::{PlanDigest, Timestamp};
use crate::planner::{self, Request, Rules};
use crate::store::StoredPlan;

/// What is to be planned.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MakePlan {
    /// The group; the only one without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only these clusters of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// Only these resources: `pvc-1`, `cspc-a`, `cspc-a/cspi-x`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Another version than the group's target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The first wave does not open before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<When>,
}

/// A plan that the hub keeps.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Its name: what `rollout start` takes.
    pub digest: String,
    /// The group that it is for.
    pub group: String,
    /// The fleet revision that it was made from.
    pub revision: String,
    /// The version that it leads to.
    pub to: String,
    /// How many clusters it touches.
    pub clusters: usize,
    /// How many tasks it has.
    pub tasks: usize,
    /// When it was made.
    pub made_at: When,
    /// By whom.
    pub made_by: String,
    /// It in a page or two, for people.
    pub summary: String,
    /// All of it.
    #[schema(value_type = Object)]
    pub plan: Plan,
    /// What was left out, and what to know.
    #[schema(value_type = Object)]
    pub report: Report,
}

/// What of a plan's file counts when a rollout is started from it: the hub keeps the plan, the file names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanCopy {
    /// The plan's name.
    pub digest: String,
}

impl App {
    /// Makes and keeps a plan; nothing is touched.
    pub async fn make_plan(&self, by: &Principal, wanted: MakePlan) -> Result<PlanView, Refusal> {
        let fleet = self.current_fleet().await?.ok_or_else(no_fleet)?;
        let group = match wanted.group.clone() {
            Some(group) => group,
            None if fleet.groups.len() == 1 => fleet.groups.keys().next().cloned().unwrap_or_default(),
            None => {
                let known: Vec<&str> = fleet.groups.keys().map(String::as_str).collect();
                return Err(Refusal::Invalid(format!("`group`: the fleet has {}; name one", known.join(", "))));
            }
        };
        let request = request(wanted, group)?;
        let known = self.known().await?;
        let known_to_planner: Vec<planner::Known<'_>> = known
            .iter()
            .map(|Known { cluster, inventory, overtaken, unreadable }| planner::Known {
                cluster,
                inventory: inventory.as_ref(),
                overtaken: *overtaken,
                unreadable: unreadable.as_deref(),
            })
            .collect();
        let now = self.clock.now();
        let rules = Rules { hub: self.hub, now, max_age: self.plan_max_age, images: self.images.clone() };
        let (plan, report) = planner::plan(&fleet, &known_to_planner, &request, &rules)
            .map_err(|error| Refusal::Conflict(error.to_string()))?;
        for target in plan.waves.iter().flat_map(|wave| &wave.targets) {
            by.must_reach(&target.name, &target.labels)?;
        }
        let oldest = oldest_inventory(&plan, &known, now);
        self.keep_plan(by, plan, report, oldest).await
    }

    /// A plan by its digest, or by the beginning of it.
    pub async fn plan(&self, digest: &str) -> Result<PlanView, Refusal> {
        view(self.stored_plan(digest).await?)
    }

    pub(super) async fn stored_plan(&self, digest: &str) -> Result<StoredPlan, Refusal> {
        if let Ok(digest) = digest.parse::<PlanDigest>() {
            return Ok(self.store.plan(&digest).await?);
        }
        let hexadecimal = digest.len() >= 6 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal {
            return Err(Refusal::Invalid(format!(
                "`{digest}` is no plan's digest (64 hexadecimal characters, or the first 6)"
            )));
        }
        let mut found = self.store.plans(digest, 2).await?;
        match (found.pop(), found.pop()) {
            (Some(plan), None) => Ok(plan),
            (Some(_), Some(_)) => Err(Refusal::Invalid(format!("several plans begin with {digest}: give more of it"))),
            (None, _) => Err(Refusal::NotFound { noun: "plan", name: digest.to_owned() }),
        }
    }

    async fn keep_plan(
        &self,
        by: &Principal,
        plan: Plan,
        report: Report,
        oldest: Timestamp,
    ) -> Result<PlanView, Refusal> {
        let (body, digest) = plan.canonical().map_err(|error| Refusal::Conflict(error.to_string()))?;
        let now = self.clock.now();
        let stored = StoredPlan {
            digest: digest.clone(),
            revision: plan.revision.clone(),
            group: plan.group.clone(),
            body,
            report: serde_json::to_string(&report).unwrap_or_default(),
            made_at: now,
            oldest_inventory_at: oldest,
            made_by: by.actor.to_string(),
        };
        let event = self
            .event(by, EventType::PlanMade, Subject::default())
            .with("plan", digest.to_string())
            .with("group", plan.group.as_str())
            .with("revision", plan.revision.to_string());
        self.store.save_plan(stored.clone(), vec![event]).await?;
        view(stored)
    }
}

fn request(wanted: MakePlan, group: String) -> Result<Request, Refusal> {
    let MakePlan { group: _, clusters, resources, to, at } = wanted;
    let resources: Result<Vec<ResourceName>, String> = resources.iter().map(|text| ResourceName::parse(text)).collect();
    let resources = resources.map_err(|why| Refusal::Invalid(format!("`resources`: {why}")))?;
    let to = to.map(|text| text.parse()).transpose();
    let to = to.map_err(|error| Refusal::Invalid(format!("`to`: {error}")))?;
    Ok(Request { group, clusters, resources, to, at: at.map(|When(at)| at) })
}

fn oldest_inventory(plan: &Plan, known: &[Known], now: Timestamp) -> Timestamp {
    let planned: std::collections::BTreeSet<_> =
        plan.waves.iter().flat_map(|wave| &wave.targets).map(|target| target.cluster).collect();
    let taken = known.iter().filter(|known| planned.contains(&known.cluster.id));
    taken.filter_map(|known| known.inventory.as_ref()).map(|inventory| inventory.taken_at).min().unwrap_or(now)
}

fn view(stored: StoredPlan) -> Result<PlanView, Refusal> {
    let unreadable = |error: serde_json::Error| {
        Refusal::Conflict(format!("the plan was made by another version ({error}): make a new one"))
    };
    let plan: Plan = serde_json::from_str(&stored.body).map_err(unreadable)?;
    let report: Report = serde_json::from_str(&stored.report).map_err(unreadable)?;
    let targets = || plan.waves.iter().flat_map(|wave| &wave.targets);
    Ok(PlanView {
        digest: stored.digest.to_string(),
        group: stored.group,
        revision: stored.revision.to_string(),
        to: plan.to.to_string(),
        clusters: targets().count(),
        tasks: targets().map(|target| target.tasks.len()).sum(),
        made_at: When(stored.made_at),
        made_by: stored.made_by,
        summary: planner::summary(&plan, &report),
        plan,
        report,
    })
}
