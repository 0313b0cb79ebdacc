//! The chain itself: each event's hash covers the hash of the event before it.
//!
//! ```text
//! hash(event) = sha256( "fleetlift event 1\n" ++ previous ++ "\n" ++ seq ++ "\n" ++ schema ++ "\n" ++ body )
//! ```
//!
//! `previous` and the result are 64 lowercase hexadecimal characters, `seq` and `schema` decimal numbers without
//! leading zeros, `body` the exact bytes that are stored. The first event's `previous` is 64 zeros and its `seq` is 1.
//! So a shell can check one event: `printf 'fleetlift event 1\n%s\n%s\n%s\n%s' "$previous" 17 1 "$body" | sha256sum`.

use sha2::{Digest as _, Sha256};

use crate::domain::event::StoredEvent;
use crate::domain::ids::hex;

/// The `previous` of the first event.
pub const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The place of the last event; 0 while there is none.
    pub seq: i64,
    /// Its hash; zeros while there is none.
    pub hash: String,
}

impl Head {
    /// Before the first event.
    pub fn empty() -> Self {
        Self { seq: 0, hash: ZEROS.to_owned() }
    }

    /// Chains the next event with this body, and moves on to it.
    pub fn append(&mut self, schema: i64, body: String) -> StoredEvent {
        let seq = self.seq + 1;
        let hash = hash(&self.hash, seq, schema, &body);
        let previous = std::mem::replace(&mut self.hash, hash.clone());
        self.seq = seq;
        StoredEvent { seq, schema, body, previous, hash }
    }
}

/// An event's hash, as this module's text says.
pub fn hash(previous: &str, seq: i64, schema: i64, body: &str) -> String {
    let mut sha = Sha256::new();
    sha.update(format!("fleetlift event 1\n{previous}\n{seq}\n{schema}\n"));
    sha.update(body);
    hex(&sha.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_a_shell_computes() {
        // printf 'fleetlift event 1\n%064d\n1\n1\n{"at":1}' 0 | sha256sum
        let mut head = Head::empty();
        let first = head.append(1, r#"{"at":1}"#.to_owned());
        assert_eq!(first.hash, "82e39deb5b61c4723fcc9f3197c837ade6d8c66cd6f36c1ae36562f2cc595425");
        assert_eq!(first.previous, ZEROS);
        let second = head.append(1, "{}".to_owned());
        assert_eq!((second.seq, &second.previous), (2, &first.hash));
        assert_eq!(head, Head { seq: 2, hash: second.hash });
    }
}
