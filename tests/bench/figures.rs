//! From what was written down to figures.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::Work;
use crate::edges::Job;
use crate::process::Usage;

/// What one contestant left behind.
pub struct Run {
    pub wall: Duration,
    pub before: Usage,
    pub after: Usage,
    /// When it had room for another cluster, in Unix microseconds.
    pub freed_us: Vec<i64>,
    pub known: Known,
    pub counted: Option<Counted>,
}

/// When each outcome was known, in Unix microseconds.
pub enum Known {
    ByCluster(HashMap<String, i64>),
    ByAttempt(HashMap<String, i64>),
}

/// What the daemon itself has counted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counted {
    /// Requests to clusters, by `verb code`.
    pub edge_requests: std::collections::BTreeMap<String, f64>,
    pub commits: f64,
    pub rows: f64,
    pub commit_seconds: f64,
}

/// Middle and nearly worst, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// The figures of one contestant.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub upgrades: usize,
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub upgrades_per_cpu_second: f64,
    pub cpu_ms_per_upgrade: f64,
    pub resident_before_bytes: u64,
    pub peak_bytes: u64,
    pub bytes_per_cluster_in_flight: f64,
    /// `None` if every cluster ran at once, so that no slot was ever freed for another.
    pub slot_to_job: Option<Spread>,
    pub job_end_to_known: Spread,
    /// Both together, by the clusters' log alone; the same bound as for `slot_to_job`.
    pub job_end_to_next_job: Option<Spread>,
    /// What the daemon itself has counted.
    pub counted: Option<Counted>,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]
    pub fn of(work: Work, run: Run, jobs: &[Job]) -> anyhow::Result<Self> {
        let upgrades = jobs.len();
        let cpu = run.after.cpu.saturating_sub(run.before.cpu).as_secs_f64();
        let known = |job: &Job| match &run.known {
            Known::ByCluster(at) => at.get(&job.cluster),
            Known::ByAttempt(at) => at.get(&job.attempt),
        };
        let mut until_known = Vec::with_capacity(upgrades);
        for job in jobs {
            let at = known(job).with_context(|| format!("{}: nobody saw its end", job.cluster))?;
            until_known.push(at - job.ended_us);
        }
        let mut accepted: Vec<i64> = jobs.iter().map(|job| job.accepted_us).collect();
        accepted.sort_unstable();
        let next = accepted.get(work.running..).unwrap_or_default();
        ensure!(run.freed_us.len() == upgrades, "{} slots were freed by {upgrades} upgrades", run.freed_us.len());
        let ended = jobs.iter().map(|job| job.ended_us).collect();
        Ok(Self {
            upgrades,
            wall_seconds: run.wall.as_secs_f64(),
            cpu_seconds: cpu,
            upgrades_per_cpu_second: upgrades as f64 / cpu,
            cpu_ms_per_upgrade: cpu * 1_000.0 / upgrades as f64,
            resident_before_bytes: run.before.resident,
            peak_bytes: run.after.peak,
            bytes_per_cluster_in_flight: run.after.peak.saturating_sub(run.before.resident) as f64
                / work.running as f64,
            slot_to_job: paired(run.freed_us, next),
            job_end_to_known: Spread::of(until_known).context("no upgrades")?,
            job_end_to_next_job: paired(ended, next),
            counted: run.counted,
        })
    }
}

/// From the k-th of `freed` to the k-th of `taken`: slots are alike, so the first that is free is the first taken.
fn paired(mut freed: Vec<i64>, taken: &[i64]) -> Option<Spread> {
    freed.sort_unstable();
    Spread::of(freed.iter().zip(taken).map(|(freed, taken)| taken - freed).collect())
}

impl Spread {
    /// Of times in microseconds. What seems to have been before its cause was seen within the reader's 2 ms: zero.
    #[expect(clippy::cast_precision_loss, reason = "times of minutes in microseconds are far below 2^52")]
    fn of(mut times_us: Vec<i64>) -> Option<Self> {
        times_us.sort_unstable();
        let at = |percent: usize| {
            let place = (times_us.len() * percent).div_ceil(100).max(1) - 1;
            times_us.get(place).map(|&micros| micros.max(0) as f64 / 1_000.0)
        };
        Some(Self { p50_ms: at(50)?, p99_ms: at(99)? })
    }
}

impl Counted {
    /// From a page of metrics.
    pub fn read(page: &str) -> Self {
        let mut counted = Self::default();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            match name {
                "fleetlift_store_commit_seconds_count" => counted.commits = value,
                "fleetlift_store_commit_seconds_sum" => counted.commit_seconds = value,
                "fleetlift_store_commit_rows_sum" => counted.rows = value,
                _ => {
                    if let Some(labels) = name.strip_prefix("fleetlift_edge_requests_total") {
                        let labels: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
                        counted.edge_requests.insert(labels.join(" "), value);
                    }
                }
            }
        }
        counted
    }

    /// What was added since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let added = |(name, value): (&String, &f64)| {
            let added = value - before.edge_requests.get(name).copied().unwrap_or_default();
            (added > 0.0).then(|| (name.clone(), added))
        };
        Self {
            edge_requests: self.edge_requests.iter().filter_map(added).collect(),
            commits: self.commits - before.commits,
            rows: self.rows - before.rows,
            commit_seconds: self.commit_seconds - before.commit_seconds,
        }
    }
}
