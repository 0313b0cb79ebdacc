//! Register a cluster, with a first look at it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clusters::{check_labels, checked_zone};
use super::{App, ClusterView, Flaw, Principal, Refusal};
use crate::cluster::kubeconfig::Proof;
use crate::cluster::{Edge, EdgeAccess, EdgeError, Trust, expiry, kubeconfig};
use crate::domain::cluster::{Cluster, ClusterState, Failing, Reach};
use crate::domain::event::{EventType, Subject};
use crate::domain::{ClusterId, fleet};
use crate::store::NewCluster;

/// A cluster to be registered.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterCluster {
    /// Its name: lowercase letters, digits, `-` and `.`.
    pub name: String,
    /// The kubeconfig's text: one server, its CA and one credential are taken from it, and nothing else kept.
    pub kubeconfig: String,
    /// The context in it; its current one without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its time zone, where it differs from the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Where OpenEBS runs: `openebs` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The hub's egress that its connections take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
    /// Takes a kubeconfig without a CA and trusts whoever answers at its server's address. Audited and shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_tls_verify: bool,
}

const DEFAULT_NAMESPACE: &str = "openebs";

impl App {
    /// Registers one cluster after a first look. One that does not answer is registered, too: it may be asleep.
    pub async fn register_cluster(&self, by: &Principal, wanted: RegisterCluster) -> Result<ClusterView, Refusal> {
        let (mut cluster, access) = self.read(wanted)?;
        match self.first_look(&cluster, &access).await? {
            Ok(identity) => {
                cluster.identity = Some(identity);
                cluster.reach.seen_at = Some(self.clock.now());
            }
            Err(error) => cluster.reach.failing = Some(Failing { since: self.clock.now(), error: error.to_string() }),
        }
        let view = ClusterView::from(cluster.clone());
        let new = self.new_cluster(by, cluster, &access)?;
        match self.store.register_clusters(vec![new]).await?.into_iter().next() {
            Some(Ok(())) => Ok(view),
            Some(Err(error)) => Err(error.into()),
            None => Err(Refusal::Conflict("the store did not answer for the cluster".to_owned())),
        }
    }

    /// Everything that can be told without asking the cluster.
    pub(super) fn read(&self, wanted: RegisterCluster) -> Result<(Cluster, EdgeAccess), Refusal> {
        let RegisterCluster {
            name,
            kubeconfig,
            context,
            labels,
            time_zone,
            namespace,
            egress,
            insecure_skip_tls_verify,
        } = wanted;
        fleet::check_object_name(&name).map_err(|why| Refusal::Invalid(format!("`name`: {why}")))?;
        check_labels(&labels)?;
        let time_zone = time_zone.as_deref().map(checked_zone).transpose()?.flatten();
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        fleet::check_object_name(&namespace).map_err(|why| Refusal::Invalid(format!("`namespace`: {why}")))?;
        self.connections.egress(egress.as_deref()).map_err(|error| Refusal::Invalid(format!("`egress`: {error}")))?;
        let access = read_kubeconfig(&kubeconfig, context.as_deref(), insecure_skip_tls_verify)?;
        let (host, port) = (access.server.host(), access.server.port());
        self.connections
            .surroundings()
            .policy
            .judge_unresolved(host, port)
            .map_err(|denied| Refusal::Edge { cluster: name.clone(), reason: EdgeError::from(denied).to_string() })?;
        let now = self.clock.now();
        let cluster = Cluster {
            id: ClusterId::new(now, self.entropy.as_ref()),
            name,
            labels,
            time_zone,
            namespace,
            egress,
            server: access.server.as_str().to_owned(),
            tls_verified: access.trust != Trust::Waived,
            identity: None,
            credential_expires_at: expiry::of(&access.credential),
            state: ClusterState::Active,
            reach: Reach::default(),
            registered_at: now,
            version: 1,
        };
        Ok((cluster, access))
    }

    /// The cluster as it is stored, its credential sealed.
    pub(super) fn new_cluster(
        &self,
        by: &Principal,
        cluster: Cluster,
        access: &EdgeAccess,
    ) -> Result<NewCluster, Refusal> {
        let (credential, sealing) = self
            .connections
            .vault()
            .seal(cluster.id, 1, access, self.entropy.as_ref())
            .map_err(|error| Refusal::Invalid(format!("`kubeconfig`: the credential can't be sealed: {error}")))?;
        let subject = Subject { cluster: Some(cluster.id), ..Subject::default() };
        let event = self
            .event(by, EventType::ClusterRegistered, subject)
            .with("name", cluster.name.as_str())
            .with("server", cluster.server.as_str())
            .with("tls_verified", cluster.tls_verified);
        Ok(NewCluster { cluster, credential, events: vec![sealing.told_by(event)] })
    }

    /// Who the cluster is, or why it does not say so; refused when it must never be connected to.
    pub(super) async fn first_look(
        &self,
        cluster: &Cluster,
        access: &EdgeAccess,
    ) -> Result<Result<String, EdgeError>, Refusal> {
        let egress = self
            .connections
            .egress(cluster.egress.as_deref())
            .map_err(|error| Refusal::Invalid(format!("`egress`: {error}")))?;
        let around = self.connections.surroundings();
        let edge = Edge::new(access, egress, &cluster.namespace, cluster.identity.clone(), around)
            .map_err(|error| Refusal::Invalid(format!("`kubeconfig`: {error}")))?;
        match edge.identify().await {
            Err(error @ (EdgeError::AddressDenied(_) | EdgeError::AnotherCluster { .. })) => {
                Err(Refusal::Edge { cluster: cluster.name.clone(), reason: error.to_string() })
            }
            looked => Ok(looked),
        }
    }
}

/// Reads a kubeconfig by allow-list; every problem is a flaw with its field and line, never its value.
pub(super) fn read_kubeconfig(text: &str, context: Option<&str>, insecure: bool) -> Result<EdgeAccess, Refusal> {
    let proof = if insecure { Proof::Waived } else { Proof::Required };
    kubeconfig::read_with(text.as_bytes(), context, proof).map_err(|refused| {
        let flaws: Vec<Flaw> = refused
            .problems
            .into_iter()
            .map(|kubeconfig::Problem { field, line, what, remedy }| Flaw {
                place: if field.is_empty() { "kubeconfig".to_owned() } else { field },
                line,
                column: 0,
                message: what,
                remedy: remedy.to_owned(),
            })
            .collect();
        Refusal::Flawed { summary: "the kubeconfig was refused".to_owned(), flaws }
    })
}
