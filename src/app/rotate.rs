//! Replace a cluster's credential.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clusters::as_read;
use super::register::read_kubeconfig;
use super::{App, ClusterView, Principal, Refusal};
use crate::cluster::{Trust, expiry};
use crate::domain::event::{EventType, Subject};

/// A cluster's new credential.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateCredential {
    /// The kubeconfig's text.
    pub kubeconfig: String,
    /// The context in it; its current one without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Takes a kubeconfig without a CA and trusts whoever answers at its server's address. Audited and shown.
    #[serde(default, rename = "insecureSkipTlsVerify", skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_tls_verify: bool,
}

impl App {
    /// Replaces the credential (and the server's address, if the kubeconfig names another), after it was tried: the
    /// cluster must answer with it, and must be the one that was registered.
    pub async fn rotate_credential(
        &self,
        by: &Principal,
        name: &str,
        wanted: RotateCredential,
        read: Option<i64>,
    ) -> Result<ClusterView, Refusal> {
        let mut cluster = self.store.cluster_named(name).await?;
        as_read(&cluster, read)?;
        let access = read_kubeconfig(&wanted.kubeconfig, wanted.context.as_deref(), wanted.insecure_skip_tls_verify)?;
        access.server.as_str().clone_into(&mut cluster.server);
        cluster.tls_verified = access.trust != Trust::Waived;
        cluster.credential_expires_at = expiry::of(&access.credential);
        let identity = self.first_look(&cluster, &access).await?.map_err(|error| Refusal::Edge {
            cluster: name.to_owned(),
            reason: format!("the new credential was tried and not kept: {error}"),
        })?;
        cluster.identity.get_or_insert(identity);
        let version = self.store.credential(cluster.id).await?.next_version();
        let (sealed, sealing) = self
            .connections
            .vault()
            .seal(cluster.id, version, &access, self.entropy.as_ref())
            .map_err(|error| Refusal::Invalid(format!("`kubeconfig`: the credential can't be sealed: {error}")))?;
        let subject = Subject { cluster: Some(cluster.id), ..Subject::default() };
        let event = sealing.told_by(
            self.event(by, EventType::CredentialRotated, subject)
                .with("name", name)
                .with("tls_verified", cluster.tls_verified),
        );
        let changed = self.store.replace_credential(&cluster, sealed, vec![event]).await?;
        self.connections.forget(changed.id);
        Ok(changed.into())
    }
}
