//! Registered clusters and their sealed credentials.

use std::collections::BTreeMap;

use super::failure::{conflict, corrupt, exactly_one};
use super::session::{Columns, Session, Value, statements};
use super::writer::Change;
use super::{NewCluster, StoreError};
use crate::domain::cluster::{Cluster, ClusterState, Reach, SealedCredential, Sealing, StoredCredential};
use crate::domain::event::Event;
use crate::domain::{ClusterId, Timestamp};

macro_rules! columns {
    () => {
        "clusters.id, clusters.name, clusters.labels, clusters.time_zone, clusters.namespace, clusters.egress, \
         clusters.server, clusters.identity, clusters.credential_expires_at_us, clusters.state_body, clusters.reach, \
         clusters.registered_at_us, clusters.version, \
         (select count(*) from credentials where credentials.cluster = clusters.id and credentials.ca_pem = '')"
    };
}

statements! {
    BY_ID = concat!("select ", columns!(), " from clusters where id = $1");
    BY_NAME = concat!("select ", columns!(), " from clusters where name = $1 and state <> 'removed'");
    PAGE = concat!("
        select ", columns!(), " from clusters
        where state <> 'removed' and name > $1 order by name limit $2");
    INSERT = "
        insert into clusters (id, name, labels, time_zone, namespace, egress, server, identity,
            credential_expires_at_us, state, state_body, reach, registered_at_us, version,
            failing_since_us)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        on conflict do nothing";
    // The version is the caller's proof that it changes what it has read.
    UPDATE = "
        update clusters set labels = $3, time_zone = $4, namespace = $5, egress = $6, server = $7, identity = $8,
            credential_expires_at_us = $9, state = $10, state_body = $11, version = version + 1
        where id = $1 and version = $2 and state <> 'removed'";
    // Whoever else was quicker has said the same, or is not contradicted here.
    IDENTIFY = "
        update clusters set identity = $2, version = version + 1
        where id = $1 and identity is null and state = 'active'";
    NAME_OF = "
        select name from clusters
        where identity = $1 and namespace = $2 and server = $3 and state <> 'removed' and id <> $4";
    SET_REACH = "update clusters set reach = $2, failing_since_us = $3 where id = $1";
    COUNT = "select state, count(*) from clusters group by state";
    // In one statement, so that no replacement comes in between. The types are those that tell of a sealing.
    CREDENTIAL = "
        select version, envelope, ca_pem, tls_server_name, (
            select body from events
            where events.cluster = credentials.cluster and type in ('cluster.registered', 'credential.rotated')
            order by seq desc limit 1)
        from credentials where cluster = $1";
    INSERT_CREDENTIAL = "
        insert into credentials (cluster, version, envelope, ca_pem, tls_server_name) values ($1, $2, $3, $4, $5)";
    // Versions only rise: an envelope that was replaced does not come back.
    REPLACE_CREDENTIAL = "
        update credentials set version = $2, envelope = $3, ca_pem = $4, tls_server_name = $5
        where cluster = $1 and version < $2";
    REWRAP_CREDENTIAL = "
        update credentials set envelope = $4 where cluster = $1 and version = $2 and envelope = $3";
    DELETE_CREDENTIAL = "delete from credentials where cluster = $1";
}

/// Registers one cluster with its credential.
pub(super) async fn register(change: &mut Change<'_>, new: NewCluster) -> Result<(), StoreError> {
    let NewCluster { cluster, credential, events } = new;
    let Cluster {
        id,
        name,
        labels,
        time_zone,
        namespace,
        egress,
        server,
        tls_verified: _,
        identity,
        credential_expires_at,
        state,
        reach,
        registered_at,
        version,
    } = cluster;
    let values = vec![
        Value::text(id),
        name.as_str().into(),
        Value::json(&labels)?,
        time_zone.into(),
        namespace.as_str().into(),
        egress.into(),
        server.as_str().into(),
        identity.clone().into(),
        credential_expires_at.into(),
        state.name().into(),
        Value::json(&state)?,
        Value::json(&reach)?,
        registered_at.into(),
        version.into(),
        failing_since(&reach).into(),
    ];
    if change.session.run(INSERT, values).await? != 1 {
        if change.session.row(BY_NAME, vec![name.as_str().into()]).await?.is_none() {
            refuse_a_second_name(change, id, identity.as_deref(), &namespace, &server).await?;
        }
        return Err(StoreError::Exists { what: "cluster", name });
    }
    change.session.run(INSERT_CREDENTIAL, credential_row(id, credential)).await?;
    change.tell(events);
    Ok(())
}

/// Clusters by name, after the name `after`.
pub(super) async fn page(session: &mut Session<'_>, after: &str, limit: u32) -> Result<Vec<Cluster>, StoreError> {
    let rows = session.rows(PAGE, vec![after.into(), limit.into()]).await?;
    rows.iter().map(|row| cluster(&mut row.columns())).collect()
}

pub(super) async fn named(session: &mut Session<'_>, name: &str) -> Result<Cluster, StoreError> {
    let row = session.row(BY_NAME, vec![name.into()]).await?;
    let row = row.ok_or_else(|| StoreError::NotFound { what: "cluster", name: name.to_owned() })?;
    cluster(&mut row.columns())
}

pub(super) async fn by_id(session: &mut Session<'_>, id: ClusterId) -> Result<Cluster, StoreError> {
    let row = session.row(BY_ID, vec![Value::text(id)]).await?;
    let row = row.ok_or_else(|| StoreError::NotFound { what: "cluster", name: id.to_string() })?;
    cluster(&mut row.columns())
}

pub(super) async fn credential(session: &mut Session<'_>, id: ClusterId) -> Result<StoredCredential, StoreError> {
    let row = session.row(CREDENTIAL, vec![Value::text(id)]).await?;
    let row = row.ok_or_else(|| StoreError::NotFound { what: "credential of cluster", name: id.to_string() })?;
    let mut columns = row.columns();
    let sealed = SealedCredential {
        version: columns.int()?,
        envelope: columns.bytes()?,
        ca_pem: columns.text()?,
        tls_server_name: columns.text_if_any()?,
    };
    let event = columns.text_if_any()?.map(|body| serde_json::from_str::<Event>(&body)).transpose();
    let event = event.map_err(|error| corrupt("the event of a cluster's last sealing", &error))?;
    Ok(StoredCredential { sealed, last: event.as_ref().and_then(Sealing::of) })
}

fn credential_row(id: ClusterId, credential: SealedCredential) -> Vec<Value> {
    let SealedCredential { version, envelope, ca_pem, tls_server_name } = credential;
    vec![Value::text(id), version.into(), Value::Bytes(envelope), ca_pem.into(), tls_server_name.into()]
}

/// Writes what may change of a cluster, and drops its credential when it is removed.
pub(super) async fn change(
    change: &mut Change<'_>,
    mut cluster: Cluster,
    events: Vec<Event>,
) -> Result<Cluster, StoreError> {
    write(change, &mut cluster).await?;
    if matches!(cluster.state, ClusterState::Removed { .. }) {
        change.session.run(DELETE_CREDENTIAL, vec![Value::text(cluster.id)]).await?;
    }
    change.tell(events);
    Ok(cluster)
}

/// Notes who a cluster is that was not known yet.
pub(super) async fn identify(
    change: &mut Change<'_>,
    id: ClusterId,
    identity: String,
    events: Vec<Event>,
) -> Result<Cluster, StoreError> {
    let Cluster { namespace, server, .. } = by_id(&mut change.session, id).await?;
    refuse_a_second_name(change, id, Some(&identity), &namespace, &server).await?;
    if change.session.run(IDENTIFY, vec![Value::text(id), identity.into()]).await? == 1 {
        change.tell(events);
    }
    by_id(&mut change.session, id).await
}

/// Refuses the cluster `id` whose OpenEBS (who answers at its address, and the namespace there) has another name already,
/// which it tells. At different addresses clusters may well have one identity: sites are cloned from one disk image.
/// Groups never overlap, so nobody comes in between; the unique index is there for whoever writes without asking.
async fn refuse_a_second_name(
    change: &mut Change<'_>,
    id: ClusterId,
    identity: Option<&str>,
    namespace: &str,
    server: &str,
) -> Result<(), StoreError> {
    let Some(identity) = identity else { return Ok(()) };
    let values = vec![identity.into(), namespace.into(), server.into(), Value::text(id)];
    match change.session.row(NAME_OF, values).await? {
        Some(row) => Err(StoreError::SameCluster { name: row.columns().text()? }),
        None => Ok(()),
    }
}

/// The same secret under another key.
pub(super) async fn rewrap_credential(
    change: &mut Change<'_>,
    id: ClusterId,
    sealed: SealedCredential,
    envelope: Vec<u8>,
) -> Result<(), StoreError> {
    let values = vec![Value::text(id), sealed.version.into(), Value::Bytes(sealed.envelope), Value::Bytes(envelope)];
    exactly_one(change.session.run(REWRAP_CREDENTIAL, values).await?, || format!("the credential of cluster {id}"))
}

/// Writes the cluster with another credential.
pub(super) async fn replace_credential(
    change: &mut Change<'_>,
    mut cluster: Cluster,
    credential: SealedCredential,
    events: Vec<Event>,
) -> Result<Cluster, StoreError> {
    write(change, &mut cluster).await?;
    let replaced = change.session.run(REPLACE_CREDENTIAL, credential_row(cluster.id, credential)).await?;
    exactly_one(replaced, || format!("the credential of cluster {}", cluster.name))?;
    change.tell(events);
    Ok(cluster)
}

async fn write(change: &mut Change<'_>, cluster: &mut Cluster) -> Result<(), StoreError> {
    let Cluster { id, identity, namespace, server, .. } = &*cluster;
    refuse_a_second_name(change, *id, identity.as_deref(), namespace, server).await?;
    let values = vec![
        Value::text(cluster.id),
        cluster.version.into(),
        Value::json(&cluster.labels)?,
        cluster.time_zone.clone().into(),
        cluster.namespace.as_str().into(),
        cluster.egress.clone().into(),
        cluster.server.as_str().into(),
        cluster.identity.clone().into(),
        cluster.credential_expires_at.into(),
        cluster.state.name().into(),
        Value::json(&cluster.state)?,
    ];
    let written = change.session.run(UPDATE, values).await?;
    exactly_one(written, || format!("cluster {}", cluster.name))?;
    cluster.version += 1;
    Ok(())
}

/// Notes whether a cluster answered.
pub(super) async fn set_reach(change: &mut Change<'_>, id: ClusterId, reach: Reach) -> Result<(), StoreError> {
    let values = vec![Value::text(id), Value::json(&reach)?, failing_since(&reach).into()];
    let written = change.session.run(SET_REACH, values).await?;
    if written == 1 { Ok(()) } else { Err(conflict(format!("cluster {id}"))) }
}

fn failing_since(reach: &Reach) -> Option<Timestamp> {
    reach.failing.as_ref().map(|failing| failing.since)
}

/// How many clusters are in each state.
pub(super) async fn count(session: &mut Session<'_>) -> Result<BTreeMap<String, u64>, StoreError> {
    let rows = session.rows(COUNT, vec![]).await?;
    let mut counts = BTreeMap::new();
    for row in rows {
        let mut columns = row.columns();
        counts.insert(columns.text()?, u64::from(columns.count()?));
    }
    Ok(counts)
}

fn cluster(columns: &mut Columns<'_>) -> Result<Cluster, StoreError> {
    Ok(Cluster {
        id: columns.id()?,
        name: columns.text()?,
        labels: columns.json()?,
        time_zone: columns.text_if_any()?,
        namespace: columns.text()?,
        egress: columns.text_if_any()?,
        server: columns.text()?,
        identity: columns.text_if_any()?,
        credential_expires_at: columns.time_if_any()?,
        state: columns.json()?,
        reach: columns.json()?,
        registered_at: columns.time()?,
        version: columns.int()?,
        // No certificates: that is how the waiver is stored, and bound into the envelope.
        tls_verified: columns.int()? == 0,
    })
}
