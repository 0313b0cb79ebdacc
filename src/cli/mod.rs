//! The command line: composition root, one file a command group; only `render` prints.

mod audit;
mod bootstrap;
mod checkpoints;
mod cluster;
mod completion;
mod connect;
mod core_dumps;
mod daemon;
mod demo;
mod edge;
mod explain;
mod fleet;
mod fleet_folder;
mod hub;
mod import;
mod login;
mod migrate;
mod open_files;
mod patience;
mod plan;
mod render;
mod resources;
mod result;
mod rollout;
mod sim;
mod token;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::api::{Client, ClientError};
use crate::telemetry::{self, Reporting};
use render::{Format, Output};

/// Rolls OpenEBS data-plane upgrades out over a fleet of Kubernetes clusters.
#[derive(Debug, Parser)]
#[command(name = "fleetlift", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
struct Global {
    /// The hub's address, for example https://fleetlift.example.com
    #[arg(long, global = true, env = "FLEETLIFT_SERVER", value_name = "URL", help_heading = "Global options")]
    server: Option<String>,
    /// A file with the API token (FLEETLIFT_TOKEN holds the token itself)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    token_file: Option<PathBuf>,
    /// A PEM file with the certificate authority of the hub
    #[arg(long, global = true, env = "FLEETLIFT_CA_FILE", value_name = "FILE", help_heading = "Global options")]
    ca_file: Option<PathBuf>,
    /// The daemon's data folder
    #[arg(long, global = true, env = "FLEETLIFT_DATA_DIR", value_name = "DIR", help_heading = "Global options")]
    data_dir: Option<PathBuf>,
    /// The daemon's settings file
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// How answers are written
    #[arg(long, short, global = true, value_enum, default_value_t, help_heading = "Global options")]
    output: Format,
    /// Answer yes to what is asked
    #[arg(long, short, global = true, help_heading = "Global options")]
    yes: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: a simulated fleet, a hub, one whole rollout, live; needs nothing, leaves nothing behind
    Demo(demo::Demo),
    /// The server: carries rollouts out, and answers these commands
    Daemon(daemon::Daemon),
    /// Clusters: register, check, list
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// The fleet file: which clusters shall run what, and how they get there
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    /// Make a plan and print its report; nothing is touched
    Plan(plan::Plan),
    /// Rollouts: start, follow, steer
    #[command(subcommand)]
    Rollout(rollout::RolloutCommand),
    /// Say why a cluster of a rollout waits, runs, or failed
    Explain(explain::Explain),
    /// What came of each task, with evidence
    #[command(subcommand)]
    Result(result::ResultCommand),
    /// The tamper-evident audit
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Bring the database to this version's layout
    Migrate(migrate::Migrate),
    /// What an edge cluster needs
    #[command(subcommand)]
    Edge(edge::EdgeCommand),
    /// API tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Keep a hub's address and token for later commands
    Login(login::Login),
    /// Simulated clusters in a process of their own, for rehearsals and tests
    #[command(hide = true)]
    Sim(sim::Sim),
    /// Print the completion script of a shell
    Completion(completion::Completion),
    /// Print the versions of this program and of the hub
    Version,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It did what it was asked.
    Done,
    /// The rollout, the check or the request failed; it was said why.
    Failed,
    /// It goes on, and the time to wait is over.
    NotFinished,
}

/// Flags that can't be meant together, as only the command itself can tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Done => Self::SUCCESS,
            Ended::Failed => Self::from(1),
            Ended::NotFinished => Self::from(3),
        }
    }
}

/// What a command works with.
struct Context {
    global: Global,
    output: Output,
    environment: Vec<(String, String)>,
}

impl Context {
    /// The value of an environment variable; empty ones count as unset.
    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The hub that is meant, as whom it is meant.
    fn client(&self) -> anyhow::Result<Client> {
        connect::client(self)
    }

    /// Whether the person wants that: `--yes`, or an answer on the terminal.
    fn confirmed(&self, question: &str) -> anyhow::Result<bool> {
        if self.global.yes || render::confirm(question)? {
            return Ok(true);
        }
        self.output.error("not confirmed: nothing was changed (--yes confirms)");
        Ok(false)
    }
}

/// Runs one command line and answers the process's exit code: 0 done, 1 failed, 2 usage, 3 not finished yet.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: Vec<(String, String)>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no error; clap knows the difference. A closed pipe is nobody's loss.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let no_colour = environment.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    let output = Output::new(cli.global.output, no_colour);
    let context = Context { global: cli.global, output, environment };
    match block_on(dispatch(&context, cli.command)) {
        Ok(ended) => ended.into(),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            explain(output, &error);
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn block_on<F: Future<Output = anyhow::Result<Ended>>>(command: F) -> anyhow::Result<Ended> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

async fn dispatch(context: &Context, command: Command) -> anyhow::Result<Ended> {
    // Every command holds a token at least, some a kubeconfig, the daemon all of them.
    core_dumps::switch_off();
    // Thousands of clusters are thousands of connections; the usual limit of a shell is 1,024 files.
    if matches!(command, Command::Daemon(_) | Command::Demo(_) | Command::Sim(_)) {
        open_files::allow_as_many_as_possible();
    }
    // The daemon reports as its settings say; everybody else speaks up for errors only.
    if let Command::Daemon(daemon) = command {
        return daemon.run(context).await;
    }
    let filter = context.variable("RUST_LOG").unwrap_or("error").to_owned();
    let _guard = telemetry::start(&Reporting { filter, ..Reporting::default() })?;
    match command {
        Command::Daemon(_) => Ok(Ended::Done),
        Command::Demo(demo) => demo.run(context).await,
        Command::Cluster(cluster) => cluster.run(context).await,
        Command::Fleet(fleet) => fleet.run(context).await,
        Command::Plan(plan) => plan.run(context).await,
        Command::Rollout(rollout) => rollout.run(context).await,
        Command::Explain(explain) => explain.run(context).await,
        Command::Result(result) => result.run(context).await,
        Command::Audit(audit) => audit.run(context).await,
        Command::Migrate(migrate) => migrate.run(context).await,
        Command::Edge(edge) => edge.run(context),
        Command::Token(token) => token.run(context).await,
        Command::Login(login) => login.run(context).await,
        Command::Sim(sim) => sim.run(context).await,
        Command::Completion(completion) => completion.run(context, &mut Cli::command()),
        Command::Version => login::versions(context).await,
    }
}

/// Somebody reads no further (`| head`): that is no error of ours.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

/// Says what went wrong, with every cause and every mistake.
fn explain(output: Output, error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    output.error(&causes.join(": "));
    let problem = error.chain().find_map(|cause| match cause.downcast_ref::<ClientError>() {
        Some(ClientError::Problem(problem)) => Some(problem),
        _ => None,
    });
    for flaw in problem.map_or(&[][..], |problem| &problem.flaws) {
        let place = match (flaw.line, flaw.column) {
            (0, _) => flaw.place.clone(),
            (line, 0) => format!("{}:{line}", flaw.place),
            (line, column) => format!("{}:{line}:{column}", flaw.place),
        };
        let remedy = if flaw.remedy.is_empty() { String::new() } else { format!(" ({})", flaw.remedy) };
        output.note(&format!("  {place}: {}{remedy}", flaw.message));
    }
}
