//! TLS towards one cluster: only its own CA (or, where an administrator waived it, none), our own certificate if it
//! wants one.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::ExposeSecret as _;

use super::access::{Credential, EdgeAccess, Trust};

/// One cluster resumes one session at a time; the library's default keeps 256.
const SESSIONS_KEPT: usize = 2;

/// Why TLS cannot be set up. Never repeats what the PEM holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// No certificate in it, or one that is damaged.
    #[error("holds no usable certificate")]
    Certificates,
    /// No key in it, damaged, or of a kind that is not supported.
    #[error("holds no usable private key (RSA, ECDSA P-256/384/521 and Ed25519 are)")]
    Key,
    /// Key and certificate are not of one pair.
    #[error("the private key does not belong to the certificate")]
    Pair,
    /// Neither a DNS name nor an address.
    #[error("is neither a DNS name nor an address")]
    ServerName,
}

/// Reads the certificates of a PEM bundle; anything else in it, a key for example, is left out.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| TlsProblem::Certificates)?;
    if certificates.is_empty() { Err(TlsProblem::Certificates) } else { Ok(certificates) }
}

/// The roots that vouch for a server: those of its kubeconfig, never the system's.
pub(super) fn roots(ca_pem: &[u8]) -> Result<RootCertStore, TlsProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem)? {
        roots.add(certificate).map_err(|_| TlsProblem::Certificates)?;
    }
    Ok(roots)
}

/// The name to prove: `tls-server-name`, else the URL's host.
pub(super) fn server_name(access: &EdgeAccess) -> Result<ServerName<'static>, TlsProblem> {
    let name = access.tls_server_name.as_deref().unwrap_or(access.server.host());
    ServerName::try_from(name.to_owned()).map_err(|_| TlsProblem::ServerName)
}

/// The whole TLS configuration of one cluster; HTTP/2 is offered first.
pub(super) fn client_config(trust: &Trust, credential: &Credential) -> Result<ClientConfig, TlsProblem> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider serves TLS 1.2 and 1.3");
    let builder = match trust {
        Trust::Ca(pem) => builder.with_root_certificates(roots(pem.as_bytes())?),
        Trust::Waived => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider))),
    };
    let mut config = match credential {
        Credential::Token(_) => builder.with_no_client_auth(),
        Credential::ClientCertificate { chain_pem, key_pem } => {
            let chain = certificates(chain_pem.as_bytes())?;
            let key = PrivateKeyDer::from_pem_slice(key_pem.expose_secret().as_bytes()).map_err(|_| TlsProblem::Key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => TlsProblem::Pair,
                _ => TlsProblem::Key,
            })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_KEPT);
    Ok(config)
}

/// Takes every certificate, where an administrator waived the proof. That the server holds the certificate's key is
/// still proven.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a credential can be used at all: certificates readable, key of a known kind, the two of one pair.
pub(super) fn check_credential(credential: &Credential) -> Result<(), TlsProblem> {
    use rustls::sign::CertifiedKey;
    let Credential::ClientCertificate { chain_pem, key_pem } = credential else { return Ok(()) };
    let chain = certificates(chain_pem.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.expose_secret().as_bytes()).map_err(|_| TlsProblem::Key)?;
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|_| TlsProblem::Key)?;
    CertifiedKey::new(chain, key).keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsProblem::Pair,
        _ => TlsProblem::Certificates,
    })
}
