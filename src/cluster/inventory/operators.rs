//! The control plane as found: each operator's Pods, their versions and their service account.

use std::collections::BTreeSet;

use super::evidence::VERSION_LABEL;
use super::objects::Pod;
use crate::cluster::text::plain;
use crate::domain::inventory::Component;
use crate::openebs::control_plane::Operator;

/// The operators among `pods`, in a fixed order; one without Pods is not there.
pub(super) fn found(pods: &[Pod]) -> Vec<Component> {
    Operator::ALL.into_iter().filter_map(|operator| component(operator, pods)).collect()
}

fn component(operator: Operator, pods: &[Pod]) -> Option<Component> {
    // Pods that have ended count, too: the official executors look at every Pod with the label.
    let own: Vec<&Pod> = pods.iter().filter(|pod| pod.metadata.label(operator.label()) == operator.name()).collect();
    let first = own.first()?;
    let mut versions: BTreeSet<String> = own.iter().map(|pod| plain(pod.metadata.label(VERSION_LABEL), 64)).collect();
    if versions.len() == 1 {
        versions.remove("");
    }
    Some(Component {
        name: operator.name().to_owned(),
        versions: versions.into_iter().collect(),
        service_account: plain(&first.spec.service_account_name, 253),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_operator_being_rolled_out_has_two_versions() {
        let pod = |name: &str, labels: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels},
                "spec": {"serviceAccountName": "openebs-cstor-operator"}}))
            .unwrap()
        };
        let pods = [
            pod("a", json!({"openebs.io/component-name": "cspc-operator", "openebs.io/version": "3.6.0"})),
            pod("b", json!({"openebs.io/component-name": "cspc-operator", "openebs.io/version": "3.5.0"})),
            pod("c", json!({"name": "maya-apiserver"})),
            pod("d", json!({"app": "shop"})),
        ];
        let found = found(&pods);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].versions, ["3.5.0", "3.6.0"]);
        assert_eq!(found[0].service_account, "openebs-cstor-operator");
        assert_eq!((found[1].name.as_str(), found[1].versions.len()), ("maya-apiserver", 0));
    }
}
