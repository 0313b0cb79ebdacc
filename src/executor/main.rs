//! The upgrade container: arguments, connection, one run, exit code and last words.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use fleetlift::executor::api::Api;
use fleetlift::executor::arguments::Arguments;
use fleetlift::executor::problem::Problem;
use fleetlift::executor::run::{Failure, run, termination};
use fleetlift::executor::task::{Pace, Run};
use fleetlift::openebs::termination::{EXIT_SUCCESS, EXIT_USAGE};
use fleetlift::system::SystemClock;
use tokio::signal::unix::{SignalKind, signal};

/// Where the kubelet reads a container's last words.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// An API server that restarts, or a webhook whose Pod is replaced, is back within this time or needs a person.
const PATIENCE: Duration = Duration::from_mins(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            let asked_for_help = !usage.use_stderr();
            drop(usage.print());
            return ExitCode::from(if asked_for_help { EXIT_SUCCESS } else { EXIT_USAGE });
        }
    };
    log_to_stderr(arguments.verbosity());
    let result = upgrade(&arguments).await;
    let last_words = termination(&result);
    if let Err(error) = tokio::fs::write(TERMINATION_LOG, last_words.to_message()).await {
        tracing::debug!("no termination message was written: {error}");
    }
    match result {
        Ok(()) => {
            tracing::info!("done");
            ExitCode::from(EXIT_SUCCESS)
        }
        Err(failure) => {
            tracing::error!("{}", last_words.sentence());
            ExitCode::from(failure.problem.exit_code())
        }
    }
}

async fn upgrade(arguments: &Arguments) -> Result<(), Failure> {
    let unbegun = |problem: Problem| Failure { step: String::new(), problem };
    let request = arguments.request().map_err(unbegun)?;
    let api = connect().await.map_err(unbegun)?;
    let mut surroundings = Run::new(api, arguments.namespace(), Pace::default(), Arc::new(SystemClock));
    surroundings.pod = arguments.pod().map(str::to_owned);
    run(surroundings, request, stopped()).await
}

/// In a Pod its service account; outside, for an administrator at a terminal, the usual kubeconfig.
#[expect(
    clippy::disallowed_methods,
    reason = "the executor is its user's own process: outside a Pod it reads the user's own kubeconfig as kubectl does"
)]
async fn connect() -> Result<Api, Problem> {
    let no_way = |why: String| {
        Problem::refused("API server", why, "a service account (in a Pod) or a kubeconfig")
            .remedy("run it as a Job, with automountServiceAccountToken on")
    };
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut config = kube::Config::infer().await.map_err(|error| no_way(error.to_string()))?;
    // Retrying is ours: the library's own would obey any Retry-After.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    let client = kube::Client::try_from(config).map_err(|error| no_way(error.to_string()))?;
    Ok(Api::new(client, PATIENCE))
}

/// The signal that ends a Pod: a deadline, an eviction, a drain, a suspended Job, or a person.
async fn stopped() -> &'static str {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be watched: a stop will not be recorded");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn log_to_stderr(verbosity: i32) {
    let level = match verbosity {
        ..=4 => "info",
        5..=7 => "debug",
        _ => "trace",
    };
    // kube logs each failed request as an error of its own; we say what it means.
    let filter = format!("{level},kube_client=off,tower=off,hyper=off,rustls=off,h2=off");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
