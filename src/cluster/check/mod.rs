//! The preflight of `cluster check`: whether the hub could upgrade this cluster, and what to do where it could not.

mod apis;
mod clock;
mod repair;
mod rights;

use serde::Serialize;

use self::repair::Subject;
use super::account::AccountToken;
use super::inventory::{self, Lacking};
use super::{Edge, EdgeError, Retry};
use crate::domain::inventory::Component;
use crate::domain::{Inventory, Timestamp};
use crate::openebs::control_plane::Operator;

/// Sooner than this the end of a credential that the hub does not renew is worth a warning: two weeks leave time for a
/// person on holiday.
const EXPIRES_SOON: std::time::Duration = std::time::Duration::from_hours(14 * 24);

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at, in a word or two: a closed set.
    pub what: &'static str,
    /// What was seen.
    pub seen: String,
    /// What to do about it; empty where nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Upgrades would work, but a person should know.
    Warn,
    /// Upgrades would not work.
    Fail,
}

impl Finding {
    fn ok(what: &'static str, seen: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, seen: seen.into(), remedy: String::new() }
    }

    fn warn(what: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, what, seen: seen.into(), remedy: remedy.into() }
    }

    fn fail(what: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fail, what, seen: seen.into(), remedy: remedy.into() }
    }
}

/// What the preflight found, and the inventory that it read on the way if it came that far.
#[derive(Debug, Clone)]
pub struct Checked {
    /// In the order in which they were looked at; the first failure of reaching the cluster is the last finding.
    pub findings: Vec<Finding>,
    /// What the cluster runs.
    pub inventory: Option<Inventory>,
    /// What it was left off for: the last finding says the same.
    pub error: Option<EdgeError>,
}

impl Checked {
    /// The worst of all.
    pub fn level(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }
}

/// Looks at everything that an upgrade needs. `expires_at` is when the credential ends, where it says so.
pub async fn check(edge: &Edge, expires_at: Option<Timestamp>) -> Checked {
    let mut findings = vec![expiry(expires_at, edge.own_token(), edge.clock().now())];
    let (inventory, error) = match look(edge, &mut findings).await {
        Ok(inventory) => (Some(inventory), None),
        Err(error) => {
            findings.push(unreached(&error, edge));
            (None, Some(error))
        }
    };
    Checked { findings, inventory, error }
}

async fn look(edge: &Edge, findings: &mut Vec<Finding>) -> Result<Inventory, EdgeError> {
    let (version, skew) = clock::version_and_skew(edge).await?;
    let identity = edge.identify().await?;
    findings.push(Finding::ok("reach", format!("Kubernetes {version} answers")));
    findings.push(Finding::ok("identity", format!("namespace kube-system has UID {identity}")));
    findings.push(proof(edge.server_is_proven()));
    findings.push(kubernetes(&version));
    findings.push(clock::finding(skew));
    let served = apis::served(edge).await?;
    findings.extend(apis::findings(&served));
    let subject = Subject::of(edge).await?;
    findings.extend(rights::findings(edge, &served, &subject).await?);
    let inventory = inventory::read(edge).await?;
    findings.push(control_plane(&inventory.control_plane, edge.namespace()));
    findings.extend(inventory.problems.iter().map(|problem| {
        let remedy = unread(problem, &subject, edge.namespace());
        Finding::warn("inventory", problem.clone(), remedy)
    }));
    findings.extend(unfinished(&inventory));
    Ok(inventory)
}

fn proof(proven: bool) -> Finding {
    if proven {
        return Finding::ok("server", "it is proven by its CA");
    }
    let remedy = "`fleetlift cluster rotate` with a kubeconfig that has certificate-authority-data";
    Finding::warn("server", "nothing proves it: whoever answers at its address gets the credential", remedy)
}

/// What to do about something that the inventory could not read.
fn unread(problem: &str, subject: &Subject, openebs: &str) -> String {
    match inventory::missing_right(problem) {
        Some(Lacking::Namespace(namespace)) if namespace != openebs => repair::rights_in(subject, namespace),
        Some(Lacking::Namespace(_) | Lacking::Cluster) => repair::rights(subject, openebs),
        None => "repair what it names, or accept that it is not seen".to_owned(),
    }
}

fn unreached(error: &EdgeError, edge: &Edge) -> Finding {
    let remedy = match error {
        EdgeError::AddressDenied(_) => "allow the network in the hub's settings (edge.allow_networks), if it is meant",
        EdgeError::AnotherCluster { .. } => "the kubeconfig points at another cluster: register it under a new name",
        EdgeError::Unauthorized => "rotate the credential: `fleetlift cluster rotate`",
        EdgeError::Forbidden { .. } => &repair::rights(&Subject::by_token(edge), edge.namespace()),
        EdgeError::Redirected { .. } | EdgeError::NotKubernetes { .. } => {
            "look at what stands between the hub and the API server: a proxy, a login page, a wrong port"
        }
        error => match error.retry() {
            Retry::Later => "look at the network between the hub and the API server, and try again",
            Retry::Never => "repair what the API server complains of",
        },
    };
    let what = if error.reached() { "api" } else { "reach" };
    Finding::fail(what, error.to_string(), remedy)
}

fn expiry(expires_at: Option<Timestamp>, own: Option<&AccountToken>, now: Timestamp) -> Finding {
    let remedy = "rotate it: `fleetlift cluster rotate`";
    match (expires_at, own) {
        (None, _) => Finding::ok("credential", "it does not say when it ends"),
        (Some(at), _) if at <= now => Finding::fail("credential", format!("it ended at {at}"), remedy),
        (Some(at), Some(own)) if own.renewal_is_due(now) => {
            let remedy = "the hub tries with each inventory; where its account lacks the right to, rotate the token by \
                          hand: `fleetlift cluster rotate`";
            Finding::warn("credential", format!("it ends at {at}, and the hub has not renewed it yet"), remedy)
        }
        (Some(at), Some(_)) => Finding::ok("credential", format!("it ends at {at}; the hub renews it before")),
        (Some(at), None) if at <= now + EXPIRES_SOON => {
            let days = at.since(now).as_secs() / (24 * 3600);
            Finding::warn("credential", format!("it ends at {at}, in {days} days"), remedy)
        }
        (Some(at), None) => Finding::ok("credential", format!("it ends at {at}")),
    }
}

/// Jobs with `ttlSecondsAfterFinished`, and `batch/v1` as we send it, are in every Kubernetes since 1.23.
fn kubernetes(version: &str) -> Finding {
    const MINOR_MIN: u32 = 23;
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(1), Some(minor)) if minor >= MINOR_MIN => Finding::ok("kubernetes", version),
        (Some(1), Some(_)) => {
            let seen = format!("{version} is older than 1.{MINOR_MIN}");
            Finding::fail("kubernetes", seen, "upgrade Kubernetes first")
        }
        _ => Finding::warn("kubernetes", format!("{version} is not a version that we know"), "compare it by hand"),
    }
}

fn control_plane(components: &[Component], namespace: &str) -> Finding {
    let told = |component: &Component| match component.versions.as_slice() {
        [] => format!("{} (no version label)", component.name),
        versions => format!("{} {}", component.name, versions.join(" and ")),
    };
    let seen = components.iter().map(told).collect::<Vec<_>>().join(", ");
    if components.is_empty() {
        let names = Operator::ALL.map(Operator::name).join(", ");
        let seen = format!("no Pod of {names} in namespace {namespace}");
        let remedy = "register the cluster with the namespace that OpenEBS runs in (`--namespace`)";
        return Finding::fail("control plane", seen, remedy);
    }
    if components.iter().any(|component| component.versions.len() != 1) {
        return Finding::warn("control plane", seen, "let its rollout end; nothing is upgraded before");
    }
    Finding::ok("control plane", seen)
}

fn unfinished(inventory: &Inventory) -> Option<Finding> {
    let by: Vec<&str> = inventory.under_way.iter().map(|one| one.by.as_str()).take(5).collect();
    let first = by.first()?;
    let seen = match inventory.under_way.len() {
        1 => format!("{first} has not ended"),
        more => format!("{more} upgrades have not ended: {}", by.join(", ")),
    };
    Some(Finding::warn("under way", seen, "what they work on is left alone until they have ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_that_ends_soon_is_a_warning_and_one_that_ended_a_failure() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let days = |days: u64| std::time::Duration::from_hours(days * 24);
        assert_eq!(expiry(Some(now + days(90)), None, now).level, Level::Ok);
        assert_eq!(expiry(Some(now + days(3)), None, now).level, Level::Warn);
        assert_eq!(expiry(Some(now), None, now).level, Level::Fail);
        assert_eq!(expiry(None, None, now).level, Level::Ok);
    }

    #[test]
    fn a_token_that_the_hub_renews_is_a_warning_only_when_it_should_have_done_so() {
        let issued_at = Timestamp::from_micros(1_800_000_000_000_000);
        let hours = |hours: u64| std::time::Duration::from_hours(hours);
        let account = crate::cluster::account::ServiceAccount { namespace: "fleetlift".into(), name: "hub".into() };
        let own = AccountToken { account, issued_at, expires_at: issued_at + hours(24) };
        let level = |after: u64| expiry(Some(own.expires_at), Some(&own), issued_at + hours(after)).level;
        assert_eq!([level(1), level(15), level(16), level(24)], [Level::Ok, Level::Ok, Level::Warn, Level::Fail]);
    }

    #[test]
    fn what_the_inventory_may_not_read_is_repaired_where_it_is_missing() {
        let subject = Subject::Account(crate::cluster::account::ServiceAccount {
            namespace: "fleetlift".to_owned(),
            name: "fleetlift-hub".to_owned(),
        });
        let remedy = |problem: &str| unread(problem, &subject, "openebs");
        for problem in [
            "who uses the volumes there is not known: the right to list pods in namespace shop is missing",
            "legacy volumes may live in namespace shop: the right to list deployments.apps in namespace shop is missing",
        ] {
            let told = remedy(problem);
            assert!(told.contains("`kubectl -n shop create rolebinding fleetlift-hub-volumes "), "{told}");
        }
        for problem in [
            "the right to list jivavolumes.openebs.io in namespace openebs is missing",
            "the right to list persistentvolumes is missing",
        ] {
            let told = remedy(problem);
            assert!(told.contains("`fleetlift edge manifest --namespace openebs "), "{told}");
        }
        let told = remedy("the CRD upgradetasks.openebs.io is not installed");
        assert!(!told.contains('`'), "{told}");
    }

    #[test]
    fn versions_of_every_vendor_are_read() {
        for (version, level) in [
            ("v1.34.4", Level::Ok),
            ("v1.27.3+k3s1", Level::Ok),
            ("v1.23.17-eks-0a21954", Level::Ok),
            ("v1.22.0", Level::Fail),
            ("v2.0.0", Level::Warn),
            ("", Level::Warn),
        ] {
            assert_eq!(kubernetes(version).level, level, "{version}");
        }
    }

    #[test]
    fn a_control_plane_that_is_missing_or_rolling_is_told() {
        let component = |versions: &[&str]| Component {
            name: "cspc-operator".into(),
            versions: versions.iter().map(|&version| version.to_owned()).collect(),
            service_account: "x".into(),
        };
        assert_eq!(control_plane(&[], "openebs").level, Level::Fail);
        assert_eq!(control_plane(&[component(&["3.5.0", "3.6.0"])], "openebs").level, Level::Warn);
        assert_eq!(control_plane(&[component(&["3.6.0"])], "openebs").level, Level::Ok);
    }
}
