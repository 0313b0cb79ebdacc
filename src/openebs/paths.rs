//! Which way leads from one version to another: what the executor of a release accepts, by the fixed lists that are
//! compiled into the official ones. Any listed version goes directly to the target; nothing is upgraded in steps.

use std::cmp::Ordering;

use crate::domain::fleet::ExecutorMaker;
use crate::domain::{ResourceKind, Version};

use super::kinds::{self, Line};

/// The way of one resource from one version to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// How the executor is told what to do.
    pub mode: Mode,
    /// What a person should know before taking it: all of it.
    pub cautions: Vec<&'static str>,
}

/// How an executor is told what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `resource`: it reads the UpgradeTasks that a label selects.
    Resource,
    /// The sub-command and names of the kind: what images before `resource` had a status know.
    Arguments,
}

/// Why no way leads from one version to another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPath {
    /// It is there.
    #[error("it is at {0} already")]
    AlreadyThere(Version),
    /// The target is older.
    #[error("{from} is later than {to}: OpenEBS has no way back")]
    Downgrade {
        /// What it has.
        from: Version,
        /// What was asked for.
        to: Version,
    },
    /// The engine ended before the target.
    #[error("the {noun} ends with {last}: {instead} before going to {to}")]
    EngineEnded {
        /// What it is.
        noun: &'static str,
        /// The engine's last release.
        last: Version,
        /// What a person does instead.
        instead: &'static str,
        /// What was asked for.
        to: Version,
    },
    /// No executor of the target version exists.
    #[error("no executor of {noun}s has version {to} (known: {known})")]
    NoExecutor {
        /// What it is.
        noun: &'static str,
        /// What was asked for.
        to: Version,
        /// Which ones are known, as text.
        known: String,
    },
    /// The executor of the target version does not accept the version that it has.
    #[error("the executor of {to} does not accept {from}; it accepts {accepted}")]
    FromNotAccepted {
        /// What it has.
        from: Version,
        /// What was asked for.
        to: Version,
        /// What would be accepted, as text.
        accepted: String,
    },
    /// The official executor of the target version has no way to upgrade just one of these.
    #[error("the official executor of {to} cannot upgrade a single {noun}; use Fleetlift's own, or a later version")]
    NotAlone {
        /// What it is.
        noun: &'static str,
        /// What was asked for.
        to: Version,
    },
}

impl NoPath {
    /// A bounded name for counting.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AlreadyThere(_) => "already_there",
            Self::Downgrade { .. } => "downgrade",
            Self::EngineEnded { .. } => "engine_ended",
            Self::NoExecutor { .. } => "no_executor",
            Self::FromNotAccepted { .. } => "version_jump_unsupported",
            Self::NotAlone { .. } => "not_alone",
        }
    }
}

const fn v(major: u32, minor: u32, patch: u32) -> Version {
    Version::new(major, minor, patch)
}

/// The releases that `m-upgrade` knows, oldest first: each accepts those before it.
const LEGACY: [Version; 29] = [
    v(1, 0, 0),
    v(1, 1, 0),
    v(1, 2, 0),
    v(1, 3, 0),
    v(1, 4, 0),
    v(1, 5, 0),
    v(1, 6, 0),
    v(1, 7, 0),
    v(1, 8, 0),
    v(1, 9, 0),
    v(1, 10, 0),
    v(1, 11, 0),
    v(1, 12, 0),
    v(2, 0, 0),
    v(2, 1, 0),
    v(2, 2, 0),
    v(2, 3, 0),
    v(2, 4, 0),
    v(2, 4, 1),
    v(2, 5, 0),
    v(2, 6, 0),
    v(2, 7, 0),
    v(2, 8, 0),
    v(2, 9, 0),
    v(2, 10, 0),
    v(2, 11, 0),
    v(2, 12, 0),
    v(2, 12, 1),
    v(2, 12, 2),
];

/// The releases that `upgrade` knows, oldest first. 1.11.1, 1.12.1 and 2.11.1 are missing from its lists.
const CSI: [Version; 28] = [
    v(1, 9, 0),
    v(1, 10, 0),
    v(1, 11, 0),
    v(1, 12, 0),
    v(2, 0, 0),
    v(2, 1, 0),
    v(2, 2, 0),
    v(2, 3, 0),
    v(2, 4, 0),
    v(2, 4, 1),
    v(2, 5, 0),
    v(2, 6, 0),
    v(2, 7, 0),
    v(2, 8, 0),
    v(2, 9, 0),
    v(2, 10, 0),
    v(2, 10, 1),
    v(2, 11, 0),
    v(2, 12, 0),
    v(2, 12, 1),
    v(2, 12, 2),
    v(3, 0, 0),
    v(3, 1, 0),
    v(3, 2, 0),
    v(3, 3, 0),
    v(3, 4, 0),
    v(3, 5, 0),
    v(3, 6, 0),
];

/// The way of a resource of `kind` from `from` to `to` by the executor of `maker`. Suffixes are ignored.
pub fn path(kind: ResourceKind, from: &Version, to: &Version, maker: ExecutorMaker) -> Result<Path, NoPath> {
    match from.cmp_release(to) {
        Ordering::Equal => return Err(NoPath::AlreadyThere(to.clone())),
        Ordering::Greater => return Err(NoPath::Downgrade { from: from.clone(), to: to.clone() }),
        Ordering::Less => {}
    }
    let accepted = accepted(kind, to)?;
    // Ours knows only the shape that Jiva volumes have since 1.9.
    let splits = v(1, 9, 0);
    if maker == ExecutorMaker::Fleetlift
        && kind == ResourceKind::LegacyJivaVolume
        && to.cmp_release(&splits) == Ordering::Less
    {
        let known = text(&[splits, LEGACY[LEGACY.len() - 1].clone()]);
        return Err(NoPath::NoExecutor { noun: kinds::of(kind).noun, to: to.clone(), known });
    }
    let listed = accepted.iter().any(|version| version.same_release(from));
    let in_range = maker == ExecutorMaker::Fleetlift && ours_accepts(kind, from);
    if !listed && !in_range {
        return Err(NoPath::FromNotAccepted { from: from.clone(), to: to.clone(), accepted: text(&accepted) });
    }
    let mode = mode(kind, to, maker);
    if mode == Mode::Arguments && kinds::of(kind).subcommand.is_none() {
        return Err(NoPath::NotAlone { noun: kinds::of(kind).noun, to: to.clone() });
    }
    Ok(Path { mode, cautions: cautions(kind, from, to) })
}

/// The versions, oldest first, from which the official executor of `to` takes a resource of `kind`.
pub fn accepted(kind: ResourceKind, to: &Version) -> Result<Vec<Version>, NoPath> {
    let row = kinds::of(kind);
    let first_target = first_target(kind);
    let releases: &[Version] = match row.line {
        Line::Legacy => &LEGACY,
        Line::Csi => &CSI,
    };
    let last = releases[releases.len() - 1].clone();
    if to.cmp_release(&last) == Ordering::Greater {
        let instead = match row.line {
            Line::Legacy => "migrate it to the CSI engine",
            Line::Csi if to.numbers().0 >= 4 => "copy its data to an engine of OpenEBS 4",
            Line::Csi => {
                let known = text(&[first_target, last]);
                return Err(NoPath::NoExecutor { noun: row.noun, to: to.clone(), known });
            }
        };
        return Err(NoPath::EngineEnded { noun: row.noun, last, instead, to: to.clone() });
    }
    let known = releases.iter().any(|release| release.same_release(to));
    if !known || to.cmp_release(&first_target) == Ordering::Less {
        return Err(NoPath::NoExecutor { noun: row.noun, to: to.clone(), known: text(&[first_target, last]) });
    }
    let first_source = first_source(kind, to);
    let fits = |version: &&Version| {
        version.cmp_release(&first_source) != Ordering::Less && version.cmp_release(to) == Ordering::Less
    };
    Ok(releases.iter().filter(fits).cloned().collect())
}

/// How the executor of `to` is told what to do.
pub fn mode(kind: ResourceKind, to: &Version, maker: ExecutorMaker) -> Mode {
    // m-upgrade 1.1 has no `resource`; that of 1.2 reads one UpgradeTask by name and writes no status.
    let too_old = kinds::of(kind).line == Line::Legacy && to.cmp_release(&v(1, 3, 0)) == Ordering::Less;
    if too_old && maker == ExecutorMaker::Openebs { Mode::Arguments } else { Mode::Resource }
}

/// The first version to which an executor brings resources of `kind`.
const fn first_target(kind: ResourceKind) -> Version {
    match kinds::of(kind).line {
        Line::Legacy => v(1, 1, 0),
        Line::Csi if matches!(kind, ResourceKind::JivaVolume) => v(2, 8, 0),
        Line::Csi => v(1, 11, 0),
    }
}

/// The first version from which the executor of `to` takes resources of `kind`.
fn first_source(kind: ResourceKind, to: &Version) -> Version {
    match kinds::of(kind).line {
        Line::Legacy => v(1, 0, 0),
        // The engine's own first release.
        Line::Csi if kind == ResourceKind::JivaVolume => v(2, 7, 0),
        Line::Csi if to.cmp_release(&v(2, 0, 0)) == Ordering::Less => v(1, 9, 0),
        Line::Csi => v(1, 10, 0),
    }
}

/// Ours has no list of its own: where the operators check a range, so does it.
fn ours_accepts(kind: ResourceKind, from: &Version) -> bool {
    let cstor =
        matches!(kind, ResourceKind::CstorPoolInstance | ResourceKind::CstorPoolCluster | ResourceKind::CstorVolume);
    cstor && from.cmp_release(&v(1, 10, 0)) != Ordering::Less
}

fn cautions(kind: ResourceKind, from: &Version, to: &Version) -> Vec<&'static str> {
    if kinds::of(kind).line == Line::Csi {
        return Vec::new();
    }
    let before = |major, minor| from.cmp_release(&v(major, minor, 0)) == Ordering::Less;
    let documented_from_1_6 = to.cmp_release(&v(2, 9, 0)) != Ordering::Less;
    let splits = kind == ResourceKind::LegacyJivaVolume && to.cmp_release(&v(1, 9, 0)) != Ordering::Less;
    let mut cautions = Vec::new();
    if documented_from_1_6 && before(1, 6) {
        cautions.push("accepted by the executor, but OpenEBS documents this path only from 1.6.0 on");
    } else if documented_from_1_6 && before(1, 8) {
        cautions.push("accepted by the executor, but OpenEBS tested this path only from 1.8.0 on");
    }
    if splits && before(1, 9) {
        cautions.push(
            "its replica Deployment is split into one for each replica, and it may move to the OpenEBS namespace",
        );
    }
    cautions
}

fn text(versions: &[Version]) -> String {
    match versions {
        [] => "nothing".to_owned(),
        [only] => only.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ExecutorMaker::{Fleetlift, Openebs};
    use ResourceKind as K;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn goes(kind: K, from: &str, to: &str) -> Result<Path, NoPath> {
        path(kind, &version(from), &version(to), Openebs)
    }

    #[test]
    fn the_last_csi_executor_accepts_exactly_its_list() {
        let accepted: Vec<String> =
            accepted(K::CstorPoolCluster, &v(3, 6, 0)).unwrap().iter().map(Version::to_string).collect();
        let listed = "1.10.0 1.11.0 1.12.0 2.0.0 2.1.0 2.2.0 2.3.0 2.4.0 2.4.1 2.5.0 2.6.0 2.7.0 2.8.0 2.9.0 2.10.0 \
                      2.10.1 2.11.0 2.12.0 2.12.1 2.12.2 3.0.0 3.1.0 3.2.0 3.3.0 3.4.0 3.5.0";
        assert_eq!(accepted.join(" "), listed);
        for missing in ["2.11.1", "1.12.1", "1.11.1", "1.9.0"] {
            assert!(matches!(goes(K::CstorVolume, missing, "3.6.0"), Err(NoPath::FromNotAccepted { .. })), "{missing}");
        }
    }

    #[test]
    fn the_first_executors_accept_little() {
        assert!(goes(K::CstorPoolInstance, "1.9.0", "1.11.0").is_ok());
        assert!(goes(K::CstorPoolInstance, "1.9.0", "2.0.0").is_err());
        assert!(goes(K::LegacyCstorVolume, "1.0.0", "1.1.0").is_ok());
        assert!(goes(K::JivaVolume, "2.7.0", "2.8.0").is_ok());
        assert!(goes(K::JivaVolume, "2.6.0", "3.6.0").is_err());
        assert!(matches!(goes(K::JivaVolume, "2.6.0", "2.7.0"), Err(NoPath::NoExecutor { .. })));
    }

    #[test]
    fn the_legacy_engine_goes_anywhere_up_to_its_end() {
        assert!(goes(K::LegacyJivaVolume, "1.0.0", "2.12.2").is_ok());
        assert!(goes(K::CstorPool, "2.4.1", "2.12.2").is_ok());
        let ended = goes(K::CstorPool, "2.12.2", "3.0.0").unwrap_err();
        assert!(ended.to_string().contains("migrate it to the CSI engine before going to 3.0.0"), "{ended}");
        assert!(matches!(goes(K::CstorVolume, "3.6.0", "4.1.0"), Err(NoPath::EngineEnded { .. })));
        assert!(matches!(goes(K::CstorVolume, "3.6.0", "3.7.0"), Err(NoPath::NoExecutor { .. })));
    }

    #[test]
    fn our_own_executor_brings_old_jiva_volumes_into_their_new_shape() {
        let ours = |to: &str| path(K::LegacyJivaVolume, &version("1.6.0"), &version(to), Fleetlift);
        assert!(ours("1.9.0").is_ok() && ours("2.12.2").is_ok());
        let refused = ours("1.8.0").unwrap_err().to_string();
        assert_eq!(refused, "no executor of legacy Jiva volumes has version 1.8.0 (known: 1.9.0 to 2.12.2)");
    }

    #[test]
    fn nothing_goes_back_or_nowhere() {
        assert_eq!(goes(K::CstorVolume, "3.6.0-RC1", "3.6.0"), Err(NoPath::AlreadyThere(v(3, 6, 0))));
        assert!(matches!(goes(K::CstorVolume, "3.6.0", "3.5.0"), Err(NoPath::Downgrade { .. })));
    }

    #[test]
    fn only_the_first_two_legacy_executors_are_told_by_arguments() {
        assert_eq!(goes(K::StoragePoolClaim, "1.0.0", "1.2.0").map(|path| path.mode), Ok(Mode::Arguments));
        assert_eq!(goes(K::StoragePoolClaim, "1.0.0", "1.3.0").map(|path| path.mode), Ok(Mode::Resource));
        assert!(matches!(goes(K::CstorPool, "1.0.0", "1.2.0"), Err(NoPath::NotAlone { .. })));
        let ours = path(K::CstorPool, &v(1, 0, 0), &v(1, 2, 0), Fleetlift);
        assert_eq!(ours.map(|path| path.mode), Ok(Mode::Resource));
    }

    #[test]
    fn no_caution_hides_another() {
        let told = |kind, from, to| goes(kind, from, to).unwrap().cautions;
        let old = told(K::LegacyJivaVolume, "1.5.0", "2.12.2");
        assert_eq!(old.len(), 2, "{old:?}");
        assert!(
            old[0].contains("documents this path only from 1.6.0") && old[1].contains("is split into one"),
            "{old:?}"
        );
        let newer = told(K::LegacyJivaVolume, "1.7.0", "2.12.2");
        assert!(newer[0].contains("tested this path only from 1.8.0") && newer[1].contains("is split"), "{newer:?}");
        assert_eq!(told(K::LegacyJivaVolume, "1.8.0", "2.12.2").len(), 1);
        assert_eq!(told(K::LegacyJivaVolume, "1.6.0", "1.8.0"), Vec::<&str>::new(), "nothing is split before 1.9");
        assert_eq!(told(K::CstorPool, "1.5.0", "2.12.2").len(), 1);
        assert_eq!(told(K::LegacyJivaVolume, "1.9.0", "2.12.2"), Vec::<&str>::new());
    }

    #[test]
    fn our_executor_follows_the_operators_range_where_upstream_forgot_a_release() {
        assert!(path(K::CstorVolume, &v(2, 11, 1), &v(3, 6, 0), Fleetlift).is_ok());
        assert!(path(K::CstorVolume, &v(1, 9, 0), &v(3, 6, 0), Fleetlift).is_err());
        assert!(path(K::JivaVolume, &v(2, 6, 0), &v(3, 6, 0), Fleetlift).is_err());
    }
}
