//! Who may do what, and who is asked about it.

use serde_json::json;

use crate::jobs::{JOBS, job};
use crate::worlds::{Asked, Who, compare};

#[test]
fn strangers_and_those_without_a_right_are_told_so() {
    compare(|mut talk| async move {
        talk.ask("a stranger", Asked { who: Who::Stranger, path: JOBS, ..Asked::default() }).await;
        let hub = |path| Asked { who: Who::Hub, path, ..Asked::default() };
        talk.ask("secrets", hub("/api/v1/namespaces/openebs/secrets")).await;
        talk.ask("one secret", hub("/api/v1/namespaces/openebs/secrets/token")).await;
        talk.ask("namespaces", hub("/api/v1/namespaces")).await;
        let body = job("elsewhere");
        let path = "/apis/batch/v1/namespaces/shop/jobs";
        talk.ask("a Job elsewhere", Asked { method: "POST", body: Some(&body), ..hub(path) }).await;
        let listed = talk.quietly(hub(JOBS)).await;
        talk.note("its Jobs", &json!(listed.code));
        talk
    });
}

#[test]
fn whoever_asks_what_it_may_do_hears_the_same() {
    compare(|mut talk| async move {
        let review = |verb: &str, group: &str, resource: &str, namespace: &str| {
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec":
                {"resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace}}})
        };
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        for (verb, group, resource, namespace) in [
            ("create", "batch", "jobs", "openebs"),
            ("patch", "batch", "jobs", "openebs"),
            ("delete", "batch", "jobs", "openebs"),
            ("update", "batch", "jobs", "openebs"),
            ("create", "batch", "jobs", "shop"),
            ("create", "openebs.io", "upgradetasks", "openebs"),
            ("delete", "openebs.io", "upgradetasks", "openebs"),
            ("list", "", "pods", "openebs"),
            ("delete", "", "pods", "openebs"),
            ("get", "", "secrets", "openebs"),
            ("list", "", "persistentvolumes", ""),
            ("list", "", "nodes", ""),
        ] {
            let body = review(verb, group, resource, namespace);
            let asked = Asked { who: Who::Hub, method: "POST", path, body: Some(&body), ..Asked::default() };
            let answer = talk.quietly(asked).await;
            let title = format!("{verb} {resource}.{group} in `{namespace}`");
            talk.note(&title, &json!([answer.code, answer.body["kind"], answer.body["status"]["allowed"]]));
        }
        let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let asked = Asked { who: Who::Hub, method: "POST", path, body: Some(&who), ..Asked::default() };
        let answer = talk.quietly(asked).await;
        talk.note("who", &json!([answer.code, answer.body["status"]["userInfo"]["username"]]));
        talk
    });
}
