//! Whatever dies in the middle of a commit: what was promised is there, and what is there is whole.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fleetlift::audit::{Verified, Verifier};
use fleetlift::domain::event::{Event, EventType};
use fleetlift::store::Store;
use futures::future::join_all;
use sqlx::Connection as _;

use crate::arrange::{Backend, Postgres, Sqlite, event};
use crate::victim::{SLOTS, Victim};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_writer_on_sqlite_loses_nothing_that_it_was_promised() {
    kill_again_and_again(&Sqlite::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_writer_on_postgres_loses_nothing_that_it_was_promised() {
    kill_again_and_again(&Postgres::new().await).await;
}

async fn kill_again_and_again(backend: &dyn Backend) {
    let mut promised = BTreeSet::new();
    // Odd counts, so that the kills fall on different places of a group.
    for promises in [3, 17, 59, 101, 211] {
        let mut victim = Victim::start(&backend.url());
        promised.extend(victim.promises(promises));
        promised.extend(victim.kill());
        check(backend.open().await.as_ref(), &promised).await;
    }
}

/// The chain holds, tells of every promise, and the budgets are what the targets say.
async fn check(store: &dyn Store, promised: &BTreeSet<String>) {
    let mut verifier = Verifier::from_the_beginning([]);
    let mut told = BTreeSet::new();
    let events = store.events(0, None, 1_000_000).await.unwrap();
    for event in &events {
        verifier.check(event).unwrap();
        told.insert(serde_json::from_str::<Event>(&event.body).unwrap().reason);
    }
    let Verified { head, .. } = verifier.finish().unwrap();
    assert_eq!(store.audit_head().await.unwrap(), (head.seq, head.hash));
    let lost: Vec<_> = promised.difference(&told).collect();
    assert!(lost.is_empty(), "promised and not there: {lost:?}");
    let Some(rollout) = store.rollouts(None, 1).await.unwrap().pop() else { return };
    let targets = store.snapshot(rollout.id).await.unwrap().targets;
    let running = targets.iter().filter(|target| target.state.name() == "running").count();
    let in_use = store.usage().await.unwrap().first().map_or(0, |usage| usage.in_use);
    assert_eq!(in_use as usize, running);
    assert!(in_use <= SLOTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_stands_still_in_a_commit_holds_the_others_up_for_seconds_only() {
    let backend = Postgres::new().await;
    let mut victim = Victim::start(&backend.url());
    let mut promised = BTreeSet::from_iter(victim.promises(10));
    let store = backend.open().await;
    for _ in 0..5 {
        victim.signal("-STOP");
        let begun = Instant::now();
        store.record(vec![event(EventType::RequestDenied)]).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        victim.signal("-CONT");
        // It was cut off, notices, and goes on.
        promised.extend(victim.promises(10));
    }
    promised.extend(victim.kill());
    check(store.as_ref(), &promised).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_are_made_anew() {
    let backend = Postgres::new().await;
    let store = backend.open().await;
    let mut admin = sqlx::PgConnection::connect(&backend.url()).await.unwrap();
    let mut promised = BTreeSet::new();
    for round in 0..5 {
        let writes = (0..50).map(|n| {
            let (store, promise) = (&store, format!("{round}-{n}"));
            async move {
                let done = store.record(vec![event(EventType::RequestDenied).because(promise.clone())]).await;
                match done {
                    Ok(()) => Some(promise),
                    Err(error) if error.may_pass() => None,
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        let cut = sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
            where application_name = 'fleetlift' and datname = current_database()",
        );
        let (answers, cut) = futures::join!(join_all(writes), cut.execute(&mut admin));
        cut.unwrap();
        promised.extend(answers.into_iter().flatten());
        // Once the connections are back, everything works: asked again at most once for each that was cut.
        let mut tries = 0;
        while let Err(error) = store.record(vec![event(EventType::RequestDenied)]).await {
            tries += 1;
            assert!(error.may_pass() && tries < 10, "{error:?}");
        }
    }
    let mut tries = 0;
    while store.audit_head().await.is_err() {
        tries += 1;
        assert!(tries < 10);
    }
    check(store.as_ref(), &promised).await;
}
