//! `fleetlift cluster add --bootstrap`: on the user's own machine, with the user's own kubeconfig, make the hub an
//! account in the cluster. The hub gets the account's token and nothing of the user's.

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use secrecy::ExposeSecret as _;

use super::Usage;
use super::render::Output;
use crate::cluster::account::ServiceAccount;
use crate::cluster::bootstrap::{self, Applied, Order, Outcome};
use crate::cluster::manifest::Manifest;
use crate::domain::fleet::check_object_name;
use crate::settings::Period;

/// The account's name in the manifest.
const ACCOUNT: &str = "fleetlift-hub";

/// What `--bootstrap` makes in the cluster.
#[derive(Debug, Args)]
pub(super) struct Bootstrap {
    /// Make the hub an account of its own with the least rights, using your kubeconfig as kubectl does (exec plugins and
    /// all) on this machine, and send the hub only that account's token
    #[arg(long = "bootstrap", id = "bootstrap")]
    wanted: bool,
    /// The namespace of the hub's account
    #[arg(long, default_value = "fleetlift", value_parser = namespace, requires = "bootstrap")]
    account_namespace: String,
    /// How long the account's token shall live; the cluster may grant less. The daemon renews it in time
    #[arg(long, value_name = "PERIOD", default_value = "90d", requires = "bootstrap")]
    token_lifetime: Period,
    /// Leave the admission policy out (Kubernetes before 1.30 does so by itself): the hub's account may then run any Pod
    /// as any service account of OpenEBS's namespace
    #[arg(long, requires = "bootstrap")]
    no_admission: bool,
}

fn namespace(text: &str) -> Result<String, String> {
    check_object_name(text).map(|()| text.to_owned())
}

impl Bootstrap {
    /// Whether it was asked for.
    pub fn wanted(&self) -> bool {
        self.wanted
    }

    /// Makes the account and says what was made; returns the kubeconfig for the hub.
    pub async fn run(
        &self,
        output: Output,
        kubeconfig: Option<&Path>,
        context: Option<&str>,
        openebs: &str,
    ) -> anyhow::Result<String> {
        if kubeconfig.is_some_and(|file| file.as_os_str() == "-") {
            let why =
                "--bootstrap reads your kubeconfig as kubectl does, from a file: name it, or leave --kubeconfig out";
            return Err(Usage(why.to_owned()).into());
        }
        if let Err(why) = check_object_name(openebs) {
            return Err(Usage(format!("--namespace: {why}")).into());
        }
        let Self { wanted: _, account_namespace, token_lifetime, no_admission } = self;
        let manifest =
            Manifest { openebs, account: account_namespace, admission: !no_admission, ..Manifest::default() }.yaml();
        let account = ServiceAccount { namespace: account_namespace.clone(), name: ACCOUNT.to_owned() };
        let lifetime = token_lifetime.duration();
        let order = Order { kubeconfig, context, manifest: &manifest, account: &account, lifetime };
        let made = bootstrap::bootstrap(&order).await.context("nothing was sent to the hub")?;
        for applied in &made.objects {
            output.note(&told(applied));
        }
        if *no_admission {
            output.note(&format!("no admission policy was applied; {UNHELD}"));
        }
        output.note(&format!(
            "the hub's token as {account_namespace}/{ACCOUNT} lives until {} ({token_lifetime} was asked for)",
            made.expires_at
        ));
        Ok(made.kubeconfig.expose_secret().to_owned())
    }
}

/// What it costs to go without the admission policy.
const UNHELD: &str = "the hub's token can then run any Pod as any service account of OpenEBS's namespace: keep it like an \
                      administrator's";

fn told(Applied { object, outcome }: &Applied) -> String {
    match outcome {
        Outcome::Created => format!("created {object}"),
        Outcome::Changed => format!("changed {object}"),
        Outcome::Unchanged => format!("{object} is as it should be"),
        Outcome::TakenBack(words) => format!("changed {object} back to what the hub needs ({words})"),
        Outcome::Kept(how) => format!(
            "kept {object} as it was changed here: {how}; edit it yourself if the hub shall do what it forbids \
             (`fleetlift edge manifest` prints ours)"
        ),
        Outcome::LeftOut if object.starts_with("ValidatingAdmissionPolicy/") => {
            format!("left out {object}: the cluster does not know this kind; {UNHELD}")
        }
        Outcome::LeftOut => format!("left out {object}: the cluster does not know this kind"),
    }
}
