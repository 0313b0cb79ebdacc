//! The commands that give the hub what it lacks in a cluster, ready to paste: one that repairs its rights as a whole, one
//! for a namespace of legacy volumes.

use http::Request;
use serde::Deserialize;
use serde_json::json;

use crate::cluster::account::ServiceAccount;
use crate::cluster::edge::{decode, impossible};
use crate::cluster::{Edge, EdgeError};
use crate::domain::fleet::check_object_name;

/// What `fleetlift edge manifest` calls the hub's account.
const ACCOUNT: &str = "fleetlift-hub";
/// The namespace that `fleetlift edge manifest` gives it.
const ACCOUNT_NAMESPACE: &str = "fleetlift";

/// As whom the hub is known in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A service account.
    Account(ServiceAccount),
    /// Another user, of a name that needs no quoting.
    User(String),
    /// The cluster does not say.
    Unknown,
}

impl Subject {
    /// Asks the API server, which tells since Kubernetes 1.28; before that a service account's token says it itself.
    pub(super) async fn of(edge: &Edge) -> Result<Self, EdgeError> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let body = serde_json::to_vec(&review).map_err(impossible)?;
        let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(impossible)?;
        match edge.send(request, None).await {
            Err(error) if error.reached() => Ok(Self::by_token(edge)),
            answer => Ok(Self::told(&answer?).unwrap_or_else(|| Self::by_token(edge))),
        }
    }

    /// What the credential says of itself.
    pub(super) fn by_token(edge: &Edge) -> Self {
        edge.own_token().map_or(Self::Unknown, |token| Self::account(&token.account.namespace, &token.account.name))
    }

    fn told(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Review {
            status: Status,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            user_info: User,
        }
        #[derive(Deserialize)]
        struct User {
            username: String,
        }
        let Review { status } = decode(body).ok()?;
        let name = status.user_info.username;
        if let Some((namespace, account)) =
            name.strip_prefix("system:serviceaccount:").and_then(|it| it.split_once(':'))
        {
            return Some(Self::account(namespace, account));
        }
        // It goes into a command for a shell, and it is the cluster that says it.
        let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@/".contains(&b);
        let fits = (1..=253).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(harmless);
        Some(if fits { Self::User(name) } else { Self::Unknown })
    }

    fn account(namespace: &str, name: &str) -> Self {
        if check_object_name(namespace).is_err() || check_object_name(name).is_err() {
            return Self::Unknown;
        }
        Self::Account(ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    fn flag(&self) -> String {
        match self {
            Self::Account(ServiceAccount { namespace, name }) => format!("--serviceaccount={namespace}:{name}"),
            Self::User(name) => format!("--user={name}"),
            Self::Unknown => "--user=NAME".to_owned(),
        }
    }
}

/// Gives the hub, known as `subject`, all its rights in a cluster whose OpenEBS is in `openebs`. The admission policy and
/// what its owner allows there stay as they are.
pub(super) fn rights(subject: &Subject, openebs: &str) -> String {
    let namespace = match subject {
        Subject::Account(account) if account.name == ACCOUNT => account.namespace.as_str(),
        _ => ACCOUNT_NAMESPACE,
    };
    let manifest = format!(
        "fleetlift edge manifest --namespace {openebs} --account-namespace {namespace} --no-admission | kubectl apply -f -"
    );
    match subject {
        Subject::Account(account) if account.name == ACCOUNT => {
            format!("as an administrator of the cluster: `{manifest}`")
        }
        other => {
            let flag = other.flag();
            format!(
                "as an administrator of the cluster: `{manifest} && \
                 kubectl -n {openebs} create rolebinding fleetlift-hub-registered --role=fleetlift-hub {flag} && \
                 kubectl create clusterrolebinding fleetlift-hub-registered --clusterrole=fleetlift-hub {flag}`; or \
                 register the account that the manifest makes (`fleetlift cluster rotate`)"
            )
        }
    }
}

/// Lets the hub see legacy volumes, and who uses volumes, in one more namespace.
pub(super) fn rights_in(subject: &Subject, namespace: &str) -> String {
    format!(
        "as an administrator of the cluster: `kubectl -n {namespace} create rolebinding fleetlift-hub-volumes \
         --clusterrole=fleetlift-hub-volumes {}`, or accept what is not seen",
        subject.flag()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        let review = json!({"status": {"userInfo": {"username": name}}});
        Subject::told(review.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_manifests_own_account_gets_the_manifest_again_and_another_user_a_binding_more() {
        assert_eq!(
            rights(&subject("system:serviceaccount:ops:fleetlift-hub"), "storage"),
            "as an administrator of the cluster: `fleetlift edge manifest --namespace storage --account-namespace ops \
             --no-admission | kubectl apply -f -`"
        );
        let other = rights(&subject("jane@example.org"), "openebs");
        let binding = "kubectl -n openebs create rolebinding fleetlift-hub-registered --role=fleetlift-hub \
                       --user=jane@example.org && kubectl create clusterrolebinding";
        assert!(other.contains("--account-namespace fleetlift --no-admission") && other.contains(binding), "{other}");
        assert_eq!(
            rights_in(&subject("system:serviceaccount:fleetlift:fleetlift-hub"), "shop"),
            "as an administrator of the cluster: `kubectl -n shop create rolebinding fleetlift-hub-volumes \
             --clusterrole=fleetlift-hub-volumes --serviceaccount=fleetlift:fleetlift-hub`, or accept what is not seen"
        );
    }

    #[test]
    fn a_cluster_cannot_put_words_into_the_administrators_shell() {
        for hostile in ["`reboot`", "x;reboot", "$(reboot)", "a b", "", "-x", "system:serviceaccount:a:$(reboot)"] {
            assert_eq!(subject(hostile), Subject::Unknown, "{hostile}");
        }
        assert!(rights(&Subject::Unknown, "openebs").contains("--user=NAME"));
    }
}
