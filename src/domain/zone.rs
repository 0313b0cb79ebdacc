//! IANA time zones by name.

use std::fmt;
use std::str::FromStr;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// An IANA time zone such as `Europe/Berlin`, known to exist.
///
/// The rules come from the table that is compiled in, not from the machine's: a plan reads the same on every hub, and
/// a container image needs no tzdata.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(String);

/// The text names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no IANA time zone (expected a name such as Europe/Berlin or UTC)")]
pub struct InvalidZone(String);

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self("UTC".to_owned())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Its rules.
    pub fn rules(&self) -> TimeZone {
        TimeZoneDatabase::bundled().get(&self.0).unwrap_or(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = InvalidZone;

    fn from_str(text: &str) -> Result<Self, InvalidZone> {
        let invalid = || InvalidZone(text.chars().take(64).collect());
        if text.len() > 64 {
            return Err(invalid());
        }
        let zone = TimeZoneDatabase::bundled().get(text).map_err(|_| invalid())?;
        // The table's own spelling: `europe/berlin` is found, too.
        Ok(Self(zone.iana_name().unwrap_or(text).to_owned()))
    }
}

impl TryFrom<String> for Zone {
    type Error = InvalidZone;

    fn try_from(text: String) -> Result<Self, InvalidZone> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_table_are_zones() {
        assert_eq!("Europe/Berlin".parse::<Zone>().unwrap().name(), "Europe/Berlin");
        assert_eq!("UTC".parse::<Zone>().unwrap(), Zone::utc());
        for text in ["", "Mars/Olympus", "../etc/passwd", "CEST+2", &"x".repeat(10_000)] {
            assert!(text.parse::<Zone>().is_err(), "{text}");
        }
    }
}
