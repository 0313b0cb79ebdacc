//! Networks that break in every way, and API servers that come back: each upgrade is done, once.

use std::time::Duration;

use fleetlift::sim::oracle::Limits;
use fleetlift::sim::{Behaviour, Manner, Moment, Outage, RequestFault, Trouble};

use crate::ROUNDS;
use crate::edges::{Edges, QUICK};
use crate::hub::{Daemon, Place};
use crate::kills::{FLEET, limits, some_fail};
use crate::seed::{Seed, rounds};

/// Of a thousand requests, so many meet this.
pub fn some(per_mille: u32, method: Option<&str>, what: Trouble) -> RequestFault {
    RequestFault { method: method.map(str::to_owned), path: None, after: 0, times: None, per_mille, what }
}

#[test]
fn requests_that_are_lost_before_or_after_they_were_carried_out_are_neither_lost_nor_repeated() {
    let seed = Seed::or(31);
    let clusters = usize::try_from(rounds(ROUNDS, 18)).unwrap();
    let edges = Edges::start(clusters, seed.number, QUICK, some_fail);
    let place = Place::embedded();
    let _daemon = Daemon::start(&place);
    let rollout = place.rollout(&edges, FLEET);
    edges.behave(&Behaviour { requests: lossy(), watch_ms_max: 2_000, ..Behaviour::default() });
    place.succeeded(&rollout);
    edges.behave(&Behaviour::default());
    place.results_are_whole(&rollout, &edges, 3);
    edges.saw_nothing_wrong(&limits());
}

/// A network and an API server that lose requests and answers of every kind. What the faults' dice say is what the
/// upgrades' failures have said already, so those go on.
pub fn lossy() -> Vec<RequestFault> {
    vec![
        some(200, Some("POST"), Trouble::ResetAfter),
        some(150, Some("DELETE"), Trouble::ResetAfter),
        some(150, Some("PATCH"), Trouble::ResetAfter),
        some(60, Some("POST"), Trouble::HalfBody),
        some(40, Some("POST"), Trouble::StallMs(700)),
        some(10, None, Trouble::ResetBefore),
        some(6, None, Trouble::Status(429)),
        some(6, None, Trouble::Status(500)),
        some(6, None, Trouble::Status(503)),
        some(6, None, Trouble::Status(403)),
        some(6, None, Trouble::HalfBody),
        some(5, None, Trouble::Html),
    ]
}

/// It may read, as far as a restarting API server tells, and may not create: that is not a refusal either.
#[test]
fn a_right_that_comes_back_within_a_minute_costs_no_attempt() {
    let seed = Seed::or(33);
    let edges = Edges::start(8, seed.number, QUICK, |number, cluster| {
        let path = if number % 2 == 0 { "/jobs" } else { "/upgradetasks" };
        let what = Trouble::Status(if number % 4 < 2 { 403 } else { 503 });
        let fault = RequestFault { path: Some(path.to_owned()), times: Some(2), ..some(1_000, Some("POST"), what) };
        cluster.behaviour.requests = vec![fault];
    });
    let place = Place::embedded();
    let _daemon = Daemon::start(&place);
    let rollout = place.rollout(&edges, &FLEET.replace("attempts: 3", "attempts: 1"));
    place.succeeded(&rollout);
    place.results_are_whole(&rollout, &edges, 1);
    edges.saw_nothing_wrong(&Limits { attempts: Some(1), ..limits() });
}

/// One attempt is all that there is, so an API server that is away or refuses for a while may not cost it.
#[test]
fn an_api_server_that_restarts_costs_no_attempt() {
    let seed = Seed::or(32);
    let manners = [
        Manner::Refuse,
        Manner::Status(403),
        Manner::Status(503),
        Manner::Status(500),
        Manner::Status(401),
        Manner::Blackhole,
    ];
    let edges = Edges::start(18, seed.number, (Duration::from_secs(1), Duration::from_secs(2)), |number, cluster| {
        // After the UpgradeTask, after the Job, and in the middle of it all.
        let from = Moment::Changes(1 + u64::try_from(number % 2).unwrap());
        let manner = manners[number / 2 % manners.len()];
        cluster.behaviour.outages = vec![Outage { from, lasting_ms: 3_000, manner }];
    });
    let place = Place::embedded();
    let _daemon = Daemon::start(&place);
    let rollout = place.rollout(&edges, &FLEET.replace("attempts: 3", "attempts: 1"));
    place.succeeded(&rollout);
    place.results_are_whole(&rollout, &edges, 1);
    edges.saw_nothing_wrong(&Limits { attempts: Some(1), ..limits() });
}
