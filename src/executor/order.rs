//! What one run is asked to do: from which version to which, with which images, and how long a step may take.

use std::fmt;
use std::time::Duration;

use super::problem::Problem;
use crate::domain::{ResourceKind, ResourceRef, Version};
use crate::openebs::UpgradeTask;
use crate::openebs::upgrade_task::{ResourceOptions, UpgradeTaskSpec};

/// The longest time that one step may be given.
const STEP_LONGEST: Duration = Duration::from_hours(7 * 24);

/// From which release to which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Where the resource starts.
    pub from: Version,
    /// Where it shall end: the control plane's version.
    pub to: Version,
}

/// Which of the two releases something is at; suffixes don't count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Still where it started.
    From,
    /// Already there.
    To,
    /// Not filled in yet.
    Unset,
    /// Neither: it drifted from what was planned.
    Elsewhere,
}

impl Versions {
    /// Both versions, if an upgrade can go from the one to the other.
    pub fn parse(from: &str, to: &str) -> Result<Self, Problem> {
        let read = |name: &str, text: &str| {
            text.parse::<Version>().map_err(|error| Problem::refused(name, error.to_string(), "a release of OpenEBS"))
        };
        let (from, to) = (read("fromVersion", from)?, read("toVersion", to)?);
        match from.cmp_release(&to) {
            std::cmp::Ordering::Greater => Err(Problem::refused(
                "toVersion",
                format!("{to} is older than {from}"),
                "a release that is not older than fromVersion",
            )
            .remedy("OpenEBS has no way back to an older release")),
            _ => Ok(Self { from, to }),
        }
    }

    /// Where `seen`, as found on an object, stands.
    pub fn locate(&self, seen: &str) -> At {
        match seen.parse::<Version>() {
            _ if seen.is_empty() => At::Unset,
            Ok(version) if version.same_release(&self.to) => At::To,
            Ok(version) if version.same_release(&self.from) => At::From,
            _ => At::Elsewhere,
        }
    }

    /// Whether the release upgraded from is older than `major.minor`: some particulars depend on it.
    pub fn from_before(&self, major: u32, minor: u32) -> bool {
        self.from.cmp_release(&Version::new(major, minor, 0)).is_lt()
    }

    /// Whether the release upgraded to is older than `major.minor`.
    pub fn to_before(&self, major: u32, minor: u32) -> bool {
        self.to.cmp_release(&Version::new(major, minor, 0)).is_lt()
    }
}

/// Where the images come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// Registry and path that replace the present ones; ends in `/`. Empty keeps the present ones.
    pub prefix: String,
    /// The new tag.
    pub tag: String,
}

impl Images {
    /// Images with `prefix` and `tag`, the tag being `to` unless given.
    pub fn parse(prefix: &str, tag: &str, to: &Version) -> Result<Self, Problem> {
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./:_-".contains(&b));
        if !plain(prefix) || prefix.len() > 256 {
            return Err(Problem::refused("imagePrefix", format!("{prefix:?}"), "REGISTRY/PATH/"));
        }
        if !prefix.is_empty() && !prefix.ends_with('/') {
            return Err(Problem::refused("imagePrefix", format!("{prefix:?} does not end in \"/\""), "REGISTRY/PATH/")
                .remedy(format!("write \"{prefix}/\": it is put before the image's name as it is")));
        }
        let tag = if tag.is_empty() { to.to_string() } else { tag.to_owned() };
        if tag.len() > 128 || !plain(&tag) || tag.contains(['/', ':']) {
            return Err(Problem::refused("imageTag", format!("{tag:?}"), "a tag of at most 128 letters and digits"));
        }
        Ok(Self { prefix: prefix.to_owned(), tag })
    }
}

/// One resource to upgrade, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// From where to where.
    pub versions: Versions,
    /// With which images.
    pub images: Images,
    /// `spec.options.timeout`: how long each step may take; `None` leaves it to the step.
    pub step_timeout: Option<Duration>,
}

impl Order {
    /// What the spec of an UpgradeTask orders.
    pub fn read(spec: &UpgradeTaskSpec) -> Result<Self, Problem> {
        let versions = Versions::parse(&spec.from_version, &spec.to_version)?;
        let images = Images::parse(&spec.image_prefix, &spec.image_tag, &versions.to)?;
        let seconds = spec.options.as_ref().and_then(|options| options.timeout);
        let step_timeout = match seconds.map(u64::try_from) {
            None | Some(Ok(0)) => None,
            Some(Ok(seconds)) => Some(Duration::from_secs(seconds).min(STEP_LONGEST)),
            Some(Err(_)) => {
                return Err(Problem::refused("spec.options.timeout", "it is negative", "seconds for each step"));
            }
        };
        Ok(Self { versions, images, step_timeout })
    }

    /// The spec that asks for this upgrade of `resource`.
    pub fn spec(&self, resource: &ResourceRef) -> UpgradeTaskSpec {
        UpgradeTaskSpec {
            from_version: self.versions.from.to_string(),
            to_version: self.versions.to.to_string(),
            image_prefix: self.images.prefix.clone(),
            image_tag: self.images.tag.clone(),
            ..UpgradeTaskSpec::naming(resource)
        }
    }
}

/// What an UpgradeTask names; volumes of both engines share a member, so the cluster must tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A pool or a parent of pools.
    Exactly(ResourceRef),
    /// A cStor volume of one engine or the other.
    CstorVolume(String),
    /// A Jiva volume of one engine or the other.
    JivaVolume(String),
}

impl Named {
    /// How an UpgradeTask names `resource`.
    pub fn by_member(resource: &ResourceRef) -> Self {
        match resource.kind {
            ResourceKind::CstorVolume | ResourceKind::LegacyCstorVolume => Self::CstorVolume(resource.name.clone()),
            ResourceKind::JivaVolume | ResourceKind::LegacyJivaVolume => Self::JivaVolume(resource.name.clone()),
            _ => Self::Exactly(resource.clone()),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(resource) => write!(f, "{resource}"),
            Self::CstorVolume(name) => write!(f, "cstorVolume/{name}"),
            Self::JivaVolume(name) => write!(f, "jivaVolume/{name}"),
        }
    }
}

/// The one resource that the UpgradeTask names.
pub fn resource_named(task: &UpgradeTask) -> Result<Named, Problem> {
    let spec = &task.spec;
    let exactly = |kind, name: &str| Named::Exactly(ResourceRef { kind, name: name.to_owned() });
    let mut named: Vec<(Named, &str, &Option<ResourceOptions>)> = Vec::new();
    if let Some(pool) = &spec.cstor_pool_instance {
        named.push((exactly(ResourceKind::CstorPoolInstance, &pool.cspi_name), &pool.cspi_name, &pool.options));
    }
    if let Some(pool) = &spec.cstor_pool_cluster {
        named.push((exactly(ResourceKind::CstorPoolCluster, &pool.cspc_name), &pool.cspc_name, &pool.options));
    }
    if let Some(pool) = &spec.cstor_pool {
        named.push((exactly(ResourceKind::CstorPool, &pool.pool_name), &pool.pool_name, &pool.options));
    }
    if let Some(claim) = &spec.storage_pool_claim {
        named.push((exactly(ResourceKind::StoragePoolClaim, &claim.spc_name), &claim.spc_name, &claim.options));
    }
    if let Some(volume) = &spec.cstor_volume {
        named.push((Named::CstorVolume(volume.pv_name.clone()), &volume.pv_name, &volume.options));
    }
    if let Some(volume) = &spec.jiva_volume {
        named.push((Named::JivaVolume(volume.pv_name.clone()), &volume.pv_name, &volume.options));
    }
    let Some((only, name, options)) = named.pop().filter(|_| named.is_empty()) else {
        let seen = format!("{} resource members are set", named.len() + usize::from(!named.is_empty()));
        return Err(Problem::refused(
            "spec",
            seen,
            "exactly one of cstorPoolInstance, cstorPoolCluster, cstorPool, storagePoolClaim, cstorVolume, jivaVolume",
        ));
    };
    check_name(name)?;
    if options.as_ref().is_some_and(|options| !options.ignore_steps_on_error.is_empty()) {
        return Err(Problem::refused("ignoreStepsOnError", "it lists steps whose failure shall not count", "no steps")
            .remedy("remove it: skipping a failed storage step is how data is lost"));
    }
    Ok(only)
}

/// Whether `name` can be the name of a Kubernetes object.
pub fn check_name(name: &str) -> Result<(), Problem> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(allowed) {
        return Ok(());
    }
    let short: String = name.chars().take(64).collect();
    Err(Problem::refused("name", format!("{short:?}"), "the name of a Kubernetes object"))
}

/// Whether an UpgradeTask found under the computed name asks for this very upgrade. One that was left over from another
/// upgrade would record ours under the wrong versions, so it is an error and never overwritten.
pub fn same_order(found: &UpgradeTask, wanted: &Order, resource: &ResourceRef) -> Result<(), Problem> {
    let name = found.metadata.name.as_deref().unwrap_or_default();
    let object = format!("UpgradeTask/{name}");
    let remedy =
        format!("`kubectl delete upgradetask {name}` once nobody needs its record, then run the upgrade again");
    let differs = |seen: String, expected: String| Err(Problem::refused(&object, seen, expected).remedy(&remedy));

    let theirs = resource_named(found)?;
    if theirs != Named::by_member(resource) {
        return differs(format!("it is about another resource, {theirs}"), format!("{resource}"));
    }
    let Ok(order) = Order::read(&found.spec) else {
        return differs("its versions or images cannot be read".to_owned(), format!("an upgrade of {resource}"));
    };
    let span = |versions: &Versions| format!("{} → {}", versions.from, versions.to);
    let same_release =
        order.versions.from.same_release(&wanted.versions.from) && order.versions.to.same_release(&wanted.versions.to);
    if !same_release {
        return differs(format!("it is left over from the upgrade {}", span(&order.versions)), span(&wanted.versions));
    }
    if order.images != wanted.images {
        let show = |images: &Images| format!("images {:?} tagged {:?}", images.prefix, images.tag);
        return differs(format!("it asks for {}", show(&order.images)), show(&wanted.images));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(from: &str, to: &str) -> Order {
        let spec = UpgradeTaskSpec { from_version: from.into(), to_version: to.into(), ..UpgradeTaskSpec::default() };
        Order::read(&spec).unwrap()
    }

    fn volume() -> ResourceRef {
        ResourceRef { kind: ResourceKind::JivaVolume, name: "pvc-1".into() }
    }

    #[test]
    fn a_candidate_of_a_release_stands_where_the_release_stands() {
        let versions = Versions::parse("2.0.0", "2.12.0-RC1").unwrap();
        assert_eq!(versions.locate("2.0.0-RC1"), At::From);
        assert_eq!(versions.locate("2.12.0"), At::To);
        assert_eq!(versions.locate(""), At::Unset);
        assert_eq!(versions.locate("2.11.0"), At::Elsewhere);
        assert_eq!(versions.locate("latest"), At::Elsewhere);
    }

    #[test]
    fn there_is_no_way_back() {
        assert!(Versions::parse("3.6.0", "3.5.0").unwrap_err().to_string().contains("older"));
    }

    #[test]
    fn a_left_over_task_of_another_upgrade_is_refused_by_its_name() {
        let left =
            UpgradeTask::named("openebs", "upgrade-jiva-csi-volume-pvc-1", order("3.0.0", "3.5.0").spec(&volume()));
        let problem = same_order(&left, &order("3.5.0", "3.6.0"), &volume()).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "UpgradeTask/upgrade-jiva-csi-volume-pvc-1: it is left over from the upgrade 3.0.0 → 3.5.0; expected \
             3.5.0 → 3.6.0; `kubectl delete upgradetask upgrade-jiva-csi-volume-pvc-1` once nobody needs its record, \
             then run the upgrade again"
        );
        assert_eq!(same_order(&left, &order("3.0.0", "3.5.0"), &volume()), Ok(()));
        let other = ResourceRef { kind: ResourceKind::JivaVolume, name: "pvc-2".into() };
        assert!(same_order(&left, &order("3.0.0", "3.5.0"), &other).unwrap_err().seen.contains("another resource"));
    }

    #[test]
    fn ignoring_failed_steps_is_refused_with_the_reason() {
        let text = r#"{"spec":{"fromVersion":"3.5.0","toVersion":"3.6.0","jivaVolume":{"pvName":"pvc-1",
            "options":{"ignoreStepsOnError":["VERIFY"]}}}}"#;
        let problem = resource_named(&serde_json::from_str(text).unwrap()).unwrap_err();
        assert!(problem.remedy.contains("data is lost"), "{problem}");
    }

    #[test]
    fn no_resource_or_two_are_refused() {
        assert!(resource_named(&UpgradeTask::default()).is_err());
        let text = r#"{"spec":{"jivaVolume":{"pvName":"a"},"cstorVolume":{"pvName":"b"}}}"#;
        assert!(resource_named(&serde_json::from_str(text).unwrap()).unwrap_err().seen.starts_with('2'));
    }

    #[test]
    fn a_prefix_without_its_slash_is_refused_with_the_remedy() {
        let to = Version::new(3, 6, 0);
        assert!(Images::parse("reg:5000/openebs", "", &to).unwrap_err().remedy.contains("reg:5000/openebs"));
        assert_eq!(Images::parse("reg:5000/openebs/", "", &to).unwrap().tag, "3.6.0");
    }
}
