//! What the API server says of itself.

use serde_json::{Value, json};

use crate::worlds::{Asked, compare};

#[test]
fn kinds_and_verbs_are_discovered_alike() {
    compare(|mut talk| async move {
        for (path, kinds) in [
            ("/api/v1", &["pods", "pods/log", "pods/status", "nodes", "namespaces", "persistentvolumes"][..]),
            ("/apis/batch/v1", &["jobs", "jobs/status"]),
            ("/apis/apps/v1", &["deployments", "statefulsets"]),
            ("/apis/openebs.io/v1alpha1", &["upgradetasks"]),
            ("/apis/openebs.io/v1", &["jivavolumes"]),
            ("/apis/authorization.k8s.io/v1", &["selfsubjectaccessreviews"]),
        ] {
            let answer = talk.quietly(Asked { path, ..Asked::default() }).await;
            let all = answer.body["resources"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
            talk.note(path, &json!([answer.code, answer.body["kind"], answer.body["groupVersion"]]));
            for kind in kinds {
                let mut one = all.iter().find(|one| one["name"] == *kind).cloned().unwrap_or_default();
                if let Some(one) = one.as_object_mut() {
                    // What nobody but kubectl reads.
                    one.retain(|field, _| {
                        !["storageVersionHash", "shortNames", "categories", "singularName"].contains(&field.as_str())
                    });
                }
                talk.note(&format!("{path} {kind}"), &one);
            }
        }
        let groups = talk.quietly(Asked { path: "/apis", ..Asked::default() }).await;
        for name in ["batch", "apps", "openebs.io", "cstor.openebs.io"] {
            let all = groups.body["groups"].as_array().unwrap();
            let versions = all.iter().find(|group| group["name"] == name).map(|group| {
                let mut versions: Vec<Value> =
                    group["versions"].as_array().unwrap().iter().map(|one| one["version"].clone()).collect();
                versions.sort_by_key(ToString::to_string);
                versions
            });
            talk.note(name, &json!(versions));
        }
        let version = talk.quietly(Asked { path: "/version", ..Asked::default() }).await;
        talk.note(
            "version",
            &json!([version.code, version.body["gitVersion"], version.body["major"], version.body["minor"]]),
        );
        for path in ["/livez", "/readyz", "/healthz"] {
            let answer = talk.quietly(Asked { path, ..Asked::default() }).await;
            talk.note(path, &json!([answer.code, answer.body]));
        }
        talk
    });
}
