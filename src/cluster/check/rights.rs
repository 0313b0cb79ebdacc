//! The rights that the hub needs in a cluster, asked one by one as the API server itself would decide; and those that
//! it should rather not have.

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Finding;
use super::apis::Served;
use super::repair::{self, Subject};
use crate::cluster::account::ServiceAccount;
use crate::cluster::edge::{decode, impossible};
use crate::cluster::text::plain;
use crate::cluster::{Edge, EdgeError};

/// Questions under way at once: they are cheap, and a check shall not feel like an attack.
const AT_ONCE: usize = 8;

/// What is asked of the API server, in the words of a SelfSubjectAccessReview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Right {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subresource: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl Right {
    /// What the right is to: everything but the verb.
    fn object(&self) -> String {
        let Self { namespace, verb: _, group, resource, subresource, name } = self;
        let group = if group.is_empty() { String::new() } else { format!(".{group}") };
        let subresource = subresource.map_or_else(String::new, |name| format!("/{name}"));
        let name = name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let place = namespace.as_ref().map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
        format!("{resource}{subresource}{group}{name}{place}")
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.object())
    }
}

const READ: &[&str] = &["get", "list"];

/// In the OpenEBS namespace: what every upgrade needs.
const NAMESPACED: [(&str, &str, Option<&str>, &[&str]); 9] = [
    ("batch", "jobs", None, &["get", "list", "watch", "create", "patch", "delete"]),
    ("openebs.io", "upgradetasks", None, &["get", "list", "watch", "create", "delete"]),
    ("", "pods", None, READ),
    ("", "pods", Some("log"), &["get"]),
    ("", "events", None, READ),
    ("", "configmaps", None, READ),
    ("", "services", None, READ),
    ("apps", "deployments", None, READ),
    ("apps", "statefulsets", None, READ),
];

/// In the OpenEBS namespace: where the cluster serves them.
const ENGINES: [(&str, &str); 9] = [
    ("cstor.openebs.io", "cstorpoolclusters"),
    ("cstor.openebs.io", "cstorpoolinstances"),
    ("cstor.openebs.io", "cstorvolumes"),
    ("cstor.openebs.io", "cstorvolumereplicas"),
    ("cstor.openebs.io", "cstorvolumeconfigs"),
    ("openebs.io", "jivavolumes"),
    ("openebs.io", "cstorvolumes"),
    ("openebs.io", "cstorvolumereplicas"),
    ("openebs.io", "upgraderesults"),
];

/// Cluster-wide; without the group's CRD the question is not asked.
const CLUSTER_WIDE: [(&str, &str); 5] = [
    ("", "persistentvolumes"),
    ("", "nodes"),
    ("storage.k8s.io", "volumeattachments"),
    ("openebs.io", "storagepoolclaims"),
    ("openebs.io", "cstorpools"),
];

/// Asks for each right; what the cluster does not serve is not asked for.
pub(super) async fn findings(edge: &Edge, served: &Served, subject: &Subject) -> Result<Vec<Finding>, EdgeError> {
    let needed = needed(edge.namespace(), served);
    let missing = denied(edge, &needed).await?;
    let mut findings = vec![match missing.as_slice() {
        [] => Finding::ok("rights", format!("all {} are granted", needed.len())),
        _ => {
            Finding::fail("rights", format!("missing: {}", listed(&missing)), repair::rights(subject, edge.namespace()))
        }
    }];
    let needless = needless(edge.namespace());
    let refused = denied(edge, &needless).await?;
    if let Some(right) = needless.iter().find(|right| !refused.contains(right)) {
        let remedy = "register the cluster with the account of `fleetlift edge manifest` instead";
        let seen = format!("the credential may do more than it needs, for example {right}");
        findings.push(Finding::warn("rights", seen, remedy));
    }
    findings.extend(renewal(edge, subject).await?);
    Ok(findings)
}

/// Rights for people: the verbs of one resource together.
fn listed(rights: &[Right]) -> String {
    let of_one_resource = |a: &Right, b: &Right| {
        let what = |right: &Right| Right { verb: "", ..right.clone() };
        what(a) == what(b)
    };
    let told = rights.chunk_by(of_one_resource).map(|same| {
        let verbs: Vec<&str> = same.iter().map(|right| right.verb).collect();
        format!("{} {}", verbs.join(", "), same[0].object())
    });
    told.collect::<Vec<String>>().join("; ")
}

fn needed(namespace: &str, served: &Served) -> Vec<Right> {
    let is_served = |group: &str, resource: &str| {
        !group.ends_with("openebs.io") || resource == "upgradetasks" || served.contains(&format!("{resource}.{group}"))
    };
    let mut rights = Vec::new();
    let mut add = |namespace: Option<&str>, group, resource, subresource, verbs: &[&'static str]| {
        rights.extend(verbs.iter().map(|verb| Right {
            namespace: namespace.map(str::to_owned),
            verb,
            group,
            resource,
            subresource,
            name: None,
        }));
    };
    for (group, resource, subresource, verbs) in NAMESPACED {
        add(Some(namespace), group, resource, subresource, verbs);
    }
    for (group, resource) in ENGINES.into_iter().filter(|(group, resource)| is_served(group, resource)) {
        add(Some(namespace), group, resource, None, READ);
    }
    for (group, resource) in CLUSTER_WIDE.into_iter().filter(|(group, resource)| is_served(group, resource)) {
        add(None, group, resource, None, READ);
    }
    rights.push(Right {
        namespace: None,
        verb: "get",
        group: "",
        resource: "namespaces",
        subresource: None,
        name: Some("kube-system".to_owned()),
    });
    rights
}

fn needless(namespace: &str) -> Vec<Right> {
    let right = |namespace: Option<&str>, verb, group, resource| Right {
        namespace: namespace.map(str::to_owned),
        verb,
        group,
        resource,
        subresource: None,
        name: None,
    };
    vec![
        right(None, "*", "*", "*"),
        right(None, "list", "", "secrets"),
        right(Some(namespace), "get", "", "secrets"),
        right(Some(namespace), "create", "", "pods"),
        right(None, "create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    ]
}

/// Whether the hub may renew its own token; known for service accounts.
async fn renewal(edge: &Edge, subject: &Subject) -> Result<Option<Finding>, EdgeError> {
    let Subject::Account(ServiceAccount { namespace, name }) = subject else { return Ok(None) };
    let right = Right {
        namespace: Some(plain(namespace, 63)),
        verb: "create",
        group: "",
        resource: "serviceaccounts",
        subresource: Some("token"),
        name: Some(plain(name, 253)),
    };
    let refused = denied(edge, std::slice::from_ref(&right)).await?;
    Ok(Some(if refused.is_empty() {
        Finding::ok("renewal", "the hub may renew its token")
    } else {
        let remedy =
            format!("{}, or rotate the credential by hand before it ends", repair::rights(subject, edge.namespace()));
        Finding::warn("renewal", format!("missing: {right}"), remedy)
    }))
}

/// Those of `rights` that the API server would refuse, in the same order.
async fn denied(edge: &Edge, rights: &[Right]) -> Result<Vec<Right>, EdgeError> {
    let answers: Vec<Option<Right>> = stream::iter(rights.to_vec())
        // Boxed: else whoever awaits this can't be told to be `Send` (the closure's lifetime is lost on the way).
        .map(|right| async move { Ok::<_, EdgeError>((!allowed(edge, &right).await?).then_some(right)) }.boxed())
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn allowed(edge: &Edge, right: &Right) -> Result<bool, EdgeError> {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        allowed: bool,
    }
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": right}});
    let body = ask(edge, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await?;
    let Review { status } = decode(&body)?;
    Ok(status.allowed)
}

async fn ask(edge: &Edge, path: &str, review: &serde_json::Value) -> Result<Vec<u8>, EdgeError> {
    let body = serde_json::to_vec(review).map_err(impossible)?;
    let request =
        Request::post(path).header(http::header::CONTENT_TYPE, "application/json").body(body).map_err(impossible)?;
    edge.send(request, None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_for_kinds_that_the_cluster_does_not_have_are_not_asked_for() {
        let none = needed("openebs", &Served::new());
        assert!(none.iter().all(|right| right.group != "cstor.openebs.io"));
        assert!(none.iter().any(|right| right.to_string() == "create upgradetasks.openebs.io in namespace openebs"));
        let served = Served::from(["cstorpools.openebs.io".to_owned(), "cstorvolumes.cstor.openebs.io".to_owned()]);
        let told: Vec<String> = needed("openebs", &served).iter().map(Right::to_string).collect();
        assert!(told.contains(&"list cstorpools.openebs.io".to_owned()));
        assert!(told.contains(&"get cstorvolumes.cstor.openebs.io in namespace openebs".to_owned()));
        assert!(told.contains(&"get pods/log in namespace openebs".to_owned()));
        let listed = listed(&needed("openebs", &Served::new()));
        assert!(
            listed.starts_with("get, list, watch, create, patch, delete jobs.batch in namespace openebs; "),
            "{listed}"
        );
    }

    #[test]
    fn nothing_is_needed_that_is_also_called_needless() {
        let all: Served = ENGINES.iter().chain(&CLUSTER_WIDE).map(|(group, name)| format!("{name}.{group}")).collect();
        let needed = needed("openebs", &all);
        assert!(needless("openebs").iter().all(|right| !needed.contains(right)));
    }
}
