//! Leases of daemons, by the database's own clock: whoever is not heard of loses its targets, and its right to write.
//!
//! A lease that ran out ends when another daemon notices; in that same transaction its epoch rises and its targets
//! become free and due. A daemon that was merely slow, and missed by nobody, keeps its epoch.

use std::time::Duration;

use super::failure::{conflict, corrupt, exactly_one};
use super::session::{Dialect, Session, Value, statements};
use super::writer::Change;
use super::{Lease, StoreError};
use crate::domain::{DaemonId, Timestamp};

/// Rows of daemons that ended are kept for a day, for whoever looks into what happened.
const ENDED_KEPT: Duration = Duration::from_hours(24);

statements! {
    RENEW = "
        insert into leases (daemon, epoch, expires_at_us, ended) values ($1, 1, $2, 0)
        on conflict (daemon) do update set expires_at_us = excluded.expires_at_us, ended = 0
        returning epoch";
    END_EXPIRED = "
        update leases set epoch = epoch + 1, ended = 1 where ended = 0 and expires_at_us <= $1 and daemon <> $2";
    END = "update leases set epoch = epoch + 1, ended = 1 where daemon = $1 and epoch = $2 and ended = 0";
    FORGET = "delete from leases where ended = 1 and expires_at_us <= $1";
    HOLDS = "select 1 from leases where daemon = $1 and epoch = $2 and ended = 0";
    // What a lease that ended had owned: free, and due at once, since nobody knows where its steps had got to.
    FREE_TARGETS = "
        update targets set owner = null, owner_epoch = null, due_at_us = $1, held = 0, woken_at_us = null,
            version = version + 1
        where state = 'running' and owner is not null and not exists (
            select 1 from leases
            where leases.daemon = targets.owner and leases.epoch = targets.owner_epoch and leases.ended = 0)";
}

/// SQLite's clock: this machine's, as for everybody who has the file open.
macro_rules! sqlite_clock {
    () => {
        "cast(unixepoch('subsec') * 1000000 as integer)"
    };
}
pub(super) use sqlite_clock;

/// Postgres's clock: one for all daemons. Not the time at which the transaction began.
macro_rules! postgres_clock {
    () => {
        "cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)"
    };
}
pub(super) use postgres_clock;

/// Whether the lease of another daemon than `$1` ran out and nobody has noticed yet.
macro_rules! any_expired {
    ($clock:ident) => {
        concat!(
            "exists (select 1 from leases where ended = 0 and daemon <> $1 and expires_at_us <= ",
            crate::store::leases::$clock!(),
            ")"
        )
    };
}
pub(super) use any_expired;

/// The database's clock.
pub(super) async fn clock(session: &mut Session<'_>) -> Result<Timestamp, StoreError> {
    let sql = match session.dialect() {
        Dialect::Sqlite => concat!("select ", sqlite_clock!()),
        Dialect::Postgres => concat!("select ", postgres_clock!()),
    };
    let row = session.row(sql, vec![]).await?;
    row.ok_or_else(|| corrupt("the clock", &"it does not answer"))?.columns().time()
}

/// Takes or renews a lease. The clock is read first: what passes until the row is written shortens the lease.
pub(super) async fn renew(session: &mut Session<'_>, daemon: DaemonId, ttl: Duration) -> Result<Lease, StoreError> {
    let now = clock(session).await?;
    let row = session.row(RENEW, vec![Value::text(daemon), (now + ttl).into()]).await?;
    let epoch = row.ok_or_else(|| corrupt("leases", &"a lease was not written"))?.columns().int()?;
    Ok(Lease { daemon, epoch })
}

/// The same as a command of the writer.
pub(super) async fn renew_in_group(
    change: &mut Change<'_>,
    daemon: DaemonId,
    ttl: Duration,
) -> Result<Lease, StoreError> {
    renew(&mut change.session, daemon, ttl).await
}

/// Ends a lease: what it owned is free at once.
pub(super) async fn release(change: &mut Change<'_>, lease: Lease) -> Result<(), StoreError> {
    let values = vec![Value::text(lease.daemon), lease.epoch.into()];
    exactly_one(change.session.run(END, values).await?, || "the lease".to_owned())?;
    let now = clock(&mut change.session).await?;
    change.session.run(FREE_TARGETS, vec![now.into()]).await?;
    Ok(())
}

/// Ends the leases of daemons that are not heard of any more.
pub(super) async fn end_expired(change: &mut Change<'_>, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
    let session = &mut change.session;
    let clock = clock(session).await?;
    if session.run(END_EXPIRED, vec![clock.into(), Value::text(lease.daemon)]).await? > 0 {
        session.run(FREE_TARGETS, vec![now.into()]).await?;
        session.run(FORGET, vec![(clock - ENDED_KEPT).into()]).await?;
    }
    Ok(())
}

/// A conflict unless the daemon still holds this very lease.
pub(super) async fn check(change: &mut Change<'_>, lease: &Lease) -> Result<(), StoreError> {
    match change.session.row(HOLDS, vec![Value::text(lease.daemon), lease.epoch.into()]).await? {
        Some(_) => Ok(()),
        None => Err(conflict("the lease")),
    }
}
