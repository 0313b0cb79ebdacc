//! Everything at once: a daemon that is killed and frozen, over a network that loses requests and answers.

use std::time::Duration;

use fleetlift::sim::Behaviour;

use crate::ROUNDS;
use crate::edges::Edges;
use crate::faults::lossy;
use crate::hub::{Daemon, Place};
use crate::kills::{FLEET, limits, some_fail};
use crate::seed::{Seed, rounds};

/// From so many rounds on, one of them stands still for a minute: nobody waits for that in passing.
const LONG_RUN: u64 = 50;

#[test]
fn a_storm_of_kills_freezes_and_lost_answers_doubles_nothing_and_loses_nothing() {
    let mut seed = Seed::or(41);
    let rounds = rounds(ROUNDS, 8);
    let clusters = usize::try_from(rounds * 4).unwrap();
    let edges = Edges::start(clusters, seed.number, (Duration::from_millis(300), Duration::from_secs(2)), some_fail);
    let place = Place::embedded();
    let mut daemon = Daemon::start(&place);
    let rollout = place.rollout(&edges, FLEET);
    edges.behave(&Behaviour { requests: lossy(), watch_ms_max: 2_000, ..Behaviour::default() });
    for round in 0..rounds {
        let (work, time) = (seed.between(1, 12), seed.between(10, 4_500));
        edges.until_requests(usize::try_from(work).unwrap(), Duration::from_millis(time));
        let still = match seed.between(0, 9) {
            _ if rounds >= LONG_RUN && round == rounds / 3 => Some(Duration::from_mins(1)),
            0..=6 => None,
            // Longer than the lease.
            _ => Some(Duration::from_millis(seed.between(4_000, 6_000))),
        };
        match still {
            None => {
                daemon.kill();
                daemon = Daemon::start(&place);
            }
            Some(time) => {
                daemon.signal("-STOP");
                std::thread::sleep(time);
                daemon.signal("-CONT");
            }
        }
    }
    place.succeeded(&rollout);
    edges.behave(&Behaviour::default());
    place.results_are_whole(&rollout, &edges, 3);
    let summary = edges.saw_nothing_wrong(&limits());
    eprintln!("{rounds} rounds over {clusters} clusters: {summary:?}");
}
