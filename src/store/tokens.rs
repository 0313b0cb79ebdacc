//! API tokens, and the answers kept for idempotency keys.

use std::time::Duration;

use super::failure::{conflict, corrupt};
use super::session::{Columns, Session, Value, statements};
use super::writer::Change;
use super::{StoreError, StoredToken};
use crate::domain::event::Event;
use crate::domain::{Timestamp, TokenId};

/// A client that retries does so within minutes; a day covers one that is repaired by hand.
const ANSWERS_KEPT: Duration = Duration::from_hours(24);

macro_rules! columns {
    () => {
        "id, name, hash, role, selector, created_at_us, expires_at_us, revoked_at_us"
    };
}

statements! {
    INSERT = concat!("
        insert into tokens (", columns!(), ") values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing");
    BY_HASH = concat!("select ", columns!(), " from tokens where hash = $1");
    ALL = concat!("select ", columns!(), " from tokens order by name, created_at_us");
    // Not the last administrator's that is good: nobody could make another one.
    REVOKE = "
        update tokens set revoked_at_us = $2
        where id = $1 and revoked_at_us is null
            and (role <> 'admin' or (expires_at_us is not null and expires_at_us <= $2) or exists (
                select 1 from tokens others
                where others.id <> $1 and others.role = 'admin' and others.revoked_at_us is null
                    and (others.expires_at_us is null or others.expires_at_us > $2)
            ))";
    REVOKED = "select revoked_at_us from tokens where id = $1";
    ANSWER = "select answer from answers where principal = $1 and key = $2 and kept_at_us >= $3";
    KEEP_ANSWER = "insert into answers (principal, key, answer, kept_at_us) values ($1, $2, $3, $4)";
    FORGET_ANSWERS = "delete from answers where kept_at_us < $1";
}

pub(super) async fn create(change: &mut Change<'_>, token: StoredToken, events: Vec<Event>) -> Result<(), StoreError> {
    let StoredToken { id, name, hash, role, selector, created_at, expires_at, revoked_at } = token;
    let values = vec![
        Value::text(id),
        name.as_str().into(),
        hash.into(),
        role.into(),
        selector.into(),
        created_at.into(),
        expires_at.into(),
        revoked_at.into(),
    ];
    if change.session.run(INSERT, values).await? != 1 {
        return Err(StoreError::Exists { what: "token", name });
    }
    change.tell(events);
    Ok(())
}

pub(super) async fn by_hash(session: &mut Session<'_>, hash: &str) -> Result<Option<StoredToken>, StoreError> {
    let row = session.row(BY_HASH, vec![hash.into()]).await?;
    row.map(|row| token(&mut row.columns())).transpose()
}

pub(super) async fn all(session: &mut Session<'_>) -> Result<Vec<StoredToken>, StoreError> {
    let rows = session.rows(ALL, vec![]).await?;
    rows.iter().map(|row| token(&mut row.columns())).collect()
}

/// Revokes a token, but never the last administrator's; one that is revoked already stays as it is, and is no news.
pub(super) async fn revoke(
    change: &mut Change<'_>,
    id: TokenId,
    at: Timestamp,
    events: Vec<Event>,
) -> Result<(), StoreError> {
    if change.session.run(REVOKE, vec![Value::text(id), at.into()]).await? == 1 {
        change.tell(events);
        return Ok(());
    }
    match change.session.row(REVOKED, vec![Value::text(id)]).await? {
        Some(row) if row.columns().time_if_any()?.is_some() => Ok(()),
        Some(_) => Err(conflict("the last administrator's token")),
        None => Err(StoreError::NotFound { what: "token", name: id.to_string() }),
    }
}

/// The answer that was kept for this key.
pub(super) async fn answer(
    session: &mut Session<'_>,
    principal: &str,
    key: &str,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let values = vec![principal.into(), key.into(), (now - ANSWERS_KEPT).into()];
    let row = session.row(ANSWER, values).await?;
    row.map(|row| row.columns().text()).transpose()
}

/// The answer that was kept; keeps `answer` when there is none.
pub(super) async fn keep_answer(
    change: &mut Change<'_>,
    principal: String,
    key: String,
    answer: String,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    change.session.run(FORGET_ANSWERS, vec![(now - ANSWERS_KEPT).into()]).await?;
    if let Some(kept) = self::answer(&mut change.session, &principal, &key, now).await? {
        return Ok(Some(kept));
    }
    let kept = change.session.run(KEEP_ANSWER, vec![principal.into(), key.into(), answer.into(), now.into()]).await?;
    if kept == 1 { Ok(None) } else { Err(corrupt("answers", &"an answer was not kept")) }
}

fn token(columns: &mut Columns<'_>) -> Result<StoredToken, StoreError> {
    Ok(StoredToken {
        id: columns.id()?,
        name: columns.text()?,
        hash: columns.text()?,
        role: columns.text()?,
        selector: columns.text_if_any()?,
        created_at: columns.time()?,
        expires_at: columns.time_if_any()?,
        revoked_at: columns.time_if_any()?,
    })
}
