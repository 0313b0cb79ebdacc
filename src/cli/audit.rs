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
use crate::app::{Checkpoint, EventView};
use crate::audit::{Verified, Verifier, verify_lines};

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
            Self::List { rollout, after } => {
                let mut query = vec![("after", after.to_string())];
                query.extend(rollout.map(|rollout| ("rollout", rollout)));
                output.list(&context.client()?.list::<EventView>("audit", &query).await?, &COLUMNS)?;
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
                let own = if file.is_none() { connect::local_data_dir(context)? } else { None };
                let own = own.map(|folder| folder.join(CHECKPOINT_FILE)).filter(|file| file.exists());
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
