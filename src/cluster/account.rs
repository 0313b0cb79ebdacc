//! The hub's own account in a cluster: tokens of limited life, renewed by the account itself.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::access::Credential;
use super::edge::checked;
use super::nouns::SERVICE_ACCOUNTS;
use super::{Edge, EdgeError};
use crate::domain::Timestamp;

/// A service account of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the token of a service account says of itself. Not verified: a wrong one is refused by the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountToken {
    /// Whose it is.
    pub account: ServiceAccount,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl AccountToken {
    /// What `credential` says; `None` for whatever is no service account's token with an end. Only such a credential can
    /// renew itself.
    pub fn of(credential: &Credential) -> Option<Self> {
        #[derive(Deserialize)]
        struct Claims {
            sub: String,
            iat: i64,
            exp: i64,
        }
        let Credential::Token(token) = credential else { return None };
        let payload = URL_SAFE_NO_PAD.decode(token.expose_secret().split('.').nth(1)?).ok()?;
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        let (namespace, name) = claims.sub.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let account =
            ServiceAccount { namespace: checked(namespace).ok()?.to_owned(), name: checked(name).ok()?.to_owned() };
        let at = |seconds: i64| seconds.checked_mul(1_000_000).map(Timestamp::from_micros);
        Some(Self { account, issued_at: at(claims.iat)?, expires_at: at(claims.exp)? })
    }

    /// How long it lives: as long as its successor shall.
    pub fn lifetime(&self) -> Duration {
        self.expires_at.since(self.issued_at)
    }

    /// Whether it should be renewed now: in the last third of its life, so that a cluster that cannot be reached for a
    /// while does not lose its hub.
    pub fn renewal_is_due(&self, now: Timestamp) -> bool {
        now >= self.expires_at - self.lifetime() / 3
    }
}

/// A token as the API server granted it. It may grant a shorter life than was asked for.
#[derive(Debug)]
pub struct GrantedToken {
    /// The token.
    pub token: SecretString,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// `TokenRequest` of authentication.k8s.io/v1: what is sent, and what of the answer is read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenRequest {
    api_version: &'static str,
    kind: &'static str,
    spec: TokenRequestSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenRequestSpec {
    expiration_seconds: u64,
}

#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    status: TokenStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenStatus {
    token: String,
    expiration_timestamp: jiff::Timestamp,
}

impl TokenRequest {
    /// Kubernetes grants no less than ten minutes.
    pub fn lasting(lifetime: Duration) -> Self {
        Self {
            api_version: "authentication.k8s.io/v1",
            kind: "TokenRequest",
            spec: TokenRequestSpec { expiration_seconds: lifetime.as_secs().max(600) },
        }
    }
}

impl TokenAnswer {
    pub fn granted(self) -> GrantedToken {
        let TokenStatus { token, expiration_timestamp } = self.status;
        GrantedToken { token: token.into(), expires_at: Timestamp::from_jiff(expiration_timestamp) }
    }
}

impl Edge {
    /// Asks for a new token of `account`; the old one stays valid until it ends.
    pub async fn request_token(&self, account: &ServiceAccount, lifetime: Duration) -> Result<GrantedToken, EdgeError> {
        let request = TokenRequest::lasting(lifetime);
        let answer: TokenAnswer =
            self.create_sub(&SERVICE_ACCOUNTS, &account.namespace, &account.name, "token", &request).await?;
        Ok(answer.granted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(claims: &str) -> Option<AccountToken> {
        AccountToken::of(&Credential::Token(format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims)).into()))
    }

    #[test]
    fn a_token_is_renewed_in_the_last_third_of_its_life() {
        let token = of(r#"{"sub":"system:serviceaccount:fleetlift:fleetlift-hub","iat":0,"exp":2592000}"#).unwrap();
        assert_eq!((token.account.namespace.as_str(), token.account.name.as_str()), ("fleetlift", "fleetlift-hub"));
        assert_eq!(token.lifetime(), Duration::from_hours(30 * 24));
        let day = |day: i64| Timestamp::from_micros(day * 86_400_000_000);
        assert!(!token.renewal_is_due(day(19)));
        assert!(token.renewal_is_due(day(20)));
        assert!(token.renewal_is_due(day(31)));
    }

    #[test]
    fn what_is_no_service_accounts_token_with_an_end_cannot_renew_itself() {
        for odd in [
            "[]",
            "{}",
            r#"{"sub":"alice","iat":1,"exp":2}"#,
            r#"{"sub":"system:serviceaccount:a","iat":1,"exp":2}"#,
            r#"{"sub":"system:serviceaccount:../x:y","iat":1,"exp":2}"#,
            r#"{"sub":"system:serviceaccount:a:b","iat":1}"#,
            r#"{"sub":"system:serviceaccount:a:b","iat":1,"exp":9223372036854775807}"#,
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
        assert_eq!(AccountToken::of(&Credential::Token("opaque".to_owned().into())), None);
    }

    #[test]
    fn an_answer_is_read_and_its_token_hidden() {
        let answer: TokenAnswer = serde_json::from_str(
            r#"{"kind":"TokenRequest","status":{"token":"canary","expirationTimestamp":"2026-12-01T00:00:00Z"}}"#,
        )
        .unwrap();
        let granted = answer.granted();
        assert_eq!(granted.expires_at.to_string(), "2026-12-01T00:00:00Z");
        assert!(!format!("{granted:?}").contains("canary"));
    }
}
