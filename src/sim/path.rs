//! Paths of the Kubernetes API.

use super::resources::Resource;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path<'a> {
    /// `/livez` and its like.
    Health,
    /// `/version`.
    Version,
    /// `/api`.
    Core,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(&'a str),
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    Kinds(&'a str, &'a str),
    /// A question about oneself, by its plural.
    Review(&'a str),
    /// Objects.
    Objects(Target<'a>),
    /// Nothing that there is.
    Unknown,
}

/// Objects of one kind, or one object, or part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub resource: Resource,
    /// Empty for all, and for what is cluster-wide.
    pub namespace: &'a str,
    /// Empty for all.
    pub name: &'a str,
    /// A subresource; empty for the object itself.
    pub part: &'a str,
}

impl<'a> Path<'a> {
    /// Reads a path, without its query.
    pub fn of(path: &'a str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            ["livez" | "readyz" | "healthz"] => Self::Health,
            ["version"] => Self::Version,
            ["api"] => Self::Core,
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group(group),
            ["api", version] => Self::Kinds("", version),
            ["apis", group, version] => Self::Kinds(group, version),
            ["apis", "authorization.k8s.io" | "authentication.k8s.io", "v1", kind] => Self::Review(kind),
            ["api", version, rest @ ..] => Self::objects("", version, rest),
            ["apis", group, version, rest @ ..] => Self::objects(group, version, rest),
            _ => Self::Unknown,
        }
    }

    fn objects(group: &str, version: &str, rest: &[&'a str]) -> Self {
        let (namespace, rest) = match rest {
            // `/namespaces/NAME/status` is about the namespace, `/namespaces/NAME/PLURAL` is not.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, part) = match rest {
            [plural] => (plural, "", ""),
            [plural, name] => (plural, *name, ""),
            [plural, name, part] => (plural, *name, *part),
            _ => return Self::Unknown,
        };
        match Resource::at(group, version, plural) {
            Some(resource) if resource.row().namespaced || namespace.is_empty() => {
                // A namespace, asked for by name, counts as within itself for rights.
                let namespace = if resource == Resource::Namespaces { "" } else { namespace };
                Self::Objects(Target { resource, namespace, name, part })
            }
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(resource: Resource, namespace: &'a str, name: &'a str, part: &'a str) -> Path<'a> {
        Path::Objects(Target { resource, namespace, name, part })
    }

    #[test]
    fn paths_name_objects() {
        let of = Path::of;
        assert_eq!(of("/api/v1/namespaces/kube-system"), target(Resource::Namespaces, "", "kube-system", ""));
        assert_eq!(of("/api/v1/namespaces/openebs/pods"), target(Resource::Pods, "openebs", "", ""));
        assert_eq!(of("/api/v1/namespaces/openebs/pods/p/log"), target(Resource::Pods, "openebs", "p", "log"));
        assert_eq!(of("/apis/batch/v1/jobs"), target(Resource::Jobs, "", "", ""));
        assert_eq!(of("/apis/openebs.io/v1alpha1/cstorpools/x"), target(Resource::Pools, "", "x", ""));
        assert_eq!(of("/apis/batch/v1"), Path::Kinds("batch", "v1"));
        assert_eq!(of("/apis/batch/v2/jobs"), Path::Unknown);
        assert_eq!(of("/apis/openebs.io/v1alpha1/namespaces/x/cstorpools/x"), Path::Unknown);
    }
}
