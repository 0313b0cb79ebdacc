//! `fleetlift cluster import`: thousands of kubeconfigs at once, safe to repeat.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::Value;

use super::cluster::{KUBECONFIG_BYTES_MAX, label};
use super::connect::read_bounded;
use super::render::{Column, Output};
use super::{Context, Ended};
use crate::api::Client;
use crate::app::{ImportClusters, ImportOutcome, Imported, RegisterCluster};

/// Registers one cluster for each kubeconfig of a folder (named by the file), or for each context of one kubeconfig.
#[derive(Debug, Args)]
pub struct Import {
    /// A folder of kubeconfigs, or one kubeconfig with many contexts
    #[arg(value_name = "DIR-or-FILE")]
    from: PathBuf,
    /// A CSV file: the column `name`, and a column for each label (`timeZone`, `namespace`, `egress` are no labels, nor is
    /// `context`: the context of one kubeconfig that gets the name)
    #[arg(long, value_name = "CSV")]
    labels: Option<PathBuf>,
    /// A label for all of them; as often as needed
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Where OpenEBS runs: `openebs` without
    #[arg(long)]
    namespace: Option<String>,
}

/// The column of the label file that names a context.
const CONTEXT: &str = "context";

/// One request holds at most so many bytes of kubeconfigs: half of what the hub reads by default.
const REQUEST_BYTES_MAX: usize = 2 << 20;

/// The largest label file that is read.
const LABEL_BYTES_MAX: u64 = 64 << 20;

/// More files than this are a mistake.
const FILES_MAX: usize = 100_000;

const COLUMNS: [Column<Imported>; 3] = [
    Column::new("NAME", |imported: &Imported| imported.name.clone()),
    Column::new("OUTCOME", |imported: &Imported| imported.outcome.name().to_owned()),
    Column::new("WHY", |imported: &Imported| imported.reason.clone()),
];

/// One cluster to be, and where its kubeconfig is.
struct Source {
    name: String,
    kubeconfig: Kubeconfig,
}

enum Kubeconfig {
    File(PathBuf),
    Text(String),
    /// There is none to read, and why.
    Missing(String),
}

impl Import {
    pub(super) async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Ended> {
        let mut rows = self.labels.as_deref().map(read_rows).transpose()?.unwrap_or_default();
        let common: BTreeMap<String, String> = self.label.iter().cloned().collect();
        let mut sources = self.sources(&rows)?;
        let named: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let strangers: Vec<String> = rows.keys().filter(|name| !named.contains(name.as_str())).cloned().collect();
        sources.extend(strangers.into_iter().map(|name| {
            let why = "the label file names it, and there is no kubeconfig of that name".to_owned();
            Source { name, kubeconfig: Kubeconfig::Missing(why) }
        }));

        let mut sender = Sender {
            client,
            progress: progress(context.output, sources.len()),
            batch: Vec::new(),
            bytes: 0,
            report: Vec::new(),
        };
        for source in sources {
            match self.read(source, &mut rows, &common) {
                Ok(cluster) => sender.add(cluster).await?,
                Err(refused) => sender.refuse(refused),
            }
        }
        tell(context.output, sender.finish().await?)
    }

    /// What is to be imported, by name; nothing is read yet but a file of many contexts.
    fn sources(&self, rows: &BTreeMap<String, Row>) -> anyhow::Result<Vec<Source>> {
        if !self.from.is_dir() {
            let contexts = contexts(&read_bounded(&self.from, KUBECONFIG_BYTES_MAX)?)?;
            return Ok(sources_of(contexts, &names_of_contexts(rows)));
        }
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(&self.from).with_context(|| format!("can't read {}", self.from.display()))? {
            let path = entry.with_context(|| format!("can't read {}", self.from.display()))?.path();
            if self.labels.as_deref().is_some_and(|labels| is_same_file(labels, &path)) {
                continue;
            }
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_file() && !hidden {
                files.push(path);
            }
            ensure!(files.len() <= FILES_MAX, "{} holds more than {FILES_MAX} files", self.from.display());
        }
        ensure!(!files.is_empty(), "{} holds no files", self.from.display());
        files.sort();
        let mut sources: Vec<Source> = Vec::with_capacity(files.len());
        for path in files {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let kubeconfig = match sources.last() {
                Some(before) if before.name == name => {
                    Kubeconfig::Missing(format!("{} is a second file of that name: rename it", path.display()))
                }
                _ => Kubeconfig::File(path),
            };
            sources.push(Source { name, kubeconfig });
        }
        Ok(sources)
    }

    /// The cluster with all that is said of it; one whose file can't be read is refused by itself.
    fn read(
        &self,
        Source { name, kubeconfig }: Source,
        rows: &mut BTreeMap<String, Row>,
        common: &BTreeMap<String, String>,
    ) -> Result<RegisterCluster, Imported> {
        let kubeconfig = match kubeconfig {
            Kubeconfig::Text(text) => text,
            Kubeconfig::File(path) => match read_bounded(&path, KUBECONFIG_BYTES_MAX) {
                Ok(text) => text,
                Err(error) => return Err(Imported::refused(name, format!("{error:#}"))),
            },
            Kubeconfig::Missing(why) => return Err(Imported::refused(name, why)),
        };
        let mut row = rows.remove(&name).unwrap_or_default();
        row.remove(CONTEXT);
        let time_zone = row.remove("timeZone");
        let namespace = row.remove("namespace").or_else(|| self.namespace.clone());
        let egress = row.remove("egress");
        let mut labels = common.clone();
        labels.append(&mut row);
        Ok(RegisterCluster {
            name,
            kubeconfig,
            context: None,
            labels,
            time_zone,
            namespace,
            egress,
            insecure_skip_tls_verify: false,
        })
    }
}

/// The names that the label file gives to contexts.
fn names_of_contexts(rows: &BTreeMap<String, Row>) -> BTreeMap<&str, &str> {
    rows.iter().filter_map(|(name, row)| Some((row.get(CONTEXT)?.as_str(), name.as_str()))).collect()
}

/// A cluster for each context; two of one name are refused both, since nobody said which is meant.
fn sources_of(contexts: Vec<OneContext>, named: &BTreeMap<&str, &str>) -> Vec<Source> {
    let name = |context: &str| named.get(context).map_or_else(|| name_of(context), |name| (*name).to_owned());
    let mut contexts_of: BTreeMap<String, Vec<OneContext>> = BTreeMap::new();
    for context in contexts {
        contexts_of.entry(name(&context.name)).or_default().push(context);
    }
    let source = |(name, mut contexts): (String, Vec<OneContext>)| {
        let kubeconfig = match (contexts.pop(), contexts.is_empty()) {
            (Some(one), true) => Kubeconfig::Text(one.kubeconfig),
            _ => Kubeconfig::Missing(format!(
                "several contexts would have this name: name them in the columns `name` and `{CONTEXT}` of a label file"
            )),
        };
        Source { name, kubeconfig }
    };
    contexts_of.into_iter().map(source).collect()
}

/// Sends clusters in requests of a bearable size.
struct Sender<'a> {
    client: &'a Client,
    progress: ProgressBar,
    batch: Vec<RegisterCluster>,
    bytes: usize,
    report: Vec<Imported>,
}

impl Sender<'_> {
    async fn add(&mut self, cluster: RegisterCluster) -> anyhow::Result<()> {
        if self.batch.len() >= ImportClusters::MAX || self.bytes + cluster.kubeconfig.len() > REQUEST_BYTES_MAX {
            self.send().await?;
        }
        self.bytes += cluster.kubeconfig.len();
        self.batch.push(cluster);
        Ok(())
    }

    fn refuse(&mut self, refused: Imported) {
        self.progress.inc(1);
        self.report.push(refused);
    }

    async fn finish(mut self) -> anyhow::Result<Vec<Imported>> {
        self.send().await?;
        self.progress.finish_and_clear();
        Ok(self.report)
    }

    async fn send(&mut self) -> anyhow::Result<()> {
        let clusters = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if clusters.is_empty() {
            return Ok(());
        }
        let count = clusters.len() as u64;
        let sent =
            self.client.send::<_, Vec<Imported>>(Method::POST, "clusters/import", &ImportClusters { clusters }).await;
        let answered = self.report.len();
        let sent = sent.with_context(|| {
            format!("{answered} were answered before this; import again goes on: what is there stays as it is")
        })?;
        self.report.extend(sent);
        self.progress.inc(count);
        Ok(())
    }
}

fn tell(output: Output, report: Vec<Imported>) -> anyhow::Result<Ended> {
    let count = |outcome| report.iter().filter(|imported| imported.outcome == outcome).count();
    let refused = count(ImportOutcome::Refused);
    if output.for_people() {
        let summary = format!(
            "{} registered, {} changed, {} unchanged, {refused} refused",
            count(ImportOutcome::Registered),
            count(ImportOutcome::Changed),
            count(ImportOutcome::Unchanged),
        );
        let told: Vec<Imported> = report.into_iter().filter(|imported| !imported.reason.is_empty()).collect();
        if !told.is_empty() {
            output.list(&told, &COLUMNS)?;
        }
        output.say(&summary)?;
    } else {
        output.list(&report, &COLUMNS)?;
    }
    Ok(if refused == 0 { Ended::Done } else { Ended::Failed })
}

/// One context of a kubeconfig: its name, and a kubeconfig with it alone. The credentials of the others are none of the
/// hub's business; what there is of this one is the hub's to judge.
struct OneContext {
    name: String,
    kubeconfig: String,
}

fn contexts(text: &str) -> anyhow::Result<Vec<OneContext>> {
    let mut options = serde_saphyr::Options::default();
    // The lines around a mistake may hold a token.
    options.with_snippet = false;
    let file: Value = serde_saphyr::from_str_with_options(text, options).context("the kubeconfig can't be read")?;
    let names: Vec<&str> = entries(&file, "contexts").filter_map(|context| context["name"].as_str()).collect();
    if names.is_empty() {
        bail!("the kubeconfig has no contexts");
    }
    Ok(names.into_iter().map(|name| alone(&file, name)).collect())
}

fn entries<'a>(file: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    file[list].as_array().into_iter().flatten()
}

fn alone(file: &Value, context: &str) -> OneContext {
    let named = |list: &str, name: &Value| -> Value {
        entries(file, list).filter(|entry| !name.is_null() && entry["name"] == *name).cloned().collect()
    };
    let contexts = named("contexts", &context.into());
    let (cluster, user) = (&contexts[0]["context"]["cluster"], &contexts[0]["context"]["user"]);
    let mut one = file.clone();
    one["clusters"] = named("clusters", cluster);
    one["users"] = named("users", user);
    one["current-context"] = context.into();
    one["contexts"] = contexts;
    OneContext { name: context.to_owned(), kubeconfig: one.to_string() }
}

/// The name of a cluster that nobody named: its context's, with a hyphen for what no name may hold (`admin@prod`,
/// `arn:aws:eks:…:cluster/prod`).
fn name_of(context: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = context.chars().map(plain).collect();
    name.trim_matches(['-', '.']).to_owned()
}

fn progress(output: Output, count: usize) -> ProgressBar {
    if !output.live() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("registering {bar:40} {pos}/{len} ({eta})");
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// Whether the label file lies among the kubeconfigs.
fn is_same_file(one: &Path, other: &Path) -> bool {
    one.file_name() == other.file_name() && one.canonicalize().ok() == other.canonicalize().ok()
}

/// A row of the label file: column → value, empty values left out.
type Row = BTreeMap<String, String>;

/// The label file's rows by name.
fn read_rows(file: &Path) -> anyhow::Result<BTreeMap<String, Row>> {
    let text = read_bounded(file, LABEL_BYTES_MAX)?;
    let place = || format!("in {}", file.display());
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().with_context(place)?.clone();
    let name_at = header.iter().position(|column| column == "name");
    let name_at = name_at.with_context(|| format!("{} has no column `name`", file.display()))?;
    let mut rows = BTreeMap::new();
    for record in reader.records() {
        let record = record.with_context(place)?;
        let name = record.get(name_at).unwrap_or_default().to_owned();
        let values = header.iter().zip(&record).enumerate();
        let row = values.filter(|(at, (_, value))| *at != name_at && !value.is_empty());
        let row = row.map(|(_, (column, value))| (column.to_owned(), value.to_owned())).collect();
        let line = record.position().map_or(0, csv::Position::line);
        ensure!(rows.insert(name.clone(), row).is_none(), "{}:{line}: {name} is there twice", file.display());
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_file_gives_a_row_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.csv");
        let rows = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read_rows(&file).map_err(|error| format!("{error:#}"))
        };
        let found = rows("name, site,tier\r\nberlin-1,\"Berlin, Mitte\",\r\n").unwrap();
        assert_eq!(found["berlin-1"], Row::from([("site".into(), "Berlin, Mitte".into())]));
        assert!(rows("site\na\n").unwrap_err().contains("no column `name`"));
        assert!(rows("name,site\na,b\na,c\n").unwrap_err().contains(":3: a is there twice"));
        assert!(rows("name,site\na\n").unwrap_err().contains("line: 2"));
    }

    const TWO: &str = "
apiVersion: v1
contexts:
- {name: admin@prod, context: {cluster: one, user: first}}
- {name: 'arn:aws:eks:eu-west-1:1:cluster/shop', context: {cluster: two, user: second}}
clusters: [{name: one, cluster: {server: a}}, {name: two, cluster: {server: b}}]
users: [{name: first, user: {token: canary-1}}, {name: second, user: {token: canary-2}}]
";

    #[test]
    fn every_context_is_a_cluster_and_only_its_own_credential_is_sent() {
        let found = contexts(TWO).unwrap();
        let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["admin@prod", "arn:aws:eks:eu-west-1:1:cluster/shop"]);
        let first: Value = serde_json::from_str(&found[0].kubeconfig).unwrap();
        assert_eq!(first["current-context"], "admin@prod");
        assert_eq!(first["clusters"][0]["cluster"]["server"], "a");
        assert!(found[0].kubeconfig.contains("canary-1") && !found[0].kubeconfig.contains("canary-2"));
        assert!(found[1].kubeconfig.contains("canary-2") && !found[1].kubeconfig.contains("canary-1"));
        assert!(contexts("{}").is_err());
    }

    #[test]
    fn contexts_get_names_that_clusters_may_have_or_those_of_the_label_file() {
        let names = |named: &[(&str, &str)]| -> Vec<String> {
            let named = named.iter().copied().collect();
            sources_of(contexts(TWO).unwrap(), &named).into_iter().map(|source| source.name).collect()
        };
        assert_eq!(names(&[]), ["admin-prod", "arn-aws-eks-eu-west-1-1-cluster-shop"]);
        assert_eq!(names(&[("admin@prod", "prod")]), ["arn-aws-eks-eu-west-1-1-cluster-shop", "prod"]);
        let twice = TWO.replace("arn:aws:eks:eu-west-1:1:cluster/shop", "admin/prod");
        let twice = sources_of(contexts(&twice).unwrap(), &BTreeMap::new());
        assert!(matches!(twice.as_slice(), [Source { kubeconfig: Kubeconfig::Missing(_), .. }]));
    }

    #[test]
    fn a_broken_kubeconfig_is_not_repeated() {
        let broken = "users:\n- name: a\n  user: {token: canary}\n  }: [\n";
        let error = contexts(broken).map(|_| ()).unwrap_err();
        assert!(!format!("{error:#}").contains("canary"), "{error:#}");
    }
}
