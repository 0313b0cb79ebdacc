//! `cluster add --bootstrap`: with the user's own kubeconfig, in the user's own process, make the hub an account and a
//! token, and of these a kubeconfig that the hub accepts.
//!
//! This is the one place where a kubeconfig is used as kubectl uses it, exec plugins and all. It must never run in the
//! daemon: there, kubeconfigs go through [`super::kubeconfig`].

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Subject};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use secrecy::{ExposeSecret as _, SecretString};

use super::EdgeError;
use super::account::{GrantedToken, ServiceAccount, TokenAnswer, TokenRequest};
use super::edge::{FIELD_MANAGER, impossible};
use crate::domain::Timestamp;

const BINDING: &str = "ClusterRoleBinding";

/// What was made in the cluster, and what to send to the hub.
#[derive(Debug)]
pub struct Bootstrapped {
    /// A kubeconfig with nothing but server, CA and token.
    pub kubeconfig: SecretString,
    /// When the token ends: as granted, which may be sooner than was asked for.
    pub expires_at: Timestamp,
    /// What became of each object of the manifest, in its order.
    pub objects: Vec<Applied>,
}

/// An object of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// For example `Role/openebs/fleetlift-hub`.
    pub object: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an object of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was there, and is now as the manifest says.
    Changed,
    /// It was as the manifest says.
    Unchanged,
    /// Somebody had changed rights of the hub's; these are the manifest's again. In the API server's words: who, what.
    TakenBack(String),
    /// It holds the hub back, and its owner has changed it: theirs to decide. How it differs from the manifest.
    Kept(String),
    /// The cluster does not know this kind, for example admission policies before Kubernetes 1.30.
    LeftOut,
}

/// What to make, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The user's kubeconfig; `None` for the one that kubectl would use.
    pub kubeconfig: Option<&'a Path>,
    /// The context, else its current one.
    pub context: Option<&'a str>,
    /// What `edge manifest` prints, several YAML documents.
    pub manifest: &'a str,
    /// The account in it that the hub shall use.
    pub account: &'a ServiceAccount,
    /// How long its token shall live.
    pub lifetime: Duration,
}

/// Why nothing could be sent to the hub. What was applied stays: applying it again changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The user's kubeconfig cannot be used.
    #[error("your kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// The server is only trusted because of the machine's own CAs, or not proven at all.
    #[error(
        "your kubeconfig names no CA for the server (certificate-authority-data), and the hub trusts no other; add the CA \
         that signed the server's certificate to it"
    )]
    NoCa,
    /// The manifest is no list of Kubernetes objects.
    #[error("the manifest cannot be read: {0}")]
    Manifest(String),
    /// Cluster-wide rights of the same name are another account's.
    #[error(
        "{object} gives its rights to {theirs}, so this cluster has another hub, or had this one under another account: \
         name the namespaces as they were then (--account-namespace, --namespace), or delete {object} first if that hub \
         is gone"
    )]
    OtherHub {
        /// `ClusterRoleBinding/fleetlift-hub`.
        object: String,
        /// `fleetlift/fleetlift-hub`.
        theirs: String,
    },
    /// The cluster refused something.
    #[error("{what}: {why}")]
    Refused {
        /// What was being done, for example `applying Role/openebs/fleetlift-hub`.
        what: String,
        /// What the cluster said.
        why: String,
    },
}

/// Applies the manifest and asks for a token.
pub async fn bootstrap(order: &Order<'_>) -> Result<Bootstrapped, BootstrapError> {
    let config = load(order).await?;
    let ca_pem = ca_pem(&config)?;
    let server = config.cluster_url.to_string();
    let tls_server_name = config.tls_server_name.clone();
    let client = kube::Client::try_from(config).map_err(|error| BootstrapError::Kubeconfig(error.to_string()))?;

    let objects = objects(order.manifest)?;
    check_other_hubs(&client, &objects).await?;
    let mut applied = Vec::new();
    for wanted in objects {
        let object = describe(&wanted);
        match apply(&client, &wanted).await {
            Ok(outcome) => applied.push(Applied { object, outcome }),
            Err(why) => {
                return Err(BootstrapError::Refused { what: format!("applying {object}"), why: why.to_string() });
            }
        }
    }
    let GrantedToken { token, expires_at } = request_token(&client, order).await.map_err(|why| {
        let ServiceAccount { namespace, name } = order.account;
        BootstrapError::Refused { what: format!("asking for a token of {namespace}/{name}"), why: why.to_string() }
    })?;
    let kubeconfig = kubeconfig(&server, &ca_pem, tls_server_name.as_deref(), &token);
    Ok(Bootstrapped { kubeconfig, expires_at, objects: applied })
}

#[expect(clippy::disallowed_methods, reason = "in the user's own process, with the user's own file, as kubectl does")]
async fn load(order: &Order<'_>) -> Result<kube::Config, BootstrapError> {
    let options = KubeConfigOptions { context: order.context.map(str::to_owned), ..KubeConfigOptions::default() };
    let unusable = |error: kube::config::KubeconfigError| BootstrapError::Kubeconfig(error.to_string());
    let mut config = match order.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)?
        }
        None => kube::Config::from_kubeconfig(&options).await.map_err(unusable)?,
    };
    config.default_retry = false;
    config.read_timeout = Some(Duration::from_secs(30));
    Ok(config)
}

fn ca_pem(config: &kube::Config) -> Result<String, BootstrapError> {
    let ders = config.root_cert.as_ref().filter(|ders| !ders.is_empty() && !config.accept_invalid_certs);
    let ders = ders.ok_or(BootstrapError::NoCa)?;
    Ok(ders.iter().map(|der| super::kubeconfig::certificate_pem(der)).collect())
}

fn objects(manifest: &str) -> Result<Vec<DynamicObject>, BootstrapError> {
    serde_saphyr::from_multiple(manifest).map_err(|error| BootstrapError::Manifest(error.to_string()))
}

fn describe(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
    let parts = [Some(kind), object.metadata.namespace.as_deref(), object.metadata.name.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("/")
}

/// Names that are not in a namespace belong to one hub: another's must not lose its rights, and the policy that holds it,
/// to us behind its owner's back.
async fn check_other_hubs(client: &kube::Client, wanted: &[DynamicObject]) -> Result<(), BootstrapError> {
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    for object in wanted.iter().filter(|object| object.types.as_ref().is_some_and(|is| is.kind == BINDING)) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let there = bindings.get_opt(name).await.map_err(|why| BootstrapError::Refused {
            what: format!("looking at {}", describe(object)),
            why: said(why).to_string(),
        })?;
        let ours: ClusterRoleBinding = serde_json::to_value(object)
            .and_then(serde_json::from_value)
            .map_err(|error| BootstrapError::Manifest(error.to_string()))?;
        if let Some(theirs) = there.and_then(|there| other_account(&ours, &there)) {
            return Err(BootstrapError::OtherHub { object: describe(object), theirs });
        }
    }
    Ok(())
}

/// The account that has the rights now, if it is none of those that shall have them.
fn other_account(ours: &ClusterRoleBinding, there: &ClusterRoleBinding) -> Option<String> {
    let (ours, there) = (ours.subjects.as_deref().unwrap_or_default(), there.subjects.as_deref().unwrap_or_default());
    let is_ours = |one: &Subject| ours.iter().any(|own| own.name == one.name && own.namespace == one.namespace);
    let first = there.first().filter(|_| !there.iter().any(is_ours))?;
    let namespace = first.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    Some(super::text::plain(&format!("{namespace}{}", first.name), 300))
}

/// Brings the cluster to have this object. What limits the hub belongs to the cluster's owner once it is there: it is
/// never loosened behind their back. What the hub needs is the manifest's, and taking it back is told.
async fn apply(client: &kube::Client, object: &DynamicObject) -> Result<Outcome, EdgeError> {
    let types = object.types.as_ref().ok_or_else(|| EdgeError::Impossible("an object without a kind".to_owned()))?;
    let kind = GroupVersionKind::try_from(types).map_err(impossible)?;
    let (resource, _) = match kube::discovery::pinned_kind(client, &kind).await {
        Ok(found) => found,
        // The group's version is not served, or it is and lacks the kind.
        Err(kube::Error::Discovery(_)) => return Ok(Outcome::LeftOut),
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Outcome::LeftOut),
        Err(error) => return Err(said(error)),
    };
    let api: Api<DynamicObject> = match object.metadata.namespace.as_deref() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let before = api.get_opt(name).await.map_err(said)?;
    if let Some(there) = before.as_ref().filter(|_| types.kind == "ConfigMap") {
        return Ok(match missing_lines(object, there) {
            missing if missing.is_empty() => Outcome::Unchanged,
            missing => Outcome::Kept(format!("it does not name {}", missing.join(", "))),
        });
    }
    let parameters = PatchParams::apply(FIELD_MANAGER);
    let (after, taken) = match api.patch(name, &parameters, &Patch::Apply(object)).await {
        Ok(after) => (after, None),
        Err(kube::Error::Api(status)) if status.code == 409 && before.is_some() => {
            let words = super::text::plain(&status.message, 500);
            if types.kind.starts_with("ValidatingAdmissionPolicy") {
                return Ok(Outcome::Kept(words));
            }
            let forced = api.patch(name, &parameters.force(), &Patch::Apply(object)).await.map_err(said)?;
            (forced, Some(words))
        }
        Err(error) => return Err(said(error)),
    };
    Ok(match (before, taken) {
        (None, _) => Outcome::Created,
        (Some(_), Some(words)) => Outcome::TakenBack(words),
        (Some(before), None) => match content(before) == content(after) {
            true => Outcome::Unchanged,
            false => Outcome::Changed,
        },
    })
}

/// An object without the cluster's own books: the API server writes its own anew at an apply that changes nothing, if the
/// object has no field that an applier could own, as a Namespace without labels; and a controller writes a status, that
/// of an admission policy for one, some moments after the object was made.
fn content(mut object: DynamicObject) -> DynamicObject {
    object.metadata.managed_fields = None;
    object.metadata.resource_version = None;
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("status");
    }
    object
}

/// The lines of the lists in a ConfigMap of ours that one that is there lacks.
fn missing_lines(ours: &DynamicObject, there: &DynamicObject) -> Vec<String> {
    let lists = ours.data.get("data").and_then(serde_json::Value::as_object).into_iter().flatten();
    let mut missing = Vec::new();
    for (key, list) in lists {
        let has = there.data.pointer(&format!("/data/{key}")).and_then(serde_json::Value::as_str).unwrap_or_default();
        let has: Vec<&str> = has.lines().collect();
        let wanted = list.as_str().unwrap_or_default().lines();
        missing.extend(wanted.filter(|line| !has.contains(line)).map(str::to_owned));
    }
    missing
}

async fn request_token(client: &kube::Client, order: &Order<'_>) -> Result<GrantedToken, EdgeError> {
    let ServiceAccount { namespace, name } = order.account;
    let body = serde_json::to_vec(&TokenRequest::lasting(order.lifetime)).map_err(impossible)?;
    let uri = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
    let request = http::Request::post(uri).header("content-type", "application/json").body(body).map_err(impossible)?;
    client.request::<TokenAnswer>(request).await.map(TokenAnswer::granted).map_err(said)
}

/// A kubeconfig as the hub accepts it. All values are quoted as JSON, which YAML reads.
fn kubeconfig(server: &str, ca_pem: &str, tls_server_name: Option<&str>, token: &SecretString) -> SecretString {
    let mut cluster = serde_json::json!({
        "server": server,
        "certificate-authority-data": STANDARD.encode(ca_pem),
    });
    if let Some(name) = tls_server_name {
        cluster["tls-server-name"] = name.into();
    }
    let file = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fleetlift",
        "contexts": [{"name": "fleetlift", "context": {"cluster": "edge", "user": "fleetlift-hub"}}],
        "clusters": [{"name": "edge", "cluster": cluster}],
        "users": [{"name": "fleetlift-hub", "user": {"token": token.expose_secret()}}],
    });
    file.to_string().into()
}

/// kube's default client speaks here, not ours: its answers are put into the same words.
fn said(error: kube::Error) -> EdgeError {
    match error {
        kube::Error::Api(status) => EdgeError::Refused {
            status: status.code,
            reason: super::text::plain(&status.reason, 60),
            message: super::text::plain(&status.message, 500),
        },
        other => super::dial::unreachable(super::Phase::Opening, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_for_the_hub_is_what_the_hub_accepts() {
        let certified = rcgen::generate_simple_self_signed(["edge.example".to_owned()]).unwrap();
        let pem = super::super::kubeconfig::certificate_pem(certified.cert.der());
        let token = SecretString::from("canary");
        let made = kubeconfig("https://edge.example:6443/k8s/", &pem, Some("edge.example"), &token);
        let access = super::super::kubeconfig::read(made.expose_secret().as_bytes(), None).unwrap();
        assert_eq!(access.server.as_str(), "https://edge.example:6443/k8s");
        assert_eq!(access.tls_server_name.as_deref(), Some("edge.example"));
        assert_eq!(access.trust, super::super::Trust::Ca(pem));
    }

    #[test]
    fn rights_of_another_account_are_told_apart_from_ours() {
        let of = |accounts: &[(&str, &str)]| ClusterRoleBinding {
            subjects: Some(
                accounts
                    .iter()
                    .map(|(namespace, name)| Subject {
                        kind: "ServiceAccount".into(),
                        namespace: Some((*namespace).into()),
                        name: (*name).into(),
                        ..Subject::default()
                    })
                    .collect(),
            ),
            ..ClusterRoleBinding::default()
        };
        let ours = of(&[("hub-b", "fleetlift-hub")]);
        let first = of(&[("fleetlift", "fleetlift-hub")]);
        assert_eq!(other_account(&ours, &first).as_deref(), Some("fleetlift/fleetlift-hub"));
        assert_eq!(other_account(&ours, &ours), None);
        assert_eq!(other_account(&ours, &of(&[])), None);
        let both = of(&[("fleetlift", "fleetlift-hub"), ("hub-b", "fleetlift-hub")]);
        assert_eq!(other_account(&ours, &both), None);
    }

    #[test]
    fn what_the_cluster_writes_of_its_own_is_no_change() {
        let policy = |books: serde_json::Value, allowed: &str| -> DynamicObject {
            let mut object = serde_json::json!({"apiVersion": "v1", "kind": "Policy", "metadata": {"name": "a"},
                "spec": {"allowed": allowed}});
            object.as_object_mut().unwrap().extend(books.as_object().unwrap().clone());
            serde_json::from_value(object).unwrap()
        };
        let fresh = content(policy(serde_json::json!({}), "x"));
        let looked_after = serde_json::json!({"status": {"observedGeneration": 1}});
        assert_eq!(content(policy(looked_after.clone(), "x")), fresh);
        assert_ne!(content(policy(looked_after, "y")), fresh);
    }

    #[test]
    fn a_manifest_of_several_documents_is_read_and_an_odd_one_is_not() {
        let manifest = "# a comment\nkind: Namespace\napiVersion: v1\nmetadata: {name: a}\n---\napiVersion: v1\n\
                        kind: ServiceAccount\nmetadata: {name: b, namespace: a}\n";
        let names: Vec<String> = objects(manifest).unwrap().iter().map(describe).collect();
        assert_eq!(names, ["Namespace/a", "ServiceAccount/a/b"]);
        assert!(objects("- a\n- b\n").is_err());
    }
}
