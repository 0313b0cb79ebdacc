//! What every store promises, checked on SQLite and on Postgres by the same tests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "store/arrange.rs"]
mod arrange;
#[path = "store/contract.rs"]
mod contract;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/full_disk.rs"]
mod full_disk;
#[path = "store/layout.rs"]
mod layout;
#[path = "store/opening.rs"]
mod opening;
#[path = "support/postgres.rs"]
mod support;
#[path = "store/victim.rs"]
mod victim;

mod sqlite {
    use super::arrange::Sqlite;

    super::contract::promises!(Sqlite::new());
}

mod postgres {
    use super::arrange::Postgres;

    super::contract::promises!(Postgres::new().await);
}
