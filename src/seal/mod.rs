//! Sealed envelopes for credentials: format, keys, rotation.
//!
//! `FL1 | key id | wrapped data key | nonce | ciphertext`: each credential is encrypted with a data key of its own, and
//! that data key with the hub's sealing key, both by XChaCha20-Poly1305. Everything that a credential is used with —
//! hub, cluster, field, version, server, CA — is bound in, so that a row which was moved, rolled back or re-addressed
//! in the database does not open.

mod binding;
mod envelope;
mod key;
mod keyring;

pub use binding::Binding;
pub use envelope::{ENVELOPE_OVERHEAD_BYTES, OpenError, ciphertext_sha256};
pub use key::{InvalidKey, KeyId, SealingKey};
pub use keyring::{CheckFailed, Checked, Keyring, PLAINTEXT_BYTES_MAX, Rewrapped, SealError};
