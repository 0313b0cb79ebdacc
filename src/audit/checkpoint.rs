//! Signed statements of how far the chain had come. Kept where whoever can change the database can't change them, they
//! show that its end was cut off, or that all of it was written anew.
//!
//! ```text
//! {"hub":"0193…","seq":17,"hash":"1d0…","at":"2026-11-23T20:00:00Z","key":"8a1…","signature":"c07…"}
//! signature = ed25519( "fleetlift checkpoint 1\n" ++ hub ++ "\n" ++ seq ++ "\n" ++ hash ++ "\n" ++ at ++ "\n" )
//! ```

use std::io::BufRead;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::chain::Head;
use crate::domain::ids::{hex, unhex};
use crate::domain::{HubId, Timestamp};

/// The longest line that is read, in bytes: several times what one takes.
const LINE_BYTES_MAX: usize = 4 << 10;

/// How far the chain of a hub had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The hub.
    pub hub: String,
    /// The place of the last event.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
    /// When it was said, RFC 3339.
    pub at: String,
    /// The public key, 64 hexadecimal characters.
    pub key: String,
    /// The signature, 128 hexadecimal characters.
    pub signature: String,
}

/// Why a checkpoint is not believed.
#[derive(Debug, thiserror::Error)]
pub enum NotBelieved {
    /// It could not be read.
    #[error("line {line} cannot be read: {why}")]
    Unreadable {
        /// Which, from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// The signature is not that key's for that statement.
    #[error("line {line}: the signature does not fit the statement: it was edited or made up")]
    Forged {
        /// Which, from 1.
        line: u64,
    },
    /// It is signed, but by another key than the one that was named.
    #[error("line {line}: it is signed by {key}, and not by the key that was named")]
    AnotherKey {
        /// Which, from 1.
        line: u64,
        /// By which.
        key: String,
    },
}

impl Checkpoint {
    /// Whether the key in it signed it.
    pub fn is_signed(&self) -> bool {
        let (Some(key), Some(signature)) = (bytes(&self.key), bytes(&self.signature)) else { return false };
        UnparsedPublicKey::new(&ED25519, key).verify(self.statement().as_bytes(), &signature).is_ok()
    }

    /// What it says of the chain.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash.clone() }
    }

    fn statement(&self) -> String {
        let Self { hub, seq, hash, at, key: _, signature: _ } = self;
        format!("fleetlift checkpoint 1\n{hub}\n{seq}\n{hash}\n{at}\n")
    }
}

/// Reads checkpoints, one a line, and believes those that are signed; only by `key`, when one is named.
pub fn believed(lines: impl BufRead, key: Option<&str>) -> Result<Vec<Checkpoint>, NotBelieved> {
    let mut checkpoints = Vec::new();
    for (line, text) in (1..).zip(lines.lines()) {
        let unreadable = |why: String| NotBelieved::Unreadable { line, why };
        let text = text.map_err(|error| unreadable(error.to_string()))?;
        if text.trim().is_empty() {
            continue;
        }
        if text.len() > LINE_BYTES_MAX {
            return Err(unreadable(format!("it is longer than {LINE_BYTES_MAX} bytes")));
        }
        let checkpoint: Checkpoint = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        if !checkpoint.is_signed() {
            return Err(NotBelieved::Forged { line });
        }
        if key.is_some_and(|key| !key.eq_ignore_ascii_case(&checkpoint.key)) {
            return Err(NotBelieved::AnotherKey { line, key: checkpoint.key });
        }
        checkpoints.push(checkpoint);
    }
    Ok(checkpoints)
}

/// Signs checkpoints of one hub.
pub struct Signer {
    hub: HubId,
    pair: Ed25519KeyPair,
}

/// The seed is not 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing key is made from 32 bytes")]
pub struct InvalidSeed;

impl Signer {
    /// The signer of `hub`, whose key follows from `seed`: 32 bytes that nobody else knows.
    pub fn new(hub: HubId, seed: &[u8]) -> Result<Self, InvalidSeed> {
        // Unchecked is: not compared with a public key that was stored beside it. There is none.
        Ok(Self { hub, pair: Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| InvalidSeed)? })
    }

    /// States that the chain had come to `head` at `at`.
    pub fn sign(&self, head: &Head, at: Timestamp) -> Checkpoint {
        let mut checkpoint = Checkpoint {
            hub: self.hub.to_string(),
            seq: head.seq,
            hash: head.hash.clone(),
            at: at.to_string(),
            key: hex(self.pair.public_key().as_ref()),
            signature: String::new(),
        };
        checkpoint.signature = hex(self.pair.sign(checkpoint.statement().as_bytes()).as_ref());
        checkpoint
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    unhex(text.as_bytes(), &mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemEntropy;

    fn signed() -> Checkpoint {
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        let signer = Signer::new(HubId::new(at, &SystemEntropy), &[7; 32]).unwrap();
        signer.sign(&Head { seq: 17, hash: "ab".repeat(32) }, at)
    }

    fn read(checkpoint: &Checkpoint, key: Option<&str>) -> Result<Vec<Checkpoint>, NotBelieved> {
        believed(serde_json::to_string(checkpoint).unwrap().as_bytes(), key)
    }

    #[test]
    fn what_was_signed_is_believed_as_it_was() {
        let checkpoint = signed();
        assert_eq!(read(&checkpoint, None).unwrap(), std::slice::from_ref(&checkpoint));
        assert_eq!(read(&checkpoint, Some(&checkpoint.key.to_uppercase())).unwrap().len(), 1);
        assert!(matches!(read(&checkpoint, Some(&"00".repeat(32))), Err(NotBelieved::AnotherKey { line: 1, .. })));
    }

    #[test]
    fn whatever_is_edited_in_it_is_noticed() {
        let edits: [fn(&mut Checkpoint); 6] = [
            |checkpoint| checkpoint.seq = 16,
            |checkpoint| checkpoint.hash = "cd".repeat(32),
            |checkpoint| checkpoint.hub.push('0'),
            |checkpoint| checkpoint.at.push('0'),
            |checkpoint| checkpoint.key = "00".repeat(32),
            |checkpoint| checkpoint.signature = "zz".to_owned(),
        ];
        for edit in edits {
            let mut checkpoint = signed();
            edit(&mut checkpoint);
            assert!(matches!(read(&checkpoint, None), Err(NotBelieved::Forged { line: 1 })), "{checkpoint:?}");
        }
        assert!(matches!(believed(&b"\n{}"[..], None), Err(NotBelieved::Unreadable { line: 2, .. })));
    }
}
