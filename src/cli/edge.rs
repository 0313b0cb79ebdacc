//! `fleetlift edge manifest`.

use clap::{Args, Subcommand};

use super::{Context, Ended};
use crate::cluster::manifest::Manifest;
use crate::domain::fleet::check_object_name;

/// What an edge cluster needs.
#[derive(Debug, Subcommand)]
pub enum EdgeCommand {
    /// Print the YAML that an edge cluster needs: namespace, accounts, least rights, admission policy
    Manifest(Parts),
}

/// The namespaces and parts.
#[derive(Debug, Args)]
pub struct Parts {
    /// OpenEBS's namespace
    #[arg(long, default_value = "openebs", value_parser = namespace)]
    namespace: String,
    /// The namespace of the hub's account
    #[arg(long, default_value = "fleetlift", value_parser = namespace)]
    account_namespace: String,
    /// Leave the account of Fleetlift's own executor out
    #[arg(long)]
    no_executor: bool,
    /// Leave the admission policy out: for Kubernetes before 1.30. The hub's account may then run any Pod as any
    /// service account of OpenEBS's namespace
    #[arg(long)]
    no_admission: bool,
    /// With the UpgradeTask definition: for clusters whose OpenEBS brings none
    #[arg(long)]
    crd: bool,
}

fn namespace(text: &str) -> Result<String, String> {
    check_object_name(text).map(|()| text.to_owned())
}

impl EdgeCommand {
    pub(super) fn run(&self, context: &Context) -> anyhow::Result<Ended> {
        let Self::Manifest(Parts { namespace, account_namespace, no_executor, no_admission, crd }) = self;
        let manifest = Manifest {
            openebs: namespace,
            account: account_namespace,
            executor: !no_executor,
            admission: !no_admission,
            upgrade_task: *crd,
        };
        context.output.document(&manifest.yaml())?;
        Ok(Ended::Done)
    }
}
