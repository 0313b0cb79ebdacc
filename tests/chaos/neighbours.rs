//! Bad neighbours: API servers that answer rubbish, nothing, too much or too slowly, or refuse. Each is told for what it
//! is, none holds the others up, none is taken for upgraded.

use std::collections::BTreeMap;

use fleetlift::sim::{Behaviour, RequestFault, Trouble};
use serde_json::Value;

use crate::edges::{Edges, QUICK};
use crate::faults::some;
use crate::hub::{Daemon, LONG, Place, until, until_or};
use crate::kills::FLEET;
use crate::seed::Seed;

const HEALTHY: usize = 16;

/// What goes wrong in each bad cluster, and what `explain` must say of it.
fn troubles() -> Vec<(Behaviour, &'static str)> {
    let answering = |what| Behaviour { requests: vec![some(1_000, None, what)], ..Behaviour::default() };
    let posting = |path: &str, what| {
        let fault = RequestFault { path: Some(path.to_owned()), ..some(1_000, Some("POST"), what) };
        Behaviour { requests: vec![fault], ..Behaviour::default() }
    };
    let denied = |right: &str| Behaviour { denied: vec![right.to_owned()], ..Behaviour::default() };
    vec![
        (answering(Trouble::Html), "no Namespace"),
        (answering(Trouble::Redirect("https://elsewhere.test/".to_owned())), "redirect"),
        (answering(Trouble::EndlessBody), "bytes"),
        (answering(Trouble::Drip), "did not answer within"),
        (answering(Trouble::StallMs(600_000)), "did not answer within"),
        (answering(Trouble::Status(401)), "credential"),
        (answering(Trouble::Status(500)), "500"),
        (denied("create jobs.batch"), "create jobs"),
        (denied("list pods"), "list pods"),
        (posting("/upgradetasks", Trouble::Status(404)), "upgradetasks"),
    ]
}

#[test]
fn bad_neighbours_are_told_for_what_they_are_and_hold_nobody_up() {
    let seed = Seed::or(51);
    let troubles = troubles();
    let edges = Edges::start(HEALTHY + troubles.len(), seed.number, QUICK, |_, _| ());
    let place = Place::embedded();
    let _daemon = Daemon::start(&place);
    let rollout = place.rollout_of(&edges, FLEET, |names| {
        for (name, (behaviour, _)) in names.iter().zip(&troubles) {
            edges.behave_alone(name, behaviour);
        }
    });
    let state = |of: &[Value], name: &str| {
        of.iter().find(|one| one["cluster"] == name).map_or(Value::Null, |one| one["state"].clone())
    };
    let clusters = || {
        let seen = place.ok(&["rollout", "status", &rollout, "--clusters", "-o", "json"]).json();
        seen.as_array().cloned().unwrap_or_default()
    };
    let names: Vec<String> = edges.names();
    let (bad, healthy) = names.split_at(troubles.len());
    until_or(
        "the healthy are done",
        LONG,
        || {
            let seen = clusters();
            healthy.iter().all(|name| state(&seen, name) == "succeeded")
        },
        || format!("{:#?}", clusters()),
    );
    // A cluster that is being tried again says so, and no longer what came of the last time.
    let mut untold: BTreeMap<&String, String> = bad.iter().map(|name| (name, String::new())).collect();
    until("each bad one is told for what it is", LONG, || {
        for (name, (_, told)) in
            bad.iter().zip(&troubles).filter(|(name, _)| untold.contains_key(name)).collect::<Vec<_>>()
        {
            let explained = place.ok(&["explain", &rollout, name]).out;
            if explained.contains(told) {
                untold.remove(name);
            } else if untold.get(name).is_some_and(|before| *before != explained) {
                eprintln!("no word of {told}: {explained}");
                untold.insert(name, explained);
            }
        }
        untold.is_empty()
    });
    let seen = clusters();
    for name in bad {
        assert_ne!(state(&seen, name), "succeeded", "{name}");
    }
    place.ok(&["audit", "verify"]);
}
