//! `fleetlift daemon`: settings, telemetry, one hub, signals.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hub::Hub;
use super::{Context, Ended, connect, fleet_folder};
use crate::settings::{self, Settings, Sources};
use crate::telemetry::{self, Reporting};

/// The server: carries rollouts out, and answers the command line.
#[derive(Debug, Args)]
pub struct Daemon {
    /// sqlite:FILE or postgres://…; SQLite in the data folder without
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Address and port; anything but loopback needs TLS
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// A folder of fleet files, applied at start and whenever it changes
    #[arg(long, value_name = "DIR")]
    fleet_config: Option<PathBuf>,
    /// Print the effective settings with secrets masked, and end
    #[arg(long)]
    print_settings: bool,
}

impl Daemon {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let data_dir = connect::data_dir(context)?;
        let settings = settings::load(&Sources {
            file: context.global.config.clone(),
            data_dir: data_dir.clone(),
            environment: context.environment.clone(),
            flags: self.flags(),
        })?;
        if self.print_settings {
            context.output.document(&settings::effective(&settings))?;
            return Ok(Ended::Done);
        }
        let _guard = telemetry::start(&reporting(context, &settings))?;
        let stop = CancellationToken::new();
        // Ends with the process: a second signal is waited for until then.
        tokio::spawn(stop_at_signals(stop.clone()));
        // A new layout may take long; what is not committed of it is begun anew at the next start.
        let Some(hub) = stop.run_until_cancelled(Hub::open(&settings, &data_dir)).await else { return Ok(Ended::Done) };
        let hub = hub?;
        context.output.say(&format!("listening on {}", hub.url))?;
        if let Some(file) = &hub.first_token {
            let told = "the first administrator's token is in";
            context.output.say(&format!("{told} {} (commands on this machine find it there)", file.display()))?;
        }
        let tasks = TaskTracker::new();
        if let Some(folder) = settings.fleet.config_dir.clone() {
            tasks.spawn(fleet_folder::watch(hub.app.clone(), folder, stop.clone()));
        }
        tasks.close();
        let ran = hub.run(stop.clone()).await;
        stop.cancel();
        tasks.wait().await;
        ran?;
        Ok(Ended::Done)
    }

    fn flags(&self) -> Vec<(&'static str, String)> {
        let mut flags = Vec::new();
        flags.extend(self.database.clone().map(|url| ("database.url", url)));
        flags.extend(self.listen.clone().map(|address| ("api.listen", address)));
        flags.extend(self.fleet_config.as_ref().map(|folder| ("fleet.config_dir", folder.display().to_string())));
        flags
    }
}

fn reporting(context: &Context, settings: &Settings) -> Reporting {
    let settings::Telemetry { log, json, otlp_endpoint } = &settings.telemetry;
    let filter = context.variable("RUST_LOG").or(log.as_deref()).unwrap_or("info");
    let otlp_endpoint = otlp_endpoint.as_deref().or_else(|| context.variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    Reporting { filter: filter.to_owned(), json: *json, otlp_endpoint: otlp_endpoint.map(str::to_owned) }
}

/// The first SIGTERM or SIGINT drains, the second ends at once: whatever is left under way is found again at start. They
/// are waited for from the call on.
pub fn stop_at_signals(stop: CancellationToken) -> impl Future<Output = ()> {
    let received = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = received else {
            tracing::error!("signals can't be received: end the process with SIGKILL");
            return;
        };
        let mut wait = async || tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} };
        wait().await;
        tracing::info!("stopping: steps under way are finished, then it ends (a second signal ends at once)");
        stop.cancel();
        wait().await;
        std::process::exit(1);
    }
}
