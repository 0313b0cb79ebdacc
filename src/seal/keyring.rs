//! Sealing, opening, and changing keys while both are readable.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::SecretSlice;
use zeroize::Zeroizing;

use super::envelope::{Envelope, NONCE_BYTES, WRAPPED_KEY_BYTES};
use super::key::KEY_BYTES;
use super::{Binding, KeyId, OpenError, SealingKey};
use crate::domain::{Entropy, HubId};

/// The largest credential that is sealed: a client certificate chain and its key are a few KiB.
pub const PLAINTEXT_BYTES_MAX: usize = 256 * 1024;

/// The keys that a daemon was given: one to seal with, and during a rotation the previous one to open with.
pub struct Keyring {
    current: SealingKey,
    previous: Option<SealingKey>,
}

/// Why something was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Larger than any credential.
    #[error("a credential may have at most {PLAINTEXT_BYTES_MAX} bytes")]
    TooLarge,
}

/// Which of the given keys the store was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The current one: the usual case.
    Current,
    /// The previous one: a rotation is due or under way. Rewrap every envelope, then store the new check value.
    Previous,
}

/// The store was sealed with a key that was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sealing key {given} does not fit this store: its credentials were sealed with another one. \
     Give the key that the store was made with (`sealing.key_file`)"
)]
pub struct CheckFailed {
    given: KeyId,
}

/// What rewrapping an envelope for the current key came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrapped {
    /// It was sealed with the current key already; nothing to store.
    Already,
    /// To be stored instead of the old one.
    Anew(Vec<u8>),
}

impl Keyring {
    /// The key to seal with; during a rotation also the one before it, which only opens.
    pub fn new(current: SealingKey, previous: Option<SealingKey>) -> Self {
        Self { current, previous }
    }

    /// The secret that the audit's checkpoints are signed with.
    pub fn audit_seed(&self) -> Zeroizing<[u8; 32]> {
        self.current.audit_seed()
    }

    /// What the store of `hub` shall hold: see [`Self::check`].
    pub fn check_value(&self, hub: HubId) -> String {
        self.current.check_value(hub)
    }

    /// Compares with the check value that the store of `hub` holds; done before anything is opened.
    pub fn check(&self, hub: HubId, stored: &str) -> Result<Checked, CheckFailed> {
        if self.current.check_value(hub) == stored {
            return Ok(Checked::Current);
        }
        match &self.previous {
            Some(previous) if previous.check_value(hub) == stored => Ok(Checked::Previous),
            _ => Err(CheckFailed { given: self.current.id() }),
        }
    }

    /// Seals `plaintext` for the row that `binding` names.
    pub fn seal(&self, binding: &Binding<'_>, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, SealError> {
        if plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(SealError::TooLarge);
        }
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        entropy.fill(data_key.as_mut_slice());
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let ciphertext = encrypt(&data_key, &nonce, plaintext, &binding.associated_data("credential"))?;
        let wrapped_key = wrap(&self.current, &data_key, binding, entropy)?;
        Ok(Envelope { key: self.current.id(), wrapped_key: &wrapped_key, nonce: &nonce, ciphertext: &ciphertext }
            .to_bytes())
    }

    /// Opens an envelope found in the row that `binding` names.
    pub fn open(&self, binding: &Binding<'_>, envelope: &[u8]) -> Result<SecretSlice<u8>, OpenError> {
        let envelope = Envelope::parse(envelope)?;
        let data_key = self.unwrap_key(&envelope, binding)?;
        decrypt(&data_key, envelope.nonce, envelope.ciphertext, &binding.associated_data("credential"))
            .map(SecretSlice::from)
    }

    /// One step of a rotation: the same ciphertext, its data key wrapped with the current key. Safe to repeat.
    pub fn rewrap(
        &self,
        binding: &Binding<'_>,
        envelope: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Rewrapped, OpenError> {
        // Opened in full first: a rotation must not launder an envelope that no longer fits its row.
        self.open(binding, envelope)?;
        let envelope = Envelope::parse(envelope)?;
        if envelope.key == self.current.id() {
            return Ok(Rewrapped::Already);
        }
        let data_key = self.unwrap_key(&envelope, binding)?;
        let wrapped_key =
            wrap(&self.current, &data_key, binding, entropy).map_err(|SealError::TooLarge| OpenError::NotAnEnvelope)?;
        let anew = Envelope { key: self.current.id(), wrapped_key: &wrapped_key, ..envelope };
        Ok(Rewrapped::Anew(anew.to_bytes()))
    }

    fn unwrap_key(
        &self,
        envelope: &Envelope<'_>,
        binding: &Binding<'_>,
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, OpenError> {
        let key = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.id() == envelope.key)
            .ok_or(OpenError::UnknownKey(envelope.key))?;
        let (nonce, wrapped) = envelope.wrapped_key.split_first_chunk().ok_or(OpenError::NotAnEnvelope)?;
        let opened = Zeroizing::new(decrypt(key.bytes(), nonce, wrapped, &binding.associated_data("data key"))?);
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        // The wrapped part has a fixed length, so that what came out of it is a key.
        data_key.copy_from_slice(&opened);
        Ok(data_key)
    }
}

fn wrap(
    key: &SealingKey,
    data_key: &[u8; KEY_BYTES],
    binding: &Binding<'_>,
    entropy: &dyn Entropy,
) -> Result<[u8; WRAPPED_KEY_BYTES], SealError> {
    let mut wrapped = [0; WRAPPED_KEY_BYTES];
    let (nonce, rest) = wrapped.split_at_mut(NONCE_BYTES);
    entropy.fill(nonce);
    let mut fixed_nonce = [0; NONCE_BYTES];
    fixed_nonce.copy_from_slice(nonce);
    rest.copy_from_slice(&encrypt(key.bytes(), &fixed_nonce, data_key, &binding.associated_data("data key"))?);
    Ok(wrapped)
}

fn encrypt(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    plaintext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, SealError> {
    // The cipher's only error is a message beyond 256 GiB.
    XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(*nonce), Payload { msg: plaintext, aad: associated_data })
        .map_err(|_| SealError::TooLarge)
}

fn decrypt(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    ciphertext: &[u8],
    associated_data: &[u8],
) -> Result<Vec<u8>, OpenError> {
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: associated_data })
        .map_err(|_| OpenError::DoesNotFit)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::seal::ENVELOPE_OVERHEAD_BYTES;
    use crate::system::SystemEntropy;

    const SECRET: &[u8] = b"canary-5d1f";

    fn binding() -> Binding<'static> {
        Binding {
            hub: "0190b3f0-0000-7000-8000-000000000001".parse().unwrap(),
            cluster: "0190b3f0-0000-7000-8000-000000000002".parse().unwrap(),
            field: "credential",
            version: 3,
            server_url: "https://edge.example:6443",
            ca_sha256: [7; 32],
        }
    }

    fn keyring() -> Keyring {
        Keyring::new(SealingKey::generate(&SystemEntropy), None)
    }

    #[test]
    fn what_was_sealed_opens_in_its_own_row() {
        let keys = keyring();
        let envelope = keys.seal(&binding(), SECRET, &SystemEntropy).unwrap();
        assert_eq!(keys.open(&binding(), &envelope).unwrap().expose_secret(), SECRET);
        assert_eq!(envelope.len(), SECRET.len() + ENVELOPE_OVERHEAD_BYTES);
        assert!(!envelope.windows(SECRET.len()).any(|window| window == SECRET));
    }

    #[test]
    fn the_same_credential_never_looks_the_same() {
        let keys = keyring();
        let one = keys.seal(&binding(), SECRET, &SystemEntropy).unwrap();
        assert_ne!(one, keys.seal(&binding(), SECRET, &SystemEntropy).unwrap());
    }

    #[test]
    fn moved_rolled_back_or_readdressed_it_stays_shut() {
        let keys = keyring();
        let envelope = keys.seal(&binding(), SECRET, &SystemEntropy).unwrap();
        let other_id = "0190b3f0-0000-7000-8000-00000000000f";
        let elsewhere = [
            Binding { hub: other_id.parse().unwrap(), ..binding() },
            Binding { cluster: other_id.parse().unwrap(), ..binding() },
            Binding { field: "credentialx", ..binding() },
            Binding { version: 2, ..binding() },
            Binding { server_url: "https://evil.example:6443", ..binding() },
            Binding { ca_sha256: [8; 32], ..binding() },
        ];
        for binding in elsewhere {
            assert_eq!(keys.open(&binding, &envelope).err(), Some(OpenError::DoesNotFit), "{binding:?}");
        }
    }

    #[test]
    fn every_altered_byte_and_every_cut_is_noticed() {
        let keys = keyring();
        let envelope = keys.seal(&binding(), SECRET, &SystemEntropy).unwrap();
        for at in 0..envelope.len() {
            let mut altered = envelope.clone();
            altered[at] ^= 1;
            assert!(keys.open(&binding(), &altered).is_err(), "byte {at}");
            assert!(keys.open(&binding(), &envelope[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_previous_key_still_opens_and_rewrapping_retires_it() {
        let old = SealingKey::generate(&SystemEntropy);
        let old_file = old.to_file();
        let before = Keyring::new(old, None);
        let envelope = before.seal(&binding(), SECRET, &SystemEntropy).unwrap();

        let new = SealingKey::generate(&SystemEntropy);
        let new_file = new.to_file();
        let previous = SealingKey::parse(old_file.expose_secret().as_bytes()).unwrap();
        let rotating = Keyring::new(new, Some(previous));
        assert_eq!(rotating.open(&binding(), &envelope).unwrap().expose_secret(), SECRET);
        let Rewrapped::Anew(rewrapped) = rotating.rewrap(&binding(), &envelope, &SystemEntropy).unwrap() else {
            panic!("it was sealed with the old key");
        };
        assert_eq!(rotating.rewrap(&binding(), &rewrapped, &SystemEntropy).unwrap(), Rewrapped::Already);

        let after = Keyring::new(SealingKey::parse(new_file.expose_secret().as_bytes()).unwrap(), None);
        assert_eq!(after.open(&binding(), &rewrapped).unwrap().expose_secret(), SECRET);
        assert!(matches!(after.open(&binding(), &envelope), Err(OpenError::UnknownKey(_))));
    }

    #[test]
    fn a_foreign_key_is_told_by_the_check_value() {
        let hub = binding().hub;
        let keys = keyring();
        let stored = keys.check_value(hub);
        assert_eq!(keys.check(hub, &stored), Ok(Checked::Current));
        assert!(keyring().check(hub, &stored).is_err());

        let copy = SealingKey::parse(keys.current.to_file().expose_secret().as_bytes()).unwrap();
        let rotating = Keyring::new(SealingKey::generate(&SystemEntropy), Some(copy));
        assert_eq!(rotating.check(hub, &stored), Ok(Checked::Previous));
    }

    #[test]
    fn more_than_any_credential_is_not_sealed() {
        let too_large = vec![0; PLAINTEXT_BYTES_MAX + 1];
        assert_eq!(keyring().seal(&binding(), &too_large, &SystemEntropy), Err(SealError::TooLarge));
    }
}
