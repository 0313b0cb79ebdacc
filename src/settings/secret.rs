//! A setting that is never shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Text that must not appear in logs, errors or `--print-settings`: both Debug and Serialize mask it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What is shown in a secret's place.
const MASK: &str = "(masked)";

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What may be shown: an address keeps everything but its user and query, anything else is masked entirely.
    fn shown(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return if self.0.starts_with("sqlite:") { self.0.clone() } else { MASK.to_owned() };
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        match authority.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}"),
            None => format!("{scheme}://{authority}{path}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_user_and_query() {
        let shown = |text: &str| format!("{:?}", Secret::new(text.to_owned()));
        assert_eq!(shown("postgres://hub:canary@db:5432/fleet?password=canary"), "postgres://(masked)@db:5432/fleet");
        assert_eq!(shown("postgres://hub:can@ary@db/fleet"), "postgres://(masked)@db/fleet");
        assert_eq!(shown("sqlite:/var/lib/fleetlift/hub.db"), "sqlite:/var/lib/fleetlift/hub.db");
        assert_eq!(shown("c2VjcmV0"), "(masked)");
    }
}
