//! OpenEBS's own executors carry out what the hub planned: it comes to the same verdicts as with ours. These run when
//! `tests/node/run` is told where the programs are.

use std::time::Duration;

use serde_json::json;

use crate::each_kind::{EachKind, TASKS};
use crate::operators::Answer;
use crate::real_node::RealNode;
use crate::support::TestCluster;
use crate::verdicts::Trouble;

/// As a fleet's config asks for them.
const THEIRS: &str = "{use: openebs}";

/// They look every ten seconds.
const PATIENCE: Duration = Duration::from_mins(10);

/// They run as OpenEBS's operators do, which may do anything here.
async fn may_do_anything(cluster: &TestCluster) {
    let namespace = &cluster.namespace;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("operators-of-{namespace}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
            "name": format!("system:serviceaccounts:{namespace}")}]});
    cluster.apply(&binding).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn each_kind_is_upgraded() {
    RealNode::shared().await;
    let EachKind { cluster, hub, plan, .. } = &EachKind::awaits(THEIRS, 1).await;
    may_do_anything(cluster).await;
    hub.ok(&["rollout", "start", plan]);
    let status = hub.place.finished_within(PATIENCE);
    assert_eq!(hub.verdict_of(&status).0, "succeeded", "{}", hub.explain());
    let results = hub.json(&["result", "list", "latest"]);
    assert_eq!(results.as_array().unwrap().len(), TASKS);
    for result in results.as_array().unwrap() {
        assert_eq!((&result["outcome"], &result["attempts"]), (&json!("succeeded"), &json!(1)), "{result:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn an_operator_that_refuses_the_version_is_quoted_in_the_result() {
    let trouble = Trouble::of(THEIRS, "1m", 1).await;
    may_do_anything(&trouble.cluster).await;
    trouble.operators.answer(Answer::Refuse("invalid current version 3.5.0"));
    trouble.start();
    let reason = trouble.ends_failed(1);
    assert!(reason.contains("invalid current version 3.5.0") && reason.contains("TARGET_UPGRADE"), "{reason}");
}
