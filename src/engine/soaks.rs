//! The health of what soaks: the inventories of the clusters that a soaking wave upgraded, read anew at a bounded rate
//! and judged as they come in.

use std::collections::HashMap;
use std::time::Duration;

use super::decide::rollout::{Health, Ill, Scene, Soak, planned, soaking};
use crate::domain::cluster::ClusterState;
use crate::domain::inventory::{Condition, Inventory};
use crate::domain::plan::PlannedTarget;
use crate::domain::target::TargetState;
use crate::domain::{Clock, ClusterId, RolloutId, Timestamp};
use crate::store::{Store, StoreError, StoredInventory};

/// How often the clusters of a soaking wave are read anew: sooner than all others, and far from busying them.
const READ_EVERY: Duration = Duration::from_mins(5);

/// How often what was read is judged while the wave soaks, …
const JUDGED_EVERY: Duration = Duration::from_secs(10);

/// … and once it has soaked, when only what has not been read since is waited for.
const JUDGED_EVERY_AT_THE_END: Duration = Duration::from_secs(1);

/// Judging takes at most this share of the scheduler's time: a wave may have thousands of clusters.
const AT_MOST_A_SHARE_OF: u32 = 20;

/// What is known of each rollout whose wave soaks.
#[derive(Default)]
pub(super) struct Soaks(HashMap<RolloutId, Judged>);

struct Judged {
    soak: Soak,
    clusters: Vec<Soaking>,
    refreshed_at: Timestamp,
    refreshed_at_the_end: bool,
    due_at: Timestamp,
    health: Health,
}

/// One cluster that the wave upgraded.
struct Soaking {
    id: ClusterId,
    /// Its place in the wave.
    position: u32,
    upgraded_at: Timestamp,
    read_at: Option<Timestamp>,
    removed: bool,
    ill: Option<Ill>,
}

impl Soaks {
    /// Forgets all others.
    pub(super) fn keep_only(&mut self, unfinished: &[RolloutId]) {
        self.0.retain(|id, _| unfinished.contains(id));
    }

    /// What is known of the wave of this rollout that soaks, if one does.
    pub(super) async fn health(
        &mut self,
        store: &dyn Store,
        clock: &dyn Clock,
        scene: &Scene<'_>,
    ) -> Result<Option<&Health>, StoreError> {
        let id = scene.rollout.id;
        let Some(soak) = soaking(scene) else {
            self.0.remove(&id);
            return Ok(None);
        };
        let now = clock.now();
        if self.0.get(&id).is_none_or(|judged| judged.soak != soak) {
            self.0.insert(id, Judged::nothing(scene, soak));
        }
        let Some(judged) = self.0.get_mut(&id) else { return Ok(None) };
        // A target that was tried again late joins those that soak.
        judged.join(scene);
        judged.refresh(store, now).await?;
        if now >= judged.due_at {
            judged.judge(store, scene, now).await?;
            let pause = if now < soak.until { JUDGED_EVERY } else { JUDGED_EVERY_AT_THE_END };
            let done = clock.now();
            judged.due_at = done + pause.max(done.since(now).saturating_mul(AT_MOST_A_SHARE_OF));
        }
        Ok(Some(&judged.health))
    }
}

impl Judged {
    fn nothing(scene: &Scene<'_>, soak: Soak) -> Self {
        let mut judged = Self {
            soak,
            clusters: Vec::new(),
            refreshed_at: soak.since,
            refreshed_at_the_end: false,
            due_at: soak.since,
            health: Health::default(),
        };
        judged.join(scene);
        judged
    }

    fn join(&mut self, scene: &Scene<'_>) {
        let position = self.soak.position;
        let upgraded = scene.targets.iter().filter(|target| target.wave as usize == position).filter_map(|target| {
            let TargetState::Succeeded { at } = target.state else { return None };
            Some((target, at))
        });
        if upgraded.clone().count() == self.clusters.len() {
            return;
        }
        self.clusters = upgraded
            .map(|(target, upgraded_at)| Soaking {
                id: target.cluster,
                position: target.position,
                upgraded_at,
                read_at: None,
                removed: false,
                ill: None,
            })
            .collect();
        self.due_at = self.soak.since;
    }

    /// Lets the clusters be read anew: now and then while they soak, and once more when they have.
    async fn refresh(&mut self, store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        let at_the_end = now >= self.soak.until && !self.refreshed_at_the_end;
        if !at_the_end && (now >= self.soak.until || now.since(self.refreshed_at) < READ_EVERY) {
            return Ok(());
        }
        let before = if at_the_end { self.soak.until } else { now - READ_EVERY };
        let clusters = self.clusters.iter().map(|cluster| cluster.id).collect();
        store.refresh_inventories(clusters, before, now).await?;
        self.refreshed_at = now;
        self.refreshed_at_the_end = at_the_end;
        Ok(())
    }

    async fn judge(&mut self, store: &dyn Store, scene: &Scene<'_>, now: Timestamp) -> Result<(), StoreError> {
        let until = self.soak.until;
        let wave = scene.plan.waves.get(self.soak.position);
        for cluster in &mut self.clusters {
            // What was read after the soak is the last word.
            if cluster.removed || cluster.read_at.is_some_and(|at| at >= until) {
                continue;
            }
            let Some(planned) = wave.and_then(|wave| wave.targets.get(cluster.position as usize)) else { continue };
            if let Some(stored) = store.inventory(cluster.id).await? {
                cluster.judge(planned, &stored);
            }
            let unread = now >= until && cluster.read_at.is_none_or(|at| at < until);
            cluster.removed = unread && matches!(store.cluster(cluster.id).await?.state, ClusterState::Removed { .. });
        }
        self.health = self.summed_up(scene);
        Ok(())
    }

    fn summed_up(&self, scene: &Scene<'_>) -> Health {
        let here = || self.clusters.iter().filter(|cluster| !cluster.removed);
        let is_read = |cluster: &&Soaking| cluster.read_at.is_some_and(|at| at >= self.soak.until);
        let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
        let unread = here().find(|cluster| !is_read(cluster));
        let name = |cluster: &Soaking| {
            let target = scene.targets.iter().find(|target| target.cluster == cluster.id)?;
            planned(scene, target).map(|planned| planned.name.clone())
        };
        Health {
            asked: count(here().count()),
            read: count(here().filter(is_read).count()),
            unread: unread.and_then(name),
            ill: here().filter_map(|cluster| cluster.ill.clone()).collect(),
        }
    }
}

impl Soaking {
    fn judge(&mut self, planned: &PlannedTarget, stored: &StoredInventory) {
        // What was read before it was upgraded tells nothing, and what was judged already nothing new.
        if stored.taken_at < self.upgraded_at || self.read_at.is_some_and(|at| at >= stored.taken_at) {
            return;
        }
        // An inventory that cannot be understood counts as unread: the next one will be this version's.
        let Ok(inventory) = serde_json::from_str::<Inventory>(&stored.body) else { return };
        self.read_at = Some(stored.taken_at);
        self.ill = ill(planned, &inventory);
    }
}

/// The first resource that was upgraded and is not healthy. One that is gone is its owner's business, and one whose
/// health cannot be told was not found ill.
fn ill(planned: &PlannedTarget, inventory: &Inventory) -> Option<Ill> {
    planned.tasks.iter().find_map(|task| match &inventory.resource(&task.resource)?.health {
        Condition::Fails(why) => {
            Some(Ill { cluster: planned.name.clone(), found: format!("{}: {why}", task.resource) })
        }
        Condition::Holds | Condition::Unknown(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::inventory::Resource;
    use crate::domain::plan::PlannedTask;
    use crate::domain::{InventoryDigest, ResourceKind, ResourceRef, Version, Zone};
    use crate::engine::decide::tests::{Zeros, at};

    fn volume() -> ResourceRef {
        ResourceRef { kind: ResourceKind::JivaVolume, name: "pvc-1".into() }
    }

    fn planned() -> PlannedTarget {
        let task = PlannedTask {
            resource: volume(),
            resource_namespace: "openebs".into(),
            namespace: "openebs".into(),
            from: Version::new(3, 5, 0),
            to: Version::new(3, 6, 0),
            image: String::new(),
            pull_secrets: vec![],
            own_executor: true,
            service_account: String::new(),
            image_prefix: String::new(),
            image_tag: String::new(),
            pools: vec![],
            workloads: vec![],
            repair: false,
            expected_seconds: 60,
        };
        PlannedTarget {
            cluster: ClusterId::new(at(0), &Zeros),
            name: "berlin".into(),
            labels: std::collections::BTreeMap::new(),
            time_zone: Zone::utc(),
            inventory: InventoryDigest::of(b"inventory"),
            tasks: vec![task],
        }
    }

    /// An inventory with that volume, and one beside it that nobody upgraded and that is ill.
    fn taken(second: i64, health: Condition) -> StoredInventory {
        let resource = |id, health| Resource {
            id,
            namespace: "openebs".into(),
            parent: None,
            version: None,
            versions: vec![],
            health,
            half_done: None,
            pools: vec![],
            replicas: None,
            attached_to: None,
            workloads: vec![],
            users_unknown: None,
            details: std::collections::BTreeMap::new(),
        };
        let other = ResourceRef { name: "pvc-0".into(), ..volume() };
        StoredInventory::from(&Inventory {
            taken_at: at(second),
            kubernetes: String::new(),
            architectures: vec![],
            namespace: "openebs".into(),
            control_plane: vec![],
            resources: vec![resource(other, Condition::Fails("off line".into())), resource(volume(), health)],
            under_way: vec![],
            history: vec![],
            problems: vec![],
        })
    }

    #[test]
    fn only_what_was_upgraded_is_judged_and_only_by_what_was_read_since() {
        let mut cluster = Soaking {
            id: ClusterId::new(at(0), &Zeros),
            position: 0,
            upgraded_at: at(10),
            read_at: None,
            removed: false,
            ill: None,
        };
        let fails = || Condition::Fails("1 of 3 replicas".into());
        let found = Some(Ill { cluster: "berlin".into(), found: "jivaVolume/pvc-1: 1 of 3 replicas".into() });
        cluster.judge(&planned(), &taken(9, fails()));
        assert_eq!((cluster.read_at, &cluster.ill), (None, &None));
        cluster.judge(&planned(), &taken(11, Condition::Holds));
        assert_eq!((cluster.read_at, &cluster.ill), (Some(at(11)), &None));
        cluster.judge(&planned(), &taken(12, fails()));
        assert_eq!((cluster.read_at, &cluster.ill), (Some(at(12)), &found));
        cluster.judge(&planned(), &taken(13, Condition::Unknown("no right".into())));
        assert_eq!(cluster.ill, None);
    }
}
