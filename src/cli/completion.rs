//! `fleetlift completion SHELL`.

use clap::Args;
use clap_complete::Shell;

use super::{Context, Ended};

/// Prints the completion script of a shell: `source <(fleetlift completion bash)`.
#[derive(Debug, Args)]
pub struct Completion {
    /// Which shell
    shell: Shell,
}

impl Completion {
    pub(super) fn run(&self, context: &Context, command: &mut clap::Command) -> anyhow::Result<Ended> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "fleetlift", &mut script);
        context.output.document(&String::from_utf8_lossy(&script))?;
        Ok(Ended::Done)
    }
}
