//! `fleetlift result list | show | export`.

use clap::{Subcommand, ValueEnum};

use super::cluster::instant;
use super::render::{Column, Output, Tone, plain};
use super::{Context, Ended};
use crate::api::client::segment;
use crate::app::{NamedObject, ResultView};

/// Results.
#[derive(Debug, Subcommand)]
pub enum ResultCommand {
    /// One line a task
    List {
        /// The rollout: its id, the beginning or end of it, or `latest`
        #[arg(default_value = "latest")]
        rollout: String,
        /// Only of this cluster
        #[arg(long)]
        cluster: Option<String>,
    },
    /// The tasks of one cluster with everything that was seen
    Show {
        /// The rollout: its id, the beginning or end of it, or `latest`
        rollout: String,
        /// The cluster
        cluster: String,
    },
    /// All results as CSV or JSON lines
    Export {
        /// The rollout: its id, the beginning or end of it, or `latest`
        #[arg(default_value = "latest")]
        rollout: String,
        /// Which form
        #[arg(long, value_enum, default_value_t)]
        format: ExportFormat,
    },
}

/// A form of export.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated values, with a header
    #[default]
    Csv,
    /// One JSON object a line, with evidence
    Jsonl,
}

/// One line a task.
pub const COLUMNS: [Column<ResultView>; 9] = [
    Column::new("CLUSTER", |result: &ResultView| result.cluster.clone()),
    Column::new("RESOURCE", |result: &ResultView| format!("{}/{}", result.resource.kind, result.resource.name)),
    Column::new("FROM", |result: &ResultView| result.from.clone()),
    Column::new("TO", |result: &ResultView| result.to.clone()),
    Column::new("OUTCOME", |result: &ResultView| result.outcome.clone()),
    Column::new("ATTEMPTS", |result: &ResultView| result.attempts.to_string()),
    Column::new("WHY", |result: &ResultView| result.reason.clone()),
    Column::wide("ENDED", |result: &ResultView| instant(result.ended_at, "")),
    Column::wide("JOB", |result: &ResultView| result.job.as_ref().map_or_else(String::new, |job| job.name.clone())),
];

impl ResultCommand {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let output = context.output;
        let client = context.client()?;
        let path = |rollout: &str| format!("rollouts/{}/results", segment(rollout));
        match self {
            Self::List { rollout, cluster } => {
                let query: Vec<(&str, String)> = cluster.into_iter().map(|name| ("cluster", name)).collect();
                output.list(&client.list::<ResultView>(&path(&rollout), &query).await?, &COLUMNS)?;
            }
            Self::Show { rollout, cluster } => {
                let query = [("cluster", cluster), ("evidence", "true".to_owned())];
                let results: Vec<ResultView> = client.list(&path(&rollout), &query).await?;
                output.one(&results, |output| results.iter().map(|result| shown(output, result)).collect())?;
            }
            Self::Export { rollout, format } => {
                let evidence = matches!(format, ExportFormat::Jsonl);
                let query = [("evidence", evidence.to_string())];
                let results: Vec<ResultView> = client.list(&path(&rollout), &query).await?;
                output.document(&match format {
                    ExportFormat::Csv => csv(&results)?,
                    ExportFormat::Jsonl => lines(&results)?,
                })?;
            }
        }
        Ok(Ended::Done)
    }
}

/// One task with its evidence, for people.
pub fn shown(output: Output, result: &ResultView) -> String {
    let object = |object: &Option<NamedObject>| match object {
        Some(NamedObject { name, uid: Some(uid) }) => format!("{name} (UID {uid})"),
        Some(NamedObject { name, uid: None }) => name.clone(),
        None => String::new(),
    };
    let head = format!("{}  {}/{}", result.cluster, result.resource.kind, result.resource.name);
    let mut text = format!(
        "{}  {} → {}  {}\n",
        output.tone(Tone::Strong, &head),
        plain(&result.from),
        plain(&result.to),
        output.state(&result.outcome)
    );
    let rows = [
        ("why", result.reason.clone()),
        ("attempts", result.attempts.to_string()),
        ("started", instant(result.started_at, "")),
        ("ended", instant(result.ended_at, "")),
        ("job", object(&result.job)),
        ("upgradetask", object(&result.upgrade_task)),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("  {name:<12} {}\n", plain(value)));
    }
    if let Some(evidence) = &result.evidence {
        let yaml = serde_saphyr::to_string(evidence).unwrap_or_default();
        text.push_str("  evidence\n");
        text.extend(plain(&yaml).lines().map(|line| format!("    {line}\n")));
    }
    text
}

fn lines(results: &[ResultView]) -> anyhow::Result<String> {
    let mut text = String::new();
    for result in results {
        text.push_str(&serde_json::to_string(result)?);
        text.push('\n');
    }
    Ok(text)
}

const HEADER: [&str; 14] = [
    "cluster",
    "kind",
    "name",
    "from",
    "to",
    "outcome",
    "reason",
    "attempts",
    "startedAt",
    "endedAt",
    "job",
    "jobUid",
    "upgradeTask",
    "upgradeTaskUid",
];

fn csv(results: &[ResultView]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    for result in results {
        let named = |object: &Option<NamedObject>| {
            object.clone().map_or_else(Default::default, |object| (object.name, object.uid.unwrap_or_default()))
        };
        let (job, job_uid): (String, String) = named(&result.job);
        let (task, task_uid): (String, String) = named(&result.upgrade_task);
        let row: [&str; HEADER.len()] = [
            &result.cluster,
            &result.resource.kind,
            &result.resource.name,
            &result.from,
            &result.to,
            &result.outcome,
            &result.reason,
            &result.attempts.to_string(),
            &instant(result.started_at, ""),
            &instant(result.ended_at, ""),
            &job,
            &job_uid,
            &task,
            &task_uid,
        ];
        writer.write_record(row.map(cell))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// One value in one line, and never a formula for whoever opens it in a spreadsheet.
fn cell(value: &str) -> String {
    let value = plain(value).replace(['\n', '\t'], " ");
    if value.starts_with(['=', '+', '-', '@']) { format!("'{value}") } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_one_line_and_no_formulas() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a, \"b\"\nc"), "a, \"b\" c");
        assert_eq!(cell("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
        assert_eq!(cell("x\u{1b}[31m"), "x[31m");
    }
}
