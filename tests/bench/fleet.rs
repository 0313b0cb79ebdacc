//! `cargo bench --bench fleet`: what one upgrade costs the daemon, beside a bare client loop in the same run.
//!
//! Three processes beside this one, each with its own figures in `/proc`: simulated clusters (`fleetlift sim`, not
//! measured), and one after the other the bare loop and the daemon, each with a fresh fleet made from the same seed.
//! What is measured, and from when to when:
//!
//! - CPU: user and system time of the loop's or the daemon's process, from the word "go" (or just before the rollout
//!   is started) until the last upgrade is known (or `rollout.finished` is committed). Registration, inventory and
//!   planning came before it. The kernel counts in steps of 10 ms.
//! - Memory: the highest resident size in that time, less the resident size just before it, for each cluster that may be
//!   in flight. What an allocator kept from before is used again and not counted twice.
//! - Slot to Job: from the k-th freed slot to the (running + k)-th accepted Job. The loop frees a slot after its last
//!   read; the daemon by the commit of `target.succeeded`. A Job is accepted when the cluster's own log says so.
//! - Job end to known: from the moment at which the cluster's log has the Job complete until the loop's last read was
//!   answered, or until another reader of the daemon's database sees `attempt.judged`: it was committed by then. That
//!   reader looks every 2 ms, so the daemon's latencies are up to 2 ms too long.
//!
//! All processes read the same clock. CPU seconds hold on a busy machine, too; latencies only on an idle one. Nothing
//! here asserts a time: it fails only if not all were upgraded, or the clusters saw something that must not be.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program's purpose is to print")]

mod edges;
mod figures;
mod floor;
mod hub;
mod process;
mod report;
mod witness;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::{Parser, ValueEnum};

use edges::Edges;
use figures::Measured;

/// Measures upgrades per CPU-second, memory and latencies of the daemon, beside a bare client loop.
#[derive(Debug, Parser)]
#[command(name = "fleet")]
struct Arguments {
    /// How many simulated clusters, each with one volume to upgrade
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clusters: u32,
    /// How many of them at once
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    running: u32,
    /// How long one upgrade takes, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// For people or for machines
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the bare loop, over the kubeconfigs in this folder.
    #[arg(long, hide = true)]
    floor: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// What is done by both.
#[derive(Debug, Clone, Copy)]
struct Work {
    clusters: usize,
    running: usize,
    upgrade: Duration,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if let Some(kubeconfigs) = &arguments.floor {
        return floor::run(kubeconfigs, arguments.running as usize).await;
    }
    if !arguments.bench {
        println!("not measured: run `cargo bench --bench fleet`");
        return Ok(());
    }
    ensure!(arguments.running <= arguments.clusters, "--running is more than there are --clusters");
    ensure!((0.0..=3_600.0).contains(&arguments.seconds), "--seconds is not between 0 and 3600");
    let work = Work {
        clusters: arguments.clusters as usize,
        running: arguments.running as usize,
        upgrade: Duration::from_secs_f64(arguments.seconds),
    };
    let loop_ = measured("the bare loop", work, Contestant::Loop).await?;
    let daemon = measured("the daemon", work, Contestant::Daemon).await?;
    let report = report::Report::of(work, loop_, daemon);
    match arguments.output {
        Format::Table => println!("{}", report.table()),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Contestant {
    Loop,
    Daemon,
}

/// One contestant against a fresh fleet.
async fn measured(name: &str, work: Work, contestant: Contestant) -> anyhow::Result<Measured> {
    eprintln!("{name}: {} clusters, {} at once", work.clusters, work.running);
    let edges = Edges::start(work).await?;
    let run = match contestant {
        Contestant::Loop => floor::measure(&edges, work).await?,
        Contestant::Daemon => hub::measure(&edges, work).await?,
    };
    let jobs = edges.finish(work).await?;
    Measured::of(work, run, &jobs)
}
