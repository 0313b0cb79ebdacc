//! The command line and environment of both official executors, plus what they lack: sub-commands for one pool.

use clap::{Args, Parser, Subcommand};

use super::order::{Images, Named, Order, Versions, check_name};
use super::problem::Problem;
use crate::domain::{ResourceKind, ResourceRef};

/// Upgrades OpenEBS volumes and pools from inside a Kubernetes Job.
#[derive(Debug, Parser)]
#[command(name = "fleetlift-executor", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    klog: Klog,
}

#[derive(Debug, Args)]
struct Common {
    /// The version that the resource has.
    #[arg(long, global = true, default_value = "")]
    from_version: String,
    /// The version that it shall have: the control plane's.
    #[arg(long, global = true, default_value = "")]
    to_version: String,
    /// The namespace in which OpenEBS runs; OPENEBS_NAMESPACE in the environment, as Jobs set it, comes before it.
    #[arg(long, global = true, default_value = "openebs")]
    openebs_namespace: String,
    #[arg(long, global = true, env = "OPENEBS_NAMESPACE", hide = true)]
    namespace_of_pod: Option<String>,
    #[arg(long, global = true, env = "POD_NAME", hide = true)]
    pod_name: Option<String>,
    #[arg(long, global = true, env = "HOSTNAME", hide = true)]
    host_name: Option<String>,
    /// Registry and path to take the images from; ends in "/". Without it they come from where they came before.
    #[arg(long, global = true, default_value = "")]
    to_version_image_prefix: String,
    /// The images' tag, if it is not the version.
    #[arg(long, global = true, default_value = "")]
    to_version_image_tag: String,
}

/// Flags that official Jobs carry; only the verbosity means something here.
#[derive(Debug, Args)]
#[command(next_help_heading = "Flags of klog, accepted")]
struct Klog {
    /// How much to log: 0 to 10, as klog counts.
    #[arg(short = 'v', long = "v", global = true, default_value_t = 0, allow_negative_numbers = true)]
    verbosity: i32,
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    logtostderr: Option<String>,
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    alsologtostderr: Option<String>,
    #[arg(long, global = true, hide = true)]
    stderrthreshold: Option<String>,
    #[arg(long, global = true, hide = true)]
    vmodule: Option<String>,
    #[arg(long = "log_dir", global = true, hide = true)]
    log_dir: Option<String>,
    #[arg(long = "log_file", global = true, hide = true)]
    log_file: Option<String>,
    #[arg(long = "log_file_max_size", global = true, hide = true)]
    log_file_max_size: Option<String>,
    #[arg(long = "log_backtrace_at", global = true, hide = true)]
    log_backtrace_at: Option<String>,
    #[arg(long = "add_dir_header", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    add_dir_header: Option<String>,
    #[arg(long = "skip_headers", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    skip_headers: Option<String>,
    #[arg(long = "skip_log_headers", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    skip_log_headers: Option<String>,
    #[arg(long = "one_output", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    one_output: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Upgrade Jiva volumes, of the CSI engine or the external provisioner.
    JivaVolume(Volumes),
    /// Upgrade cStor volumes, of the CSI engine or the external provisioner.
    CstorVolume(Volumes),
    /// Upgrade cStor pool clusters (CSPC) with all their instances.
    CstorCspc(Pools),
    /// Upgrade single instances (CSPI) of cStor pool clusters.
    CstorPoolInstance(Pools),
    /// Upgrade legacy storage pool claims (SPC) with all their pools.
    CstorSpc(Claims),
    /// Upgrade single pools (CSP) of legacy storage pool claims.
    CstorPool(Pools),
    /// Upgrade what UpgradeTasks ask for: those that the label selector in UPGRADE_TASK_LABEL selects.
    Resource(Tasks),
}

#[derive(Debug, Args)]
struct Volumes {
    /// Names of PersistentVolumes.
    names: Vec<String>,
    /// The name of one PersistentVolume, as older executors had it.
    #[arg(long)]
    pv_name: Option<String>,
}

#[derive(Debug, Args)]
struct Claims {
    /// Names of storage pool claims.
    names: Vec<String>,
    /// The name of one storage pool claim, as older executors had it.
    #[arg(long)]
    spc_name: Option<String>,
}

#[derive(Debug, Args)]
struct Pools {
    /// Their names.
    names: Vec<String>,
}

#[derive(Debug, Args)]
struct Tasks {
    /// Selects the UpgradeTasks by their labels.
    #[arg(long, env = "UPGRADE_TASK_LABEL", hide = true)]
    upgrade_task_label: Option<String>,
    /// The name of one UpgradeTask, as the executor of 1.2.0 had it.
    #[arg(long, env = "UPGRADE_TASK", hide = true)]
    upgrade_task: Option<String>,
}

/// What the arguments ask for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// These resources, one after the other.
    Named(Order, Vec<Named>),
    /// What the selected UpgradeTasks ask for.
    Selected(String),
    /// What this one UpgradeTask asks for.
    Task(String),
}

impl Arguments {
    /// The namespace of OpenEBS.
    pub fn namespace(&self) -> &str {
        self.common.namespace_of_pod.as_deref().unwrap_or(&self.common.openebs_namespace)
    }

    /// The name of the Pod that this is, unless nothing tells.
    pub fn pod(&self) -> Option<&str> {
        let told = self.common.pod_name.as_deref().or(self.common.host_name.as_deref());
        told.filter(|name| check_name(name).is_ok())
    }

    /// klog's verbosity.
    pub fn verbosity(&self) -> i32 {
        self.klog.verbosity
    }

    /// What is asked for.
    pub fn request(&self) -> Result<Request, Problem> {
        check_name(self.namespace())?;
        let with_flag = |names: &[String], flag: &Option<String>| -> Vec<String> {
            names.iter().chain(flag.iter()).cloned().collect()
        };
        let exactly = |kind: ResourceKind| move |name: String| Named::Exactly(ResourceRef { kind, name });
        match &self.command {
            Command::JivaVolume(Volumes { names, pv_name }) => {
                self.order_for(with_flag(names, pv_name), Named::JivaVolume)
            }
            Command::CstorVolume(Volumes { names, pv_name }) => {
                self.order_for(with_flag(names, pv_name), Named::CstorVolume)
            }
            Command::CstorSpc(Claims { names, spc_name }) => {
                self.order_for(with_flag(names, spc_name), exactly(ResourceKind::StoragePoolClaim))
            }
            Command::CstorCspc(Pools { names }) => {
                self.order_for(names.clone(), exactly(ResourceKind::CstorPoolCluster))
            }
            Command::CstorPoolInstance(Pools { names }) => {
                self.order_for(names.clone(), exactly(ResourceKind::CstorPoolInstance))
            }
            Command::CstorPool(Pools { names }) => self.order_for(names.clone(), exactly(ResourceKind::CstorPool)),
            Command::Resource(tasks) => selected(tasks),
        }
    }

    fn order_for(&self, names: Vec<String>, to_named: impl Fn(String) -> Named) -> Result<Request, Problem> {
        let Common { from_version, to_version, to_version_image_prefix, to_version_image_tag, .. } = &self.common;
        for (flag, text) in [("--from-version", from_version), ("--to-version", to_version)] {
            if text.is_empty() {
                return Err(Problem::refused(flag, "it is missing", "a release of OpenEBS, such as 3.6.0"));
            }
        }
        let versions = Versions::parse(from_version, to_version)?;
        let images = Images::parse(to_version_image_prefix, to_version_image_tag, &versions.to)?;
        if names.is_empty() {
            return Err(Problem::refused("arguments", "no name is given", "the name of at least one resource"));
        }
        names.iter().try_for_each(|name| check_name(name))?;
        let resources = names.into_iter().map(to_named).collect();
        Ok(Request::Named(Order { versions, images, step_timeout: None }, resources))
    }
}

fn selected(tasks: &Tasks) -> Result<Request, Problem> {
    match (tasks.upgrade_task_label.as_deref().map(str::trim), tasks.upgrade_task.as_deref()) {
        (Some(""), _) | (None, None) => Err(Problem::refused(
            "UPGRADE_TASK_LABEL",
            "it is empty, which would select every UpgradeTask of the namespace, old ones too",
            "a label selector such as resource=cstorPool-xqd89",
        )
        .remedy("set the environment variable in the Job's container")),
        (Some(selector), _) => Ok(Request::Selected(selector.to_owned())),
        (None, Some(name)) => check_name(name).map(|()| Request::Task(name.to_owned())),
    }
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
