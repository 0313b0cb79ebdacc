//! Budgets: slots taken when a target starts, and given back exactly once when it stops running.

use std::collections::{BTreeMap, BTreeSet};

use super::session::{Session, Value, statements};
use super::writer::Change;
use super::{SlotHolder, StoreError};
use crate::domain::TargetId;
use crate::domain::budget::{Claim, Scope, Usage};

statements! {
    IN_USE = "select in_use from budgets where key = $1";
    USAGE = "select scope, in_use from budgets where in_use > 0 order by key";
    HOLDERS = "
        select slots.budget, clusters.name, targets.rollout
        from slots join targets on targets.id = slots.target join clusters on clusters.id = targets.cluster
        where slots.budget = $1 order by clusters.name limit 9";
    // What it holds is written down, so what it gives back does not depend on what the rollout says by then.
    GIVE_BACK = "
        update budgets set in_use = in_use - 1
        where key in (select slots.budget from slots where slots.target = $1)";
    FORGET_SLOTS = "delete from slots where target = $1";
}

const TAKE: &str = "insert into budgets (key, scope, in_use, asked_limit) values";

/// The guard: a budget that is full is not updated, and its key does not come back.
const UNLESS_FULL: &str = "
    on conflict (key) do update set in_use = budgets.in_use + 1, asked_limit = excluded.asked_limit
    where budgets.in_use < excluded.asked_limit
    returning key";

const HOLD: &str = "insert into slots (target, budget) values";

/// Takes every slot or none, in the order of the keys; the first scope that is full is named. The caller's savepoint
/// undoes the slots taken beside it.
pub(super) async fn take(change: &mut Change<'_>, target: TargetId, claims: &[Claim]) -> Result<(), StoreError> {
    let mut wanted: BTreeMap<String, &Claim> = BTreeMap::new();
    for claim in claims {
        let entry = wanted.entry(claim.scope.key()).or_insert(claim);
        if claim.limit < entry.limit {
            *entry = claim;
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(wanted.len() * 4);
    let mut slots = Vec::with_capacity(wanted.len());
    for (key, claim) in &wanted {
        if claim.limit == 0 {
            return Err(full(&mut change.session, key, claim).await?);
        }
        rows.extend([key.as_str().into(), Value::json(&claim.scope)?, 1_i64.into(), claim.limit.into()]);
        slots.push(vec![Value::text(target), key.as_str().into()]);
    }
    let sql = format!("{TAKE} {} {UNLESS_FULL}", change.session.placeholders(wanted.len(), 4));
    let taken = change.session.rows(sql, rows).await?;
    let taken = taken.iter().map(|row| row.columns().text()).collect::<Result<BTreeSet<_>, _>>()?;
    if let Some((key, claim)) = wanted.iter().find(|(key, _)| !taken.contains(*key)) {
        return Err(full(&mut change.session, key, claim).await?);
    }
    change.session.run_many(HOLD, slots, "").await?;
    Ok(())
}

async fn full(session: &mut Session<'_>, key: &str, claim: &Claim) -> Result<StoreError, StoreError> {
    let row = session.row(IN_USE, vec![key.into()]).await?;
    let in_use = row.map_or(Ok(0), |row| row.columns().count())?;
    Ok(StoreError::BudgetUsedUp { scope: claim.scope.clone(), in_use, limit: claim.limit })
}

/// Gives back every slot that the target holds.
pub(super) async fn give_back(change: &mut Change<'_>, target: TargetId) -> Result<(), StoreError> {
    change.session.run(GIVE_BACK, vec![Value::text(target)]).await?;
    change.session.run(FORGET_SLOTS, vec![Value::text(target)]).await?;
    Ok(())
}

/// Who holds slots of each budget: the first by name, which is all that anybody shows.
pub(super) async fn holders(session: &mut Session<'_>, keys: Vec<String>) -> Result<Vec<SlotHolder>, StoreError> {
    let mut holders = Vec::new();
    for key in keys {
        for row in session.rows(HOLDERS, vec![key.into()]).await? {
            let mut columns = row.columns();
            holders.push(SlotHolder { budget: columns.text()?, cluster: columns.text()?, rollout: columns.id()? });
        }
    }
    Ok(holders)
}

/// How much of every scope is in use.
pub(super) async fn usage(session: &mut Session<'_>) -> Result<Vec<Usage>, StoreError> {
    let rows = session.rows(USAGE, vec![]).await?;
    rows.iter()
        .map(|row| {
            let mut columns = row.columns();
            let scope: Scope = columns.json()?;
            Ok(Usage { scope, in_use: columns.count()? })
        })
        .collect()
}
