//! `fleetlift cluster add | import | list | show | label | check | resources | rotate | remove`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use reqwest::Method;

use super::bootstrap::Bootstrap;
use super::connect::read_bounded;
use super::import;
use super::render::{Column, Output, Tone, plain};
use super::{Context, Ended, resources};
use crate::api::client::segment;
use crate::app::{
    ChangeCluster, CheckReport, ClusterView, FindingView, RegisterCluster, ResourcesView, RotateCredential, When,
};

/// Clusters.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Register a cluster with its kubeconfig
    Add {
        /// Its name: lowercase letters, digits, `-` and `.`
        name: String,
        /// The kubeconfig; `-` reads standard input. With --bootstrap: the one that kubectl would use, unless named
        #[arg(long, value_name = "FILE", required_unless_present = "bootstrap")]
        kubeconfig: Option<PathBuf>,
        /// The context in it; its current one without
        #[arg(long)]
        context: Option<String>,
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// A label for selectors and limits; as often as needed
        #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
        label: Vec<(String, String)>,
        /// Its IANA time zone, where it differs from the fleet's
        #[arg(long, value_name = "ZONE")]
        time_zone: Option<String>,
        /// Where OpenEBS runs
        #[arg(long, default_value = "openebs")]
        namespace: String,
        /// The hub's egress that its connections take
        #[arg(long)]
        egress: Option<String>,
        /// Take a kubeconfig without a CA, and trust whoever answers at its address: a last resort, audited and shown
        #[arg(long, conflicts_with = "bootstrap")]
        insecure_skip_tls_verify: bool,
    },
    /// Register thousands at once from a folder of kubeconfigs, or from one kubeconfig's contexts
    Import(import::Import),
    /// List clusters
    List {
        /// Only clusters with fitting labels
        #[arg(long, short = 'l')]
        selector: Option<String>,
    },
    /// Show one cluster
    Show {
        /// Its name
        name: String,
    },
    /// Set labels (key=value) or take them away (key-)
    Label {
        /// Its name
        name: String,
        /// What to change
        #[arg(required = true, value_name = "KEY=VALUE|KEY-", value_parser = label_change)]
        change: Vec<(String, Option<String>)>,
    },
    /// Look at everything that an upgrade needs: reach, identity, CRDs, rights, versions, clock, credential
    Check {
        /// Its name
        name: String,
        /// Lift the cluster's quarantine first: after a person looked at why it is there
        #[arg(long)]
        release: bool,
    },
    /// Pools and volumes with version and health
    Resources {
        /// Its name
        name: String,
        /// Read them now, instead of showing what was read last
        #[arg(long)]
        refresh: bool,
    },
    /// Replace the credential; the new one is tried first
    Rotate {
        /// Its name
        name: String,
        /// The kubeconfig; `-` reads standard input. With --bootstrap: the one that kubectl would use, unless named
        #[arg(long, value_name = "FILE", required_unless_present = "bootstrap")]
        kubeconfig: Option<PathBuf>,
        /// The context in it; its current one without
        #[arg(long)]
        context: Option<String>,
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Take a kubeconfig without a CA, and trust whoever answers at its address
        #[arg(long, conflicts_with = "bootstrap")]
        insecure_skip_tls_verify: bool,
    },
    /// Remove a cluster; its credential is gone at once, its history stays
    Remove {
        /// Its name
        name: String,
    },
}

/// A kubeconfig larger than this is refused by the hub.
pub const KUBECONFIG_BYTES_MAX: u64 = 1 << 20;

const COLUMNS: [Column<ClusterView>; 9] = [
    Column::new("NAME", |cluster: &ClusterView| cluster.name.clone()),
    Column::new("STATE", |cluster: &ClusterView| cluster.state.clone()),
    Column::new("LABELS", |cluster: &ClusterView| labels(&cluster.labels)),
    Column::new("SEEN", |cluster: &ClusterView| instant(cluster.seen_at, "never")),
    Column::new("WHY", |cluster: &ClusterView| why(cluster)),
    Column::wide("SERVER", |cluster: &ClusterView| cluster.server.clone()),
    Column::wide("NAMESPACE", |cluster: &ClusterView| cluster.namespace.clone()),
    Column::wide("CREDENTIAL ENDS", |cluster: &ClusterView| instant(cluster.credential_expires_at, "")),
    Column::wide("ID", |cluster: &ClusterView| cluster.id.clone()),
];

fn why(cluster: &ClusterView) -> String {
    match (&cluster.why, &cluster.failing) {
        (Some(why), _) => why.clone(),
        (None, Some(failing)) => format!("since {}: {}", failing.since, failing.error),
        (None, None) if !cluster.tls_verified => "its server is not proven by a CA".to_owned(),
        (None, None) => String::new(),
    }
}

/// `key=value` pairs in one line.
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// An instant, or what to say without one.
pub fn instant(at: Option<When>, none: &str) -> String {
    at.map_or_else(|| none.to_owned(), |at| at.to_string())
}

/// `KEY=VALUE` of a flag.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

impl ClusterCommand {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let output = context.output;
        let client = context.client()?;
        match self {
            Self::Add {
                name,
                kubeconfig,
                context: chosen,
                bootstrap,
                label,
                time_zone,
                namespace,
                egress,
                insecure_skip_tls_verify,
            } => {
                let (kubeconfig, chosen) = given(output, &bootstrap, kubeconfig, chosen, &namespace).await?;
                let wanted = RegisterCluster {
                    name,
                    kubeconfig,
                    context: chosen,
                    labels: label.into_iter().collect(),
                    time_zone,
                    namespace: Some(namespace),
                    egress,
                    insecure_skip_tls_verify,
                };
                let cluster: ClusterView = client.send(Method::POST, "clusters", &wanted).await?;
                output.one(&cluster, |output| registered(output, &cluster))?;
            }
            Self::Import(import) => return import.run(context, &client).await,
            Self::List { selector } => {
                let query: Vec<(&str, String)> = selector.into_iter().map(|text| ("selector", text)).collect();
                output.list(&client.list::<ClusterView>("clusters", &query).await?, &COLUMNS)?;
            }
            Self::Show { name } => {
                let cluster: ClusterView = client.get(&format!("clusters/{}", segment(&name)), &[]).await?;
                output.one(&cluster, |output| shown(output, &cluster))?;
            }
            Self::Label { name, change } => {
                let change = ChangeCluster { labels: change.into_iter().collect(), ..ChangeCluster::default() };
                let path = format!("clusters/{}", segment(&name));
                let cluster: ClusterView = client.send(Method::PATCH, &path, &change).await?;
                output.one(&cluster, |_| format!("{name}: {}", labels(&cluster.labels)))?;
            }
            Self::Check { name, release } => {
                let path = format!("clusters/{}", segment(&name));
                if release {
                    let change = ChangeCluster { release: true, ..ChangeCluster::default() };
                    let _: ClusterView = client.send(Method::PATCH, &path, &change).await?;
                }
                let report: CheckReport = client.send(Method::POST, &format!("{path}/check"), &()).await?;
                output.one(&report, |output| findings(output, &report.findings))?;
                return Ok(if report.level == "fail" { Ended::Failed } else { Ended::Done });
            }
            Self::Resources { name, refresh } => {
                let path = format!("clusters/{}/resources", segment(&name));
                let view: ResourcesView = match refresh {
                    true => client.send(Method::POST, &path, &()).await?,
                    false => client.get(&path, &[]).await?,
                };
                output.one(&view, |output| resources::page(output, &view))?;
            }
            Self::Rotate { name, kubeconfig, context: chosen, bootstrap, insecure_skip_tls_verify } => {
                let path = format!("clusters/{}", segment(&name));
                let ClusterView { namespace, .. } = client.get(&path, &[]).await?;
                let (kubeconfig, context) = given(output, &bootstrap, kubeconfig, chosen, &namespace).await?;
                let wanted = RotateCredential { kubeconfig, context, insecure_skip_tls_verify };
                let cluster: ClusterView = client.send(Method::PUT, &format!("{path}/credential"), &wanted).await?;
                output.one(&cluster, |_| format!("{name}: the credential is replaced; it ends {}", ends(&cluster)))?;
            }
            Self::Remove { name } => {
                if !context.confirmed(&format!("Remove cluster {name} and its credential?"))? {
                    return Ok(Ended::Failed);
                }
                client.delete(&format!("clusters/{}", segment(&name))).await.context("nothing was removed")?;
                output.say(&format!("{name} is removed"))?;
            }
        }
        Ok(Ended::Done)
    }
}

/// The kubeconfig for the hub, and the context in it: the one that was named, or one made with the user's own.
async fn given(
    output: Output,
    bootstrap: &Bootstrap,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    namespace: &str,
) -> anyhow::Result<(String, Option<String>)> {
    match (bootstrap.wanted(), kubeconfig) {
        (true, file) => Ok((bootstrap.run(output, file.as_deref(), context.as_deref(), namespace).await?, None)),
        (false, Some(file)) => Ok((read_bounded(&file, KUBECONFIG_BYTES_MAX)?, context)),
        (false, None) => anyhow::bail!("--kubeconfig FILE is missing"),
    }
}

fn ends(cluster: &ClusterView) -> String {
    instant(cluster.credential_expires_at, "at a time that it does not tell")
}

fn registered(output: Output, cluster: &ClusterView) -> String {
    let next = format!("next: fleetlift cluster check {}", cluster.name);
    let look = match &cluster.failing {
        None => output.tone(Tone::Good, "it answers"),
        Some(failing) => output.tone(Tone::Odd, &format!("it does not answer yet ({})", failing.error)),
    };
    format!("{} is registered; {look}\n{next}", cluster.name)
}

fn shown(output: Output, cluster: &ClusterView) -> String {
    let rows = [
        ("name", cluster.name.clone()),
        ("state", output.state(&cluster.state)),
        ("why", why(cluster)),
        ("labels", labels(&cluster.labels)),
        ("server", cluster.server.clone()),
        ("server proven", if cluster.tls_verified { "by its CA" } else { "no: waived by an administrator" }.to_owned()),
        ("namespace", cluster.namespace.clone()),
        ("time zone", cluster.time_zone.clone().unwrap_or_else(|| "the fleet's".to_owned())),
        ("egress", cluster.egress.clone().unwrap_or_else(|| "none".to_owned())),
        ("identity", cluster.identity.clone().unwrap_or_else(|| "not seen yet".to_owned())),
        ("credential ends", ends(cluster)),
        ("seen", instant(cluster.seen_at, "never")),
        ("registered", cluster.registered_at.to_string()),
        ("id", cluster.id.clone()),
    ];
    let mut text = String::new();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&output.tone(Tone::Strong, &format!("{name:<16}")));
        text.push_str(value);
        text.push('\n');
    }
    text
}

/// A line for each finding, and below it what to do: some are long.
fn findings(output: Output, findings: &[FindingView]) -> String {
    let mut text = String::new();
    for FindingView { level, what, seen, remedy } in findings {
        let room = " ".repeat(5_usize.saturating_sub(level.len()));
        text.push_str(&format!("{}{room} {:<14} {}\n", output.state(level), plain(what), plain(seen)));
        if !remedy.is_empty() {
            text.push_str(&output.tone(Tone::Strong, &format!("{:21}→ {remedy}", "")));
            text.push('\n');
        }
    }
    text
}

fn label_change(text: &str) -> Result<(String, Option<String>), String> {
    match (text.split_once('='), text.strip_suffix('-')) {
        (Some((key, value)), _) => Ok((key.to_owned(), Some(value.to_owned()))),
        (None, Some(key)) => Ok((key.to_owned(), None)),
        (None, None) => Err(format!("`{text}` is neither KEY=VALUE nor KEY-")),
    }
}
