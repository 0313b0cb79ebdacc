//! Clusters by the dozen or by the thousand, each a little different, all from one seed.

use std::collections::BTreeMap;

use super::{Contents, Item, ItemKind};
use crate::sim::behaviour::Behaviour;
use crate::sim::cluster::ClusterSpec;
use crate::sim::seed::Seed;

/// What the clusters of a generated fleet run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// One Jiva volume each: the cheapest cluster that can be upgraded.
    OneVolume,
    /// Shops: pools and volumes of the CSPC and CSI engines, at several versions, the operators at 3.6.0.
    Stores,
    /// Shops, and some clusters that still have the external provisioner's engines, their operator at 2.12.2.
    Everything,
}

const REGIONS: [(&str, &[&str]); 3] = [
    ("eu", &["berlin", "paris", "madrid", "oslo"]),
    ("uk", &["london", "leeds", "york"]),
    ("us", &["austin", "boston", "denver"]),
];

const CSI_VERSIONS: [&str; 4] = ["3.3.0", "3.4.0", "3.5.0", "3.5.0"];
const LEGACY_VERSIONS: [&str; 3] = ["2.9.0", "2.11.0", "2.12.0"];

/// One cluster in ten of [`Mix::Everything`] has legacy engines.
const LEGACY_PER_MILLE: u32 = 100;

impl ClusterSpec {
    /// The cluster of that number in a fleet: the same for the same seed, whatever the size of the fleet.
    pub fn generated(number: usize, mix: Mix, seed: u64) -> Self {
        let name = format!("edge-{number:05}");
        let mut seed = Seed::new(seed).branch(&name);
        let (region, sites) = seed.pick(&REGIONS);
        let site = seed.pick(sites);
        let legacy = mix == Mix::Everything && seed.chance(LEGACY_PER_MILLE);
        let contents = match mix {
            Mix::OneVolume => one_volume(number),
            Mix::Stores => store(number, &mut seed),
            Mix::Everything if legacy => legacy_store(number, &mut seed),
            Mix::Everything => store(number, &mut seed),
        };
        let tier = if legacy { "legacy" } else { "store" };
        let labels = [("region", *region), ("site", *site), ("tier", tier)];
        Self {
            name,
            labels: BTreeMap::from(labels.map(|(key, value)| (key.to_owned(), value.to_owned()))),
            kubernetes: (*seed.pick(&["v1.28.15", "v1.31.9", "v1.33.4", "v1.34.1"])).to_owned(),
            contents,
            behaviour: Behaviour::default(),
            runs_pods: true,
        }
    }
}

fn one_volume(number: usize) -> Contents {
    Contents {
        csi_operators: Some("3.6.0".to_owned()),
        maya: None,
        items: vec![Item::new(ItemKind::JivaVolume, &format!("pvc-{number:05}-j"), "3.5.0")],
    }
}

fn store(number: usize, seed: &mut Seed) -> Contents {
    let version = *seed.pick(&CSI_VERSIONS);
    let pool = format!("cspc-{number:05}");
    let mut items = Vec::new();
    let with_pools = seed.chance(500);
    if with_pools {
        let width = 1 + u32::try_from(seed.below(3)).unwrap_or(0);
        items.push(Item::new(ItemKind::PoolCluster, &pool, version).wide(width));
        let volume = Item::new(ItemKind::CstorVolume, &format!("pvc-{number:05}-c"), version).wide(width).on(&pool);
        items.push(if seed.chance(500) { volume.used() } else { volume });
    }
    if !with_pools || seed.chance(300) {
        let volume = Item::new(ItemKind::JivaVolume, &format!("pvc-{number:05}-j"), version).wide(3);
        items.push(if seed.chance(500) { volume.used() } else { volume });
    }
    Contents { csi_operators: Some("3.6.0".to_owned()), maya: None, items }
}

fn legacy_store(number: usize, seed: &mut Seed) -> Contents {
    let version = *seed.pick(&LEGACY_VERSIONS);
    let claim = format!("spc-{number:05}");
    let items = vec![
        Item::new(ItemKind::PoolClaim, &claim, version).wide(2),
        Item::new(ItemKind::LegacyCstorVolume, &format!("pvc-{number:05}-c"), version).wide(2).on(&claim),
        Item::new(ItemKind::LegacyJivaVolume, &format!("pvc-{number:05}-j"), version).wide(3).used(),
    ];
    Contents { csi_operators: None, maya: Some("2.12.2".to_owned()), items }
}
