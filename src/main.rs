//! Fleetlift: parse arguments, start telemetry, run the command, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: whoever builds a TLS client before this gets none.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    // Variables that are no text are none of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    fleetlift::cli::run(std::env::args_os(), environment.collect())
}
