//! Renews the hub's token in a cluster before it ends, where the credential is a service account's that may.

use super::Engine;
use crate::cluster::account::AccountToken;
use crate::cluster::{Credential, Edge, EdgeError};
use crate::connections::{NotConnectable, Purpose};
use crate::domain::cluster::Cluster;
use crate::domain::event::{Actor, Event, EventType, Subject};
use crate::store::StoreError;

/// Why a token was not renewed. The old one serves on until it ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRenewed {
    #[error(transparent)]
    Edge(#[from] EdgeError),
    #[error(transparent)]
    Connection(#[from] NotConnectable),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the new token cannot be sealed: {0}")]
    Seal(#[from] crate::cluster::SealError),
    #[error("the granted token ends at {0}, no later than the one in use")]
    NoLonger(crate::domain::Timestamp),
}

/// Asks for a successor in the last third of the token's life, tries it, and keeps it.
pub(super) async fn renew_if_due(engine: &Engine, cluster: &Cluster, edge: &Edge) -> Result<(), NotRenewed> {
    let now = engine.clock.now();
    let Some(token) = edge.own_token().filter(|token| token.renewal_is_due(now)) else { return Ok(()) };
    let AccountToken { account, expires_at, .. } = token;
    let granted = edge.request_token(account, token.lifetime()).await?;
    // Without the right to more than what is left, asking again at each inventory would only make noise.
    if granted.expires_at <= *expires_at {
        return Err(NotRenewed::NoLonger(granted.expires_at));
    }
    // Opened, not only copied from its row: a CA or URL that was changed in the database must not be sealed anew.
    let (mut access, version) = engine.connections.open(cluster, Purpose::Renewal).await?;
    access.credential = Credential::Token(granted.token);
    engine.connections.with(cluster, &access)?.version().await?;

    let (sealed, sealing) = engine.connections.vault().seal(cluster.id, version, &access, engine.entropy.as_ref())?;
    let subject = Subject { cluster: Some(cluster.id), ..Subject::default() };
    let event = Event::new(now, EventType::CredentialRotated, Actor::engine(), subject)
        .with("name", cluster.name.as_str())
        .with("expires_at", granted.expires_at.to_string());
    let renewed = Cluster { credential_expires_at: Some(granted.expires_at), ..cluster.clone() };
    // Another daemon that renewed it meanwhile makes this a conflict: its token is as good as ours.
    match engine.store.replace_credential(&renewed, sealed, vec![sealing.told_by(event)]).await {
        Ok(_) => tracing::info!(cluster.name = %cluster.name, "the token was renewed until {}", granted.expires_at),
        Err(StoreError::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    engine.connections.forget(cluster.id);
    Ok(())
}
