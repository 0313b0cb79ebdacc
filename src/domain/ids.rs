//! Identifiers: UUIDv7 for what the hub makes, content hashes for what content names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Entropy, Timestamp};

/// The text is not an identifier of the kind that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind} (expected {expected})")]
pub struct InvalidId {
    kind: &'static str,
    expected: &'static str,
    text: String,
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier whose leading bits are `now`, so that later ones sort later.
            pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
                let mut random = [0; 10];
                entropy.fill(&mut random);
                let millis = u64::try_from(now.as_micros() / 1_000).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = || InvalidId { kind: $kind, expected: "a UUID", text: text.chars().take(64).collect() };
                Uuid::try_parse(text).map(Self).map_err(|_| invalid())
            }
        }
    )*};
}

uuid_ids! {
    /// This installation of Fleetlift: made once in its store, and on every object it creates in a cluster.
    HubId = "hub id";
    /// A registered cluster. Its name may be given to another one after it was removed; its id never.
    ClusterId = "cluster id";
    /// One approved plan being carried out.
    RolloutId = "rollout id";
    /// One cluster's part in one rollout.
    TargetId = "target id";
    /// One resource to upgrade inside a target.
    TaskId = "task id";
    /// One try at a task.
    AttemptId = "attempt id";
    /// One running daemon process: the holder of a lease.
    DaemonId = "daemon id";
    /// An API token (not its secret).
    TokenId = "token id";
}

macro_rules! hash_ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name of `content`: its SHA-256 in lowercase hexadecimal.
            pub fn of(content: &[u8]) -> Self {
                Self(hex(&<sha2::Sha256 as sha2::Digest>::digest(content)))
            }

            /// The 64 hexadecimal characters.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve characters: enough for people to tell two apart.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                    return Ok(Self(text.to_owned()));
                }
                Err(InvalidId {
                    kind: $kind,
                    expected: "64 lowercase hexadecimal characters",
                    text: text.chars().take(80).collect(),
                })
            }
        }
    )*};
}

hash_ids! {
    /// A fleet configuration, named by its content.
    Revision = "fleet revision";
    /// A plan, named by its canonical JSON (RFC 8785).
    PlanDigest = "plan digest";
    /// An inventory, named by its canonical JSON without the time it was taken.
    InventoryDigest = "inventory digest";
}

/// Appends what `text` says in hexadecimal, of either case; `None` where it says nothing, with a part of it appended.
pub fn unhex(text: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for pair in text.chunks(2) {
        into.push(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?);
    }
    Some(())
}

/// Lowercase hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
