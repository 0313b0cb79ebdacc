//! What a request asks for, read from its method and path: names the missing right, the lost object, the watch.

use http::{Method, Uri};

/// One request in RBAC's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: &'static str,
    /// `jobs.batch`, `pods/log`.
    pub resource: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// Whether the answer is text, not JSON.
    pub plain_text: bool,
}

impl Asked {
    /// Reads `uri`, whose path has no prefix before `/api` or `/apis` yet.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let mut parts = uri.path().split('/').filter(|part| !part.is_empty());
        let group = match parts.next() {
            Some("apis") => parts.next(),
            _ => None,
        };
        let _version = parts.next();
        let mut rest: Vec<&str> = parts.collect();
        // /namespaces/NS/pods is about pods, /namespaces/NS about the namespace itself.
        let namespace = (rest.len() > 2 && rest[0] == "namespaces").then(|| rest[1].to_owned());
        if namespace.is_some() {
            rest.drain(..2);
        }
        let (plural, name, subresource) =
            (rest.first().copied(), rest.get(1).map(|name| (*name).to_owned()), rest.get(2).copied());
        let mut resource = plural.unwrap_or(uri.path()).to_owned();
        if let Some(subresource) = subresource {
            resource = format!("{resource}/{subresource}");
        }
        if let Some(group) = group {
            resource = format!("{resource}.{group}");
        }
        let watches =
            uri.query().is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
        let verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ if watches => "watch",
            _ if name.is_some() || plural.is_none() => "get",
            _ => "list",
        };
        Self { verb, resource, namespace, name, plain_text: subresource == Some("log") }
    }

    pub fn watches(&self) -> bool {
        self.verb == "watch"
    }

    /// `jobs.batch in namespace openebs`: the right, without the object's name.
    pub fn right(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} in namespace {namespace}", self.resource),
            None => self.resource.clone(),
        }
    }

    /// `jobs.batch openebs/fl-x`: the object.
    pub fn object(&self) -> String {
        let parts = [self.namespace.as_deref(), self.name.as_deref()];
        let place: Vec<&str> = parts.into_iter().flatten().collect();
        if place.is_empty() { self.resource.clone() } else { format!("{} {}", self.resource, place.join("/")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_put_into_the_words_of_rbac() {
        let table = [
            (Method::GET, "/api/v1/namespaces/kube-system", "get", "namespaces", "namespaces kube-system"),
            (Method::GET, "/api/v1/namespaces/o/pods?limit=5", "list", "pods", "pods o"),
            (Method::GET, "/api/v1/namespaces/o/pods/p/log?tailLines=3", "get", "pods/log", "pods/log o/p"),
            (Method::POST, "/apis/batch/v1/namespaces/o/jobs?", "create", "jobs.batch", "jobs.batch o"),
            (Method::PATCH, "/apis/batch/v1/namespaces/o/jobs/j?x", "patch", "jobs.batch", "jobs.batch o/j"),
            (Method::DELETE, "/apis/batch/v1/namespaces/o/jobs/j", "delete", "jobs.batch", "jobs.batch o/j"),
            (Method::GET, "/apis/batch/v1/namespaces/o/jobs?watch=true&x", "watch", "jobs.batch", "jobs.batch o"),
            (Method::GET, "/api/v1/nodes", "list", "nodes", "nodes"),
            (Method::GET, "/version", "get", "/version", "/version"),
        ];
        for (method, uri, verb, resource, object) in table {
            let asked = Asked::of(&method, &uri.parse().unwrap());
            assert_eq!(
                (asked.verb, asked.resource.as_str(), asked.object().as_str()),
                (verb, resource, object),
                "{uri}"
            );
        }
    }
}
