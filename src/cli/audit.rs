//! `fleetlift audit list | export | verify`.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::checkpoints::{self, CHECKPOINT_FILE};
use super::render::{Column, Output};
use super::{Context, Ended, connect};
use crate::api::Client;
use crate::api::client::segment;
use crate::app::{Checkpoint, ClusterView, EventView};
use crate::audit::{Verified, Verifier, verify_lines};
use crate::settings::{self, Sources};

/// The audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// What happened, oldest first
    List {
        /// Only of this rollout
        #[arg(long)]
        rollout: Option<String>,
        /// Events after this number
        #[arg(long, default_value_t = 0)]
        after: i64,
        /// Only the last so many of them
        #[arg(long, value_name = "N")]
        last: Option<usize>,
        /// Only of this type, for example rollout.started
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Only about this cluster
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// The whole chain as JSON lines, as it was hashed
    Export {
        /// Write to this file; standard output without
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// How far the chain has come, signed: keep it elsewhere, and the end can't be cut off unnoticed
    Checkpoint {
        /// Append it to this file; standard output without
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Verify the chain: of the hub, or offline of an export
    Verify {
        /// An export; `-` reads standard input
        file: Option<PathBuf>,
        /// Checkpoints that were kept; for this machine's own hub, those that the daemon wrote are compared anyway
        #[arg(long, value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// Believe only checkpoints of this key (64 hexadecimal characters)
        #[arg(long)]
        key: Option<String>,
    },
}

const COLUMNS: [Column<EventView>; 6] = [
    Column::new("SEQ", |event: &EventView| event.seq.to_string()),
    Column::new("AT", |event: &EventView| event.at.to_string()),
    Column::new("TYPE", |event: &EventView| event.kind.clone()),
    Column::new("BY", |event: &EventView| event.actor.clone()),
    Column::new("WHY", |event: &EventView| event.reason.clone()),
    Column::wide("DATA", |event: &EventView| event.data.to_string()),
];

impl AuditCommand {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let output = context.output;
        match self {
            Self::List { rollout, after, last, kind, cluster } => {
                let client = context.client()?;
                let wanted = Wanted { rollout, after, last, kind, cluster };
                output.list(&wanted.events(&client).await?, &COLUMNS)?;
                Ok(Ended::Done)
            }
            Self::Export { out } => export(&context.client()?, out.as_deref()).await,
            Self::Checkpoint { out } => {
                let checkpoint: Checkpoint = context.client()?.get("audit/checkpoint", &[]).await?;
                match out {
                    Some(file) => checkpoints::append(&file, &checkpoint)?,
                    None => output.document(&format!("{}\n", serde_json::to_string(&checkpoint)?))?,
                }
                Ok(Ended::Done)
            }
            Self::Verify { file, checkpoints: files, key } => {
                let own = if file.is_none() { own_checkpoints(context)? } else { None };
                let mut kept = Vec::new();
                for file in files.iter().chain(&own) {
                    kept.extend(checkpoints::read(file, key.as_deref())?);
                }
                match file {
                    None => {
                        let export = tempfile_of(&context.client()?).await?;
                        tell(output, BufReader::new(export), &kept)
                    }
                    Some(file) if file == Path::new("-") => tell(output, std::io::stdin().lock(), &kept),
                    Some(file) => {
                        let export =
                            std::fs::File::open(&file).with_context(|| format!("can't open {}", file.display()))?;
                        tell(output, BufReader::new(export), &kept)
                    }
                }
            }
        }
    }
}

/// Which events are listed.
struct Wanted {
    rollout: Option<String>,
    after: i64,
    last: Option<usize>,
    kind: Option<String>,
    cluster: Option<String>,
}

impl Wanted {
    async fn events(self, client: &Client) -> anyhow::Result<Vec<EventView>> {
        let Self { rollout, mut after, last, kind, cluster } = self;
        let all = rollout.is_none() && kind.is_none() && cluster.is_none();
        if let (Some(last), true) = (last, all) {
            // Their numbers have no gaps: the end of a long chain is found without reading the whole of it.
            let Checkpoint { seq, .. } = client.get("audit/checkpoint", &[]).await?;
            after = after.max(seq.saturating_sub(i64::try_from(last).unwrap_or(i64::MAX)));
        }
        let about = match cluster {
            Some(name) => Some(client.get::<ClusterView>(&format!("clusters/{}", segment(&name)), &[]).await?.id),
            None => None,
        };
        let mut query = vec![("after", after.to_string())];
        query.extend(rollout.map(|rollout| ("rollout", rollout)));
        let mut events: Vec<EventView> = client.list("audit", &query).await?;
        events.retain(|event| {
            kind.as_ref().is_none_or(|kind| event.kind == *kind)
                && about.as_ref().is_none_or(|id| event.subject["cluster"] == id.as_str())
        });
        let skipped = last.map_or(0, |last| events.len().saturating_sub(last));
        Ok(events.split_off(skipped))
    }
}

/// The file that this machine's own daemon writes its checkpoints to, when that is the hub that is meant.
fn own_checkpoints(context: &Context) -> anyhow::Result<Option<PathBuf>> {
    let Some(data_dir) = connect::local_data_dir(context)? else { return Ok(None) };
    let settings = settings::load(&Sources {
        file: context.global.config.clone(),
        data_dir: data_dir.clone(),
        environment: context.environment.clone(),
        flags: Vec::new(),
    })?;
    match settings.audit.checkpoint_file {
        // Where somebody said that they are, they must be.
        Some(file) => Ok(Some(file)),
        None => Ok(Some(data_dir.join(CHECKPOINT_FILE)).filter(|file| file.exists())),
    }
}

async fn export(client: &Client, out: Option<&Path>) -> anyhow::Result<Ended> {
    match out {
        None => write_export(client, &mut std::io::stdout().lock()).await?,
        Some(file) => {
            let mut handle = std::fs::File::create(file).with_context(|| format!("can't write {}", file.display()))?;
            write_export(client, &mut handle).await?;
        }
    }
    Ok(Ended::Done)
}

async fn write_export(client: &Client, to: &mut impl std::io::Write) -> anyhow::Result<()> {
    let mut stream = client.stream("audit/export", &[]).await?;
    while let Some(chunk) = stream.chunk().await? {
        to.write_all(&chunk)?;
    }
    Ok(to.flush()?)
}

/// The hub's chain in a file that has no name: it may be larger than memory.
async fn tempfile_of(client: &Client) -> anyhow::Result<std::fs::File> {
    let path = std::env::temp_dir().join(format!("fleetlift-audit-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    write_export(client, &mut file).await?;
    file.flush()?;
    std::io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// Verifies the hub's chain and answers how many entries hold.
pub async fn verify_hub(client: &Client) -> anyhow::Result<Verified> {
    let export = tempfile_of(client).await?;
    Ok(verify_lines(BufReader::new(export), Verifier::from_the_beginning([]))?)
}

fn tell(output: Output, lines: impl BufRead, kept: &[Checkpoint]) -> anyhow::Result<Ended> {
    match verify_lines(lines, Verifier::from_the_beginning(kept.iter().map(Checkpoint::head))) {
        Ok(verified) => {
            let Verified { events, after: _, head, compared } = verified;
            let found = json!({"verified": true, "events": events, "checkpoints": compared,
                "head": {"seq": head.seq, "hash": head.hash}});
            let compared = match kept.iter().max_by_key(|checkpoint| checkpoint.seq) {
                Some(last) => format!("{compared} checkpoints fit, the last of {}", last.at),
                None => "compared with no checkpoint (see `audit checkpoint`)".to_owned(),
            };
            let told = format!("audit: {events} entries verified, head {} {}\n{compared}", head.seq, head.hash);
            output.one(&found, |_| told)?;
            Ok(Ended::Done)
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            let told: Vec<String> = error.chain().map(ToString::to_string).collect();
            let found = json!({"verified": false, "fault": told.join(": ")});
            if !output.for_people() {
                output.one(&found, |_| String::new())?;
            }
            output.error(&format!("the audit does not hold: {}", told.join(": ")));
            Ok(Ended::Failed)
        }
    }
}
