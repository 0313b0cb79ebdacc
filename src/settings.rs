//! The daemon's settings: flags over environment over file over defaults.
//!
//! Only variables with `__` in them are settings: in a cluster, a Service named `fleetlift` injects
//! `FLEETLIFT_SERVICE_HOST` and its kind. Unknown keys are errors, so that a misspelt limit is no missing limit.

mod bounds;
mod load;
mod period;
mod print;
mod secret;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use load::{Sources, load};
pub use period::Period;
pub use print::effective;
pub use secret::Secret;

/// Everything that can be set, with its default.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the hub remembers.
    pub database: Database,
    /// The HTTP interface.
    pub api: Api,
    /// The key that seals credentials at rest.
    pub sealing: Sealing,
    /// How much is done at once, and how often is looked.
    pub engine: Engine,
    /// Fleet files that the daemon reads by itself.
    pub fleet: Fleet,
    /// What may be reached in, and started on, edge clusters.
    pub edge: Edge,
    /// Plans.
    pub plan: Plan,
    /// The audit.
    pub audit: Audit,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

/// The audit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Where signed checkpoints are appended: best on another disk or host than the database's. In the data folder
    /// without.
    pub checkpoint_file: Option<PathBuf>,
}

/// Where the hub remembers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:FILE` or `postgres://…`; without it, SQLite in the data folder.
    pub url: Option<Secret>,
    /// Whether statements stay prepared on a Postgres connection. Off behind a pgbouncer older than 1.21 in transaction
    /// mode, which hands each transaction another connection.
    pub statement_cache: bool,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: None, statement_cache: true }
    }
}

/// The HTTP interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Address and port; port 0 takes a free one. Anything but loopback needs TLS.
    pub listen: SocketAddr,
    /// PEM file with the server's certificate chain.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with the certificate's key.
    pub tls_key: Option<PathBuf>,
    /// A listener of its own for `/metrics`, without a token: keep it where only Prometheus comes.
    pub metrics_listen: Option<SocketAddr>,
    /// Requests that one token may make in a second, and in a burst ten times as many.
    pub requests_per_second: u32,
    /// The largest request that is read, in bytes: one kubeconfig or one fleet is far smaller.
    pub body_bytes_max: usize,
    /// How long one request may take; the event stream is exempt.
    pub request_deadline: Period,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8480)),
            tls_certificate: None,
            tls_key: None,
            metrics_listen: None,
            requests_per_second: 200,
            body_bytes_max: 4 << 20,
            request_deadline: Period::from_secs(120),
        }
    }
}

/// The key that seals credentials at rest. One of both, or neither: then an empty SQLite store gets a key of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sealing {
    /// A file with the key, mode 0600.
    pub key_file: Option<PathBuf>,
    /// The key itself, for environments that hand secrets over as variables.
    pub key: Option<Secret>,
    /// A file with the key before it, while it is replaced: what it sealed is sealed anew at the next start.
    pub previous_key_file: Option<PathBuf>,
}

/// How much is done at once, and how often is looked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Clusters that are worked on at once by all rollouts together.
    pub max_running: u32,
    /// How old an inventory may grow before it is read again in the background.
    pub inventory_every: Period,
    /// Inventories that are read at once in the background.
    pub inventory_running: u32,
}

impl Default for Engine {
    fn default() -> Self {
        Self { max_running: 200, inventory_every: Period::from_secs(15 * 60), inventory_running: 16 }
    }
}

/// Fleet files that the daemon reads by itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fleet {
    /// A folder with fleet files, applied at start and whenever it changes.
    pub config_dir: Option<PathBuf>,
}

/// What may be reached in, and started on, edge clusters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edge {
    /// Ranges for which the default denials (loopback, link-local, metadata) are lifted; restricts nothing else.
    pub allow_networks: Vec<String>,
    /// If any are named, edge API servers must lie in these ranges.
    pub only_networks: Vec<String>,
    /// Ranges that are never connected to; beats both others.
    pub deny_networks: Vec<String>,
    /// Proxies of the hub's own (`http://…`, `socks5://…`) by the name that clusters are registered with.
    pub egress: BTreeMap<String, Secret>,
    /// Image repositories (prefixes) that plans may use beside OpenEBS's own and ours.
    pub images: Vec<String>,
}

/// Plans.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// How old the inventories that a plan was made from may be when it starts.
    pub max_age: Period,
}

impl Default for Plan {
    fn default() -> Self {
        Self { max_age: Period::from_secs(24 * 60 * 60) }
    }
}

/// Logs and traces.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// What is logged, as `RUST_LOG` says it (`info,fleetlift=debug`).
    pub log: Option<String>,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Where traces go: the base address of an OTLP collector over HTTP (`http://127.0.0.1:4318`).
    pub otlp_endpoint: Option<String>,
}
