//! Default images and service accounts of executors, by era.

use std::cmp::Ordering;

use crate::domain::Version;
use crate::domain::fleet::ExecutorMaker;
use crate::domain::inventory::Component;

use super::control_plane::Operator;
use super::kinds::{Kind, Line};

/// Fleetlift's own executor: the image that `deploy/executor.Dockerfile` builds, at this version.
pub const OWN_EXECUTOR: &str = concat!("fleetlift/executor:", env!("CARGO_PKG_VERSION"));

/// The service account that the edge manifest makes for Fleetlift's own executor.
pub const OWN_SERVICE_ACCOUNT: &str = "fleetlift-executor";

/// A processor architecture for which there are executors' images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// As Kubernetes names it in the node label `kubernetes.io/arch`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The one that all nodes have, as Kubernetes names them; amd64 when they differ or none is known, since the Job is
    /// then bound to a node of its image's architecture.
    pub fn of_nodes(names: &[String]) -> Self {
        if !names.is_empty() && names.iter().all(|name| name == "arm64") { Self::Arm64 } else { Self::Amd64 }
    }
}

/// The image that upgrades resources of `kind` to `to`. `prefix` replaces registry and path (it ends in `/`): what a
/// mirror for clusters without access to the public registries holds.
pub fn executor(
    maker: ExecutorMaker,
    kind: &Kind,
    to: &Version,
    architecture: Architecture,
    prefix: Option<&str>,
) -> String {
    let image = match maker {
        ExecutorMaker::Fleetlift => OWN_EXECUTOR.to_owned(),
        ExecutorMaker::Openebs => official(kind.line, &to.release(), architecture),
    };
    match prefix {
        Some(prefix) => format!("{prefix}{}", image.rsplit('/').next().unwrap_or(&image)),
        None => image,
    }
}

fn official(line: Line, to: &Version, architecture: Architecture) -> String {
    let before = |version: Version| to.cmp_release(&version) == Ordering::Less;
    match line {
        // The 1.x images were pushed to quay.io; later ones to the default registry only.
        Line::Legacy if before(Version::new(2, 0, 0)) => format!("quay.io/openebs/m-upgrade:{to}"),
        Line::Legacy => format!("openebs/m-upgrade:{to}"),
        // One image for all architectures came with 2.6.
        Line::Csi if before(Version::new(2, 6, 0)) => format!("openebs/upgrade-{}:{to}", architecture.name()),
        Line::Csi => format!("openebs/upgrade:{to}"),
    }
}

/// The architecture that an image is bound to by its name, as those before 2.6 are.
pub fn bound_to(image: &str) -> Option<Architecture> {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split([':', '@']).next().unwrap_or(name);
    [Architecture::Amd64, Architecture::Arm64]
        .into_iter()
        .find(|architecture| name.ends_with(&format!("-{}", architecture.name())))
}

/// The prefix that the official executor of `to` forces on the data plane's images when an UpgradeTask names none:
/// from 2.3 (legacy) and 1.12 (CSI) on it keeps what each Deployment has.
pub fn forced_prefix(kind: &Kind, to: &Version) -> Option<&'static str> {
    let last_forcing = match kind.line {
        Line::Legacy => Version::new(2, 2, 0),
        Line::Csi => Version::new(1, 11, 0),
    };
    (to.cmp_release(&last_forcing) != Ordering::Greater).then_some("quay.io/openebs/")
}

/// The service account that an executor's Pod runs as: that of the operator as found in the cluster, as the official
/// instructions say, else the one that its manifests make.
pub fn service_account(maker: ExecutorMaker, kind: &Kind, to: &Version, components: &[Component]) -> String {
    if maker == ExecutorMaker::Fleetlift {
        return OWN_SERVICE_ACCOUNT.to_owned();
    }
    let found = components.iter().find(|component| component.name == kind.operator.name());
    if let Some(component) = found.filter(|component| !component.service_account.is_empty()) {
        return component.service_account.clone();
    }
    let before_2_8 = to.cmp_release(&Version::new(2, 8, 0)) == Ordering::Less;
    match kind.operator {
        Operator::Jiva => "jiva-operator",
        Operator::Cspc | Operator::Cvc if before_2_8 => "openebs-maya-operator",
        Operator::Cspc | Operator::Cvc => "openebs-cstor-operator",
        Operator::Maya => "openebs-maya-operator",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ResourceKind as K;
    use crate::openebs::kinds;

    fn image(kind: K, to: (u32, u32, u32), architecture: Architecture, prefix: Option<&str>) -> String {
        executor(ExecutorMaker::Openebs, kinds::of(kind), &Version::new(to.0, to.1, to.2), architecture, prefix)
    }

    #[test]
    fn the_image_follows_the_engine_and_the_era() {
        use Architecture::{Amd64, Arm64};
        assert_eq!(image(K::LegacyJivaVolume, (1, 12, 0), Amd64, None), "quay.io/openebs/m-upgrade:1.12.0");
        assert_eq!(image(K::CstorPool, (2, 12, 2), Amd64, None), "openebs/m-upgrade:2.12.2");
        assert_eq!(image(K::CstorVolume, (2, 3, 0), Arm64, None), "openebs/upgrade-arm64:2.3.0");
        assert_eq!(image(K::CstorVolume, (3, 6, 0), Arm64, None), "openebs/upgrade:3.6.0");
        let mirrored = image(K::JivaVolume, (3, 6, 0), Amd64, Some("registry.example.com:5000/openebs/"));
        assert_eq!(mirrored, "registry.example.com:5000/openebs/upgrade:3.6.0");
    }

    #[test]
    fn only_an_image_of_one_architecture_is_bound_to_it() {
        assert_eq!(bound_to("registry.example.com:5000/openebs/upgrade-arm64:2.3.0"), Some(Architecture::Arm64));
        assert_eq!(bound_to("openebs/upgrade:3.6.0-amd64"), None);
    }

    #[test]
    fn the_account_is_the_operators_own_where_it_was_found() {
        let found = [Component {
            name: "cspc-operator".into(),
            versions: vec!["3.6.0".into()],
            service_account: "storage-cstor-operator".into(),
        }];
        let (pool, volume) = (kinds::of(K::CstorPoolInstance), kinds::of(K::CstorVolume));
        let account = |kind, to| service_account(ExecutorMaker::Openebs, kind, &to, &found);
        assert_eq!(account(pool, Version::new(3, 6, 0)), "storage-cstor-operator");
        assert_eq!(account(volume, Version::new(3, 6, 0)), "openebs-cstor-operator");
        assert_eq!(account(volume, Version::new(2, 7, 0)), "openebs-maya-operator");
    }
}
