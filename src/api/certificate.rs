//! The server's certificate: read from its files, and again when they change, so that a renewal needs no restart.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use sha2::{Digest as _, Sha256};

/// How often the files are looked at: renewals come days before an end.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// The PEM files of a certificate chain and its key, and by what to tell whether they have changed.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    config: RustlsConfig,
    seen: [u8; 32],
}

/// What two PEM files hold: the key is in it.
struct Pair {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    async fn read(chain: &Path, key: &Path) -> io::Result<Self> {
        Ok(Self { chain: tokio::fs::read(chain).await?, key: tokio::fs::read(key).await? })
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(&self.chain).chain_update(&self.key).finalize().into()
    }
}

impl Certificate {
    /// What the files hold now.
    pub async fn read(chain: PathBuf, key: PathBuf) -> io::Result<Self> {
        let pair = Pair::read(&chain, &key).await?;
        let seen = pair.digest();
        let config = RustlsConfig::from_pem(pair.chain, pair.key).await?;
        Ok(Self { chain, key, config, seen })
    }

    /// What a server serves with, which changes with the files while [`Self::follow`] runs.
    pub fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Looks at the files from time to time, for ever.
    pub async fn follow(mut self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.look().await {
                Ok(true) => tracing::info!(certificate = %self.chain.display(), "serving with the renewed certificate"),
                Ok(false) => {}
                Err(error) => {
                    let file = self.chain.display();
                    tracing::warn!(certificate = %file, %error, "can't use what is there now; serving with the one before");
                }
            }
        }
    }

    /// Takes what the files hold now, and says whether that is new. What cannot be used, a pair half written among it,
    /// changes nothing.
    async fn look(&mut self) -> io::Result<bool> {
        let pair = Pair::read(&self.chain, &self.key).await?;
        let now = pair.digest();
        if now == self.seen {
            return Ok(false);
        }
        self.config.reload_from_pem(pair.chain, pair.key).await?;
        self.seen = now;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_renewed_certificate_is_served_and_a_half_written_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let made = || rcgen::generate_simple_self_signed(["hub.example".to_owned()]).unwrap();
        let (first, second) = (made(), made());
        std::fs::write(&chain, first.cert.pem()).unwrap();
        std::fs::write(&key, first.signing_key.serialize_pem()).unwrap();
        let mut certificate = Certificate::read(chain.clone(), key.clone()).await.unwrap();
        let config = certificate.config();
        let served = config.get_inner();
        assert!(!certificate.look().await.unwrap(), "nothing has changed");

        std::fs::write(&chain, second.cert.pem()).unwrap();
        assert!(certificate.look().await.is_err(), "its key is not there yet");
        assert!(Arc::ptr_eq(&served, &config.get_inner()));
        std::fs::write(&key, second.signing_key.serialize_pem()).unwrap();
        assert!(certificate.look().await.unwrap());
        assert!(!Arc::ptr_eq(&served, &config.get_inner()));
        std::fs::remove_file(&key).unwrap();
        assert!(certificate.look().await.is_err());
    }
}
