//! The simulator in a process of its own, as `tests/bench` and people use it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::hub::{BINARY, Place, done};

#[test]
fn a_fleet_in_a_process_of_its_own_ends_when_told_and_says_what_its_log_shows() {
    let place = Place::embedded();
    let out = place.file("sim").display().to_string();
    let mut sim = place
        .program(BINARY)
        .args(["sim", "--clusters", "300", "--out", &out, "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sim.stdout.take().unwrap()).lines();
    let started: String = lines.by_ref().map(Result::unwrap).take_while(|line| line != "}").collect();
    let started: Value = serde_json::from_str(&format!("{started}}}")).unwrap();
    assert_eq!(started["clusters"], 300);
    let written = std::fs::read_dir(started["kubeconfigs"].as_str().unwrap()).unwrap();
    assert_eq!(written.count(), 300);
    assert!(Command::new("kill").args(["-TERM", &sim.id().to_string()]).status().unwrap().success());
    assert_eq!(sim.wait().unwrap().code(), Some(0));
    let verdict: String = lines.map(Result::unwrap).collect();
    assert!(verdict.contains("violations"), "{verdict}");
    let log = started["log"].as_str().unwrap();
    // A log with two unfinished Jobs for one resource, as a hub would leave it that starts one too many.
    let job = |name: &str| {
        format!(
            r#"{{"at_us":1,"cluster":"edge-00000","event":"job","name":"{name}","uid":"{name}","state":"active","resources":["jivaVolume/a"],"labels":{{}}}}"#
        )
    };
    std::fs::write(log, format!("{}\n{}\n", job("one"), job("two"))).unwrap();
    let judged = done(place.program(BINARY).args(["sim", "verify", log]));
    assert!(judged.code == 1 && judged.out.contains("both unfinished for jivaVolume/a"), "{judged:?}");
}
