//! Who asks, and what they may do: the hub's account with the rights of `deploy/edge/hub.yaml`, and an administrator.

use serde_json::{Value, json};

use super::object::text;
use super::problem::Problem;
use super::resources::Resource;

/// The namespace of the hub's account.
pub const ACCOUNT_NAMESPACE: &str = "fleetlift";
/// The hub's account.
pub const ACCOUNT: &str = "fleetlift-hub";

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The hub's account, with the least that it needs.
    Hub,
    /// May do everything.
    Admin,
}

impl Caller {
    /// As the API server calls them.
    pub const fn user(self) -> &'static str {
        match self {
            Self::Hub => "system:serviceaccount:fleetlift:fleetlift-hub",
            Self::Admin => "kubernetes-admin",
        }
    }
}

/// What somebody wants to do, in the words of RBAC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'a str,
    /// The API group; empty for the core.
    pub group: &'a str,
    /// The plural.
    pub resource: &'a str,
    /// `log`, `status`, …; empty for the object itself.
    pub subresource: &'a str,
    /// Empty for cluster-wide.
    pub namespace: &'a str,
    /// Empty for none in particular.
    pub name: &'a str,
}

/// Where a rule of the hub's account holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In OpenEBS's namespace.
    OpenEbs,
    /// In every namespace: `fleetlift-hub-volumes`, bound where legacy volumes and users of volumes live.
    Anywhere,
    /// For the cluster as a whole.
    Cluster,
    /// In the namespace of the account.
    Own,
}

struct Rule {
    place: Place,
    group: &'static str,
    resources: &'static [&'static str],
    names: &'static [&'static str],
    verbs: &'static [&'static str],
}

const READ: &[&str] = &["get", "list"];

const fn rule(
    place: Place,
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Rule {
    Rule { place, group, resources, names: &[], verbs }
}

const HUB: &[Rule] = &[
    rule(Place::OpenEbs, "batch", &["jobs"], &["get", "list", "watch", "create", "patch", "delete"]),
    rule(Place::OpenEbs, "openebs.io", &["upgradetasks"], &["get", "list", "watch", "create", "delete"]),
    rule(Place::OpenEbs, "", &["pods", "pods/log", "events", "configmaps", "services"], READ),
    rule(Place::OpenEbs, "apps", &["deployments", "statefulsets"], READ),
    rule(
        Place::OpenEbs,
        "cstor.openebs.io",
        &["cstorpoolclusters", "cstorpoolinstances", "cstorvolumes", "cstorvolumereplicas", "cstorvolumeconfigs"],
        READ,
    ),
    rule(Place::OpenEbs, "openebs.io", &["jivavolumes", "cstorvolumes", "cstorvolumereplicas", "upgraderesults"], READ),
    rule(Place::Anywhere, "", &["pods", "services"], READ),
    rule(Place::Anywhere, "apps", &["deployments", "statefulsets"], READ),
    rule(Place::Anywhere, "openebs.io", &["cstorvolumes"], READ),
    rule(Place::Cluster, "", &["persistentvolumes", "nodes"], READ),
    rule(Place::Cluster, "storage.k8s.io", &["volumeattachments"], READ),
    rule(Place::Cluster, "openebs.io", &["storagepoolclaims", "cstorpools"], READ),
    Rule { place: Place::Cluster, group: "", resources: &["namespaces"], names: &["kube-system"], verbs: &["get"] },
    Rule {
        place: Place::Cluster,
        group: "apiextensions.k8s.io",
        resources: &["customresourcedefinitions"],
        names: &["upgradetasks.openebs.io"],
        verbs: &["get"],
    },
    rule(Place::Cluster, "authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &["create"]),
    Rule { place: Place::Own, group: "", resources: &["serviceaccounts/token"], names: &[ACCOUNT], verbs: &["create"] },
];

/// Whether `caller` may do that where OpenEBS lives in `openebs`.
pub fn allowed(caller: Caller, openebs: &str, wish: &Wish<'_>) -> bool {
    if caller == Caller::Admin {
        return true;
    }
    let resource = qualified(wish);
    HUB.iter().any(|rule| {
        let place = match rule.place {
            Place::OpenEbs => wish.namespace == openebs,
            Place::Anywhere => !wish.namespace.is_empty(),
            Place::Cluster => wish.namespace.is_empty() || wish.resource == "namespaces",
            Place::Own => wish.namespace == ACCOUNT_NAMESPACE,
        };
        place
            && rule.group == wish.group
            && rule.resources.contains(&resource.as_str())
            && rule.verbs.contains(&wish.verb)
            && (rule.names.is_empty() || rule.names.contains(&wish.name))
    })
}

/// The refusal, in the API server's words.
pub fn forbidden(caller: Caller, resource: Resource, wish: &Wish<'_>) -> Problem {
    let of = if wish.name.is_empty() { String::new() } else { format!(" \"{}\"", wish.name) };
    let place = match wish.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let message = format!(
        "{}{of} is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
        resource.qualified(),
        caller.user(),
        wish.verb,
        qualified(wish),
        wish.group
    );
    Problem::Forbidden(resource, wish.name.to_owned(), message)
}

fn qualified(wish: &Wish<'_>) -> String {
    match wish.subresource {
        "" => wish.resource.to_owned(),
        subresource => format!("{}/{subresource}", wish.resource),
    }
}

/// The wish that a SelfSubjectAccessReview asks about.
pub fn asked(review: &Value) -> Wish<'_> {
    let attributes = &review["spec"]["resourceAttributes"];
    Wish {
        verb: text(attributes, "verb"),
        group: text(attributes, "group"),
        resource: text(attributes, "resource"),
        subresource: text(attributes, "subresource"),
        namespace: text(attributes, "namespace"),
        name: text(attributes, "name"),
    }
}

/// The rules that hold for `caller` in `namespace`, as a SelfSubjectRulesReview tells them.
pub fn rules(caller: Caller, openebs: &str, namespace: &str) -> Value {
    if caller == Caller::Admin {
        return json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    }
    let holds = |rule: &&Rule| match rule.place {
        Place::OpenEbs => namespace == openebs,
        Place::Anywhere | Place::Cluster => true,
        Place::Own => namespace == ACCOUNT_NAMESPACE,
    };
    let told = |rule: &Rule| {
        json!({"verbs": rule.verbs, "apiGroups": [rule.group], "resources": rule.resources,
            "resourceNames": rule.names})
    };
    HUB.iter().filter(holds).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(verb: &str, group: &str, resource: &str, namespace: &str) -> bool {
        allowed(Caller::Hub, "openebs", &Wish { verb, group, resource, namespace, ..Wish::default() })
    }

    #[test]
    fn the_hub_may_do_its_work_and_nothing_else() {
        assert!(may("create", "batch", "jobs", "openebs"));
        assert!(!may("create", "batch", "jobs", "default"));
        assert!(!may("update", "openebs.io", "upgradetasks", "openebs"));
        assert!(!may("list", "", "secrets", "openebs"));
        assert!(may("list", "", "pods", "shop"));
        assert!(!may("list", "", "namespaces", ""));
        let own = Wish { verb: "get", resource: "namespaces", name: "kube-system", ..Wish::default() };
        assert!(allowed(Caller::Hub, "openebs", &own));
    }
}
