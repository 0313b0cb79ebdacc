//! What a cluster's administrator types: `kubectl`.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// The program with somebody's kubeconfig.
pub struct Kubectl {
    kubeconfig: String,
}

impl Kubectl {
    /// With that kubeconfig, a file.
    pub fn with(kubeconfig: &str) -> Self {
        Self { kubeconfig: kubeconfig.to_owned() }
    }

    /// Runs it; it must succeed. Gives what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `kubectl apply -f -` with that on standard input.
    pub fn apply(&self, manifest: &str) {
        let mut applied = self.command(&["apply", "-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        applied.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        assert!(applied.wait().unwrap().success(), "it can be applied: {manifest}");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments).stdout(Stdio::piped());
        command
    }
}
