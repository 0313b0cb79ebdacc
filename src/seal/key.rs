//! The hub's sealing key: 32 random bytes from a file or an environment value.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::domain::{Entropy, HubId, ids};

/// Bytes of a sealing key and of a data key.
pub(super) const KEY_BYTES: usize = 32;

/// Whoever holds it can open every credential of the hub. Has neither Debug nor Serialize; wiped when dropped.
pub struct SealingKey {
    id: KeyId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// Names a sealing key without telling anything about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

/// The text is not a sealing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Neither 64 hexadecimal characters nor 44 of base64.
    #[error(
        "the sealing key is not 32 bytes in hexadecimal (64 characters) or base64 (44 characters); \
         `openssl rand -base64 32` makes one"
    )]
    NotAKey,
    /// One byte repeated: a placeholder, not a key.
    #[error("the sealing key is one byte repeated, not a random key; `openssl rand -base64 32` makes one")]
    NotRandom,
}

impl SealingKey {
    /// Reads what a key file or an environment value holds; white space around it does not matter.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidKey> {
        let text = text.trim_ascii();
        let mut decoded = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
        match text.len() {
            64 => ids::unhex(text, &mut decoded).ok_or(InvalidKey::NotAKey)?,
            // At most 33 bytes come out of 44 characters, so the vector is never reallocated (and left behind unwiped).
            44 => STANDARD.decode_vec(text, &mut decoded).map_err(|_| InvalidKey::NotAKey)?,
            _ => return Err(InvalidKey::NotAKey),
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if decoded.len() != KEY_BYTES {
            return Err(InvalidKey::NotAKey);
        }
        bytes.copy_from_slice(&decoded);
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(InvalidKey::NotRandom);
        }
        Ok(Self::from_bytes(bytes))
    }

    /// A new random key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        entropy.fill(bytes.as_mut_slice());
        Self::from_bytes(bytes)
    }

    fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let mut digest: [u8; 32] =
            Sha256::new().chain_update(b"fleetlift sealing key id 1").chain_update(bytes.as_slice()).finalize().into();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        digest.zeroize();
        Self { id: KeyId(id), bytes }
    }

    /// What a key file holds: base64 and a line feed, as [`Self::parse`] reads it.
    pub fn to_file(&self) -> SecretString {
        let mut text = STANDARD.encode(self.bytes.as_slice());
        text.reserve_exact(1);
        text.push('\n');
        text.into()
    }

    /// Names the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the store of `hub` holds to tell whether this key is the one its envelopes were sealed with. Says nothing
    /// about the key, which is 256 random bits.
    pub fn check_value(&self, hub: HubId) -> String {
        let digest = Sha256::new()
            .chain_update(b"fleetlift sealing key check 1")
            .chain_update(hub.to_string())
            .chain_update(self.bytes.as_slice())
            .finalize();
        ids::hex(&digest)
    }

    /// A secret for signing the audit, which follows from the key and tells nothing about it.
    pub fn audit_seed(&self) -> Zeroizing<[u8; 32]> {
        let digest = Sha256::new().chain_update(b"fleetlift audit signing key 1").chain_update(self.bytes.as_slice());
        Zeroizing::new(digest.finalize().into())
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ids::hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::system::SystemEntropy;

    #[test]
    fn a_generated_key_is_read_back_from_its_file() {
        let key = SealingKey::generate(&SystemEntropy);
        let read = SealingKey::parse(key.to_file().expose_secret().as_bytes()).unwrap();
        assert_eq!(read.bytes(), key.bytes());
        assert_eq!(read.id(), key.id());
    }

    #[test]
    fn hexadecimal_and_base64_name_the_same_key() {
        let hexadecimal = ids::hex(&std::array::from_fn::<u8, 32, _>(|i| i.to_le_bytes()[0]));
        let base64 = STANDARD.encode(std::array::from_fn::<u8, 32, _>(|i| i.to_le_bytes()[0]));
        let one = SealingKey::parse(hexadecimal.to_uppercase().as_bytes()).unwrap();
        let other = SealingKey::parse(format!("\n {base64}\n").as_bytes()).unwrap();
        assert_eq!(one.id(), other.id());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for text in ["", "hunter2", &"zz".repeat(32), &"+".repeat(44), &"ab".repeat(33), "ä".repeat(22).as_str()] {
            let refused = SealingKey::parse(text.as_bytes()).err().unwrap();
            assert!(text.len() < 3 || !refused.to_string().contains(text), "{text}");
        }
        assert_eq!(SealingKey::parse(&[b'0'; 64]).err(), Some(InvalidKey::NotRandom));
    }

    #[test]
    fn the_check_value_depends_on_the_hub_and_the_key() {
        let (one, other) = (SealingKey::generate(&SystemEntropy), SealingKey::generate(&SystemEntropy));
        let hub: HubId = "0190b3f0-0000-7000-8000-000000000001".parse().unwrap();
        let copy: HubId = "0190b3f0-0000-7000-8000-000000000002".parse().unwrap();
        assert_eq!(one.check_value(hub), one.check_value(hub));
        assert_ne!(one.check_value(hub), one.check_value(copy));
        assert_ne!(one.check_value(hub), other.check_value(hub));
    }
}
