//! Fleetlift: parse arguments, start telemetry, run the command, exit code.

fn main() {}
