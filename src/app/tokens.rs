//! API tokens: made once, stored as a hash, revoked at once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::{Access, App, Principal, Refusal, Role, When};
use crate::domain::event::{Actor, Event, EventType, Subject};
use crate::domain::{Clock, Entropy, Selector, Timestamp, TokenId, ids};
use crate::store::{Store, StoredToken};

/// What every token begins with, so that secret scanners find it.
const PREFIX: &str = "flt_";

/// 256 random bits.
const SECRET_BYTES: usize = 32;

/// The secret in base64url without padding.
const SECRET_CHARS: usize = 43;

/// A token to be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateToken {
    /// Its name: the actor in the audit.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The clusters that an operator may touch, as a label selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// When it ends; never without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<When>,
}

/// A token that was made: the only time that its secret is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// What was made.
    pub token: TokenView,
    /// The secret; it is stored nowhere.
    pub secret: String,
}

/// A token without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// The clusters that it may touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// When it was made.
    pub created_at: When,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<When>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<When>,
}

impl From<StoredToken> for TokenView {
    fn from(token: StoredToken) -> Self {
        let StoredToken { id, name, hash: _, role, selector, created_at, expires_at, revoked_at } = token;
        Self {
            id: id.to_string(),
            name,
            role,
            selector,
            created_at: created_at.into(),
            expires_at: expires_at.map(When),
            revoked_at: revoked_at.map(When),
        }
    }
}

/// Makes another administrator's token for whoever can open the store itself: the way back for those who have lost
/// theirs. Audited like every other token.
pub async fn recover(store: &dyn Store, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<CreatedToken, Refusal> {
    if store.tokens().await?.is_empty() {
        let why = "no hub has worked with this database yet: the daemon's first start makes the first token";
        return Err(Refusal::Conflict(why.to_owned()));
    }
    let mut random = [0; 3];
    entropy.fill(&mut random);
    let name = format!("recovered-{}", ids::hex(&random));
    let wanted = CreateToken { name, role: Role::Admin, selector: None, expires_at: None };
    make(store, clock.now(), entropy, Actor::local("recovery"), wanted, new_secret(entropy)).await
}

impl App {
    /// Makes a token and answers its secret, once.
    pub async fn create_token(&self, by: &Principal, wanted: CreateToken) -> Result<CreatedToken, Refusal> {
        self.create_token_of(by.actor.clone(), wanted, self.new_secret()).await
    }

    /// The secret of a first administrator's token, for a store that has none; `None` where there is a token already.
    /// Keep it, then call [`Self::create_first_token`]: a token that counts and that nobody knows would lock everybody
    /// out.
    pub async fn propose_first_token(&self) -> Result<Option<String>, Refusal> {
        Ok(self.store.tokens().await?.is_empty().then(|| self.new_secret()))
    }

    /// Makes the first administrator's token; `None` if another daemon, started at the same moment, was faster.
    pub async fn create_first_token(&self, secret: String) -> Result<Option<CreatedToken>, Refusal> {
        let wanted = CreateToken { name: "admin".to_owned(), role: Role::Admin, selector: None, expires_at: None };
        match self.create_token_of(Actor::local("first-start"), wanted, secret).await {
            Ok(created) => Ok(Some(created)),
            Err(Refusal::Conflict(_)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn create_token_of(
        &self,
        actor: Actor,
        wanted: CreateToken,
        secret: String,
    ) -> Result<CreatedToken, Refusal> {
        make(self.store.as_ref(), self.clock.now(), self.entropy.as_ref(), actor, wanted, secret).await
    }

    fn new_secret(&self) -> String {
        new_secret(self.entropy.as_ref())
    }

    /// Every token, revoked and expired ones included.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, Refusal> {
        Ok(self.store.tokens().await?.into_iter().map(TokenView::from).collect())
    }

    /// Revokes the token of this name or id: it works nowhere from now on.
    pub async fn revoke_token(&self, by: &Principal, name_or_id: &str) -> Result<(), Refusal> {
        let tokens = self.store.tokens().await?;
        let named = |token: &&StoredToken| token.name == name_or_id || token.id.to_string() == name_or_id;
        let live = |token: &&StoredToken| token.revoked_at.is_none();
        let token = tokens.iter().filter(named).find(live).or_else(|| tokens.iter().find(named));
        let token = token.ok_or_else(|| Refusal::NotFound { noun: "token", name: name_or_id.to_owned() })?;
        if token.revoked_at.is_some() {
            return Ok(());
        }
        if is_last_administrator(&tokens, token, self.clock.now()) {
            return Err(Refusal::Conflict(format!(
                "{} is the last administrator's token: make another one first (`fleetlift token create NAME --role admin`)",
                token.name
            )));
        }
        let event = self
            .event(by, EventType::TokenRevoked, Subject::default())
            .with("token", token.id.to_string())
            .with("name", token.name.as_str());
        Ok(self.store.revoke_token(token.id, self.clock.now(), vec![event]).await?)
    }

    /// Whose secret this is; `None` for whatever is no token, or one that was revoked or has expired.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<Principal>, Refusal> {
        if !looks_like_a_token(secret) {
            return Ok(None);
        }
        // A look-up by the hash of 256 random bits: nothing can be learned from how long it takes.
        let Some(token) = self.store.token_by_hash(&hash(secret)).await? else { return Ok(None) };
        Ok(principal(&token, self.clock.now()))
    }
}

async fn make(
    store: &dyn Store,
    now: Timestamp,
    entropy: &dyn Entropy,
    actor: Actor,
    wanted: CreateToken,
    secret: String,
) -> Result<CreatedToken, Refusal> {
    let CreateToken { name, role, selector, expires_at } = wanted;
    check_name(&name)?;
    if selector.is_some() && role != Role::Operator {
        return Err(Refusal::Invalid("`selector` limits operators only: leave it out for other roles".to_owned()));
    }
    if expires_at.is_some_and(|When(at)| at <= now) {
        return Err(Refusal::Invalid("`expiresAt` lies in the past".to_owned()));
    }
    if let Some(text) = &selector {
        text.parse::<Selector>().map_err(|error| Refusal::Invalid(format!("`selector`: {error}")))?;
    }
    let token = StoredToken {
        id: TokenId::new(now, entropy),
        name,
        hash: hash(&secret),
        role: role.name().to_owned(),
        selector,
        created_at: now,
        expires_at: expires_at.map(|When(at)| at),
        revoked_at: None,
    };
    let event = Event::new(now, EventType::TokenCreated, actor, Subject::default())
        .with("token", token.id.to_string())
        .with("name", token.name.as_str())
        .with("role", token.role.as_str());
    store.create_token(token.clone(), vec![event]).await?;
    Ok(CreatedToken { token: token.into(), secret })
}

fn new_secret(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; SECRET_BYTES];
    entropy.fill(&mut bytes);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether nobody could make tokens any more without this one.
fn is_last_administrator(tokens: &[StoredToken], token: &StoredToken, now: Timestamp) -> bool {
    let administers = |token: &StoredToken| principal(token, now).is_some_and(|by| by.role.may(Access::Administer));
    administers(token) && !tokens.iter().any(|other| other.id != token.id && administers(other))
}

fn principal(token: &StoredToken, now: Timestamp) -> Option<Principal> {
    if token.revoked_at.is_some() || token.expires_at.is_some_and(|at| at <= now) {
        return None;
    }
    let role = token.role.parse().ok()?;
    // A selector that can't be read reaches nothing: the token is worth nothing, rather than everything.
    let selector = token.selector.as_deref().map(str::parse).transpose().ok()?;
    Some(Principal { id: token.id, actor: Actor::token(&token.name), role, selector })
}

fn looks_like_a_token(secret: &str) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    secret.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == SECRET_CHARS && rest.bytes().all(base64url))
}

fn hash(secret: &str) -> String {
    ids::hex(&Sha256::digest(secret.as_bytes()))
}

/// Token names stand in the audit and in tables: short and plain.
fn check_name(name: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    if !name.is_empty() && name.len() <= 63 && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Refusal::Invalid("`name` must be 1 to 63 letters, digits, `-`, `_`, `.` or `@`".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_tokens_are_none() {
        let good = format!("flt_{}", "a".repeat(43));
        assert!(looks_like_a_token(&good));
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.";
        for odd in ["", "flt_", jwt, &good[1..], &format!("{good}a"), &good.replace('a', "é"), &good.to_uppercase()] {
            assert!(!looks_like_a_token(odd), "{odd}");
        }
    }
}
