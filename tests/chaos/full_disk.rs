//! The disk under the store fills up in the middle of a rollout: nothing is done that is not written down, people are
//! told, and the work goes on when there is room.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use fleetlift::sim::oracle::{Limits, What};

use crate::edges::Edges;
use crate::hub::{BINARY, Daemon, LONG, Place, until};
use crate::kills::{FLEET, limits};
use crate::seed::Seed;

/// Bytes of the disk: room for a small fleet's store and its write-ahead log.
const DISK: &str = "6m";

#[test]
fn a_full_disk_stops_the_work_and_room_lets_it_go_on() {
    let seed = Seed::or(41);
    let edges = Edges::start(30, seed.number, (Duration::from_millis(500), Duration::from_millis(1_500)), |_, _| {});
    let mut place = Place::embedded();
    // Only the database lies on the small disk, which nobody outside the daemon's mount namespace sees.
    let disk = place.file("disk");
    std::fs::create_dir(&disk).unwrap();
    place.set("FLEETLIFT_DATABASE__URL", &format!("sqlite:{}", disk.join("hub.db").display()));
    let mut unshare = place.program("unshare");
    let script = r#"mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@""#;
    unshare.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(&disk).args([DISK, BINARY]);
    let mut daemon = Daemon::begin(&place, unshare);
    daemon.answers(&place);
    let inside: PathBuf = format!("/proc/{}/root{}", daemon.pid(), disk.display()).into();

    let rollout = place.rollout(&edges, &FLEET.replace("attempts: 3", "attempts: 1"));
    edges.until_requests(10, LONG);
    // As much as fits: the rest is what a full disk is.
    std::fs::write(inside.join("ballast"), vec![1; 8 << 20]).unwrap_err();
    let mut refused = crate::hub::Done { code: 0, out: String::new(), err: String::new() };
    let mut number = 0;
    until("a change is refused", LONG, || {
        number += 1;
        refused = place.run(&["token", "create", &format!("token-{number}")]);
        refused.code != 0
    });
    assert!(refused.code == 1 && refused.err.contains("the disk under the hub's database is full"), "{refused:?}");
    // Whatever was begun ends in the clusters; then nothing happens there any more.
    until("the clusters are quiet", LONG, || edges.summary().unfinished == 0);
    let jobs = edges.summary().jobs;
    edges.until_requests(1, Duration::from_secs(4));
    assert!(jobs < edges.count() && edges.summary().jobs == jobs, "work was begun without a word of it written");
    // What is known can still be read.
    assert_eq!(place.status(&rollout)["state"], "running");

    std::fs::remove_file(inside.join("ballast")).unwrap();
    place.succeeded(&rollout);
    place.results_are_whole(&rollout, &edges, 1);
    let written: BTreeSet<String> = place
        .ok(&["result", "list", &rollout, "-o", "json"])
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["job"]["name"].as_str().unwrap().to_owned())
        .collect();
    let made: BTreeSet<String> = edges
        .records()
        .into_iter()
        .filter_map(|record| match record.what {
            What::Job(job) => Some(job.name),
            _ => None,
        })
        .collect();
    assert_eq!(made, written);
    edges.saw_nothing_wrong(&Limits { attempts: Some(1), ..limits() });
}
