//! The unit that runs the daemon, as systemd reads it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::arrange::BINARY;

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    let analyzed = Command::new("systemd-analyze").args(arguments).arg(unit).output();
    analyzed.expect("systemd-analyze is installed (tests/run does it)")
}

#[test]
fn systemd_takes_the_unit_and_finds_it_well_shut_in() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fleetlift.service");
    let installed = "/usr/local/bin/fleetlift";
    let text = fs::read_to_string(&unit).unwrap();
    assert!(text.contains(&format!("ExecStart={installed} daemon\n")));
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("fleetlift.service");
    fs::write(&unit, text.replace(installed, BINARY)).unwrap();
    let verified = analyze(&["verify", "--man=no"], &unit);
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    // 20 of 100; what no limits are set for stands near 96.
    let judged = analyze(&["security", "--offline=yes", "--threshold=20"], &unit);
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}
