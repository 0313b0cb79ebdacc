//! Every statement is understood by every database.

use super::session::{Dialect, Session};
use super::{
    Options, StoreError, attempts, budgets, clusters, events, fleets, hub, inventories, leases, open, rollouts,
    targets, tokens, work,
};

#[path = "../../tests/support/postgres.rs"]
mod server;

const ALL: &[&[(&str, &str)]] = &[
    attempts::STATEMENTS,
    budgets::STATEMENTS,
    clusters::STATEMENTS,
    events::STATEMENTS,
    fleets::STATEMENTS,
    hub::STATEMENTS,
    inventories::STATEMENTS,
    leases::STATEMENTS,
    rollouts::STATEMENTS,
    targets::STATEMENTS,
    tokens::STATEMENTS,
    work::STATEMENTS,
];

async fn prepare_all(session: &mut Session<'_>) {
    let prepare = if session.dialect() == Dialect::Sqlite { "explain " } else { "prepare one as " };
    for (name, sql) in ALL.iter().copied().flatten() {
        let prepared: Result<(), StoreError> = session.batch(format!("{prepare}{sql}")).await;
        assert!(prepared.is_ok(), "{name}: {prepared:?}");
        if session.dialect() == Dialect::Postgres {
            session.batch("deallocate one").await.unwrap();
        }
    }
}

#[tokio::test]
async fn sqlite_understands_every_statement() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("fleetlift.db").display().to_string();
    open(&url, Options::default()).await.unwrap();
    let mut connection = super::open::address(&url, &Options::default()).unwrap().connect().await.unwrap();
    prepare_all(&mut connection.session()).await;
}

#[tokio::test]
async fn postgres_understands_every_statement() {
    let url = server::Postgres::shared().database();
    super::migrate(&url, Options::default()).await.unwrap();
    let mut connection = super::open::address(&url, &Options::default()).unwrap().connect().await.unwrap();
    prepare_all(&mut connection.session()).await;
}
