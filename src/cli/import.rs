//! `fleetlift cluster import`: thousands of kubeconfigs at once, safe to repeat.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;

use super::cluster::KUBECONFIG_BYTES_MAX;
use super::connect::read_bounded;
use super::render::{Column, Output};
use super::{Context, Ended};
use crate::api::Client;
use crate::app::{ImportClusters, Imported, RegisterCluster};

/// Registers one cluster for each kubeconfig of a folder (named by the file), or for each context of one kubeconfig.
#[derive(Debug, Args)]
pub struct Import {
    /// A folder of kubeconfigs, or one kubeconfig with many contexts
    #[arg(value_name = "DIR-or-FILE")]
    from: PathBuf,
    /// A CSV file: the column `name`, and a column for each label (`timeZone`, `namespace`, `egress` are no labels)
    #[arg(long, value_name = "CSV")]
    labels: Option<PathBuf>,
    /// A label for all of them; as often as needed
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Where OpenEBS runs
    #[arg(long, default_value = "openebs")]
    namespace: String,
}

/// One request holds at most so many bytes of kubeconfigs: half of what the hub reads by default.
const REQUEST_BYTES_MAX: usize = 2 << 20;

/// More files than this are a mistake.
const FILES_MAX: usize = 100_000;

const COLUMNS: [Column<Imported>; 3] = [
    Column::new("NAME", |imported: &Imported| imported.name.clone()),
    Column::new("OUTCOME", |imported: &Imported| imported.outcome.clone()),
    Column::new("WHY", |imported: &Imported| imported.reason.clone()),
];

impl Import {
    pub(super) async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Ended> {
        let wanted = self.wanted()?;
        let progress = progress(context.output, wanted.len());
        let mut report: Vec<Imported> = Vec::new();
        let mut part = Vec::new();
        let mut bytes = 0;
        for cluster in wanted {
            if part.len() >= ImportClusters::MAX || bytes + cluster.kubeconfig.len() > REQUEST_BYTES_MAX {
                report.extend(send(client, std::mem::take(&mut part), &progress).await?);
                bytes = 0;
            }
            bytes += cluster.kubeconfig.len();
            part.push(cluster);
        }
        report.extend(send(client, part, &progress).await?);
        progress.finish_and_clear();
        let count = |outcome: &str| report.iter().filter(|imported| imported.outcome == outcome).count();
        let (registered, unchanged, refused) = (count("registered"), count("unchanged"), count("refused"));
        if context.output.for_people() {
            let told: Vec<Imported> = report.into_iter().filter(|imported| imported.outcome == "refused").collect();
            if !told.is_empty() {
                context.output.list(&told, &COLUMNS)?;
            }
            context.output.say(&format!("{registered} registered, {unchanged} unchanged, {refused} refused"))?;
        } else {
            context.output.list(&report, &COLUMNS)?;
        }
        Ok(if refused == 0 { Ended::Done } else { Ended::Failed })
    }

    fn wanted(&self) -> anyhow::Result<Vec<RegisterCluster>> {
        let mut rows = self.labels.as_deref().map(read_csv).transpose()?.unwrap_or_default();
        let mut common = BTreeMap::new();
        for text in &self.label {
            let (key, value) = text.split_once('=').with_context(|| format!("`{text}` is no KEY=VALUE"))?;
            common.insert(key.to_owned(), value.to_owned());
        }
        let mut wanted = Vec::new();
        for (name, kubeconfig, context) in self.sources()? {
            let mut row = rows.remove(&name).unwrap_or_default();
            let mut labels = common.clone();
            let time_zone = row.remove("timeZone");
            let namespace = row.remove("namespace").unwrap_or_else(|| self.namespace.clone());
            let egress = row.remove("egress");
            labels.append(&mut row);
            wanted.push(RegisterCluster {
                name,
                kubeconfig,
                context,
                labels,
                time_zone,
                namespace: Some(namespace),
                egress,
            });
        }
        if let Some(name) = rows.keys().next() {
            bail!("the label file names `{name}` (and {} more), which has no kubeconfig", rows.len() - 1);
        }
        Ok(wanted)
    }

    /// Name, kubeconfig and context of each cluster.
    fn sources(&self) -> anyhow::Result<Vec<(String, String, Option<String>)>> {
        if !self.from.is_dir() {
            let text = read_bounded(&self.from, KUBECONFIG_BYTES_MAX)?;
            return Ok(contexts(&text)?.into_iter().map(|name| (name.clone(), text.clone(), Some(name))).collect());
        }
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(&self.from).with_context(|| format!("can't read {}", self.from.display()))? {
            let path = entry?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_file() && !hidden {
                files.push(path);
            }
            if files.len() > FILES_MAX {
                bail!("{} holds more than {FILES_MAX} files", self.from.display());
            }
        }
        files.sort();
        let read = |path: PathBuf| {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            Ok((name, read_bounded(&path, KUBECONFIG_BYTES_MAX)?, None))
        };
        files.into_iter().map(read).collect()
    }
}

/// The names of a kubeconfig's contexts; everything else of it is the hub's to judge.
fn contexts(text: &str) -> anyhow::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(default)]
        contexts: Vec<Named>,
    }
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    let file: File = serde_saphyr::from_str(text).context("the kubeconfig can't be read")?;
    if file.contexts.is_empty() {
        bail!("the kubeconfig has no contexts");
    }
    Ok(file.contexts.into_iter().map(|named| named.name).collect())
}

async fn send(
    client: &Client,
    clusters: Vec<RegisterCluster>,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<Imported>> {
    if clusters.is_empty() {
        return Ok(Vec::new());
    }
    let count = clusters.len() as u64;
    let report = client.send(Method::POST, "clusters/import", &ImportClusters { clusters }).await?;
    progress.inc(count);
    Ok(report)
}

fn progress(output: Output, count: usize) -> ProgressBar {
    if !output.live() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("registering {bar:40} {pos}/{len} ({eta})");
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// Rows by name: column → value, empty values left out.
fn read_csv(file: &Path) -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
    let text = read_bounded(file, 64 << 20)?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().context("the label file is empty")?;
    let header = split(header)?;
    let name_at = header.iter().position(|column| column == "name").context("the label file has no column `name`")?;
    let mut rows = BTreeMap::new();
    for (number, line) in lines {
        let values = split(line).with_context(|| format!("{}:{}", file.display(), number + 1))?;
        if values.len() != header.len() {
            bail!("{}:{}: {} values for {} columns", file.display(), number + 1, values.len(), header.len());
        }
        let row = header.iter().zip(&values).enumerate().filter(|(at, (_, value))| *at != name_at && !value.is_empty());
        let row = row.map(|(_, (column, value))| (column.clone(), value.clone())).collect();
        if rows.insert(values[name_at].clone(), row).is_some() {
            bail!("{}:{}: {} is there twice", file.display(), number + 1, values[name_at]);
        }
    }
    Ok(rows)
}

/// The values of one line: separated by commas, in double quotes where they hold one.
fn split(line: &str) -> anyhow::Result<Vec<String>> {
    let mut values = Vec::new();
    let mut value = String::new();
    let mut quoted = false;
    let mut characters = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                value.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(std::mem::take(&mut value).trim().to_owned()),
            c => value.push(c),
        }
    }
    if quoted {
        bail!("a quote is not closed");
    }
    values.push(value.trim().to_owned());
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_may_hold_commas_and_quotes() {
        assert_eq!(split(r#"a, "b, ""c""" ,,d"#).unwrap(), ["a", "b, \"c\"", "", "d"]);
        assert!(split("\"a").is_err());
    }

    #[test]
    fn every_context_is_a_cluster() {
        let text = "contexts:\n- name: one\n  context: {cluster: a, user: a}\n- {name: two, context: {}}\n";
        assert_eq!(contexts(text).unwrap(), ["one", "two"]);
        assert!(contexts("{}").is_err());
    }
}
