//! The operators that must be at the target before anything they look after is upgraded: they do the real version
//! bump, and refuse any version but their own.

use crate::domain::inventory::{Component, Condition};
use crate::domain::{ResourceKind, Version};

use super::kinds;

/// One operator of OpenEBS's control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// `cspc-operator`: pool clusters and their instances.
    Cspc,
    /// `cvc-operator`: cStor volumes of the CSI engine.
    Cvc,
    /// `jiva-operator`: Jiva volumes of the CSI engine.
    Jiva,
    /// `maya-apiserver`: everything of the external provisioner.
    Maya,
}

impl Operator {
    /// Every operator.
    pub const ALL: [Self; 4] = [Self::Cspc, Self::Cvc, Self::Jiva, Self::Maya];

    /// Its name, as labelled and as shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cspc => "cspc-operator",
            Self::Cvc => "cvc-operator",
            Self::Jiva => "jiva-operator",
            Self::Maya => "maya-apiserver",
        }
    }

    /// The label key whose value is its name, on its Pods.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cspc | Self::Cvc | Self::Jiva => "openebs.io/component-name",
            Self::Maya => "name",
        }
    }
}

/// Whether what looks after `kind` is at `to`: at least one Pod, and every Pod of it.
pub fn is_at(components: &[Component], kind: ResourceKind, to: &Version) -> Condition {
    operator_is_at(components, kinds::of(kind).operator.name(), to)
}

/// Whether the operator of that name is at `to`: at least one Pod, and every Pod of it.
pub fn operator_is_at(components: &[Component], operator: &str, to: &Version) -> Condition {
    let Some(component) = components.iter().find(|component| component.name == operator) else {
        return Condition::Fails(format!("no Pod of {operator} was found; it must run at {to} first"));
    };
    if component.versions.is_empty() {
        return Condition::Unknown(format!("the Pods of {operator} carry no label openebs.io/version"));
    }
    let other =
        component.versions.iter().find(|seen| seen.parse::<Version>().map_or(true, |seen| !seen.same_release(to)));
    match other {
        None => Condition::Holds,
        Some(seen) => Condition::Fails(format!("{operator} is at {seen:?}; upgrade it to {to} first")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Version = Version::new(3, 6, 0);

    fn cspc(versions: &[&str]) -> Vec<Component> {
        vec![Component {
            name: "cspc-operator".into(),
            versions: versions.iter().map(|&version| version.to_owned()).collect(),
            service_account: "openebs-cstor-operator".into(),
        }]
    }

    #[test]
    fn an_operator_that_is_rolled_out_just_now_is_not_there_yet() {
        assert!(is_at(&cspc(&["3.6.0"]), ResourceKind::CstorPoolInstance, &TO).holds());
        assert!(is_at(&cspc(&["3.6.0-RC2"]), ResourceKind::CstorPoolCluster, &TO).holds());
        assert!(!is_at(&cspc(&["3.5.0", "3.6.0"]), ResourceKind::CstorPoolInstance, &TO).holds());
    }

    #[test]
    fn an_absent_or_unlabelled_operator_is_never_taken_for_one_at_the_target() {
        assert!(matches!(is_at(&cspc(&["3.6.0"]), ResourceKind::JivaVolume, &TO), Condition::Fails(_)));
        assert!(matches!(is_at(&cspc(&[]), ResourceKind::CstorPoolCluster, &TO), Condition::Unknown(_)));
        assert!(!is_at(&cspc(&["latest"]), ResourceKind::CstorPoolCluster, &TO).holds());
    }
}
