//! Two daemons on one Postgres, started by mistake or on purpose: nothing happens twice, and one is enough.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::runtime::Runtime;

use crate::ROUNDS;
use crate::edges::Edges;
use crate::hub::{BINARY, Daemon, LONG, Place, until, until_or};
use crate::kills::{FLEET, limits, some_fail};
use crate::postgres::Postgres;
use crate::seed::{Seed, rounds};

/// Three seconds of lease, and what the other daemon needs to notice, with a little for a busy machine.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(5);

/// The database, for what only it can tell.
struct Database {
    runtime: Runtime,
    url: String,
}

impl Database {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, url: Postgres::shared().database() }
    }

    /// The first column of the first row, as text; empty without one.
    fn ask(&self, sql: &'static str) -> String {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            let row = sqlx::query(sql).fetch_optional(&mut connection).await.unwrap();
            row.and_then(|row| row.get::<Option<String>, _>(0)).unwrap_or_default()
        })
    }

    /// The daemons that own running targets.
    fn owners(&self) -> String {
        self.ask("select string_agg(distinct owner, ' ') from targets where state = 'running' and owner is not null")
    }
}

/// A daemon, where it lives, and what the database calls it.
struct Member {
    place: Place,
    daemon: Daemon,
    id: String,
}

/// Two daemons on one database.
struct Pair {
    database: Database,
    members: Vec<Member>,
}

impl Pair {
    fn start() -> Self {
        let database = Database::new();
        let mut first = Place::on(&database.url);
        first.ok(&["migrate"]);
        let mut second = Place::beside(&first);
        let daemon = Daemon::start(&first);
        let token = first.token().unwrap();
        first.set("FLEETLIFT_TOKEN", &token);
        second.set("FLEETLIFT_TOKEN", &token);
        let mut pair = Self { database, members: Vec::new() };
        pair.add(first, daemon);
        let daemon = Daemon::start(&second);
        pair.add(second, daemon);
        pair
    }

    fn add(&mut self, place: Place, daemon: Daemon) {
        let mut id = String::new();
        until("it has a lease", LONG, || {
            let leases = self.database.ask("select string_agg(daemon, ' ') from leases where ended = 0");
            let known = |id: &&str| !self.members.iter().any(|member| member.id == **id);
            leases.split(' ').find(known).unwrap_or_default().clone_into(&mut id);
            !id.is_empty()
        });
        self.members.push(Member { place, daemon, id });
    }

    /// Takes the one that works out, once it does.
    fn take_the_busy_one(&mut self, edges: &Edges, seed: &mut Seed) -> Member {
        let mut busy = None;
        until("one has work", LONG, || {
            let owners = self.database.owners();
            busy = self.members.iter().position(|member| owners.contains(&member.id));
            busy.is_some()
        });
        edges.until_requests(usize::try_from(seed.between(1, 10)).unwrap(), Duration::from_secs(2));
        self.members.remove(busy.unwrap())
    }

    /// Waits until nothing belongs to `gone` any more.
    fn other_has_all_the_work(&self, gone: &Member) {
        let began = Instant::now();
        until_or(
            "the other has all the work",
            LONG,
            || !self.database.owners().contains(&gone.id),
            || self.members[0].place.log(),
        );
        assert!(began.elapsed() < TAKEN_OVER_WITHIN, "taken over only after {:?}", began.elapsed());
    }
}

#[test]
fn two_daemons_that_start_at_the_same_moment_do_everything_once() {
    let seed = Seed::or(21);
    let edges = Edges::start(30, seed.number, (Duration::from_millis(300), Duration::from_secs(1)), some_fail);
    let database = Database::new();
    let first = Place::on(&database.url);
    first.ok(&["migrate"]);
    let mut places = [Place::beside(&first), first];
    let mut daemons: Vec<Daemon> = places.iter().map(|place| Daemon::begin(place, place.program(BINARY))).collect();
    until("both answer", LONG, || places.iter().all(|place| place.file("data/daemon.address").exists()));
    // One of both made the first token.
    let mut tokens = places.iter().filter_map(Place::token);
    let (token, None) = (tokens.next().unwrap(), tokens.next()) else { panic!("each has a first token") };
    drop(tokens);
    for (place, daemon) in places.iter_mut().zip(&mut daemons) {
        place.set("FLEETLIFT_TOKEN", &token);
        daemon.answers(place);
    }
    let tokens = places[1].ok(&["token", "list", "-o", "json"]).json();
    assert_eq!(tokens.as_array().unwrap().len(), 1, "{tokens:#}");
    let rollout = places[0].rollout(&edges, FLEET);
    places[1].succeeded(&rollout);
    for place in &places {
        place.results_are_whole(&rollout, &edges, 3);
    }
    edges.saw_nothing_wrong(&limits());
}

/// Clusters, so that work is left after each round.
fn enough(rounds: u64) -> usize {
    usize::try_from(rounds * 18).unwrap()
}

#[test]
fn when_one_daemon_is_killed_the_other_takes_its_work_over_within_its_lease() {
    let mut seed = Seed::or(22);
    let edges = Edges::start(
        enough(rounds(ROUNDS, 2)),
        seed.number,
        (Duration::from_secs(1), Duration::from_secs(3)),
        some_fail,
    );
    let mut pair = Pair::start();
    let rollout = pair.members[0].place.rollout(&edges, FLEET);
    for _ in 0..rounds(ROUNDS, 2) {
        let mut doomed = pair.take_the_busy_one(&edges, &mut seed);
        doomed.daemon.signal("-KILL");
        doomed.daemon.ended();
        pair.other_has_all_the_work(&doomed);
        let Member { place, .. } = doomed;
        let daemon = Daemon::start(&place);
        pair.add(place, daemon);
    }
    let place = &pair.members[0].place;
    place.succeeded(&rollout);
    place.results_are_whole(&rollout, &edges, 3);
    edges.saw_nothing_wrong(&limits());
}

#[test]
fn a_daemon_that_wakes_up_after_it_was_replaced_is_fenced_out() {
    let mut seed = Seed::or(23);
    let edges = Edges::start(
        enough(rounds(ROUNDS, 2)),
        seed.number,
        (Duration::from_secs(1), Duration::from_secs(3)),
        some_fail,
    );
    let mut pair = Pair::start();
    let rollout = pair.members[0].place.rollout(&edges, FLEET);
    for _ in 0..rounds(ROUNDS, 2) {
        let frozen = pair.take_the_busy_one(&edges, &mut seed);
        frozen.daemon.signal("-STOP");
        pair.other_has_all_the_work(&frozen);
        // The other goes on with it, and then both believe for a moment that they may.
        edges.until_requests(usize::try_from(seed.between(1, 10)).unwrap(), Duration::from_secs(2));
        frozen.daemon.signal("-CONT");
        until("it knows that it was replaced", LONG, || {
            frozen.place.whole_log().contains("the lease had ended and was taken anew")
        });
        pair.members.push(frozen);
    }
    let place = &pair.members[0].place;
    place.succeeded(&rollout);
    place.results_are_whole(&rollout, &edges, 3);
    edges.saw_nothing_wrong(&limits());
}
