//! Sealed credentials: what of an [`EdgeAccess`] is encrypted, and to what it is bound.

use sha2::{Digest as _, Sha256};

use super::access::{Credential, EdgeAccess, InvalidCredential, InvalidServerUrl, ServerUrl, Trust};
use crate::domain::cluster::{SealedCredential, Sealing, StoredCredential};
use crate::domain::{ClusterId, Entropy, HubId};
use crate::seal::{Binding, Keyring, OpenError, Rewrapped, SealError, ciphertext_sha256};

/// The sealed column of a cluster's row.
const FIELD: &str = "credential";

/// Seals and opens the credentials of one hub's clusters.
pub struct Vault {
    keyring: Keyring,
    hub: HubId,
}

/// A stored credential cannot be used: the row was changed by other hands, or the key is not the one it was sealed with.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The envelope does not open under this hub's key and this row.
    #[error("its credential does not open: {0}")]
    Sealed(#[from] OpenError),
    /// It is not the one that the audit says was sealed last.
    #[error(
        "its credential was put back: version {found} is stored, and the audit tells of version {last}; \
         give it a new one with `fleetlift cluster rotate`"
    )]
    PutBack {
        /// The stored version.
        found: i64,
        /// The version that was sealed last.
        last: i64,
    },
    /// What was sealed is of another version.
    #[error("its credential cannot be read: {0}")]
    Content(#[from] InvalidCredential),
    /// The URL in the row is none.
    #[error("its server URL cannot be used: {0}")]
    Server(#[from] InvalidServerUrl),
}

impl Unusable {
    /// Whether somebody else had a hand in the store; otherwise this daemon only lacks a key or the means to read it.
    pub const fn is_tampering(&self) -> bool {
        match self {
            Self::Sealed(OpenError::DoesNotFit | OpenError::NotAnEnvelope) | Self::PutBack { .. } => true,
            Self::Sealed(OpenError::UnknownKey(_)) | Self::Content(_) | Self::Server(_) => false,
        }
    }
}

impl Vault {
    /// The vault of hub `hub`.
    pub const fn new(keyring: Keyring, hub: HubId) -> Self {
        Self { keyring, hub }
    }

    /// The hub that the credentials are bound to.
    pub const fn hub(&self) -> HubId {
        self.hub
    }

    /// Seals `access`'s credential as the `version`-th of `cluster`; with what the event of it must tell.
    pub fn seal(
        &self,
        cluster: ClusterId,
        version: i64,
        access: &EdgeAccess,
        entropy: &dyn Entropy,
    ) -> Result<(SealedCredential, Sealing), SealError> {
        let server = access.server.as_str();
        let binding = self.binding(cluster, version, server, access.trust.as_stored());
        let sealed = SealedCredential {
            version,
            envelope: self.keyring.seal(&binding, &access.credential.to_sealed_bytes(), entropy)?,
            ca_pem: access.trust.as_stored().to_owned(),
            tls_server_name: access.tls_server_name.clone(),
        };
        let sealing = sealing(&sealed).expect("the envelope was made right here");
        Ok((sealed, sealing))
    }

    /// How to reach `cluster`, whose row says `server`.
    pub fn open(&self, cluster: ClusterId, server: &str, stored: &StoredCredential) -> Result<EdgeAccess, Unusable> {
        not_put_back(stored)?;
        let SealedCredential { version, envelope, ca_pem, tls_server_name } = &stored.sealed;
        let opened = self.keyring.open(&self.binding(cluster, *version, server, ca_pem), envelope)?;
        Ok(EdgeAccess {
            server: server.parse::<ServerUrl>()?,
            trust: Trust::from_stored(ca_pem),
            tls_server_name: tls_server_name.clone(),
            credential: Credential::from_sealed_bytes(&opened)?,
            namespace: None,
            context: String::new(),
        })
    }

    /// The envelope for the current key, if it is sealed with the one before it.
    pub fn rewrap(
        &self,
        cluster: ClusterId,
        server: &str,
        stored: &StoredCredential,
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, Unusable> {
        not_put_back(stored)?;
        let sealed = &stored.sealed;
        let binding = self.binding(cluster, sealed.version, server, &sealed.ca_pem);
        match self.keyring.rewrap(&binding, &sealed.envelope, entropy)? {
            Rewrapped::Already => Ok(None),
            Rewrapped::Anew(envelope) => Ok(Some(envelope)),
        }
    }

    fn binding<'a>(&self, cluster: ClusterId, version: i64, server: &'a str, ca_pem: &str) -> Binding<'a> {
        Binding {
            hub: self.hub,
            cluster,
            field: FIELD,
            version: version.unsigned_abs(),
            server_url: server,
            ca_sha256: Sha256::digest(ca_pem.as_bytes()).into(),
        }
    }
}

fn sealing(sealed: &SealedCredential) -> Result<Sealing, OpenError> {
    Ok(Sealing { version: sealed.version, ciphertext_sha256: ciphertext_sha256(&sealed.envelope)? })
}

/// Compares with what the audit tells; nothing of the first versions is told.
fn not_put_back(StoredCredential { sealed, last }: &StoredCredential) -> Result<(), Unusable> {
    let Some(last) = last else { return Ok(()) };
    if sealing(sealed)? == *last {
        return Ok(());
    }
    Err(Unusable::PutBack { found: sealed.version, last: last.version })
}
