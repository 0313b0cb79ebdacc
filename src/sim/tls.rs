//! Certificates: an authority for each cluster, so that no cluster's certificate is good for another; one key for all of
//! them, so that thousands are made in a moment.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// What the certificates of a fleet have in common.
pub(super) struct Keys {
    key: KeyPair,
    signing: Arc<dyn rustls::sign::SigningKey>,
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
}

/// The authority of one cluster.
pub(super) struct Authority {
    /// For kubeconfigs.
    pub pem: String,
    issuer: CertificateParams,
}

/// TLS could not be set up; nothing that trying again would help.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be made.
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// The library refused key or certificate.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

impl Keys {
    pub fn new() -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // ECDSA on P-256: the cheapest signature that every client knows.
        let key = KeyPair::generate()?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = provider.key_provider.load_private_key(der)?;
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { key, signing, provider, tickets })
    }

    /// The authority of the cluster of that name.
    pub fn authority(&self, cluster: &str) -> Result<Authority, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("{cluster}-ca"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&self.key)?.pem();
        Ok(Authority { pem, issuer: params })
    }

    /// How the API server of that cluster proves itself.
    pub fn server(&self, cluster: &str, authority: &Authority) -> Result<Arc<ServerConfig>, TlsError> {
        let names = ["127.0.0.1", "localhost", cluster].map(str::to_owned);
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = named(cluster);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::from_params(&authority.issuer, &self.key);
        let certificate: CertificateDer<'static> = params.signed_by(&self.key, &issuer)?.into();
        let certified = CertifiedKey::new(vec![certificate], Arc::clone(&self.signing));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(certified));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Tickets instead of a table of sessions for each cluster.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&self.tickets);
        Ok(Arc::new(config))
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
