//! The last inventory of each cluster, and whose turn it is to be read again.

use super::session::{Row, Session, Value, statements};
use super::writer::Change;
use super::{InventoryTurn, StoreError, StoredInventory};
use crate::domain::{ClusterId, InventoryDigest, TargetId, Timestamp};

macro_rules! due {
    () => {
        "
        select clusters.id from clusters left join inventories on inventories.cluster = clusters.id
        where clusters.state = 'active'
            and (inventories.taken_at_us is null or inventories.taken_at_us < $1
                or inventories.taken_at_us < inventories.overtaken_at_us)
            and (clusters.inventory_tried_at_us is null or clusters.inventory_tried_at_us < $2
                or clusters.inventory_tried_at_us < inventories.overtaken_at_us)"
    };
}

statements! {
    READ = "
        select taken_at_us, digest, body, cast(case when taken_at_us < overtaken_at_us then 1 else 0 end as bigint)
        from inventories where cluster = $1";
    // A rollout is done with the cluster, or at least had begun on it: what was read before is read again at once.
    OVERTAKE = "
        update inventories set overtaken_at_us = $2
        where cluster = (select cluster from targets where id = $1)
            and ($3 = 1 or exists (select 1 from tasks where target = $1 and attempts > 0))";
    REFRESH = "update inventories set overtaken_at_us = $2 where cluster = $1 and taken_at_us < $3";
    DIGESTS = "select cluster, digest from inventories";
    // A reading that was overtaken by a newer one changes nothing.
    SAVE = "
        insert into inventories (cluster, taken_at_us, digest, body) values ($1, $2, $3, $4)
        on conflict (cluster) do update
            set taken_at_us = excluded.taken_at_us, digest = excluded.digest, body = excluded.body
            where inventories.taken_at_us <= excluded.taken_at_us";
    CANDIDATES = concat!(due!(), "
            and clusters.failing_since_us is null
        order by case when inventories.taken_at_us < inventories.overtaken_at_us then 0
                else coalesce(inventories.taken_at_us, 0) end,
            coalesce(clusters.inventory_tried_at_us, 0), clusters.id
        limit $3");
    // Each one that is tried in vain costs a timeout: the longer it is silent, the longer it is left alone, up to the age
    // at which inventories are read again. By their last try, so that all have their turn however many there are.
    SILENT_CANDIDATES = concat!(due!(), "
            and clusters.failing_since_us is not null
            and (clusters.inventory_tried_at_us is null or clusters.inventory_tried_at_us < $1
                or clusters.inventory_tried_at_us < inventories.overtaken_at_us
                or $4 - clusters.inventory_tried_at_us
                    >= clusters.inventory_tried_at_us - clusters.failing_since_us)
        order by coalesce(clusters.inventory_tried_at_us, 0), clusters.id
        limit $3");
    // Two daemons may have seen the same candidate: the second one finds it tried.
    TRY = "
        update clusters set inventory_tried_at_us = $2
        where id = $1 and (inventory_tried_at_us is null or inventory_tried_at_us < $3
            or inventory_tried_at_us < (select overtaken_at_us from inventories where cluster = $1))";
}

pub(super) async fn read(session: &mut Session<'_>, id: ClusterId) -> Result<Option<StoredInventory>, StoreError> {
    let row = session.row(READ, vec![Value::text(id)]).await?;
    row.map(|row| {
        let mut columns = row.columns();
        Ok(StoredInventory {
            taken_at: columns.time()?,
            digest: columns.id()?,
            body: columns.text()?,
            overtaken: columns.int()? == 1,
        })
    })
    .transpose()
}

pub(super) async fn save(change: &mut Change<'_>, id: ClusterId, inventory: StoredInventory) -> Result<(), StoreError> {
    let StoredInventory { taken_at, digest, body, overtaken: _ } = inventory;
    let values = vec![Value::text(id), taken_at.into(), digest.as_str().into(), body.into()];
    change.session.run(SAVE, values).await.map(drop)
}

/// What the target's cluster runs may have been changed: whatever was read before `at` is out of date. A target that is
/// not `over` was only given up for a while, and changes nothing unless an attempt was made.
pub(super) async fn overtake(
    change: &mut Change<'_>,
    target: TargetId,
    over: bool,
    at: Timestamp,
) -> Result<(), StoreError> {
    change.session.run(OVERTAKE, vec![Value::text(target), at.into(), i64::from(over).into()]).await.map(drop)
}

/// Whatever was read of them before that time is read again at once.
pub(super) async fn refresh(
    change: &mut Change<'_>,
    clusters: Vec<ClusterId>,
    before: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    for cluster in clusters {
        change.session.run(REFRESH, vec![Value::text(cluster), now.into(), before.into()]).await?;
    }
    Ok(())
}

/// The digests of all inventories.
pub(super) async fn digests(session: &mut Session<'_>) -> Result<Vec<(ClusterId, InventoryDigest)>, StoreError> {
    let rows = session.rows(DIGESTS, vec![]).await?;
    let digest = |row: &Row| {
        let mut columns = row.columns();
        Ok((columns.id()?, columns.id()?))
    };
    rows.iter().map(digest).collect()
}

/// Clusters whose turn it is: looked up outside the writer, since that reads the whole table.
pub(super) async fn candidates(session: &mut Session<'_>, turn: InventoryTurn) -> Result<Vec<ClusterId>, StoreError> {
    let InventoryTurn { before, tried_before, now, silent, limit } = turn;
    let mut values = vec![before.into(), tried_before.into(), limit.into()];
    let statement = if silent {
        values.push(now.into());
        SILENT_CANDIDATES
    } else {
        CANDIDATES
    };
    let rows = session.rows(statement, values).await?;
    rows.iter().map(|row| row.columns().id()).collect()
}

/// Marks them as tried; answers those that nobody else marked first.
pub(super) async fn claim(
    change: &mut Change<'_>,
    candidates: Vec<ClusterId>,
    turn: InventoryTurn,
) -> Result<Vec<ClusterId>, StoreError> {
    let mut claimed = Vec::with_capacity(candidates.len());
    for id in candidates {
        let values = vec![Value::text(id), turn.now.into(), turn.tried_before.into()];
        if change.session.run(TRY, values).await? == 1 {
            claimed.push(id);
        }
    }
    Ok(claimed)
}
