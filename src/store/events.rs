//! Audit events: chained at the end of each group, read by whoever follows them.

use super::StoreError;
use super::failure::{corrupt, exactly_one};
use super::session::{Columns, Dialect, Session, Value, statements};
use super::writer::Change;
use crate::audit::chain::Head;
use crate::domain::event::{Event, StoredEvent};
use crate::domain::{ClusterId, RolloutId};

/// The layout of the bodies that this version writes.
const SCHEMA: i64 = 1;

statements! {
    HEAD = "select seq, hash from audit_head where one = 1";
    MOVE_HEAD = "update audit_head set seq = $1, hash = $2 where one = 1 and seq = $3";
    PAGE = "select seq, schema, body, previous, hash from events where seq > $1 order by seq limit $2";
    PAGE_OF_ROLLOUT = "
        select seq, schema, body, previous, hash from events
        where rollout = $3 and seq > $1 order by seq limit $2";
    HISTORY = "
        select seq, schema, body, previous, hash from events
        where cluster = $1 and rollout = $2 order by seq desc limit $3";
}

const INSERT: &str = "insert into events (seq, schema, type, rollout, cluster, at_us, body, previous, hash) values";

/// The end of the chain; on Postgres its row is locked until the commit, and with it the right to write. SQLite gave
/// that right with `begin immediate`.
pub(super) async fn lock_head(session: &mut Session<'_>) -> Result<Head, StoreError> {
    match session.dialect() {
        Dialect::Sqlite => head(session).await,
        Dialect::Postgres => read_head(session, "select seq, hash from audit_head where one = 1 for update").await,
    }
}

/// The end of the chain.
pub(super) async fn head(session: &mut Session<'_>) -> Result<Head, StoreError> {
    read_head(session, HEAD).await
}

async fn read_head(session: &mut Session<'_>, sql: &'static str) -> Result<Head, StoreError> {
    let row = session.row(sql, vec![]).await?;
    let row = row.ok_or_else(|| corrupt("audit_head", &"its row is missing"))?;
    let mut columns = row.columns();
    Ok(Head { seq: columns.int()?, hash: columns.text()? })
}

/// Chains `events` behind `head`, which the caller has locked; answers the place of the last event.
pub(super) async fn append(session: &mut Session<'_>, mut head: Head, events: &[Event]) -> Result<i64, StoreError> {
    if events.is_empty() {
        return Ok(head.seq);
    }
    let before = head.seq;
    // A little at a time: Postgres must not wait for us while we hash the events of a hundred thousand clusters.
    for some in events.chunks(1024) {
        let rows = some.iter().map(|event| row(&mut head, event)).collect::<Result<_, _>>()?;
        session.run_many(INSERT, rows, "").await?;
    }
    let moved = session.run(MOVE_HEAD, vec![head.seq.into(), head.hash.into(), before.into()]).await?;
    exactly_one(moved, || "the end of the audit chain".to_owned())?;
    Ok(head.seq)
}

fn row(head: &mut Head, event: &Event) -> Result<Vec<Value>, StoreError> {
    let body = serde_json::to_string(event).map_err(|error| corrupt("an event", &error))?;
    let StoredEvent { seq, schema, body, previous, hash } = head.append(SCHEMA, body);
    Ok(vec![
        seq.into(),
        schema.into(),
        event.kind.as_str().into(),
        Value::text_if_any(event.subject.rollout),
        Value::text_if_any(event.subject.cluster),
        event.at.into(),
        body.into(),
        previous.into(),
        hash.into(),
    ])
}

/// Events that belong to no change of their own.
pub(super) async fn record(change: &mut Change<'_>, events: Vec<Event>) -> Result<(), StoreError> {
    change.tell(events);
    Ok(())
}

/// Events after `after`, in order.
pub(super) async fn page(
    session: &mut Session<'_>,
    after: i64,
    rollout: Option<RolloutId>,
    limit: u32,
) -> Result<Vec<StoredEvent>, StoreError> {
    let rows = match rollout {
        None => session.rows(PAGE, vec![after.into(), limit.into()]).await?,
        Some(id) => session.rows(PAGE_OF_ROLLOUT, vec![after.into(), limit.into(), Value::text(id)]).await?,
    };
    rows.iter().map(|row| stored(&mut row.columns())).collect()
}

/// The last events of a cluster in a rollout, in order.
pub(super) async fn history(
    session: &mut Session<'_>,
    cluster: ClusterId,
    rollout: RolloutId,
    limit: u32,
) -> Result<Vec<StoredEvent>, StoreError> {
    let rows = session.rows(HISTORY, vec![Value::text(cluster), Value::text(rollout), limit.into()]).await?;
    rows.iter().rev().map(|row| stored(&mut row.columns())).collect()
}

fn stored(columns: &mut Columns<'_>) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        seq: columns.int()?,
        schema: columns.int()?,
        body: columns.text()?,
        previous: columns.text()?,
        hash: columns.text()?,
    })
}
