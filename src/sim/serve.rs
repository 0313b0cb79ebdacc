//! A fleet in a process of its own: kubeconfigs and log on disk, until it is told to stop.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::behaviour::Behaviour;
use super::contents::Mix;
use super::fleet::{Fleet, FleetSpec, StartError};
use super::oracle::Oracle;
use super::seed::Seed;
use crate::domain::Clock;

/// Bytes of a file of faults.
const FAULTS_BYTES_MAX: u64 = 1024 * 1024;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// How many clusters; at least one.
    pub clusters: usize,
    /// What they run.
    pub mix: Mix,
    /// From what everything random follows.
    pub seed: u64,
    /// Where the files are written; see [`Order::kubeconfigs`], [`Order::labels`] and [`Order::log`].
    pub out: PathBuf,
    /// Who misbehaves, and how: a file in the form of [`Faults`], YAML or JSON.
    pub faults: Option<PathBuf>,
}

impl Order {
    /// The folder with one `NAME.yaml` for each cluster.
    pub fn kubeconfigs(&self) -> PathBuf {
        self.out.join("kubeconfigs")
    }

    /// The table of labels, beside the kubeconfigs.
    pub fn labels(&self) -> PathBuf {
        self.out.join("labels.csv")
    }

    /// What the clusters saw, as JSON lines.
    pub fn log(&self) -> PathBuf {
        self.out.join("oracle.jsonl")
    }
}

/// Who misbehaves, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Faults {
    /// Every cluster that is not named.
    pub all: Option<Behaviour>,
    /// So many of a thousand of those that are not named, drawn by the seed; the first that strikes counts.
    pub some: Vec<Share>,
    /// By name.
    pub clusters: BTreeMap<String, Behaviour>,
    /// The shortest and longest upgrade, in milliseconds.
    pub upgrade_ms: Option<(u64, u64)>,
}

/// A behaviour, and how many of a thousand clusters show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Share {
    /// How many of a thousand.
    pub per_mille: u32,
    /// How they behave.
    pub behaviour: Behaviour,
}

/// The fleet could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The file of faults.
    #[error("{path}: {why}")]
    Faults {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be written.
    #[error("{path} cannot be written")]
    Write {
        /// The file or folder.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The clusters did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Starts the fleet and writes its files; the kubeconfigs are complete when this returns. Stop it with [`Fleet::stop`].
pub fn serve(order: &Order, clock: Arc<dyn Clock>) -> Result<Fleet, ServeError> {
    let faults = order.faults.as_deref().map_or_else(|| Ok(Faults::default()), read_faults)?;
    let mut spec = FleetSpec::generated(order.clusters, order.mix, order.seed);
    faults.apply(&mut spec, order.seed);
    let unwritten = |path: &Path| {
        let path = path.display().to_string();
        move |source| ServeError::Write { path, source }
    };
    fs::create_dir_all(&order.out).map_err(unwritten(&order.out))?;
    let log = order.log();
    let oracle = Oracle::to_file(&log).map_err(unwritten(&log))?;
    let fleet = Fleet::start(spec, clock, oracle, order.seed)?;
    fleet.write_kubeconfigs(&order.kubeconfigs()).map_err(unwritten(&order.kubeconfigs()))?;
    fleet.write_labels(&order.labels()).map_err(unwritten(&order.labels()))?;
    Ok(fleet)
}

fn read_faults(path: &Path) -> Result<Faults, ServeError> {
    let wrong = |why: String| ServeError::Faults { path: path.display().to_string(), why };
    let size = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > FAULTS_BYTES_MAX {
        return Err(wrong(format!("it is larger than {FAULTS_BYTES_MAX} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))
}

impl Faults {
    /// Gives each cluster its behaviour.
    fn apply(&self, spec: &mut FleetSpec, seed: u64) {
        if let Some((shortest, longest)) = self.upgrade_ms {
            spec.pace.upgrade_min = std::time::Duration::from_millis(shortest);
            spec.pace.upgrade_max = std::time::Duration::from_millis(longest.max(shortest));
        }
        for cluster in &mut spec.clusters {
            let mut draws = Seed::new(seed).branch(&cluster.name).branch("faults");
            let drawn = self.some.iter().find(|share| draws.chance(share.per_mille)).map(|share| &share.behaviour);
            let behaviour = self.clusters.get(&cluster.name).or(drawn).or(self.all.as_ref());
            if let Some(behaviour) = behaviour {
                cluster.behaviour = behaviour.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_cluster_behaves_as_it_is_told_and_the_others_like_all() {
        let text = "all: {latencyMs: 5}\nclusters:\n  edge-00001: {slowness: 10}\nupgradeMs: [100, 200]\n";
        let faults: Faults = serde_saphyr::from_str(text).unwrap();
        let mut spec = FleetSpec::generated(2, Mix::OneVolume, 1);
        faults.apply(&mut spec, 1);
        let [zero, one] = &spec.clusters[..] else { unreachable!("two were asked for") };
        assert_eq!((zero.behaviour.latency_ms, zero.behaviour.slowness), (5, 1));
        assert_eq!((one.behaviour.latency_ms, one.behaviour.slowness), (0, 10));
        assert_eq!(spec.pace.upgrade_max.as_millis(), 200);
    }

    #[test]
    fn a_share_of_the_fleet_is_about_as_large_as_it_says() {
        let faults: Faults = serde_saphyr::from_str("some: [{perMille: 100, behaviour: {slowness: 3}}]").unwrap();
        let mut spec = FleetSpec::generated(1_000, Mix::OneVolume, 7);
        faults.apply(&mut spec, 7);
        let slow = spec.clusters.iter().filter(|cluster| cluster.behaviour.slowness == 3).count();
        assert!((60..140).contains(&slow), "{slow}");
    }
}
