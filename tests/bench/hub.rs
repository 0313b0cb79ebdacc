//! The real daemon on SQLite in a temporary folder, and one rollout over the whole fleet.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::Work;
use crate::edges::{BINARY, Edges, TARGET};
use crate::figures::{Counted, Known, Run};
use crate::process::Process;
use crate::witness::Witness;

/// How long the daemon may take to answer at all, and to have read every cluster: for machines that do much else.
const PREPARED_WITHIN: Duration = Duration::from_mins(10);

/// Starts a daemon, brings it to the point where a rollout can start, and measures that rollout.
pub async fn measure(edges: &Edges, work: Work) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir()?;
    let hub = Hub { folder: folder.path(), work };
    let mut daemon = Process::start(hub.command().args(["daemon", "--listen", "127.0.0.1:0"]))?;
    hub.answers(&mut daemon).await?;
    hub.register(edges).await?;
    let plan = hub.told(&["plan", "-o", "json"]).await?;
    let digest = plan["digest"].as_str().context("the plan has no digest")?;

    let mut witness = Witness::open(&folder.path().join("fleetlift.db")).await?;
    let counted = hub.counted().await?;
    let before = daemon.usage_and_forget_peak()?;
    let began = Instant::now();
    let started = hub.told(&["rollout", "start", digest, "-o", "json"]).await?;
    let rollout = started["id"].as_str().context("the rollout has no id")?.to_owned();
    let seen = witness.until_finished(&mut daemon).await?;
    let (wall, after) = (began.elapsed(), daemon.usage()?);
    let counted = hub.counted().await?.since(&counted);

    let status = hub.told(&["rollout", "status", &rollout, "-o", "json"]).await?;
    ensure!(status["verdict"] == "succeeded", "the rollout did not succeed: {status:#}");
    let results = hub.told(&["result", "list", &rollout, "-o", "json"]).await?;
    let results = results.as_array().context("the results are no list")?;
    let succeeded = results.iter().filter(|result| result["outcome"] == "succeeded").count();
    ensure!(succeeded == work.clusters, "{succeeded} of {} succeeded", work.clusters);
    hub.done(&["audit", "verify"]).await?;
    ensure!(daemon.end().await?, "the daemon did not end well");
    Ok(Run {
        wall,
        before,
        after,
        freed_us: seen.freed_us,
        known: Known::ByAttempt(seen.judged_us),
        counted: Some(counted),
    })
}

struct Hub<'a> {
    folder: &'a Path,
    work: Work,
}

impl Hub<'_> {
    /// The program, with nothing of whoever runs this around it.
    fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.env_clear().env("HOME", self.folder).env("FLEETLIFT_DATA_DIR", self.folder);
        command.env("FLEETLIFT_EDGE__ALLOW_NETWORKS", "127.0.0.0/8");
        command.env("FLEETLIFT_ENGINE__MAX_RUNNING", self.work.running.to_string());
        // Every cluster is read once before the measurement, and none again because of its age.
        command.env("FLEETLIFT_ENGINE__INVENTORY_EVERY", "1d").env("FLEETLIFT_ENGINE__INVENTORY_RUNNING", "64");
        command.env("FLEETLIFT_TELEMETRY__LOG", "warn");
        command
    }

    async fn done(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let output = self.command().args(arguments).stdin(Stdio::null()).output().await?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fleetlift {arguments:?}: {complaint}");
        Ok(output.stdout)
    }

    async fn told(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.done(arguments).await?)?)
    }

    async fn answers(&self, daemon: &mut Process) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.told(&["version", "-o", "json"]).await.map_or(true, |version| !version["hub"].is_string()) {
            ensure!(daemon.runs(), "the daemon ended");
            ensure!(began.elapsed() < PREPARED_WITHIN, "the daemon does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Registers every cluster, applies the fleet, and waits until what each cluster runs was read.
    async fn register(&self, edges: &Edges) -> anyhow::Result<()> {
        let (kubeconfigs, labels) = (edges.kubeconfigs(), edges.labels());
        let (Some(kubeconfigs), Some(labels)) = (kubeconfigs.to_str(), labels.to_str()) else {
            bail!("the temporary folder's name is no text");
        };
        self.done(&["cluster", "import", kubeconfigs, "--labels", labels]).await?;
        let fleet = self.folder.join("fleet.yaml");
        std::fs::write(&fleet, fleet_file(self.work))?;
        self.done(&["fleet", "apply", fleet.to_str().context("no text")?]).await?;
        let began = Instant::now();
        loop {
            let clusters = self.told(&["cluster", "list", "-o", "json"]).await?;
            let clusters = clusters.as_array().context("the clusters are no list")?;
            let reached = clusters.iter().filter(|cluster| cluster["state"] == "reachable").count();
            if reached == self.work.clusters {
                return Ok(());
            }
            ensure!(began.elapsed() < PREPARED_WITHIN, "only {reached} of {} clusters were read", self.work.clusters);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// What the daemon has counted so far, from its `/metrics`.
    async fn counted(&self) -> anyhow::Result<Counted> {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).with_context(|| format!("no {name}"));
        let (address, token) = (read("daemon.address")?, read("admin.token")?);
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let url = format!("{}/metrics", address.trim().trim_end_matches('/'));
        let page = client.get(url).bearer_auth(token.trim()).send().await?.error_for_status()?.text().await?;
        Ok(Counted::read(&page))
    }
}

/// One wave, nothing in the way: no soak, no approval, no second attempt.
fn fleet_file(work: Work) -> String {
    format!(
        "apiVersion: fleetlift.io/v1
kind: Fleet
metadata: {{name: bench}}
spec:
  groups:
    - {{name: all, selector: tier=store, target: {{openebs: {TARGET}}}, strategy: straight}}
  strategies:
    - name: straight
      waves: [{{name: all}}]
      limits: {{running: {}}}
      failures: {{allow: 0}}
      retries: {{attempts: 1, backoff: {{first: 1s, longest: 1s}}}}
      unreachable: {{retryEvery: 2s, minReached: 100%}}
      deadlines: {{task: 2h, cluster: 3h, rollout: 24h}}
",
        work.running
    )
}
