//! Simulated clusters in a process of their own, and what their log says afterwards.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::ensure;
use fleetlift::openebs::job::ATTEMPT;
use fleetlift::sim::Oracle;
use fleetlift::sim::oracle::{JobState, Limits, What, summary, verify};
use serde_json::json;
use tokio::process::Command;

use crate::Work;
use crate::process::Process;

/// The program that is measured, built as this benchmark is.
pub const BINARY: &str = env!("CARGO_BIN_EXE_fleetlift");

/// The version that every volume is brought to.
pub const TARGET: &str = "3.6.0";

/// A running fleet.
pub struct Edges {
    folder: tempfile::TempDir,
    process: Process,
}

/// One Job's life as its cluster saw it, in Unix microseconds.
#[derive(Debug, Clone)]
pub struct Job {
    pub cluster: String,
    /// The label that names the hub's attempt; empty in the bare loop's.
    pub attempt: String,
    pub accepted_us: i64,
    pub ended_us: i64,
}

impl Edges {
    /// The same fleet each time.
    pub async fn start(work: Work) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let pace = folder.path().join("pace.json");
        let millis = work.upgrade.as_millis();
        std::fs::write(&pace, json!({"upgradeMs": [millis, millis]}).to_string())?;
        let mut command = Command::new(BINARY);
        command.args(["sim", "--mix", "one-volume", "-o", "json", "--clusters", &work.clusters.to_string()]);
        command.arg("--out").arg(folder.path()).arg("--faults").arg(&pace);
        let mut process = Process::start(&mut command)?;
        // One JSON object, over several lines: when it is whole, the clusters answer.
        while process.line().await? != "}" {}
        Ok(Self { folder, process })
    }

    /// The folder with one kubeconfig for each cluster.
    pub fn kubeconfigs(&self) -> PathBuf {
        self.folder.path().join("kubeconfigs")
    }

    /// The table of labels.
    pub fn labels(&self) -> PathBuf {
        self.folder.path().join("labels.csv")
    }

    /// Ends the fleet. An error if a cluster was not upgraded by exactly one Job, or if anything was seen that must not
    /// be; else the Jobs.
    pub async fn finish(self, work: Work) -> anyhow::Result<Vec<Job>> {
        let well = self.process.end().await?;
        let records = Oracle::read(&self.folder.path().join("oracle.jsonl"))?;
        let limits =
            Limits { running: Some(work.running), per_cluster: Some(1), attempts: Some(1), ..Limits::default() };
        let wrong = verify(&records, &limits);
        ensure!(wrong.is_empty(), "the clusters saw: {}", wrong[0]);
        ensure!(well, "the simulator did not end well");
        let seen = summary(&records);
        ensure!((seen.jobs, seen.complete) == (work.clusters, work.clusters), "not all were upgraded: {seen:?}");
        let mut jobs: BTreeMap<String, Job> = BTreeMap::new();
        for record in records {
            let What::Job(job) = record.what else { continue };
            let life = jobs.entry(record.cluster.clone()).or_insert_with(|| Job {
                cluster: record.cluster,
                attempt: job.labels.get(ATTEMPT).cloned().unwrap_or_default(),
                accepted_us: record.at_us,
                ended_us: i64::MAX,
            });
            if job.state == JobState::Complete {
                life.ended_us = life.ended_us.min(record.at_us);
            }
        }
        Ok(jobs.into_values().collect())
    }
}
