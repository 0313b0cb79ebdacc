//! The kinds of objects that the hub creates, changes or follows, as they stand in URLs. (What OpenEBS has lies in
//! `openebs::kinds`.)

/// One kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noun {
    /// The API group, empty for the core.
    pub group: &'static str,
    /// The version that is asked for.
    pub version: &'static str,
    /// As in URLs and RBAC rules.
    pub plural: &'static str,
    /// As in `kind:`.
    pub kind: &'static str,
}

impl Noun {
    const fn core(plural: &'static str, kind: &'static str) -> Self {
        Self { group: "", version: "v1", plural, kind }
    }

    const fn of(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self { group, version, plural, kind }
    }

    /// `apiVersion` on the wire.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The collection's path, cluster-wide without a namespace.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let Self { group, version, plural, kind: _ } = self;
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        match namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }
}

/// `pods`.
pub const PODS: Noun = Noun::core("pods", "Pod");
/// `events`.
pub const EVENTS: Noun = Noun::core("events", "Event");
/// `nodes`.
pub const NODES: Noun = Noun::core("nodes", "Node");
/// `serviceaccounts`.
pub const SERVICE_ACCOUNTS: Noun = Noun::core("serviceaccounts", "ServiceAccount");
/// `jobs.batch`.
pub const JOBS: Noun = Noun::of("batch", "v1", "jobs", "Job");
/// `upgradetasks.openebs.io`.
pub const UPGRADE_TASKS: Noun = Noun::of("openebs.io", "v1alpha1", "upgradetasks", "UpgradeTask");
