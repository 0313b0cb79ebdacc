//! The figures of both, side by side.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Work;
use crate::figures::{Measured, Spread};

/// Everything that is told, as `--output json` has it.
#[derive(Debug, Serialize)]
pub struct Report {
    clusters: usize,
    running: usize,
    upgrade_seconds: f64,
    bare_loop: Measured,
    daemon: Measured,
}

impl Report {
    /// Of one run.
    pub fn of(work: Work, bare_loop: Measured, daemon: Measured) -> Self {
        let Work { clusters, running, upgrade } = work;
        Self { clusters, running, upgrade_seconds: upgrade.as_secs_f64(), bare_loop, daemon }
    }

    /// For people.
    pub fn table(&self) -> String {
        let Self { clusters, running, upgrade_seconds, bare_loop, daemon } = self;
        let mut table = format!(
            "{clusters} clusters, {running} at once, {upgrade_seconds} s each; all upgraded, by one Job each\n\n{:<34}{:>12}{:>12}{:>9}\n",
            "", "bare loop", "daemon", "ratio"
        );
        let mut row = |name: &str, value: fn(&Measured) -> f64| {
            let (one, other) = (value(bare_loop), value(daemon));
            let ratio = if one > 0.0 { format!("{:.2}", other / one) } else { String::new() };
            // Writing into a String can't fail.
            let _ = writeln!(table, "{name:<34}{one:>12.2}{other:>12.2}{ratio:>9}");
        };
        row("upgrades per CPU-second", |of| of.upgrades_per_cpu_second);
        row("CPU per upgrade, ms", |of| of.cpu_ms_per_upgrade);
        row("CPU, s", |of| of.cpu_seconds);
        row("wall time, s", |of| of.wall_seconds);
        row("memory per cluster in flight, KiB", |of| of.bytes_per_cluster_in_flight / 1024.0);
        row("resident before, MiB", |of| mebibytes(of.resident_before_bytes));
        row("peak, MiB", |of| mebibytes(of.peak_bytes));
        row("slot to Job, p50 ms", |of| p50(of.slot_to_job));
        row("slot to Job, p99 ms", |of| p99(of.slot_to_job));
        row("Job end to known/durable, p50 ms", |of| of.job_end_to_known.p50_ms);
        row("Job end to known/durable, p99 ms", |of| of.job_end_to_known.p99_ms);
        row("Job end to next Job, p50 ms", |of| p50(of.job_end_to_next_job));
        row("Job end to next Job, p99 ms", |of| p99(of.job_end_to_next_job));
        table.push_str(&self.counts());
        table
    }

    /// What the daemon counted for each upgrade.
    #[expect(clippy::cast_precision_loss, reason = "upgrades are far below 2^52")]
    fn counts(&self) -> String {
        let Some(counted) = &self.daemon.counted else { return String::new() };
        let upgrades = self.daemon.upgrades as f64;
        let mut text = format!(
            "\nthe daemon's own counts, for each upgrade: {:.3} commits of {:.1} changes ({:.2} ms), requests",
            counted.commits / upgrades,
            counted.rows / counted.commits,
            counted.commit_seconds * 1_000.0 / counted.commits,
        );
        for (verb_and_code, count) in &counted.edge_requests {
            let _ = write!(text, " {verb_and_code}: {:.2}", count / upgrades);
        }
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn p50(spread: Option<Spread>) -> f64 {
    spread.map_or(f64::NAN, |spread| spread.p50_ms)
}

fn p99(spread: Option<Spread>) -> f64 {
    spread.map_or(f64::NAN, |spread| spread.p99_ms)
}
