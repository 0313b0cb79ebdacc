//! What an edge cluster needs, as YAML: the manifests under `deploy/edge`, with the namespaces that its owner chose.
//!
//! The text is kept, comments and all: whoever applies it should be able to read what it grants. Each file also works as
//! it is, for the default namespaces.

/// The namespaces and parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// OpenEBS's namespace; `openebs` by default.
    pub openebs: &'a str,
    /// The namespace of the hub's account; `fleetlift` by default.
    pub account: &'a str,
    /// The account of Fleetlift's own executor: not needed where only OpenEBS's own images are used.
    pub executor: bool,
    /// The admission policy: Kubernetes 1.30 and later.
    pub admission: bool,
    /// The UpgradeTask definition: for clusters whose OpenEBS brings none. One that is there is better left alone.
    pub upgrade_task: bool,
}

/// Everything, for the default namespaces; without the UpgradeTask definition, which OpenEBS brings.
impl Default for Manifest<'_> {
    fn default() -> Self {
        Self { openebs: "openebs", account: "fleetlift", executor: true, admission: true, upgrade_task: false }
    }
}

impl Manifest<'_> {
    /// YAML documents, in the order in which they can be applied. The namespaces must be names of namespaces.
    pub fn yaml(&self) -> String {
        let parts = [
            (self.upgrade_task, include_str!("../../deploy/edge/upgradetask-crd.yaml")),
            (true, include_str!("../../deploy/edge/hub.yaml")),
            (self.executor, include_str!("../../deploy/edge/executor.yaml")),
            (self.admission, include_str!("../../deploy/edge/admission.yaml")),
        ];
        let chosen = parts.into_iter().filter(|(wanted, _)| *wanted).map(|(_, text)| self.renamed(text));
        chosen.collect::<Vec<_>>().join("---\n")
    }

    fn renamed(&self, text: &str) -> String {
        text.split_inclusive('\n').map(|line| self.renamed_line(line)).collect()
    }

    /// One replacement a line: a namespace that is called like the other's default must not be replaced again.
    fn renamed_line(&self, line: &str) -> String {
        let Self { openebs, account, .. } = self;
        let places = [
            ("namespace: openebs", "openebs", openebs),
            ("namespace: fleetlift", "fleetlift", account),
            ("=openebs:fleetlift-executor", "openebs", openebs),
            (":fleetlift:fleetlift-hub", "fleetlift", account),
            ("=fleetlift:fleetlift-hub", "fleetlift", account),
        ];
        for (place, default, chosen) in places {
            if line.contains(place) {
                return line.replace(place, &place.replacen(default, chosen, 1));
            }
        }
        if line == "  name: fleetlift\n" { format!("  name: {account}\n") } else { line.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_files_as_they_are() {
        let yaml = Manifest::default().yaml();
        assert!(yaml.contains(include_str!("../../deploy/edge/hub.yaml")));
        assert!(yaml.contains(include_str!("../../deploy/edge/admission.yaml")));
        assert!(!yaml.contains("CustomResourceDefinition"));
    }

    #[test]
    fn chosen_namespaces_replace_the_default_ones_wherever_they_are_meant() {
        let chosen = Manifest { openebs: "storage", account: "openebs", ..Manifest::default() }.yaml();
        let lines = |text: &str, part: &str| text.lines().filter(|line| line.contains(part)).count();
        let default = Manifest::default().yaml();
        assert_eq!(lines(&chosen, "namespace: openebs"), lines(&default, "namespace: fleetlift"));
        assert_eq!(lines(&chosen, "namespace: storage"), lines(&default, "namespace: openebs"));
        assert_eq!(lines(&chosen, "namespace: fleetlift"), 0);
        assert!(chosen.contains("kind: Namespace\nmetadata:\n  name: openebs\n"), "{chosen}");
        assert!(chosen.contains("'system:serviceaccount:openebs:fleetlift-hub'"));
        assert!(chosen.contains("--serviceaccount=openebs:fleetlift-hub"));
        assert!(chosen.contains("--serviceaccount=storage:fleetlift-executor"));
        assert!(chosen.contains("name: fleetlift-allowed, namespace: storage,"));
    }
}
