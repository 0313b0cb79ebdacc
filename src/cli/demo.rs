//! `fleetlift demo`: a simulated fleet and a hub in one process, one whole rollout, live.
//!
//! Everything goes the way that a user goes: clusters are registered, the fleet applied, the plan made and the rollout
//! started through the HTTP interface, with the first administrator's token.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::Method;
use tokio_util::sync::CancellationToken;

use super::connect::TOKEN_FILE;
use super::daemon::stop_at_signals;
use super::hub::Hub;
use super::render::{Column, Output, Tone, plain};
use super::{Context, Ended, audit, connect, result, rollout, watch};
use crate::api::Client;
use crate::app::{
    Applied, ClusterView, FleetFile, FleetFiles, ImportClusters, ImportOutcome, Imported, MakePlan, PlanView,
    RegisterCluster, ResultView, RolloutView, TargetView,
};
use crate::domain::Entropy as _;
use crate::settings::{Period, Settings};
use crate::sim::{
    Access, Behaviour, ClusterSpec, Fleet, FleetSpec, Manner, Mix, Oracle, Pace, UpgradeFault, UpgradeTrouble, oracle,
};
use crate::system::{SystemClock, SystemEntropy};

/// Tries Fleetlift on this machine: nothing is needed, nothing is left behind.
#[derive(Debug, Args)]
pub struct Demo {
    /// How many simulated clusters
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(20..=2000))]
    clusters: u16,
    /// Leave fleet and hub running afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// The demo's fleet file: also the example that users begin with.
const FLEET: &str = include_str!("../../fleet-config/demo.yaml");

/// The same fleet for everybody: what one person sees, another can repeat.
const SEED: u64 = 7;

/// The unreachable cluster comes back so long after it was deferred: long enough to be seen.
const AWAY: Duration = Duration::from_secs(4);

/// How long clusters get to answer for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// Evidence lines that the demo prints; `result show` prints all.
const EVIDENCE_LINES: usize = 28;

/// The clusters that misbehave on purpose.
struct Trouble {
    unreachable: String,
    failing: String,
    slow: String,
}

impl Demo {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let folder = Folder::make()?;
        let stop = CancellationToken::new();
        let signals = stop.clone();
        tokio::spawn(stop_at_signals(signals));
        let output = context.output;
        let demo = async {
            let ended = self.all(output, &folder, &stop).await;
            stop.cancel();
            ended
        };
        tokio::select! {
            ended = demo => ended,
            () = interrupted(&stop) => Ok(Ended::Done),
        }
    }

    async fn all(&self, output: Output, folder: &Folder, stop: &CancellationToken) -> anyhow::Result<Ended> {
        let began = Instant::now();
        let (fleet, trouble) = self.fleet()?;
        output.say(&heading(
            output,
            &format!("{} simulated edge clusters, each an HTTPS server of its own on loopback", self.clusters),
        ))?;
        output.say(&misbehaving(output, &trouble))?;
        let hub = Hub::open(&settings()?, &folder.0).await?;
        output
            .say(&heading(output, &format!("A hub on {} with an embedded store in {}", hub.url, folder.0.display())))?;
        output.say("(the demo allows connections to loopback, which a hub denies by default)\n")?;
        let token = connect::read_small(&folder.0.join(TOKEN_FILE))?;
        let client = Client::new(&hub.url, &token, None)?;
        let running = tokio::spawn(hub.run(stop.clone()));

        register(output, &client, fleet.kubeconfigs()).await?;
        apply(output, &client).await?;
        let plan: PlanView = client.send(Method::POST, "plans", &MakePlan::default()).await?;
        output.say(&heading(output, "fleetlift plan --group stores"))?;
        output.say(&format!("{}\n", plain(plan.summary.trim_end())))?;

        output.say(&heading(
            output,
            &format!("fleetlift rollout start {} --watch", plan.digest.get(..12).unwrap_or_default()),
        ))?;
        let fleet = Arc::new(fleet);
        fleet.set_outage(&trouble.unreachable, Some(Manner::Refuse));
        let started = rollout::start(&client, &plan.digest).await?;
        tokio::spawn(come_back(client.clone(), fleet.clone(), started.id.clone(), trouble.unreachable.clone()));
        let view = watch::look_on(output, &client, &started.id).await?;
        output.say(&rollout::status(output, &view))?;
        told(output, &client, &view, &trouble).await?;
        let verified = audit::verify_hub(&client).await?;
        output.say(&heading(output, "fleetlift audit verify"))?;
        output.say(&format!("audit: {} entries verified", verified.events))?;
        let (agrees, witnessed) = witnessed(output, fleet.oracle());
        output.say(&witnessed)?;
        output.say(&format!("\nall of it took {:.1} s\n", began.elapsed().as_secs_f64()))?;
        if self.keep {
            // What was broken is repaired now: the commands that are printed shall work.
            fleet.behave(&trouble.failing, Behaviour::default());
            output.say(&next_commands(output, &folder.0, &view, &trouble))?;
            stop.cancelled().await;
        } else {
            output.say(&afterwards(output))?;
            stop.cancel();
        }
        running.await??;
        Ok(if agrees { rollout::verdict(&view) } else { Ended::Failed })
    }

    /// The fleet, and which of its clusters misbehave.
    fn fleet(&self) -> anyhow::Result<(Fleet, Trouble)> {
        let mut spec = FleetSpec::generated(usize::from(self.clusters), Mix::Everything, SEED);
        spec.pace =
            Pace { upgrade_min: Duration::from_millis(80), upgrade_max: Duration::from_millis(300), ..Pace::default() };
        // Not among the first: canaries that fail would stop the rollout before it became interesting. The slow one
        // has a single volume, or everybody would wait for it.
        let stores = || (8..spec.clusters.len()).rev().filter(|&at| is_store(&spec.clusters[at]));
        let slow = stores().find(|&at| spec.clusters[at].contents.items.len() == 1);
        let slow = slow.context("the fleet has no store with a single volume")?;
        let mut others = stores().filter(|&at| at != slow);
        let (Some(unreachable), Some(failing)) = (others.next(), others.next()) else { bail!("too few stores") };
        spec.clusters[failing].behaviour = fails();
        spec.clusters[slow].behaviour.slowness = 10;
        let name = |position: usize, clusters: &[ClusterSpec]| clusters[position].name.clone();
        let trouble = Trouble {
            unreachable: name(unreachable, &spec.clusters),
            failing: name(failing, &spec.clusters),
            slow: name(slow, &spec.clusters),
        };
        let fleet = Fleet::start(spec, Arc::new(SystemClock), Oracle::in_memory(), SEED)?;
        Ok((fleet, trouble))
    }
}

fn is_store(cluster: &ClusterSpec) -> bool {
    cluster.labels.get("tier").is_some_and(|tier| tier == "store")
}

/// Ends the outage of a cluster a while after its turn came and it was deferred.
async fn come_back(client: Client, fleet: Arc<Fleet>, rollout: String, cluster: String) {
    let path = format!("rollouts/{rollout}/targets");
    let deferred = [("state", "deferred".to_owned())];
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let Ok(targets) = client.list::<TargetView>(&path, &deferred).await else { break };
        if targets.iter().any(|target| target.cluster == cluster) {
            tokio::time::sleep(AWAY).await;
            break;
        }
    }
    fleet.set_outage(&cluster, None);
}

fn fails() -> Behaviour {
    let what = UpgradeTrouble::Fails("replica deployment did not become available: image pull back-off".to_owned());
    Behaviour { upgrades: vec![UpgradeFault { kind: None, name: None, times: None, what }], ..Behaviour::default() }
}

/// The folder of one demo; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut random = [0; 6];
        SystemEntropy.fill(&mut random);
        let folder = std::env::temp_dir().join(format!("fleetlift-demo-{}", crate::domain::ids::hex(&random)));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed lies in the temporary folder, where the system clears up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whoever interrupts the demo gets the terminal back soon, even when something hangs.
async fn interrupted(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
}

fn settings() -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    settings.api.listen = "127.0.0.1:0".parse()?;
    settings.api.requests_per_second = 10_000;
    settings.edge.allow_networks = vec!["127.0.0.0/8".to_owned()];
    settings.engine.inventory_running = 40;
    settings.engine.inventory_every = Period::from_secs(3_600);
    Ok(settings)
}

fn heading(output: Output, text: &str) -> String {
    output.tone(Tone::Strong, &format!("── {text}"))
}

fn misbehaving(output: Output, trouble: &Trouble) -> String {
    let Trouble { unreachable, failing, slow } = trouble;
    let text = format!(
        "three misbehave on purpose: {failing} has an upgrade that fails, {slow} is ten times slower, {unreachable} is away \
         when its turn comes\n"
    );
    output.tone(Tone::Dim, &text)
}

async fn register(output: Output, client: &Client, fleet: Vec<Access>) -> anyhow::Result<()> {
    output.say(&heading(output, "fleetlift cluster import kubeconfigs/ --labels labels.csv"))?;
    let began = Instant::now();
    let count = fleet.len();
    let wanted = |Access { name, labels, kubeconfig }: Access| RegisterCluster {
        name,
        kubeconfig,
        context: None,
        labels,
        time_zone: None,
        namespace: None,
        egress: None,
        insecure_skip_tls_verify: false,
    };
    let wanted: Vec<RegisterCluster> = fleet.into_iter().map(wanted).collect();
    for part in wanted.chunks(ImportClusters::MAX) {
        let part = ImportClusters { clusters: part.to_vec() };
        let report: Vec<Imported> = client.send(Method::POST, "clusters/import", &part).await?;
        if let Some(refused) = report.iter().find(|imported| imported.outcome != ImportOutcome::Registered) {
            bail!("{} was {}: {}", refused.name, refused.outcome.name(), refused.reason);
        }
    }
    let mut answered = 0;
    while answered < count {
        if began.elapsed() > FIRST_LOOK {
            bail!("{} of {count} clusters did not answer within {FIRST_LOOK:?}", count - answered);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let clusters: Vec<ClusterView> = client.list("clusters", &[]).await?;
        answered = clusters.iter().filter(|cluster| cluster.state == "reachable").count();
    }
    let took = began.elapsed().as_secs_f64();
    output.say(&format!("{count} registered, credentials sealed; what each runs was read in {took:.1} s\n"))?;
    Ok(())
}

async fn apply(output: Output, client: &Client) -> anyhow::Result<()> {
    let file = FleetFile { name: "fleet-config/demo.yaml".to_owned(), text: FLEET.to_owned() };
    let applied: Applied = client.send(Method::PUT, "fleet", &FleetFiles { files: vec![file] }).await?;
    output.say(&heading(output, "fleetlift fleet apply fleet-config/"))?;
    output.say(&format!("revision {} is the fleet\n", applied.revision.get(..12).unwrap_or_default()))?;
    Ok(())
}

/// How many tasks of one kind came to what.
#[derive(serde::Serialize)]
struct Line {
    kind: String,
    versions: String,
    succeeded: u32,
    failed: u32,
    not_started: u32,
}

const LINES: [Column<Line>; 5] = [
    Column::new("KIND", |line: &Line| line.kind.clone()),
    Column::new("VERSIONS", |line: &Line| line.versions.clone()),
    Column::new("SUCCEEDED", |line: &Line| line.succeeded.to_string()),
    Column::new("FAILED", |line: &Line| line.failed.to_string()),
    Column::new("NOT STARTED", |line: &Line| line.not_started.to_string()),
];

/// The table of results, and the failed cluster's evidence.
async fn told(output: Output, client: &Client, view: &RolloutView, trouble: &Trouble) -> anyhow::Result<()> {
    let path = format!("rollouts/{}/results", view.id);
    let results: Vec<ResultView> = client.list(&path, &[]).await?;
    let mut lines: BTreeMap<(String, String), Line> = BTreeMap::new();
    for result in &results {
        let key = (result.resource.kind.clone(), format!("{} → {}", result.from, result.to));
        let (kind, versions) = key.clone();
        let line = lines.entry(key).or_insert(Line { kind, versions, succeeded: 0, failed: 0, not_started: 0 });
        match result.outcome.as_str() {
            "succeeded" | "skipped" => line.succeeded += 1,
            "failed" => line.failed += 1,
            _ => line.not_started += 1,
        }
    }
    let lines: Vec<Line> = lines.into_values().collect();
    output.say(&heading(output, "what came of it (fleetlift result list)"))?;
    output.list(&lines, &LINES)?;

    output.say(&format!("\n{}", heading(output, &format!("fleetlift result show latest {}", trouble.failing))))?;
    let query = [("cluster", trouble.failing.clone()), ("evidence", "true".to_owned())];
    let failed: Vec<ResultView> = client.list(&path, &query).await?;
    for result in failed.iter().filter(|result| result.outcome == "failed") {
        let text = result::shown(output, result);
        let shown: Vec<&str> = text.lines().take(EVIDENCE_LINES).collect();
        let more = text.lines().count().saturating_sub(shown.len());
        output.say(&shown.join("\n"))?;
        if more > 0 {
            output.say(&output.tone(Tone::Dim, &format!("    … {more} more lines")))?;
        }
    }
    output.say("")?;
    Ok(())
}

/// What the simulated clusters themselves saw, and whether it agrees: a witness that the hub can't talk to.
fn witnessed(output: Output, log: &Oracle) -> (bool, String) {
    log.flush();
    let records = log.records();
    let summary = oracle::summary(&records);
    let wrong = oracle::verify(&records, &oracle::Limits::default());
    if wrong.is_empty() {
        let agrees = format!(
            "the clusters' own log agrees: {} Jobs, at most {} at once, never two for one resource",
            summary.jobs, summary.peak
        );
        return (true, agrees);
    }
    (false, output.tone(Tone::Bad, &format!("the clusters' own log disagrees: {wrong:?}")))
}

fn next_commands(output: Output, folder: &Path, view: &RolloutView, trouble: &Trouble) -> String {
    let folder = folder.display();
    let commands = [
        format!("export FLEETLIFT_DATA_DIR={folder}"),
        "fleetlift cluster list".to_owned(),
        format!("fleetlift cluster resources {}", trouble.slow),
        format!("fleetlift explain latest {}", trouble.failing),
        format!("fleetlift rollout retry {} {} --remark 'repaired'", &view.id, trouble.failing),
        "fleetlift result export --format csv".to_owned(),
        "fleetlift audit list --rollout latest".to_owned(),
    ];
    let head = heading(output, "in another terminal");
    let repaired = format!("(by now somebody has repaired {}: its upgrade would succeed)", trouble.failing);
    format!("{head}\n{}\n{}\n\nCtrl-C ends fleet and hub.", output.tone(Tone::Dim, &repaired), commands.join("\n"))
}

fn afterwards(output: Output) -> String {
    let commands = [
        "fleetlift demo --keep                  leaves fleet and hub running for your own commands",
        "fleetlift demo --clusters 300          more of it",
        "fleetlift daemon                       the hub for your own clusters; then, in another terminal:",
        "fleetlift cluster add NAME --kubeconfig FILE --label site=berlin",
        "fleetlift cluster check NAME",
    ];
    format!("{}\n{}", heading(output, "to try next"), commands.join("\n"))
}
