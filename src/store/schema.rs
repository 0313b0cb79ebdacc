//! Layouts of the database: applied in order, each in a transaction of its own with its row in `layouts`, so that a
//! death in between leaves either the old layout or the new one.

use super::StoreError;
use super::failure::corrupt;
use super::session::{Dialect, Session, Value};
use crate::domain::ids::hex;

/// One layout: its number is its place in the list, from 1.
struct Layout {
    sqlite: &'static str,
    postgres: &'static str,
}

const LAYOUTS: &[Layout] = &[
    Layout {
        sqlite: include_str!("../../migrations/sqlite/0001_first.sql"),
        postgres: include_str!("../../migrations/postgres/0001_first.sql"),
    },
    Layout {
        sqlite: include_str!("../../migrations/sqlite/0002_overtaken_inventories.sql"),
        postgres: include_str!("../../migrations/postgres/0002_overtaken_inventories.sql"),
    },
    Layout {
        sqlite: include_str!("../../migrations/sqlite/0003_sealings.sql"),
        postgres: include_str!("../../migrations/postgres/0003_sealings.sql"),
    },
    Layout {
        sqlite: include_str!("../../migrations/sqlite/0004_histories.sql"),
        postgres: include_str!("../../migrations/postgres/0004_histories.sql"),
    },
    Layout {
        sqlite: include_str!("../../migrations/sqlite/0005_clusters.sql"),
        postgres: include_str!("../../migrations/postgres/0005_clusters.sql"),
    },
    Layout {
        sqlite: include_str!("../../migrations/sqlite/0006_attempts_in_sight.sql"),
        postgres: include_str!("../../migrations/postgres/0006_attempts_in_sight.sql"),
    },
    Layout {
        sqlite: include_str!("../../migrations/sqlite/0007_attempts_held_up.sql"),
        postgres: include_str!("../../migrations/postgres/0007_attempts_held_up.sql"),
    },
];

/// The layout that this version works with.
#[expect(clippy::cast_possible_wrap, reason = "there are few layouts")]
pub const LAYOUT: i64 = LAYOUTS.len() as i64;

const MAKE_TABLE: &str = "
    create table if not exists layouts (
        number bigint primary key, sha256 text not null, applied_at_us bigint not null)";

/// Postgres: whoever else migrates waits here until our transaction ends; there may be no table yet to lock. SQLite
/// has its one write lock.
const LOCK: &str = "select pg_advisory_xact_lock(x'666c6565746c6966'::bigint)";

/// The layout of the database: 0 when there is none yet.
pub(super) async fn applied(session: &mut Session<'_>) -> Result<i64, StoreError> {
    let exists = match session.dialect() {
        Dialect::Sqlite => "select count(*) from sqlite_master where type = 'table' and name = 'layouts'",
        Dialect::Postgres => {
            "select count(*) from pg_catalog.pg_class where oid = to_regclass('layouts') and relkind = 'r'"
        }
    };
    let row = session.row(exists, vec![]).await?;
    if row.map_or(Ok(0), |row| row.columns().int())? == 0 {
        return Ok(0);
    }
    let row = session.row("select coalesce(max(number), 0) from layouts", vec![]).await?;
    row.map_or(Ok(0), |row| row.columns().int())
}

/// Refuses a database whose layout is not this version's, with the way out.
pub(super) async fn check(session: &mut Session<'_>) -> Result<(), StoreError> {
    let found = applied(session).await?;
    if found == LAYOUT {
        return Ok(());
    }
    let why = match found {
        0 => "it is empty: run `fleetlift migrate` first".to_owned(),
        older if older < LAYOUT => {
            format!("its layout is number {older} and this version needs {LAYOUT}: run `fleetlift migrate` first")
        }
        newer => newer_than_us(newer),
    };
    Err(StoreError::Unusable { why })
}

fn newer_than_us(found: i64) -> String {
    format!(
        "its layout is number {found}, made by a newer Fleetlift, and this version knows up to {LAYOUT}: run that \
         newer version"
    )
}

/// Brings the database to this version's layout; answers the layout that it had.
pub(super) async fn migrate(session: &mut Session<'_>) -> Result<i64, StoreError> {
    let found = applied(session).await?;
    if found > LAYOUT {
        return Err(StoreError::Unusable { why: newer_than_us(found) });
    }
    for number in found + 1..=LAYOUT {
        apply(session, number).await?;
    }
    Ok(found)
}

/// Applies one layout unless somebody else did meanwhile.
async fn apply(session: &mut Session<'_>, number: i64) -> Result<(), StoreError> {
    // A deadline of the role's is meant for whoever works with the database.
    let begin = match session.dialect() {
        Dialect::Sqlite => "begin immediate",
        Dialect::Postgres => "begin; set local statement_timeout = 0; set local lock_timeout = 0",
    };
    session.batch(begin).await?;
    let done = apply_in_transaction(session, number).await;
    match done {
        Ok(()) => session.batch("commit").await,
        Err(error) => {
            // The connection is given up after an error; this is only to free the lock early.
            let _ = session.batch("rollback").await;
            Err(error)
        }
    }
}

async fn apply_in_transaction(session: &mut Session<'_>, number: i64) -> Result<(), StoreError> {
    if session.dialect() == Dialect::Postgres {
        session.layout(LOCK).await?;
    }
    session.batch(MAKE_TABLE).await?;
    if applied(session).await? >= number {
        return Ok(());
    }
    let layout = usize::try_from(number - 1).ok().and_then(|place| LAYOUTS.get(place));
    let layout = layout.ok_or_else(|| corrupt("layouts", &number))?;
    let text = match session.dialect() {
        Dialect::Sqlite => layout.sqlite,
        Dialect::Postgres => layout.postgres,
    };
    session.layout(text).await?;
    let hash = hex(&<sha2::Sha256 as sha2::Digest>::digest(text));
    let now = super::leases::clock(session).await?;
    let values = vec![number.into(), Value::text(hash), now.into()];
    session.run("insert into layouts (number, sha256, applied_at_us) values ($1, $2, $3)", values).await.map(drop)
}
