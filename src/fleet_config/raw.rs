//! A fleet file as it is written: typed, unchecked, every field optional. The JSON Schema comes from here, too, and
//! what `fleet show` prints.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// A Fleetlift fleet: groups of clusters, the OpenEBS version each should reach, and the strategy for getting there.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Document")]
pub struct RawDocument {
    /// Always `fleetlift.io/v1`.
    #[schemars(required, extend("const" = "fleetlift.io/v1"))]
    pub api_version: Option<String>,
    /// Always `Fleet`.
    #[schemars(required, extend("const" = "Fleet"))]
    pub kind: Option<String>,
    /// The fleet's name. Several files with the same name make one fleet.
    #[schemars(required)]
    pub metadata: Option<RawMetadata>,
    /// What is wanted.
    #[schemars(required)]
    pub spec: Option<RawSpec>,
}

/// The fleet's name.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Metadata")]
pub struct RawMetadata {
    /// Lowercase letters, digits and `-`.
    #[schemars(required, extend("pattern" = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Option<String>,
}

/// What is wanted.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Spec")]
pub struct RawSpec {
    /// The IANA time zone of clusters that carry none of their own, and of times without an offset. UTC by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Clusters that are to reach one version in one way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<RawGroup>>,
    /// Ways of rolling out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategies: Option<Vec<RawStrategy>>,
    /// Maintenance windows that strategies name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<RawWindow>>,
    /// Limits for all rollouts together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<RawLimits>,
    /// Not carried out yet: what becomes of clusters that a rollout still owes at its deadline.
    #[serde(skip_serializing)]
    pub debt: Option<RawDebt>,
}

/// Clusters that are to reach one version in one way.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Group")]
pub struct RawGroup {
    /// Lowercase letters, digits and `-`.
    #[schemars(required, extend("pattern" = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Option<String>,
    /// A Kubernetes label selector: `region in (eu, uk), tier=store, !lab`. A cluster in two groups is an error.
    #[schemars(required)]
    pub selector: Option<String>,
    /// What the clusters are to run.
    #[schemars(required)]
    pub target: Option<RawTarget>,
    /// The name of a strategy.
    #[schemars(required)]
    pub strategy: Option<String>,
    /// Who makes plans: only `manual` (people, by `fleetlift plan`) is carried out yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<RawMode>,
}

/// Who makes plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Mode")]
pub enum RawMode {
    /// People.
    Manual,
    /// The daemon, and people approve.
    Propose,
    /// The daemon, and starts them.
    Auto,
}

/// What the clusters are to run.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Target")]
pub struct RawTarget {
    /// The OpenEBS release, all three numbers: `3.6.0`.
    #[schemars(required, extend("pattern" = r"^[0-9]+\.[0-9]+\.[0-9]+(-[A-Za-z0-9._-]+)?$"))]
    pub openebs: Option<String>,
    /// Where the data plane's images come from; by default each keeps its registry, with the release as tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<RawImages>,
    /// What performs the upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<RawExecutor>,
    /// Which resources; by default everything below the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<RawResources>,
}

/// Where the data plane's images come from.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Images")]
pub struct RawImages {
    /// Put before each image's last path segment; ends in `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "/$"))]
    pub prefix: Option<String>,
    /// The images' tag; the release by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar")]
    pub tag: Option<String>,
}

/// What performs the upgrade.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Executor")]
pub struct RawExecutor {
    /// `fleetlift`: Fleetlift's own (the default); `openebs`: the OpenEBS project's.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub maker: Option<RawMaker>,
    /// Its image; by default the one that fits the engine and the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Names of pull secrets in the cluster's OpenEBS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_secrets: Option<Vec<String>>,
}

/// Whose executor performs the upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Maker")]
pub enum RawMaker {
    /// Fleetlift's own.
    Fleetlift,
    /// The OpenEBS project's.
    Openebs,
}

/// Which resources are upgraded.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Resources")]
pub struct RawResources {
    /// Only of these kinds; a pool cluster or pool claim includes its pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<RawKind>>,
    /// Only with these names: `pvc-1`, `cspc-a` with all its pools, or one pool `cspc-a/cspi-x`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
}

/// A kind of storage object; it covers both engines, the CSI one and the external provisioner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Kind")]
pub enum RawKind {
    /// Pool instances (CSPI) of cStor pool clusters, without the clusters themselves.
    CstorPoolInstance,
    /// cStor pool clusters (CSPC) with their instances.
    CstorPoolCluster,
    /// Pools (CSP) of legacy storage pool claims, without the claims themselves.
    CstorPool,
    /// Legacy storage pool claims (SPC) with their pools.
    StoragePoolClaim,
    /// cStor volumes.
    CstorVolume,
    /// Jiva volumes.
    JivaVolume,
}

impl RawKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::CstorPoolInstance,
        Self::CstorPoolCluster,
        Self::CstorPool,
        Self::StoragePoolClaim,
        Self::CstorVolume,
        Self::JivaVolume,
    ];

    /// The family of kinds that it stands for, by the name in `openebs::kinds`.
    pub const fn family(self) -> &'static str {
        match self {
            Self::CstorPoolInstance => "cstorPoolInstance",
            Self::CstorPoolCluster => "cstorPoolCluster",
            Self::CstorPool => "cstorPool",
            Self::StoragePoolClaim => "storagePoolClaim",
            Self::CstorVolume => "cstorVolume",
            Self::JivaVolume => "jivaVolume",
        }
    }
}

/// A way of rolling out.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Strategy")]
pub struct RawStrategy {
    /// Lowercase letters, digits and `-`.
    #[schemars(required, extend("pattern" = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Option<String>,
    /// One after another; each takes some of the clusters that earlier ones left.
    #[schemars(required)]
    pub waves: Option<Vec<RawWave>>,
    /// How many clusters at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<RawLimits>,
    /// How many may fail before nothing new starts; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<RawFailures>,
    /// What to do about volumes in use by a Pod; `warn` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached: Option<RawAttached>,
    /// How long things may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadlines: Option<RawDeadlines>,
    /// How often a task is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<RawRetries>,
    /// Names of maintenance windows, in each cluster's own time zone; none means always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<String>>,
    /// What becomes of a running task when its window closes: only `finish` is carried out yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_window_closes: Option<RawWhenWindowCloses>,
    /// What to do about clusters that join the group while a rollout runs: only `ignore` is carried out yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_joiners: Option<RawLateJoiners>,
    /// What to do about clusters that no wave takes; `fail` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncovered: Option<RawUncovered>,
    /// What to do about clusters that do not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<RawUnreachable>,
    /// Not carried out yet: health checks and Prometheus queries before and after each wave.
    #[serde(skip_serializing)]
    #[schemars(schema_with = "anything")]
    pub gates: Option<IgnoredAny>,
}

/// One wave: exactly one of `size`, `selector` and `names`, or none of them for whatever is left.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Wave")]
pub struct RawWave {
    /// Lowercase letters, digits and `-`.
    #[schemars(required, extend("pattern" = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Option<String>,
    /// How many clusters, or which share of those left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub size: Option<String>,
    /// A label selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Names of clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// How long its clusters must stay healthy before the next wave opens: they are read every five minutes, and once
    /// more at the end. Something that was upgraded and is not healthy pauses the rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub soak: Option<String>,
    /// Whether a person must approve, before it opens or after it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<RawApproval>,
    /// Not before this time: `2026-12-01T22:00`, in the fleet's time zone, or with an offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
}

/// When a person must approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Approval")]
pub enum RawApproval {
    /// Before the wave opens.
    Before,
    /// After the wave and its soak, before the next one opens.
    After,
}

/// How many clusters at once.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Limits")]
pub struct RawLimits {
    /// In all: a number, or (in a strategy) a share of the plan's clusters, rounded down, at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub running: Option<String>,
    /// Tasks at once in one cluster: only 1 is carried out yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_per_cluster: Option<u32>,
    /// By label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<Vec<RawLabelLimit>>,
}

/// How many clusters with the same value of a label at once.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "LabelLimit")]
pub struct RawLabelLimit {
    /// The label's key.
    #[schemars(required)]
    pub label: Option<String>,
    /// How many clusters of each value.
    #[schemars(required, schema_with = "number")]
    pub running: Option<String>,
}

/// How many clusters may fail. Breached when exceeded.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Failures")]
pub struct RawFailures {
    /// In the whole rollout: a number or a share, rounded down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub allow: Option<String>,
    /// In each wave.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub per_wave: Option<String>,
    /// How many must have succeeded for the rollout to count as a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub at_least_succeeded: Option<String>,
}

/// What to do about volumes in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Attached")]
pub enum RawAttached {
    /// Upgrade them.
    Allow,
    /// Upgrade them, and say so in the plan.
    Warn,
    /// Leave them out.
    Refuse,
}

/// How long things may take.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Deadlines")]
pub struct RawDeadlines {
    /// One try at one pool or volume; 45m by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub task: Option<String>,
    /// One cluster; 6h by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub cluster: Option<String>,
    /// The whole rollout; 14d by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub rollout: Option<String>,
}

/// How often a task is tried.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Retries")]
pub struct RawRetries {
    /// Attempts in all; 3 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The waits between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<RawBackoff>,
}

/// The waits between attempts.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Backoff")]
pub struct RawBackoff {
    /// After the first failure, doubled after each further one; 30s by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub first: Option<String>,
    /// The longest; 30m by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub longest: Option<String>,
}

/// What becomes of a running task when its window closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WhenWindowCloses")]
pub enum RawWhenWindowCloses {
    /// It is finished; the cluster's next task waits until the window opens, and holds no slot meanwhile.
    Finish,
    /// Not carried out yet.
    StopAfterTask,
}

/// What to do about clusters that join the group while a rollout runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LateJoiners")]
pub enum RawLateJoiners {
    /// Nothing: they wait for the next plan.
    Ignore,
    /// Not carried out yet.
    Append,
    /// Not carried out yet.
    CatchUp,
}

/// What to do about clusters of the group that no wave takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Uncovered")]
pub enum RawUncovered {
    /// Make no plan.
    Fail,
    /// Leave them out, and say so.
    Warn,
    /// Put them into the last wave.
    LastWave,
}

/// What to do about clusters that do not answer.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Unreachable")]
pub struct RawUnreachable {
    /// How long until they are tried again; 15m by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub retry_every: Option<String>,
    /// How many must have been reached for the rollout to count as a success; 100% by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub min_reached: Option<String>,
}

/// Not carried out yet.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Debt")]
pub struct RawDebt {
    /// After which time a cluster is not tried any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub give_up_after: Option<String>,
}

/// A maintenance window.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Window")]
pub struct RawWindow {
    /// Lowercase letters, digits and `-`.
    #[schemars(required, extend("pattern" = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Option<String>,
    /// When work may run; none means always, but for what is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<RawRule>>,
    /// When it may not, whatever is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<RawRule>>,
}

/// Stretches of local time.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, rename = "Rule")]
pub struct RawRule {
    /// Weekdays on which it begins: `Mon-Fri`, `Sat,Sun`; every day by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<String>,
    /// Dates on which it begins: `2026-12-24` or `2026-12-20..2027-01-06`, both included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dates: Option<String>,
    /// Local time, `"22:00"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9]{1,2}:[0-9]{2}$"))]
    pub from: Option<String>,
    /// Local time, `"05:00"`; at or before `from` it lies on the next day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9]{1,2}:[0-9]{2}$"))]
    pub to: Option<String>,
    /// Why, as shown to whoever waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The JSON Schema (draft 2020-12) of a fleet file, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(RawDocument).to_value()
}

fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%?$"}]})
}

fn number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]+$"}]})
}

fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^([0-9]+[smhdw] ?)+$"})
}

fn scalar(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "number"]})
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!(true)
}
