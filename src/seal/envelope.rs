//! The bytes of an envelope: `FL1 | key id | wrapped data key | nonce | ciphertext`.

use sha2::{Digest as _, Sha256};

use super::KeyId;
use super::key::KEY_BYTES;
use crate::domain::ids;

const MAGIC: &[u8; 3] = b"FL1";
/// XChaCha20's nonce: long enough that random ones never meet.
pub(super) const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// A nonce of its own, the encrypted data key, its tag.
pub(super) const WRAPPED_KEY_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// How much longer an envelope is than what it holds.
pub const ENVELOPE_OVERHEAD_BYTES: usize = MAGIC.len() + 8 + WRAPPED_KEY_BYTES + NONCE_BYTES + TAG_BYTES;

/// Why an envelope does not open. Trying again never helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Cut off, or not an envelope at all.
    #[error("this is not a sealed credential of a format that this version knows")]
    NotAnEnvelope,
    /// Sealed with a key that was not given.
    #[error("sealed with key {0}, which this daemon was not given; name it as the previous key")]
    UnknownKey(KeyId),
    /// The key is known, the content does not authenticate: altered, or not in the row it was sealed for.
    #[error("the sealed credential was altered, moved, rolled back, or its server or CA was changed beside it")]
    DoesNotFit,
}

/// An envelope's parts, borrowed from its bytes.
pub(super) struct Envelope<'a> {
    pub key: KeyId,
    pub wrapped_key: &'a [u8; WRAPPED_KEY_BYTES],
    pub nonce: &'a [u8; NONCE_BYTES],
    pub ciphertext: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, OpenError> {
        let parts = || {
            let rest = bytes.strip_prefix(MAGIC)?;
            let (key, rest) = rest.split_first_chunk::<8>()?;
            let (wrapped_key, rest) = rest.split_first_chunk()?;
            let (nonce, ciphertext) = rest.split_first_chunk()?;
            (ciphertext.len() >= TAG_BYTES).then_some(Self { key: KeyId(*key), wrapped_key, nonce, ciphertext })
        };
        parts().ok_or(OpenError::NotAnEnvelope)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { key, wrapped_key, nonce, ciphertext } = self;
        [MAGIC.as_slice(), &key.0, wrapped_key.as_slice(), nonce.as_slice(), ciphertext].concat()
    }
}

/// SHA-256 of an envelope's nonce and ciphertext, in hexadecimal: it names what is sealed, and stays the same when the
/// envelope is wrapped with another key.
pub fn ciphertext_sha256(envelope: &[u8]) -> Result<String, OpenError> {
    let Envelope { nonce, ciphertext, key: _, wrapped_key: _ } = Envelope::parse(envelope)?;
    Ok(ids::hex(&Sha256::new().chain_update(nonce).chain_update(ciphertext).finalize()))
}
