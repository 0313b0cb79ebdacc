//! `fleetlift rollout start | list | status | watch | wait | approve | pause | resume | abort | retry | skip`.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::Method;

use super::connect::read_bounded;
use super::patience::Patience;
use super::render::{Column, Output, Tone};
use super::{Context, Ended, watch};
use crate::api::Client;
use crate::api::client::segment;
use crate::app::{
    Abort, Approve, PlanCopy, Remark, RolloutView, StartRollout, TargetCounts, TargetView, WaveView, When,
};
use crate::domain::{Clock as _, Entropy as _};
use crate::settings::Period;
use crate::system::{SystemClock, SystemEntropy};

/// Rollouts. A rollout is named by its id, the beginning or end of it, or `latest`.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Start a rollout of a plan
    Start {
        /// The plan's digest, the beginning of it, or the file that `plan --out` wrote
        plan: String,
        /// Follow it
        #[arg(long, short)]
        watch: bool,
    },
    /// List rollouts, newest first
    List,
    /// Where a rollout stands
    Status {
        /// Which
        #[arg(default_value = "latest")]
        rollout: String,
        /// Every cluster of it
        #[arg(long, short)]
        clusters: bool,
        /// Every cluster of it in this state: pending, running, deferred, succeeded, failed or skipped
        #[arg(long)]
        state: Option<String>,
    },
    /// Follow a rollout until it is over
    Watch {
        /// Which
        #[arg(default_value = "latest")]
        rollout: String,
    },
    /// Wait until a rollout is over; exit code 3 when it is not within the timeout
    Wait {
        /// Which
        #[arg(default_value = "latest")]
        rollout: String,
        /// How long at most, for example 2h
        #[arg(long)]
        timeout: Option<Period>,
    },
    /// Approve a wave
    Approve {
        /// Which
        rollout: String,
        /// The wave; the one that waits without
        #[arg(long)]
        wave: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Start nothing new; what runs goes on
    Pause {
        /// Which
        rollout: String,
        #[command(flatten)]
        why: Why,
    },
    /// Go on, accepting the failures so far
    Resume {
        /// Which
        rollout: String,
        #[command(flatten)]
        why: Why,
    },
    /// End a rollout early
    Abort {
        /// Which
        rollout: String,
        /// Suspend running Jobs instead of letting them finish
        #[arg(long)]
        cancel_jobs: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Try failed clusters again, with the same plan
    Retry {
        /// Which
        rollout: String,
        /// Only this cluster
        cluster: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Leave a cluster out that does not run
    Skip {
        /// Which
        rollout: String,
        /// The cluster
        cluster: String,
        #[command(flatten)]
        why: Why,
    },
}

/// Why something is done.
#[derive(Debug, Args)]
pub struct Why {
    /// Why, for the audit
    #[arg(long, default_value = "", hide_default_value = true)]
    remark: String,
}

const COLUMNS: [Column<RolloutView>; 8] = [
    Column::new("ID", |rollout: &RolloutView| rollout.id.clone()),
    Column::new("GROUP", |rollout: &RolloutView| rollout.group.clone()),
    Column::new("TO", |rollout: &RolloutView| rollout.to.clone()),
    Column::new("STATE", |rollout: &RolloutView| rollout.verdict.clone().unwrap_or_else(|| rollout.state.clone())),
    Column::new("CLUSTERS", |rollout: &RolloutView| counted(&rollout.targets)),
    Column::new("STARTED", |rollout: &RolloutView| rollout.started_at.to_string()),
    Column::wide("BY", |rollout: &RolloutView| rollout.started_by.clone()),
    Column::wide("PLAN", |rollout: &RolloutView| rollout.plan.clone()),
];

const WAVES: [Column<WaveView>; 9] = [
    Column::new("WAVE", |wave: &WaveView| wave.name.clone()),
    Column::new("STATUS", |wave: &WaveView| wave.status.clone()),
    Column::new("PENDING", |wave: &WaveView| number(wave.targets.pending)),
    Column::new("RUNNING", |wave: &WaveView| number(wave.targets.running)),
    Column::new("SUCCEEDED", |wave: &WaveView| number(wave.targets.succeeded)),
    Column::new("FAILED", |wave: &WaveView| number(wave.targets.failed)),
    Column::new("DEFERRED", |wave: &WaveView| number(wave.targets.deferred)),
    Column::new("SKIPPED", |wave: &WaveView| number(wave.targets.skipped)),
    Column::new("WHY", |wave: &WaveView| wave.reason.clone()),
];

const TARGETS: [Column<TargetView>; 5] = [
    Column::new("CLUSTER", |target: &TargetView| target.cluster.clone()),
    Column::new("WAVE", |target: &TargetView| target.wave.clone()),
    Column::new("STATE", |target: &TargetView| target.state.clone()),
    Column::new("TASKS", |target: &TargetView| target.tasks.to_string()),
    Column::new("WHY", |target: &TargetView| target.reason.clone()),
];

fn number(count: u32) -> String {
    if count == 0 { "·".to_owned() } else { count.to_string() }
}

/// `37 of 40 done, 1 failed`.
fn counted(targets: &TargetCounts) -> String {
    let TargetCounts { pending, running, succeeded, failed, deferred, skipped } = *targets;
    let all = pending + running + succeeded + failed + deferred + skipped;
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{succeeded} of {all}{failed}")
}

impl RolloutCommand {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let client = context.client()?;
        let output = context.output;
        match self {
            Self::Start { plan, watch: follow } => {
                let started = start(&client, &plan).await?;
                if follow {
                    return watch::follow(output, &client, &started.id).await;
                }
                output.one(&started, |output| {
                    format!("{}\nnext: fleetlift rollout watch {}", status(output, &started), started.id)
                })?;
                Ok(Ended::Done)
            }
            Self::List => {
                output.list(&client.list::<RolloutView>("rollouts", &[]).await?, &COLUMNS)?;
                Ok(Ended::Done)
            }
            Self::Status { rollout, clusters, state } => show(output, &client, &rollout, clusters, state).await,
            Self::Watch { rollout } => watch::follow(output, &client, &rollout).await,
            Self::Wait { rollout, timeout } => wait(output, &client, &rollout, timeout.map(Period::duration)).await,
            steering => steer(output, &client, steering).await,
        }
    }
}

/// Starts a rollout of the plan that `plan` names: a digest, the beginning of one, or a file.
pub async fn start(client: &Client, plan: &str) -> anyhow::Result<RolloutView> {
    let file = Path::new(plan);
    let digest = if plan == "-" || file.is_file() {
        let text = read_bounded(file, 256 << 20)?;
        serde_json::from_str::<PlanCopy>(&text)
            .with_context(|| format!("{plan} is no plan that `plan --out` wrote"))?
            .digest
    } else {
        plan.to_owned()
    };
    let key = one_time_key();
    Ok(client.create("rollouts", &key, &StartRollout { plan: digest }).await?)
}

/// A key of this request, so that the transport may repeat it.
fn one_time_key() -> String {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    crate::domain::ids::hex(&bytes)
}

async fn show(
    output: Output,
    client: &Client,
    rollout: &str,
    clusters: bool,
    state: Option<String>,
) -> anyhow::Result<Ended> {
    let path = format!("rollouts/{}", segment(rollout));
    if clusters || state.is_some() {
        let query: Vec<(&str, String)> = state.into_iter().map(|state| ("state", state)).collect();
        let targets: Vec<TargetView> = client.list(&format!("{path}/targets"), &query).await?;
        output.list(&targets, &TARGETS)?;
        return Ok(Ended::Done);
    }
    let view: RolloutView = client.get(&path, &[]).await?;
    output.one(&view, |output| status(output, &view))?;
    Ok(Ended::Done)
}

/// The rollout as people read it.
pub fn status(output: Output, view: &RolloutView) -> String {
    let state = view.verdict.as_deref().unwrap_or(&view.state);
    let mut text = format!(
        "rollout {}  {}  group {} of {} to OpenEBS {}\n",
        output.tone(Tone::Strong, &view.id),
        output.state(state),
        view.group,
        view.fleet,
        view.to
    );
    if let Some(cause) = &view.cause {
        text.push_str(&output.tone(Tone::Odd, &format!("{cause}\n")));
    }
    text.push_str(&format!("{} clusters", counted(&view.targets)));
    if view.state == "running" {
        text.push_str(&format!(", {} running", view.running));
    }
    match (view.finished_at, view.eta) {
        (Some(at), _) => text.push_str(&format!(", finished {at}")),
        (None, Some(eta)) => text.push_str(&format!(", done about {eta}")),
        (None, None) => {}
    }
    text.push_str("\n\n");
    text.push_str(&output.table(&view.waves, &WAVES));
    text
}

/// How often `wait` asks: often enough for scripts, seldom enough for a thousand of them.
const ASK_EVERY: Duration = Duration::from_secs(1);

async fn wait(output: Output, client: &Client, rollout: &str, timeout: Option<Duration>) -> anyhow::Result<Ended> {
    let path = format!("rollouts/{}", segment(rollout));
    let end = timeout.map(|timeout| SystemClock.now() + timeout);
    let mut patience = Patience::new(output, end.is_some());
    let mut last: Option<RolloutView> = None;
    loop {
        let now = SystemClock.now();
        if let Some(view) = patience.with(client.get::<RolloutView>(&path, &[]).await, now)? {
            if view.state == "finished" {
                output.one(&view, |output| status(output, &view))?;
                return Ok(verdict(&view));
            }
            let waits_for = waits_for(&view);
            if last.as_ref().map(self::waits_for).is_none_or(|before| before.what != waits_for.what) {
                output.note(&format!("{}  waiting: {}", When(now), waits_for.sentence));
            }
            last = Some(view);
        }
        if end.is_some_and(|end| SystemClock.now() >= end) {
            if let Some(view) = &last {
                output.one(view, |output| status(output, view))?;
            }
            return Ok(Ended::NotFinished);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// What a rollout waits for that is not over.
struct WaitsFor {
    /// In a word or two: what else changes (how many run, for example) is no news to whoever waits.
    what: String,
    /// In a sentence.
    sentence: String,
}

fn waits_for(view: &RolloutView) -> WaitsFor {
    let wave = view.waves.iter().find(|wave| wave.status != "passed");
    match (view.state.as_str(), &view.cause, wave) {
        ("running", _, Some(wave)) => WaitsFor {
            what: format!("{} {}", wave.name, wave.status),
            sentence: format!("wave {}: {}", wave.name, wave.reason),
        },
        (state, cause, _) => {
            let cause = cause.as_deref().map_or_else(String::new, |cause| format!(": {cause}"));
            let sentence = format!("the rollout is {state}{cause}");
            WaitsFor { what: sentence.clone(), sentence }
        }
    }
}

/// How the process ends after a rollout that is over.
pub fn verdict(view: &RolloutView) -> Ended {
    match view.verdict.as_deref() {
        Some("succeeded" | "succeeded_with_debt") => Ended::Done,
        _ => Ended::Failed,
    }
}

async fn steer(output: Output, client: &Client, command: RolloutCommand) -> anyhow::Result<Ended> {
    let remark = |why: Why| Remark { remark: why.remark };
    let (rollout, verb, body) = match command {
        RolloutCommand::Approve { rollout, wave, why } => {
            (rollout, "approve".to_owned(), serde_json::to_value(Approve { wave, remark: why.remark })?)
        }
        RolloutCommand::Pause { rollout, why } => (rollout, "pause".to_owned(), serde_json::to_value(remark(why))?),
        RolloutCommand::Resume { rollout, why } => (rollout, "resume".to_owned(), serde_json::to_value(remark(why))?),
        RolloutCommand::Abort { rollout, cancel_jobs, why } => {
            (rollout, "abort".to_owned(), serde_json::to_value(Abort { remark: why.remark, cancel_jobs })?)
        }
        RolloutCommand::Retry { rollout, cluster: None, why } => {
            (rollout, "retry".to_owned(), serde_json::to_value(remark(why))?)
        }
        RolloutCommand::Retry { rollout, cluster: Some(cluster), why } => {
            (rollout, format!("clusters/{}/retry", segment(&cluster)), serde_json::to_value(remark(why))?)
        }
        RolloutCommand::Skip { rollout, cluster, why } => {
            (rollout, format!("clusters/{}/skip", segment(&cluster)), serde_json::to_value(remark(why))?)
        }
        RolloutCommand::Start { .. }
        | RolloutCommand::List
        | RolloutCommand::Status { .. }
        | RolloutCommand::Watch { .. }
        | RolloutCommand::Wait { .. } => return Ok(Ended::Done),
    };
    let path = format!("rollouts/{}/{verb}", segment(&rollout));
    let view: RolloutView = client.send(Method::POST, &path, &body).await?;
    output.one(&view, |output| status(output, &view))?;
    Ok(Ended::Done)
}
