//! `fleetlift fleet check | diff | apply | show | schema`.

use std::path::PathBuf;

use clap::Subcommand;
use reqwest::Method;

use super::render::{Output, Tone};
use super::{Context, Ended};
use crate::app::{Applied, ChangeView, FleetFile, FleetFiles, FleetView};
use crate::fleet_config::{self, Problem, Source};

/// The fleet file.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Say everything that is wrong with fleet files, without a hub
    Check {
        /// A file or a folder of YAML files; `-` reads standard input
        from: PathBuf,
    },
    /// Say what applying would change
    Diff {
        /// A file or a folder of YAML files; `-` reads standard input
        from: PathBuf,
    },
    /// Make the files the hub's fleet; running rollouts go on as planned
    Apply {
        /// A file or a folder of YAML files; `-` reads standard input
        from: PathBuf,
        /// Only if the hub's fleet still is this revision, as `fleet show` tells it (its beginning is enough)
        #[arg(long, value_name = "REVISION")]
        over: Option<String>,
    },
    /// Show the hub's fleet, with every default written out
    Show,
    /// Print the JSON Schema, for editors
    Schema,
}

impl FleetCommand {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let output = context.output;
        match self {
            Self::Check { from } => return check(output, &sources(&from)?),
            Self::Schema => output.document(&serde_json::to_string_pretty(&fleet_config::schema())?)?,
            Self::Diff { from } => {
                let files = files(sources(&from)?);
                let applied: Applied = context.client()?.send(Method::POST, "fleet/diff", &files).await?;
                output.one(&applied, |output| told(output, &applied, "would be"))?;
            }
            Self::Apply { from, over } => {
                let files = files(sources(&from)?);
                let client = context.client()?;
                let over = match over {
                    None => None,
                    Some(meant) => Some(still(&meant, client.get("fleet", &[]).await?)?),
                };
                let applied: Applied = client.replace("fleet", over.as_deref(), &files).await?;
                output.one(&applied, |output| told(output, &applied, "is"))?;
            }
            Self::Show => {
                let fleet: FleetView = context.client()?.get("fleet", &[]).await?;
                output.one(&fleet, |output| {
                    let head =
                        format!("# revision {}, applied {} by {}", fleet.revision, fleet.applied_at, fleet.applied_by);
                    format!("{}\n{}", output.tone(Tone::Dim, &head), super::render::plain(&fleet.yaml))
                })?;
            }
        }
        Ok(Ended::Done)
    }
}

/// The whole revision of the hub's fleet, if it is the one that is meant.
fn still(meant: &str, FleetView { revision, applied_at, applied_by, .. }: FleetView) -> anyhow::Result<String> {
    anyhow::ensure!(
        meant.len() >= 6 && revision.starts_with(meant),
        "--over: the hub's fleet is revision {}, applied {applied_at} by {applied_by}, not {meant}: nothing was changed",
        revision.get(..12).unwrap_or(&revision)
    );
    Ok(revision)
}

/// The files of a folder, a file, or standard input.
pub fn sources(from: &std::path::Path) -> anyhow::Result<Vec<Source>> {
    if from == std::path::Path::new("-") {
        let text = super::connect::read_bounded(from, fleet_config::BYTES_MAX as u64)?;
        return Ok(vec![Source { name: "-".to_owned(), text }]);
    }
    Ok(fleet_config::read(from)?)
}

/// The same for the wire.
pub fn files(sources: Vec<Source>) -> FleetFiles {
    FleetFiles { files: sources.into_iter().map(|Source { name, text }| FleetFile { name, text }).collect() }
}

fn check(output: Output, sources: &[Source]) -> anyhow::Result<Ended> {
    match fleet_config::parse(sources) {
        Ok(fleet) => {
            let (groups, strategies) = (fleet.groups.len(), fleet.strategies.len());
            let found = serde_json::json!({"revision": fleet.revision(), "problems": []});
            output.one(&found, |_| {
                format!(
                    "fleet {} is sound: {groups} groups, {strategies} strategies (revision {})",
                    fleet.name,
                    fleet.revision().short()
                )
            })?;
            Ok(Ended::Done)
        }
        Err(problems) => {
            output.one(&problems, |output| problems.problems.iter().map(|problem| line(output, problem)).collect())?;
            output.error(&format!("{} mistakes; nothing was changed", problems.problems.len() + problems.more));
            Ok(Ended::Failed)
        }
    }
}

fn line(output: Output, problem: &Problem) -> String {
    let Problem { file, line, column, field, message, snippet } = problem;
    let place = if *line > 0 { format!("{file}:{line}:{column}") } else { file.clone() };
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let snippet =
        if snippet.is_empty() { String::new() } else { format!("\n    {}", output.tone(Tone::Dim, snippet.trim())) };
    let head = output.tone(Tone::Strong, &place);
    format!("{head}: {}{snippet}\n", super::render::plain(&format!("{field}{message}")))
}

fn told(output: Output, applied: &Applied, verb: &str) -> String {
    let short = applied.revision.get(..12).unwrap_or(&applied.revision);
    if applied.changes.is_empty() {
        return format!("nothing changes: this {verb} revision {short} already");
    }
    let mut text: String = applied.changes.iter().map(|change| changed(output, change)).collect();
    text.push_str(&format!("revision {short} {verb} the fleet"));
    text
}

fn changed(output: Output, ChangeView { field, before, after }: &ChangeView) -> String {
    let (tone, text) = match (before, after) {
        (None, Some(after)) => (Tone::Good, format!("+ {field}: {after}")),
        (Some(before), None) => (Tone::Bad, format!("- {field}: {before}")),
        (Some(before), Some(after)) => (Tone::Odd, format!("~ {field}: {before} → {after}")),
        (None, None) => (Tone::Dim, field.clone()),
    };
    format!("{}\n", output.tone(tone, &text))
}
