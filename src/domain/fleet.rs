//! What an operator wants: groups of clusters, the version each should reach, and the strategy for getting there.
//!
//! A `Fleet` that exists is valid: `fleet_config` makes it from files and reports what is wrong with them. Its parts
//! are written into plans as canonical JSON, hence integers and text only.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{ResourceKind, ResourceRef, Revision, Selector, Timestamp, Version, Zone};

/// All groups, strategies and windows as one checked value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// Its name.
    pub name: String,
    /// The zone of clusters that carry none of their own, and of times without an offset.
    pub time_zone: Zone,
    /// The groups, by name.
    pub groups: BTreeMap<String, Group>,
    /// The strategies, by name.
    pub strategies: BTreeMap<String, Strategy>,
    /// The windows, by name; strategies carry copies of those that they use.
    pub windows: BTreeMap<String, Window>,
    /// Limits for all rollouts of this fleet together.
    pub limits: Limits,
}

impl Fleet {
    /// The name of this content. The order in the files, their names and their comments make no difference.
    pub fn revision(&self) -> Revision {
        // Maps are ordered and fields are fixed: the same content gives the same bytes.
        Revision::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The strategy of `group`.
    pub fn strategy_of(&self, group: &Group) -> Option<&Strategy> {
        self.strategies.get(&group.strategy)
    }
}

/// Clusters that are to reach one target in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Which clusters belong to it, by their labels.
    pub selector: Selector,
    /// What they are to run.
    pub target: TargetSpec,
    /// The name of the strategy.
    pub strategy: String,
}

/// What the clusters of a group are to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetSpec {
    /// The OpenEBS release.
    pub openebs: Version,
    /// Where the data plane's images come from; `None` keeps what each Deployment says, with the release as tag.
    pub images: Option<Images>,
    /// What performs the upgrade.
    pub executor: ExecutorSpec,
    /// Which resources; everything below the target by default.
    pub resources: ResourceFilter,
}

/// Where the data plane's images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    /// Put before each image's last path segment; ends in `/`. `None` keeps each image's own.
    pub prefix: Option<String>,
    /// The tag; `None` is the release.
    pub tag: Option<String>,
}

/// What performs the upgrade inside the Job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorSpec {
    /// Whose executor.
    #[serde(rename = "use")]
    pub maker: ExecutorMaker,
    /// Its image; `None` is the default for the maker, the engine and the release.
    pub image: Option<String>,
    /// Names of pull secrets in the cluster's OpenEBS namespace.
    pub pull_secrets: Vec<String>,
}

/// Whose executor performs the upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExecutorMaker {
    /// Fleetlift's own.
    Fleetlift,
    /// The OpenEBS project's.
    Openebs,
}

impl fmt::Display for ExecutorMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fleetlift => "fleetlift",
            Self::Openebs => "openebs",
        })
    }
}

/// Which resources of a cluster are to be upgraded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceFilter {
    /// Of these kinds; naming a parent includes its pools. Empty is every kind.
    pub kinds: Vec<ResourceKind>,
    /// With these names; naming a parent includes its pools. Empty is every name.
    pub names: Vec<ResourceName>,
}

impl ResourceFilter {
    /// Whether the resource, which is a pool of `parent` if that is given, is wanted.
    pub fn wants(&self, id: &ResourceRef, parent: Option<&ResourceRef>) -> bool {
        let kind_is_wanted = self.kinds.is_empty()
            || self.kinds.contains(&id.kind)
            || parent.is_some_and(|parent| self.kinds.contains(&parent.kind));
        kind_is_wanted && (self.names.is_empty() || self.names.iter().any(|name| name.fits(id, parent)))
    }
}

/// A resource by name: `pvc-1`, `cspc-a` with all its pools, or one pool `cspc-a/cspi-x`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceName {
    /// The pool cluster or claim, where it is named.
    pub parent: Option<String>,
    /// The resource's own name.
    pub name: String,
}

impl ResourceName {
    /// Reads `name` or `parent/name`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (parent, name) = match text.split_once('/') {
            Some((parent, name)) => (Some(parent), name),
            None => (None, text),
        };
        for part in parent.iter().chain([&name]) {
            check_object_name(part)?;
        }
        Ok(Self { parent: parent.map(str::to_owned), name: name.to_owned() })
    }

    /// Whether this names the resource, or its parent.
    pub fn fits(&self, id: &ResourceRef, parent: Option<&ResourceRef>) -> bool {
        match &self.parent {
            Some(wanted) => id.name == self.name && parent.is_some_and(|parent| parent.name == *wanted),
            None => id.name == self.name || parent.is_some_and(|parent| parent.name == self.name),
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parent {
            Some(parent) => write!(f, "{parent}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Whether `name` may name a Kubernetes object: a DNS subdomain of at most 253 characters.
pub fn check_object_name(name: &str) -> Result<(), String> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if name.len() > 253 || !name.bytes().all(inner) || !edge(name.chars().next()) || !edge(name.chars().last()) {
        let shown: String = name.chars().take(64).collect();
        return Err(format!("`{shown}` cannot name a Kubernetes object (lowercase letters, digits, - and .)"));
    }
    Ok(())
}

/// How clusters are brought to their target. A plan carries its own copy: editing the file changes no rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Strategy {
    /// Its name.
    pub name: String,
    /// The waves, in order; at least one.
    pub waves: Vec<WaveSpec>,
    /// How many clusters at once.
    pub limits: Limits,
    /// How many may fail.
    pub failures: Failures,
    /// What to do about volumes in use.
    pub attached: Attached,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// How often a task is tried.
    pub retries: Retries,
    /// When clusters may be worked on, in their own zone; none means always. A task that runs when a window closes
    /// is finished, the next one waits without a slot.
    pub windows: Vec<Window>,
    /// The zone of clusters that carry none of their own.
    pub time_zone: Zone,
    /// What to do with clusters that no wave takes.
    pub uncovered: Uncovered,
    /// What to do about clusters that do not answer.
    pub unreachable: Unreachable,
}

/// One wave of a strategy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveSpec {
    /// Its name.
    pub name: String,
    /// Which clusters it takes of those that earlier waves left.
    pub takes: Takes,
    /// How long its clusters must stay healthy before the next wave opens, in seconds; 0 for no soak.
    pub soak: Seconds,
    /// Whether a person must approve.
    pub approval: ApprovalRule,
    /// It does not open before this.
    pub start: Option<Timestamp>,
}

/// Which clusters a wave takes of those that earlier waves left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Takes {
    /// This many.
    Size(u32),
    /// This share of them, rounded down, at least one; 1 to 100.
    Percent(u8),
    /// Those with fitting labels.
    Selector(Selector),
    /// Those with these names.
    Names(Vec<String>),
    /// All.
    Rest,
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(f, "{size} clusters"),
            Self::Percent(percent) => write!(f, "{percent}% of what remains"),
            Self::Selector(selector) => write!(f, "{selector}"),
            Self::Names(names) => f.write_str(&names.join(", ")),
            Self::Rest => f.write_str("the rest"),
        }
    }
}

/// Whether a person must approve a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ApprovalRule {
    /// Nobody.
    None,
    /// Before it opens.
    Before,
    /// After its soak, before the next one opens.
    After,
}

/// How many clusters may be worked on at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// In all; `None` leaves it to the daemon's own limit.
    pub running: Option<Amount>,
    /// By label value.
    pub per: Vec<LabelLimit>,
}

/// How many clusters with the same value of one label may be worked on at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelLimit {
    /// The label's key. Clusters without it are not limited by this.
    pub label: String,
    /// How many of each value, at least 1.
    pub running: u32,
}

/// A number, or a share of some total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Amount {
    /// This many.
    Number(u32),
    /// This share, 0 to 100.
    Percent(u8),
}

impl Amount {
    /// As a limit on `total`: a share is rounded down, and either way at least 1.
    pub fn as_limit(self, total: u32) -> u32 {
        self.rounded_down(total).max(1)
    }

    /// As an allowance out of `total`: a share is rounded down, may be 0. Breached when exceeded.
    pub fn as_allowance(self, total: u32) -> u32 {
        self.rounded_down(total)
    }

    /// As a demand on `total`: a share is rounded up (95% of ten is ten), never more than there are.
    pub fn as_demand(self, total: u32) -> u32 {
        match self {
            Self::Number(number) => number.min(total),
            Self::Percent(percent) => total - Self::Percent(100 - percent.min(100)).rounded_down(total),
        }
    }

    fn rounded_down(self, total: u32) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => {
                u32::try_from(u64::from(total) * u64::from(percent.min(100)) / 100).unwrap_or(total)
            }
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// How many targets may fail before nothing new starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    /// Of the whole rollout's targets.
    pub allow: Amount,
    /// Of each wave's targets.
    pub per_wave: Option<Amount>,
    /// How many of the rollout's targets must have succeeded for it to count as a success.
    pub at_least_succeeded: Option<Amount>,
}

/// What to do about volumes that are in use by a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attached {
    /// Upgrade them.
    Allow,
    /// Upgrade them, and say so in the plan's report.
    Warn,
    /// Leave them out.
    Refuse,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadlines {
    /// One attempt at one task: the Job's own deadline.
    pub task: Seconds,
    /// One cluster, from the start of its first task.
    pub cluster: Seconds,
    /// The whole rollout; what is not done then is owed.
    pub rollout: Seconds,
}

/// How often a task is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// The wait after the first failed attempt; doubled after each further one.
    pub first: Seconds,
    /// The longest wait.
    pub longest: Seconds,
}

/// What to do with clusters of the group that no wave takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Uncovered {
    /// Make no plan.
    Fail,
    /// Leave them out, and say so.
    Warn,
    /// Put them into the last wave.
    LastWave,
}

/// What to do about clusters that do not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unreachable {
    /// How long until such a cluster is tried again.
    pub retry_every: Seconds,
    /// How many of the rollout's targets must have been reached for it to count as a success.
    pub min_reached: Amount,
}

/// A duration in whole seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// None at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// As people write it: `1h 30m`, `14d`.
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        if left == 0 {
            return f.write_str("0s");
        }
        let mut parts = Vec::new();
        for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
            if left >= length {
                parts.push(format!("{}{unit}", left / length));
                left %= length;
            }
        }
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_in_favour_of_caution() {
        assert_eq!(Amount::Percent(10).as_limit(5), 1);
        assert_eq!(Amount::Percent(50).as_limit(5), 2);
        assert_eq!(Amount::Percent(2).as_allowance(40), 0);
        assert_eq!(Amount::Percent(2).as_allowance(100), 2);
        assert_eq!(Amount::Percent(95).as_demand(10), 10);
        assert_eq!(Amount::Percent(95).as_demand(100), 95);
        assert_eq!(Amount::Number(20).as_demand(7), 7);
        assert_eq!(Amount::Percent(100).as_limit(u32::MAX), u32::MAX);
    }

    #[test]
    fn naming_a_parent_takes_its_pools_and_naming_a_pool_takes_one() {
        let parent = ResourceRef { kind: ResourceKind::CstorPoolCluster, name: "cspc-a".into() };
        let pool = ResourceRef { kind: ResourceKind::CstorPoolInstance, name: "cspi-x".into() };
        let other = ResourceRef { kind: ResourceKind::CstorPoolInstance, name: "cspi-y".into() };
        let named = |name: &str| ResourceFilter { kinds: vec![], names: vec![ResourceName::parse(name).unwrap()] };
        assert!(named("cspc-a").wants(&pool, Some(&parent)));
        assert!(named("cspc-a").wants(&parent, None));
        assert!(named("cspc-a/cspi-x").wants(&pool, Some(&parent)));
        assert!(!named("cspc-a/cspi-x").wants(&other, Some(&parent)));
        assert!(!named("cspc-a/cspi-x").wants(&parent, None));
        assert!(!named("cspc-b/cspi-x").wants(&pool, Some(&parent)));
        let kinds = ResourceFilter { kinds: vec![ResourceKind::CstorPoolCluster], names: vec![] };
        assert!(kinds.wants(&pool, Some(&parent)));
        assert!(!kinds.wants(&ResourceRef { kind: ResourceKind::JivaVolume, name: "pvc-1".into() }, None));
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (seconds, text) in [(0, "0s"), (90, "1m 30s"), (1_209_600, "14d"), (5_400, "1h 30m")] {
            assert_eq!(Seconds(seconds).to_string(), text);
        }
    }
}
