//! Fleet configurations and the plans made from them.

use super::failure::exactly_one;
use super::session::{Columns, Session, statements};
use super::writer::Change;
use super::{StoreError, StoredFleet, StoredPlan};
use crate::domain::event::Event;
use crate::domain::{PlanDigest, Revision};

macro_rules! plan_columns {
    () => {
        "digest, revision, group_name, body, report, made_at_us, oldest_inventory_at_us, made_by"
    };
}

statements! {
    CURRENT = "
        select fleets.revision, fleets.body, fleets.applied_at_us, fleets.applied_by
        from hub join fleets on fleets.revision = hub.revision where hub.one = 1";
    FLEET = "select revision, body, applied_at_us, applied_by from fleets where revision = $1";
    SAVE_FLEET = "
        insert into fleets (revision, body, applied_at_us, applied_by) values ($1, $2, $3, $4)
        on conflict (revision) do update
            set applied_at_us = excluded.applied_at_us, applied_by = excluded.applied_by";
    SET_CURRENT = "update hub set revision = $1 where one = 1";
    SET_CURRENT_OVER = "update hub set revision = $1 where one = 1 and revision = $2";
    PLAN = concat!("select ", plan_columns!(), " from plans where digest = $1");
    PLANS = concat!("
        select ", plan_columns!(), " from plans
        where digest >= $1 and digest < $2 order by made_at_us desc, digest limit $3");
    SAVE_PLAN = concat!("
        insert into plans (", plan_columns!(), ") values ($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (digest) do nothing");
}

/// Keeps a fleet and makes it the current one, over that one if it is named. The hub's row must be there.
pub(super) async fn apply(
    change: &mut Change<'_>,
    fleet: StoredFleet,
    over: Option<Revision>,
    events: Vec<Event>,
) -> Result<(), StoreError> {
    let StoredFleet { revision, body, applied_at, applied_by } = fleet;
    let values = vec![revision.as_str().into(), body.into(), applied_at.into(), applied_by.into()];
    change.session.run(SAVE_FLEET, values).await?;
    let revision = revision.as_str().into();
    let set = match over {
        None => change.session.run(SET_CURRENT, vec![revision]).await?,
        Some(over) => change.session.run(SET_CURRENT_OVER, vec![revision, over.as_str().into()]).await?,
    };
    exactly_one(set, || "the fleet".to_owned())?;
    change.tell(events);
    Ok(())
}

pub(super) async fn current(session: &mut Session<'_>) -> Result<Option<StoredFleet>, StoreError> {
    let row = session.row(CURRENT, vec![]).await?;
    row.map(|row| fleet(&mut row.columns())).transpose()
}

pub(super) async fn by_revision(session: &mut Session<'_>, revision: &Revision) -> Result<StoredFleet, StoreError> {
    let row = session.row(FLEET, vec![revision.as_str().into()]).await?;
    let row = row.ok_or_else(|| StoreError::NotFound { what: "fleet revision", name: revision.to_string() })?;
    fleet(&mut row.columns())
}

/// Keeps a plan; its digest names its content, so the same digest twice is the same plan, and no news.
pub(super) async fn save_plan(change: &mut Change<'_>, plan: StoredPlan, events: Vec<Event>) -> Result<(), StoreError> {
    let StoredPlan { digest, revision, group, body, report, made_at, oldest_inventory_at, made_by } = plan;
    let values = vec![
        digest.as_str().into(),
        revision.as_str().into(),
        group.into(),
        body.into(),
        report.into(),
        made_at.into(),
        oldest_inventory_at.into(),
        made_by.into(),
    ];
    if change.session.run(SAVE_PLAN, values).await? == 1 {
        change.tell(events);
    }
    Ok(())
}

pub(super) async fn plan(session: &mut Session<'_>, digest: &PlanDigest) -> Result<StoredPlan, StoreError> {
    let row = session.row(PLAN, vec![digest.as_str().into()]).await?;
    let row = row.ok_or_else(|| StoreError::NotFound { what: "plan", name: digest.to_string() })?;
    stored_plan(&mut row.columns())
}

pub(super) async fn plans(session: &mut Session<'_>, prefix: &str, limit: u32) -> Result<Vec<StoredPlan>, StoreError> {
    // Digests are lowercase hexadecimal, so all that start with `prefix` sort before `prefix` and a `g`.
    let rows = session.rows(PLANS, vec![prefix.into(), format!("{prefix}g").into(), limit.into()]).await?;
    rows.iter().map(|row| stored_plan(&mut row.columns())).collect()
}

fn fleet(columns: &mut Columns<'_>) -> Result<StoredFleet, StoreError> {
    Ok(StoredFleet {
        revision: columns.id()?,
        body: columns.text()?,
        applied_at: columns.time()?,
        applied_by: columns.text()?,
    })
}

fn stored_plan(columns: &mut Columns<'_>) -> Result<StoredPlan, StoreError> {
    Ok(StoredPlan {
        digest: columns.id()?,
        revision: columns.id()?,
        group: columns.text()?,
        body: columns.text()?,
        report: columns.text()?,
        made_at: columns.time()?,
        oldest_inventory_at: columns.time()?,
        made_by: columns.text()?,
    })
}
