//! Proof of canary cover: which kinds and versions the first wave exercises, and which only later ones meet.

use std::collections::BTreeMap;

use crate::domain::plan::{Plan, PlannedWave};
use crate::domain::{ResourceKind, Version};

/// A way that the plan goes: a kind, and the version that it starts from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The kind.
    pub kind: ResourceKind,
    /// The release it starts from.
    pub from: (u32, u32, u32),
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor, patch) = self.from;
        write!(f, "{} from {}", self.kind, Version::new(major, minor, patch))
    }
}

/// In how many clusters each way is gone: in the first wave that is not empty, and in all.
pub fn cover(plan: &Plan) -> BTreeMap<Way, (usize, usize)> {
    let mut ways: BTreeMap<Way, (usize, usize)> = BTreeMap::new();
    let first = first_wave(plan).map(|(position, _)| position);
    for (position, wave) in plan.waves.iter().enumerate() {
        for target in &wave.targets {
            let mut own: Vec<Way> =
                target.tasks.iter().map(|task| Way { kind: task.resource.kind, from: task.from.numbers() }).collect();
            own.sort();
            own.dedup();
            for way in own {
                let (canaries, all) = ways.entry(way).or_default();
                *canaries += usize::from(Some(position) == first);
                *all += 1;
            }
        }
    }
    ways
}

/// What the first wave does not prove, in a sentence, if there is more than one wave.
pub fn warning(plan: &Plan) -> Option<String> {
    let (_, first) = first_wave(plan)?;
    let unproven: Vec<String> = cover(plan)
        .into_iter()
        .filter(|(_, (canaries, _))| *canaries == 0)
        .map(|(way, (_, all))| format!("{way} ({all} cluster{})", if all == 1 { "" } else { "s" }))
        .collect();
    (!unproven.is_empty()).then(|| format!("wave {} does not exercise {}", first.name, super::listed(&unproven)))
}

/// The first wave with clusters in it.
pub fn first_wave(plan: &Plan) -> Option<(usize, &PlannedWave)> {
    plan.waves.iter().enumerate().find(|(_, wave)| !wave.targets.is_empty())
}
