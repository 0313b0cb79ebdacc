//! One hub, put together: store, sealing key, connections, use cases, engine and interface. What `daemon` and `demo`
//! start; everything below takes what it needs from here.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::checkpoints::{self, CHECKPOINT_FILE};
use super::connect::{ADDRESS_FILE, TOKEN_FILE, read_small};
use super::login::write_private;
use crate::api::{self, Limits, Listen, Server};
use crate::app::{App, Releases};
use crate::audit::checkpoint::Signer;
use crate::cluster::{self, AddressPolicy, Egress, Network, Surroundings, Vault};
use crate::connections::Connections;
use crate::domain::{Clock, DaemonId, Entropy, HubId};
use crate::engine::{self, Bounds, Engine};
use crate::metrics::Metrics;
use crate::plans::Plans;
use crate::seal::{Checked, Keyring, SealingKey};
use crate::settings::Settings;
use crate::store::{self, NewHub, Store};
use crate::system::{SystemClock, SystemEntropy};

/// In the data folder: the sealing key of an embedded store.
const KEY_FILE: &str = "sealing.key";

/// In the data folder: the embedded store.
const DATABASE_FILE: &str = "fleetlift.db";

/// Requests under way get that long when the daemon stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Targets that are stepped at the same moment: a step waits for the cluster most of its time.
const STEPS_AT_ONCE: usize = 256;

/// How long a request waits for inventories that are about to be read: a hundred clusters are read in that time.
const INVENTORY_PATIENCE: Duration = Duration::from_secs(10);

/// A hub that listens already, and does nothing yet.
pub struct Hub {
    /// The use cases.
    pub app: Arc<App>,
    /// Where clients find it.
    pub url: String,
    /// The file with the first administrator's token, if there was none before.
    pub first_token: Option<PathBuf>,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    server: Server,
    /// Beside a server with TLS: plain, on loopback, for commands on this machine.
    local_server: Option<Server>,
    metrics_server: Option<Server>,
    limits: Limits,
    checkpoint_file: PathBuf,
    data_dir: PathBuf,
}

impl Hub {
    /// Opens the store, finds the key, takes the addresses.
    pub async fn open(settings: &Settings, data_dir: &Path) -> anyhow::Result<Self> {
        make_private_folder(data_dir)?;
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let metrics = Arc::new(Metrics::new());
        let store = open_store(settings, data_dir, &metrics).await?;
        let now = clock.now();
        let hub = store.hub(NewHub { id: HubId::new(now, entropy.as_ref()), at: now }).await?;
        let (keyring, replaced) = keyring(settings, data_dir, store.as_ref(), &hub, entropy.as_ref()).await?;

        let tls = tls(settings)?;
        let listen = |address| Listen { address, tls: tls.clone() };
        let server = Server::bind(&listen(settings.api.listen)).await?;
        let local_server = match &tls {
            // No certificate names the address that is listened on: commands on this machine come in by loopback.
            Some(_) => Some(Server::bind(&Listen { address: (Ipv4Addr::LOCALHOST, 0).into(), tls: None }).await?),
            None => None,
        };
        let metrics_server = match settings.api.metrics_listen {
            Some(address) => Some(Server::bind_anywhere(&listen(address)).await?),
            None => None,
        };
        let policy = policy(settings, [Some(&server), local_server.as_ref(), metrics_server.as_ref()])?;
        let around = Surroundings {
            policy: Arc::new(policy),
            lookups: Arc::default(),
            limits: cluster::Limits::default(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let signer = Arc::new(Signer::new(hub.id, keyring.audit_seed().as_slice())?);
        let vault = Vault::new(keyring, hub.id);
        let connections = Arc::new(Connections::new(store.clone(), vault, around, egresses(settings)?));
        let plans = Arc::new(Plans::default());
        let app = Arc::new(App {
            store: store.clone(),
            connections: connections.clone(),
            plans: plans.clone(),
            releases: Releases::default(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            hub: hub.id,
            signer,
            hub_limit: settings.engine.max_running,
            plan_max_age: settings.plan.max_age.duration(),
            inventory_patience: INVENTORY_PATIENCE,
            images: settings.edge.images.clone(),
        });
        let engine = Arc::new(Engine {
            store,
            connections,
            plans,
            daemon: DaemonId::new(clock.now(), entropy.as_ref()),
            clock,
            entropy,
            metrics: metrics.clone(),
            hub: hub.id,
            bounds: Bounds {
                running: settings.engine.max_running,
                steps_at_once: STEPS_AT_ONCE,
                inventory_every: settings.engine.inventory_every.duration(),
                inventories_at_once: settings.engine.inventory_running,
            },
        });
        if let Some(Replaced { before, check }) = replaced {
            let wrapped = app.rekey(&before, &check).await?;
            tracing::info!("{wrapped} credentials are sealed with the new key; the one before it is no longer needed");
        }
        let first_token = first_token(&app, data_dir).await?;
        let limits = Limits {
            requests_per_second: settings.api.requests_per_second,
            body_bytes_max: settings.api.body_bytes_max,
            request_deadline: settings.api.request_deadline.duration(),
        };
        let url = server.url();
        let checkpoint_file = settings.audit.checkpoint_file.clone().unwrap_or_else(|| data_dir.join(CHECKPOINT_FILE));
        let data_dir = data_dir.to_owned();
        Ok(Self {
            app,
            url,
            first_token,
            engine,
            metrics,
            server,
            local_server,
            metrics_server,
            limits,
            checkpoint_file,
            data_dir,
        })
    }

    /// Works until `stop`: then no new step begins, those under way end, and requests are answered.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            app,
            url,
            first_token: _,
            engine,
            metrics,
            server,
            local_server,
            metrics_server,
            limits,
            checkpoint_file,
            data_dir,
        } = self;
        let address_file = data_dir.join(ADDRESS_FILE);
        let local_url = local_server.as_ref().map_or(url, Server::url);
        write_private(&address_file, &format!("{local_url}\n"))
            .with_context(|| format!("can't write {}", address_file.display()))?;
        let tasks = TaskTracker::new();
        let engine = tasks.spawn(engine::run(engine, stop.clone()));
        tasks.spawn(checkpoints::keep(app.clone(), checkpoint_file, stop.clone()));
        if let Some(server) = metrics_server {
            let router = api::metrics_router(app.clone(), metrics.clone());
            let (serving, stopping) = (stop.clone(), stop.clone());
            tasks.spawn(async move {
                if let Err(error) = server.serve(router, serving, DRAIN).await {
                    tracing::error!(%error, "the listener for metrics ended: {error}");
                    stopping.cancel();
                }
            });
        }
        let strangers = Arc::new(api::Strangers::default());
        // What comes in until the interface has ended is told of, too.
        let ended = CancellationToken::new();
        tasks.spawn({
            let (app, strangers, ended) = (app.clone(), strangers.clone(), ended.clone());
            async move { strangers.tell(&app, ended).await }
        });
        let router = api::router(app, metrics, &limits, strangers);
        if let Some(server) = local_server {
            let (router, serving, stopping) = (router.clone(), stop.clone(), stop.clone());
            tasks.spawn(async move {
                if let Err(error) = server.serve(router, serving, DRAIN).await {
                    tracing::error!(%error, "the listener for this machine ended: {error}");
                    stopping.cancel();
                }
            });
        }
        tasks.close();
        let served = server.serve(router, stop.clone(), DRAIN).await;
        ended.cancel();
        // Whatever ended the interface ends the engine, too.
        stop.cancel();
        tasks.wait().await;
        // Ours to take away: a command without flags then says that no daemon runs here.
        let _ = std::fs::remove_file(&address_file);
        served?;
        Ok(engine.await.context("the engine ended by a panic")??)
    }
}

/// Where the database is: as set, or embedded in the data folder.
pub fn database_url(settings: &Settings, data_dir: &Path) -> String {
    match &settings.database.url {
        Some(url) => url.reveal().to_owned(),
        None => format!("sqlite:{}", data_dir.join(DATABASE_FILE).display()),
    }
}

fn is_sqlite(url: &str) -> bool {
    !url.starts_with("postgres://") && !url.starts_with("postgresql://")
}

async fn open_store(settings: &Settings, data_dir: &Path, metrics: &Arc<Metrics>) -> anyhow::Result<Arc<dyn Store>> {
    let options = store::Options { metrics: Some(metrics.clone()), ..store_options(settings) };
    store::open(&database_url(settings, data_dir), options).await.context("can't open the database")
}

/// How the settings say that the database is spoken to.
pub(super) fn store_options(settings: &Settings) -> store::Options {
    store::Options { statement_cache: settings.database.statement_cache, ..store::Options::default() }
}

fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("can't make the data folder {}: name another with --data-dir", folder.display()))
}

fn tls(settings: &Settings) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    match (&settings.api.tls_certificate, &settings.api.tls_key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
        (None, None) => Ok(None),
        (Some(_), None) => bail!("api.tls_certificate is set without api.tls_key: set both, or neither"),
        (None, Some(_)) => bail!("api.tls_key is set without api.tls_certificate: set both, or neither"),
    }
}

/// The sealing key as set, or the data folder's own: made for an empty embedded store only, since a second key for
/// what another one sealed would be worth nothing.
async fn keyring(
    settings: &Settings,
    data_dir: &Path,
    store: &dyn Store,
    hub: &store::Hub,
    entropy: &dyn Entropy,
) -> anyhow::Result<(Keyring, Option<Replaced>)> {
    let own_file = data_dir.join(KEY_FILE);
    let text = match (&settings.sealing.key, &settings.sealing.key_file) {
        (Some(_), Some(_)) => bail!("set either sealing.key or sealing.key_file, not both"),
        (Some(key), None) => key.reveal().to_owned(),
        (None, Some(file)) => read_small(file)?,
        (None, None) if own_file.exists() => read_small(&own_file)?,
        (None, None) if hub.sealing_check.is_none() && is_sqlite(&database_url(settings, data_dir)) => {
            let key = SealingKey::generate(entropy);
            let text = key.to_file().expose_secret().to_owned();
            write_private(&own_file, &text).with_context(|| format!("can't write {}", own_file.display()))?;
            tracing::warn!(
                "made a sealing key in {}: back it up apart from the database, which is worth nothing without it",
                own_file.display()
            );
            text
        }
        (None, None) => bail!(
            "no sealing key: set sealing.key_file (or FLEETLIFT_SEALING__KEY) to the key that this database was \
             sealed with; for a new one, `openssl rand -base64 32` makes one"
        ),
    };
    let previous = match &settings.sealing.previous_key_file {
        Some(file) => {
            let text = read_small(file)?;
            Some(SealingKey::parse(text.as_bytes()).with_context(|| file.display().to_string())?)
        }
        None => None,
    };
    let keyring = Keyring::new(SealingKey::parse(text.as_bytes())?, previous);
    let replaced = match &hub.sealing_check {
        None => {
            store.set_sealing_check(&keyring.check_value(hub.id)).await?;
            None
        }
        Some(stored) => match keyring.check(hub.id, stored)? {
            Checked::Current => None,
            Checked::Previous => {
                let (before, check) = (stored.clone(), keyring.check_value(hub.id));
                Some(Replaced { before, check })
            }
        },
    };
    Ok((keyring, replaced))
}

/// The check values of the key that is replaced and of its successor.
struct Replaced {
    before: String,
    check: String,
}

fn policy(settings: &Settings, own: [Option<&Server>; 3]) -> anyhow::Result<AddressPolicy> {
    let networks = |name: &str, texts: &[String]| -> anyhow::Result<Vec<Network>> {
        texts.iter().map(|text| text.parse().with_context(|| format!("setting edge.{name}"))).collect()
    };
    Ok(AddressPolicy {
        allow: networks("allow_networks", &settings.edge.allow_networks)?,
        only: networks("only_networks", &settings.edge.only_networks)?,
        deny: networks("deny_networks", &settings.edge.deny_networks)?,
        own_listeners: own.into_iter().flatten().map(Server::address).collect(),
    })
}

fn egresses(settings: &Settings) -> anyhow::Result<std::collections::BTreeMap<String, Egress>> {
    let read = |(name, url): (&String, &crate::settings::Secret)| {
        let egress = url.reveal().parse::<Egress>().with_context(|| format!("setting edge.egress.{name}"))?;
        Ok((name.clone(), egress))
    };
    settings.edge.egress.iter().map(read).collect()
}

/// The first administrator's token, in a file that only the daemon's user reads.
async fn first_token(app: &App, data_dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Some(secret) = app.propose_first_token().await? else { return Ok(None) };
    let file = data_dir.join(TOKEN_FILE);
    // The file before the store: whoever is killed in between makes another one at the next start.
    write_private(&file, &format!("{secret}\n"))
        .with_context(|| format!("can't write the first token to {}", file.display()))?;
    if app.create_first_token(secret).await?.is_none() {
        std::fs::remove_file(&file).with_context(|| format!("can't remove {}", file.display()))?;
        return Ok(None);
    }
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_opened_as_the_settings_say() {
        let mut settings = Settings::default();
        assert!(store_options(&settings).statement_cache);
        settings.database.statement_cache = false;
        assert!(!store_options(&settings).statement_cache);
    }
}
