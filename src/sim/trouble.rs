//! Who is befallen: counts how often each fault of a cluster's plan has struck, and draws where chance decides.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::behaviour::{Behaviour, Trouble, UpgradeTrouble};
use super::seed::Seed;
use crate::domain::ResourceRef;

/// The troubles of one cluster so far.
pub(super) struct Troubles(Mutex<Counts>);

struct Counts {
    seed: Seed,
    /// By the fault's place in the plan.
    fitting_requests: BTreeMap<usize, u32>,
    befallen_requests: BTreeMap<usize, u32>,
    befallen_upgrades: BTreeMap<usize, u32>,
}

impl Troubles {
    pub fn new(seed: Seed) -> Self {
        Self(Mutex::new(Counts {
            seed,
            fitting_requests: BTreeMap::new(),
            befallen_requests: BTreeMap::new(),
            befallen_upgrades: BTreeMap::new(),
        }))
    }

    /// There is another plan now.
    pub fn begin_anew(&self) {
        let mut counts = self.counts();
        counts.fitting_requests.clear();
        counts.befallen_requests.clear();
        counts.befallen_upgrades.clear();
    }

    /// What befalls this request.
    pub fn of_request(&self, behaviour: &Behaviour, method: &str, path: &str) -> Option<Trouble> {
        if behaviour.requests.is_empty() {
            return None;
        }
        let mut counts = self.counts();
        for (number, fault) in behaviour.requests.iter().enumerate() {
            let fits = fault.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && fault.path.as_deref().is_none_or(|part| path.contains(part));
            if !fits {
                continue;
            }
            let fitting = counts.fitting_requests.entry(number).or_default();
            *fitting += 1;
            let begun = *fitting > fault.after;
            let left =
                fault.times.is_none_or(|times| counts.befallen_requests.get(&number).copied().unwrap_or(0) < times);
            if begun && left && counts.seed.chance(fault.per_mille) {
                *counts.befallen_requests.entry(number).or_default() += 1;
                return Some(fault.what.clone());
            }
        }
        None
    }

    /// What befalls an upgrade that begins now. An operator that refuses is no trouble of the executor's own.
    pub fn of_upgrade(&self, behaviour: &Behaviour, resource: &ResourceRef) -> Option<UpgradeTrouble> {
        let mut counts = self.counts();
        for (number, fault) in behaviour.upgrades.iter().enumerate() {
            let befallen = counts.befallen_upgrades.entry(number).or_default();
            let fits = fault.what != UpgradeTrouble::Refused
                && fault.kind.as_ref().is_none_or(|kind| kind == resource.kind.name())
                && fault.name.as_ref().is_none_or(|name| *name == resource.name)
                && fault.times.is_none_or(|times| *befallen < times);
            if fits {
                *befallen += 1;
                return Some(fault.what.clone());
            }
        }
        None
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_is_planned() {
        let plan: Behaviour = serde_json::from_str(
            r#"{"requests": [{"method": "post", "path": "/jobs", "after": 1, "times": 2, "what": "resetAfter"}]}"#,
        )
        .unwrap();
        let troubles = Troubles::new(Seed::new(1));
        let post = |path: &str| troubles.of_request(&plan, "POST", path).is_some();
        assert_eq!(
            [post("/jobs"), post("/pods"), post("/jobs"), post("/jobs"), post("/jobs")],
            [false, false, true, true, false]
        );
    }
}
