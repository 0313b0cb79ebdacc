//! OpenEBS release versions.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An OpenEBS version such as `3.6.0` or `2.0.0-RC1`.
///
/// Order and equality of releases ignore what follows the first `-`, as upstream's pre-checks do; comparing the
/// uncut text is what made its executors poll for ever. `==` compares everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    suffix: Option<String>,
}

/// The text is not `MAJOR.MINOR.PATCH` with an optional `-SUFFIX`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version (expected MAJOR.MINOR.PATCH, for example 3.6.0)")]
pub struct InvalidVersion(String);

impl Version {
    /// The release `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch, suffix: None }
    }

    /// The same version without its suffix.
    #[must_use]
    pub fn release(&self) -> Self {
        Self::new(self.major, self.minor, self.patch)
    }

    /// `(major, minor, patch)`.
    pub const fn numbers(&self) -> (u32, u32, u32) {
        (self.major, self.minor, self.patch)
    }

    /// Whether both are builds of the same release, whatever their suffixes.
    pub fn same_release(&self, other: &Self) -> bool {
        self.numbers() == other.numbers()
    }

    /// The order of the releases, whatever the suffixes.
    pub fn cmp_release(&self, other: &Self) -> Ordering {
        self.numbers().cmp(&other.numbers())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        self.suffix.as_ref().map_or(Ok(()), |suffix| write!(f, "-{suffix}"))
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion(text.chars().take(64).collect());
        let (numbers, suffix) = match text.split_once('-') {
            Some((numbers, suffix)) => (numbers, Some(suffix)),
            None => (text, None),
        };
        let suffix_is_sound = |suffix: &str| {
            !suffix.is_empty()
                && suffix.len() <= 64
                && suffix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        if !suffix.is_none_or(suffix_is_sound) {
            return Err(invalid());
        }
        let mut parts = numbers.split('.').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten()
        });
        let mut next = || parts.next().flatten().ok_or_else(invalid);
        let (major, minor, patch) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self { major, minor, patch, suffix: suffix.map(str::to_owned) })
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_does_not_change_the_release() {
        let candidate: Version = "2.0.0-RC1".parse().unwrap();
        assert!(candidate.same_release(&Version::new(2, 0, 0)));
        assert_ne!(candidate, Version::new(2, 0, 0));
        assert_eq!(candidate.to_string(), "2.0.0-RC1");
    }

    #[test]
    fn ten_is_later_than_nine() {
        assert_eq!(Version::new(1, 10, 0).cmp_release(&Version::new(1, 9, 0)), Ordering::Greater);
    }

    #[test]
    fn what_is_not_three_numbers_is_refused() {
        for text in ["", "1", "1.2", "1.2.3.4", "1.2.x", "+1.2.3", "1.2.3-", "v1.2.3", "1.2.3-a b", "1..3"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
