//! How to reach one cluster and prove who asks: all that is kept of a kubeconfig.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The allow-listed content of a kubeconfig's one context. Only [`super::kubeconfig`] and the store make one.
#[derive(Debug, Clone)]
pub struct EdgeAccess {
    /// Where the API server is.
    pub server: ServerUrl,
    /// What vouches for the server.
    pub trust: Trust,
    /// The name in the server's certificate, where it differs from the host of the URL.
    pub tls_server_name: Option<String>,
    /// Who we are.
    pub credential: Credential,
    /// The context's namespace. Says nothing about where OpenEBS lives.
    pub namespace: Option<String>,
    /// The name of the context that was chosen.
    pub context: String,
}

/// What vouches for a server. The system's own roots never do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// These certificates, and no others: PEM, normalized.
    Ca(String),
    /// Nothing: an administrator waived the proof for this one cluster. Whoever answers at its address gets its
    /// credential.
    Waived,
}

impl Trust {
    /// As it is stored and bound into the sealed credential: the certificates, empty when waived.
    pub fn as_stored(&self) -> &str {
        match self {
            Self::Ca(pem) => pem,
            Self::Waived => "",
        }
    }

    /// Reads what [`Self::as_stored`] wrote.
    pub fn from_stored(text: &str) -> Self {
        if text.is_empty() { Self::Waived } else { Self::Ca(text.to_owned()) }
    }
}

/// What proves who asks. Debug shows only which of the two it is.
#[derive(Clone)]
pub enum Credential {
    /// A bearer token.
    Token(SecretString),
    /// A TLS client certificate.
    ClientCertificate {
        /// The certificate, then its issuers: PEM.
        chain_pem: String,
        /// Its private key: PEM.
        key_pem: SecretString,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(…)"),
            Self::ClientCertificate { chain_pem: _, key_pem: _ } => f.write_str("ClientCertificate(…)"),
        }
    }
}

impl Credential {
    /// Whether both are one and the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.to_sealed_bytes() == other.to_sealed_bytes()
    }
}

/// The bytes that are sealed do not hold a credential that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes are not a credential of a format that this version knows")]
pub struct InvalidCredential;

/// The sealed bytes. Borrows, so that no second copy of a secret is made on the way in.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Sealed<'a> {
    Token(#[serde(borrow)] std::borrow::Cow<'a, str>),
    #[serde(rename_all = "camelCase")]
    ClientCertificate {
        #[serde(borrow)]
        chain_pem: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        key_pem: std::borrow::Cow<'a, str>,
    },
}

impl Credential {
    /// What is sealed and stored.
    pub fn to_sealed_bytes(&self) -> Zeroizing<Vec<u8>> {
        let sealed = match self {
            Self::Token(token) => Sealed::Token(token.expose_secret().into()),
            Self::ClientCertificate { chain_pem, key_pem } => Sealed::ClientCertificate {
                chain_pem: chain_pem.as_str().into(),
                key_pem: key_pem.expose_secret().into(),
            },
        };
        // Large enough that it never grows, which would leave unwiped copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(crate::seal::PLAINTEXT_BYTES_MAX));
        serde_json::to_writer(&mut *bytes, &sealed).expect("strings always serialize into memory");
        bytes
    }

    /// Reads what [`Self::to_sealed_bytes`] wrote.
    pub fn from_sealed_bytes(bytes: &SecretSlice<u8>) -> Result<Self, InvalidCredential> {
        match serde_json::from_slice(bytes.expose_secret()).map_err(|_| InvalidCredential)? {
            Sealed::Token(token) => Ok(Self::Token(token.into_owned().into())),
            Sealed::ClientCertificate { chain_pem, key_pem } => {
                Ok(Self::ClientCertificate { chain_pem: chain_pem.into_owned(), key_pem: key_pem.into_owned().into() })
            }
        }
    }
}

/// `https://HOST[:PORT][/PATH]`, normalized: lowercase host, no `:443`, no trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    text: String,
    host: String,
    port: u16,
    path: String,
}

/// Why a server URL is not taken. Never repeats it: it may carry a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServerUrl {
    /// No URL at all, or characters that have no place in one.
    #[error("it is not a URL such as https://10.0.0.1:6443")]
    NotAUrl,
    /// Any scheme but https.
    #[error("only https is spoken")]
    NotHttps,
    /// `user:password@host`.
    #[error("it carries a user name or password; credentials belong into `users`")]
    UserInfo,
    /// `?…` or `#…`, or `.` and `..` in the path.
    #[error("its path may have neither query nor dots (a plain path such as /k8s/clusters/c-1 is fine)")]
    OddPath,
}

impl ServerUrl {
    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host name or address, an IPv6 one without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 443 if none is named.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path before `/api`, empty or beginning with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `host:port` as in a URL.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }
}

impl FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidServerUrl> {
        use InvalidServerUrl::{NotAUrl, NotHttps, OddPath, UserInfo};
        const URL_BYTES_MAX: usize = 2_048;
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(NotAUrl);
        }
        // Looked for before parsing, so that the answer names the true mistake.
        let (scheme, rest) = text.split_once("://").ok_or(NotAUrl)?;
        if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
            return Err(UserInfo);
        }
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(NotHttps);
        }
        let uri: http::Uri = text.parse().map_err(|_| NotAUrl)?;
        let authority = uri.authority().ok_or(NotAUrl)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err(NotAUrl);
        }
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse().ok().filter(|port| *port != 0).ok_or(NotAUrl)?,
            _ => 443,
        };
        let path = uri.path().trim_end_matches('/').to_owned();
        let dots =
            path.split('/').any(|part| matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | ".."));
        if text.contains(['?', '#']) || dots || path.contains("//") {
            return Err(OddPath);
        }
        let mut url = Self { text: String::new(), host, port, path };
        url.text = format!("https://{}{}", url.authority(), url.path);
        Ok(url)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls_are_normalized() {
        let table = [
            ("https://10.0.0.1:6443", "https://10.0.0.1:6443", "10.0.0.1", 6443, ""),
            ("HTTPS://Edge.Example/", "https://edge.example", "edge.example", 443, ""),
            ("https://edge.example:443/", "https://edge.example", "edge.example", 443, ""),
            ("https://[fd00::1]:6443", "https://[fd00::1]:6443", "fd00::1", 6443, ""),
            ("https://[fd00::1]", "https://[fd00::1]", "fd00::1", 443, ""),
            (
                "https://rancher.example/k8s/clusters/c-1/",
                "https://rancher.example/k8s/clusters/c-1",
                "rancher.example",
                443,
                "/k8s/clusters/c-1",
            ),
        ];
        for (text, whole, host, port, path) in table {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!((url.as_str(), url.host(), url.port(), url.path()), (whole, host, port, path), "{text}");
        }
    }

    #[test]
    fn odd_server_urls_are_refused_for_what_they_are() {
        use InvalidServerUrl::{NotAUrl, NotHttps, OddPath, UserInfo};
        let table = [
            ("", NotAUrl),
            ("10.0.0.1:6443", NotAUrl),
            ("https://", NotAUrl),
            ("https://host:0", NotAUrl),
            ("https://host:99999", NotAUrl),
            ("https://a b", NotAUrl),
            ("http://10.0.0.1", NotHttps),
            ("unix:///run/x", NotHttps),
            ("file:///etc/passwd", NotHttps),
            ("https://user:canary@10.0.0.1", UserInfo),
            ("http://canary@10.0.0.1", UserInfo),
            ("https://host/a?x=1", OddPath),
            ("https://host/#x", OddPath),
            ("https://host/a/../b", OddPath),
            ("https://host/%2e%2E/b", OddPath),
        ];
        for (text, why) in table {
            assert_eq!(text.parse::<ServerUrl>(), Err(why), "{text}");
        }
    }

    #[test]
    fn a_credential_survives_sealing_and_hides_from_debug() {
        let token = Credential::Token("canary".to_owned().into());
        assert!(!format!("{token:?}").contains("canary"));
        let bytes = SecretSlice::from(token.to_sealed_bytes().to_vec());
        let Ok(Credential::Token(read)) = Credential::from_sealed_bytes(&bytes) else { panic!("a token went in") };
        assert_eq!(read.expose_secret(), "canary");

        let certificate =
            Credential::ClientCertificate { chain_pem: "chain\n".into(), key_pem: "canary\n".to_owned().into() };
        assert!(!format!("{certificate:?}").contains("canary"));
        let bytes = SecretSlice::from(certificate.to_sealed_bytes().to_vec());
        let Ok(Credential::ClientCertificate { chain_pem, key_pem }) = Credential::from_sealed_bytes(&bytes) else {
            panic!("a certificate went in")
        };
        assert_eq!((chain_pem.as_str(), key_pem.expose_secret()), ("chain\n", "canary\n"));
        assert!(Credential::from_sealed_bytes(&SecretSlice::from(b"{}".to_vec())).is_err());
    }
}
