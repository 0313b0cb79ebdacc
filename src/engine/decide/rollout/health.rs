//! Whether the clusters of a soaking wave stay healthy.

use std::time::Duration;

use super::verdict::accepted;
use super::{Scene, Tallies, waves};
use crate::domain::Timestamp;
use crate::domain::rollout::PauseCause;
use crate::domain::target::TargetState;

/// A cluster that cannot be read when a soak is over is waited for so long: it is tried again every minute.
const READ_WITHIN: Duration = Duration::from_mins(10);

/// How often it is looked whether the clusters of a wave that has soaked were read.
pub(super) const LOOK_WHILE_READ: Duration = Duration::from_secs(1);

/// A wave that soaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soak {
    /// Which wave.
    pub position: usize,
    /// Since when.
    pub since: Timestamp,
    /// Until when; from then on its clusters are read once more.
    pub until: Timestamp,
}

/// What the newest inventories say of the clusters that a soaking wave upgraded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Clusters that the wave upgraded and the hub still has.
    pub asked: u32,
    /// Of those, the ones that were read after the soak was over.
    pub read: u32,
    /// One that was not, by name.
    pub unread: Option<String>,
    /// Those where something that was upgraded is not healthy, in the wave's order.
    pub ill: Vec<Ill>,
}

/// A cluster that did not stay healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ill {
    /// Its name.
    pub cluster: String,
    /// The resource and what is wrong with it.
    pub found: String,
}

/// The wave that soaks, if one does.
pub fn soaking(scene: &Scene<'_>) -> Option<Soak> {
    let position = scene.waves.iter().position(|wave| wave.passed_at.is_none())?;
    let since = scene.waves[position].settled_at?;
    let soak = waves::soak(scene, position);
    let has_upgraded = scene
        .targets
        .iter()
        .any(|target| target.wave as usize == position && matches!(target.state, TargetState::Succeeded { .. }));
    (soak > Duration::ZERO && has_upgraded).then(|| Soak { position, since, until: since + soak })
}

/// Why the soaking wave may not go on soaking: health was lost, or cannot be told any more.
pub(super) fn lost(scene: &Scene<'_>, tallies: &Tallies, now: Timestamp) -> Option<PauseCause> {
    let (soak, health) = (soaking(scene)?, scene.health?);
    let cause = |cluster: &str, found: String, ill: u32| {
        let wave = scene.waves[soak.position].name.clone();
        PauseCause::HealthLost { wave, cluster: cluster.to_owned(), found, ill }
    };
    let ill = count(&health.ill);
    if let Some(Ill { cluster, found }) = health.ill.first()
        && !is_accepted(scene, tallies, ill)
    {
        return Some(cause(cluster, found.clone(), ill));
    }
    let missing = missing(scene, health);
    let late = now >= soak.until + READ_WITHIN;
    match &health.unread {
        Some(cluster) if late && missing > 0 && !is_accepted(scene, tallies, ill + missing) => {
            let found = format!("it could not be read since its soak ended at {}", soak.until);
            Some(cause(cluster, found, ill + missing))
        }
        _ => None,
    }
}

/// Whether the soaking wave was seen healthy after its soak, or what was not seen so was accepted by a person.
pub(super) fn kept(scene: &Scene<'_>, tallies: &Tallies) -> bool {
    if soaking(scene).is_none() {
        return true;
    }
    let Some(health) = scene.health else { return false };
    let bad = count(&health.ill) + missing(scene, health);
    bad == 0 || is_accepted(scene, tallies, bad)
}

/// Clusters that should have been read and were not: a wave passes without as many as it may leave unreached.
fn missing(scene: &Scene<'_>, health: &Health) -> u32 {
    scene.plan.strategy.unreachable.min_reached.as_demand(health.asked).saturating_sub(health.read)
}

/// Whoever resumed a rollout accepted what had failed and what was ill by then.
fn is_accepted(scene: &Scene<'_>, tallies: &Tallies, ill: u32) -> bool {
    tallies.total.failed + ill <= accepted(scene)
}

fn count(ill: &[Ill]) -> u32 {
    u32::try_from(ill.len()).unwrap_or(u32::MAX)
}
