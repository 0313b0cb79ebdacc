//! The hub's own row.

use super::failure::{conflict, corrupt, exactly_one};
use super::session::{Session, Value, statements};
use super::writer::Change;
use super::{Hub, NewHub, StoreError};
use crate::domain::event::{Actor, Event, EventType, Subject};

statements! {
    READ = "select id, created_at_us, sealing_check from hub where one = 1";
    MAKE = "insert into hub (one, id, created_at_us) values (1, $1, $2) on conflict (one) do nothing";
    REPLACE_CHECK = "update hub set sealing_check = $2 where one = 1 and sealing_check = $1";
    SET_CHECK = "update hub set sealing_check = $1 where one = 1 and (sealing_check is null or sealing_check = $1)";
}

pub(super) async fn read(session: &mut Session<'_>) -> Result<Option<Hub>, StoreError> {
    let row = session.row(READ, vec![]).await?;
    row.map(|row| {
        let mut columns = row.columns();
        Ok(Hub { id: columns.id()?, created_at: columns.time()?, sealing_check: columns.text_if_any()? })
    })
    .transpose()
}

/// The row, made with `candidate` if there is none.
pub(super) async fn make(change: &mut Change<'_>, candidate: NewHub) -> Result<Hub, StoreError> {
    let made = change.session.run(MAKE, vec![Value::text(candidate.id), candidate.at.into()]).await?;
    if made == 1 {
        let event = Event::new(candidate.at, EventType::HubInitialised, Actor::local("store"), Subject::default());
        change.tell(vec![event.with("hub", candidate.id.to_string())]);
    }
    read(&mut change.session).await?.ok_or_else(|| corrupt("hub", &"its row is missing"))
}

pub(super) async fn set_check(change: &mut Change<'_>, check: String) -> Result<(), StoreError> {
    match change.session.run(SET_CHECK, vec![check.into()]).await? {
        1 => Ok(()),
        _ => Err(conflict("the sealing key's check value")),
    }
}

pub(super) async fn replace_check(
    change: &mut Change<'_>,
    before: String,
    check: String,
    events: Vec<Event>,
) -> Result<(), StoreError> {
    let replaced = change.session.run(REPLACE_CHECK, vec![before.into(), check.into()]).await?;
    exactly_one(replaced, || "the sealing key's check value".to_owned())?;
    change.tell(events);
    Ok(())
}
