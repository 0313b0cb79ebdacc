//! `fleetlift sim`: simulated clusters in a process of their own, and what their log says about a hub.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::daemon::stop_at_signals;
use super::{Context, Ended};
use crate::sim::oracle::{self, Limits, Record, Summary};
use crate::sim::{self, Mix, Oracle, Order};
use crate::system::SystemClock;

/// Runs simulated clusters until SIGTERM or SIGINT, and then says what their log shows.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Sim {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say whether a log shows two unfinished Jobs or Pods for one resource, or a limit exceeded
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Serve {
    /// How many clusters
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clusters: u32,
    /// What they run
    #[arg(long, value_enum, default_value_t = Runs::OneVolume)]
    mix: Runs,
    /// From what everything random follows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where kubeconfigs, labels and log are written
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Who misbehaves, and how: YAML
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Runs {
    /// One Jiva volume each
    OneVolume,
    /// Pools and volumes of the CSPC and CSI engines
    Stores,
    /// The same, and legacy engines
    Everything,
}

impl From<Runs> for Mix {
    fn from(runs: Runs) -> Self {
        match runs {
            Runs::OneVolume => Self::OneVolume,
            Runs::Stores => Self::Stores,
            Runs::Everything => Self::Everything,
        }
    }
}

#[derive(Debug, Args)]
struct Verify {
    /// The log: JSON lines
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// How many unfinished Jobs were allowed at once
    #[arg(long, value_name = "N")]
    running: Option<usize>,
    /// How many in one cluster
    #[arg(long, value_name = "N")]
    per_cluster: Option<usize>,
    /// How many clusters with unfinished Jobs among those with the same value of a label; as often as needed
    #[arg(long, value_name = "LABEL=N", value_parser = labelled)]
    per: Vec<(String, usize)>,
    /// How many Jobs for one resource over the whole time
    #[arg(long, value_name = "N")]
    attempts: Option<usize>,
}

/// What a fleet says when it can be used.
#[derive(Serialize)]
struct Started {
    clusters: u32,
    kubeconfigs: PathBuf,
    labels: PathBuf,
    log: PathBuf,
    seconds: f64,
}

/// What a log shows.
#[derive(Serialize)]
struct Verdict {
    #[serde(flatten)]
    summary: Summary,
    violations: Vec<String>,
}

impl Sim {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        match self.verb {
            Some(Verb::Verify(verify)) => verify.run(context),
            None => self.serve.run(context).await,
        }
    }
}

impl Serve {
    async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let began = Instant::now();
        let out = self.out.context("name the folder for kubeconfigs and log: --out DIR")?;
        // Before the start, so that nobody who stops it early is left with clusters.
        let stop = CancellationToken::new();
        tokio::spawn(stop_at_signals(stop.clone()));
        let order =
            Order { clusters: self.clusters as usize, mix: self.mix.into(), seed: self.seed, out, faults: self.faults };
        let fleet = sim::serve(&order, Arc::new(SystemClock))?;
        let started = Started {
            clusters: self.clusters,
            kubeconfigs: order.kubeconfigs(),
            labels: order.labels(),
            log: order.log(),
            seconds: began.elapsed().as_secs_f64(),
        };
        context.output.one(&started, |_| ready(&started))?;
        stop.cancelled().await;
        fleet.stop().await;
        verdict(context, &read(&order.log())?, &Limits::default())
    }
}

impl Verify {
    fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let Self { log, running, per_cluster, per, attempts } = self;
        verdict(context, &read(&log)?, &Limits { running, per_cluster, per_label: per, attempts })
    }
}

fn read(log: &std::path::Path) -> anyhow::Result<Vec<Record>> {
    Oracle::read(log).with_context(|| format!("can't read {}", log.display()))
}

fn verdict(context: &Context, records: &[Record], limits: &Limits) -> anyhow::Result<Ended> {
    let violations = oracle::verify(records, limits).iter().map(ToString::to_string).collect();
    let verdict = Verdict { summary: oracle::summary(records), violations };
    context.output.one(&verdict, |_| told(&verdict))?;
    Ok(if verdict.violations.is_empty() { Ended::Done } else { Ended::Failed })
}

fn ready(started: &Started) -> String {
    let Started { clusters, kubeconfigs, labels, log, seconds } = started;
    format!(
        "{clusters} clusters answer, after {seconds:.1} s\nkubeconfigs {}\nlabels      {}\nlog         {}",
        kubeconfigs.display(),
        labels.display(),
        log.display()
    )
}

fn told(verdict: &Verdict) -> String {
    let Verdict { summary, violations } = verdict;
    let Summary { jobs, complete, failed, suspended, unfinished, peak, requests } = summary;
    let counts = format!(
        "{requests} changing requests; {jobs} Jobs: {complete} complete, {failed} failed, {suspended} suspended, \
         {unfinished} unfinished; at most {peak} at once"
    );
    match violations.len() {
        0 => format!("{counts}\nnever two unfinished Jobs or living Pods for one resource, and no limit exceeded"),
        count => format!("{counts}\n{count} violations:\n{}", violations.join("\n")),
    }
}

fn labelled(text: &str) -> Result<(String, usize), String> {
    let (label, limit) = text.split_once('=').ok_or_else(|| format!("`{text}` is no LABEL=N"))?;
    let limit = limit.parse().map_err(|_| format!("`{limit}` is no number"))?;
    Ok((label.to_owned(), limit))
}
