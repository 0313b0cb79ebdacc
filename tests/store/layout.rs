//! The layouts of both databases: they say the same, and every word of them is explained.

use std::str::FromStr as _;

use fleetlift::store::Options;
use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::arrange::{Backend as _, Postgres, Sqlite};
use crate::support;

/// Table, column, whether it may be null.
type Column = (String, String, bool);

async fn sqlite_columns() -> Vec<Column> {
    let backend = Sqlite::new();
    drop(backend.open().await);
    let mut connection = SqliteConnection::connect(&backend.url()).await.unwrap();
    let sql = "
        select tables.name, columns.name, columns.\"notnull\" = 0 and columns.pk = 0
        from sqlite_master as tables join pragma_table_info(tables.name) as columns
        where tables.type = 'table' and tables.name not in ('layouts', 'sqlite_sequence')
        order by tables.name, columns.cid";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

async fn postgres_columns() -> Vec<Column> {
    let backend = Postgres::new().await;
    let mut connection = PgConnection::connect(&backend.url()).await.unwrap();
    let sql = "
        select table_name::text, column_name::text, is_nullable = 'YES' from information_schema.columns
        where table_schema = 'public' and table_name <> 'layouts'
        order by table_name collate \"C\", ordinal_position";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let (sqlite, postgres) = (sqlite_columns().await, postgres_columns().await);
    assert!(sqlite.len() > 100);
    assert_eq!(sqlite, postgres);
}

#[tokio::test]
async fn on_postgres_every_table_and_column_is_explained_and_every_key_sorts_by_bytes() {
    let backend = Postgres::new().await;
    let mut connection = PgConnection::connect(&backend.url()).await.unwrap();
    let unexplained = "
        select c.relname || coalesce('.' || a.attname, '')
        from pg_class c
            join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public'
            left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind = 'r' and c.relname <> 'layouts'
            and (obj_description(c.oid) is null or col_description(c.oid, a.attnum) is null)";
    let by_locale = "
        select c.relname || '.' || a.attname
        from pg_index i
            join pg_class c on c.oid = i.indrelid
            join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public'
            join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey::int2[])
            join pg_collation l on l.oid = a.attcollation
        where l.collname <> 'C'";
    for sql in [unexplained, by_locale] {
        let found = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        let names: Vec<String> = found.iter().map(|row| row.get(0)).collect();
        assert_eq!(names, Vec::<String>::new());
    }
}

#[test]
fn on_sqlite_every_table_and_column_is_explained() {
    let layout = include_str!("../../migrations/sqlite/0001_first.sql");
    let lines: Vec<&str> = layout.lines().collect();
    let explained: Vec<bool> = lines
        .windows(2)
        .filter(|pair| {
            let first = pair[1].split_whitespace().nth(1).unwrap_or_default();
            pair[1].starts_with("create table")
                || (pair[1].starts_with("    ") && ["text", "integer", "blob"].contains(&first.trim_end_matches(',')))
        })
        .map(|pair| pair[0].trim_start().starts_with("--"))
        .collect();
    assert!(explained.len() > 110, "{}", explained.len());
    assert!(explained.iter().all(|explained| *explained));
}

/// The layouts before clusters had to differ, and two names for one cluster.
const ONE_CLUSTER_TWICE: &str = "
    create table layouts (number bigint primary key, sha256 text not null, applied_at_us bigint not null);
    insert into layouts values (1, '', 0), (2, '', 0), (3, '', 0), (4, '', 0);
    insert into clusters (id, name, labels, namespace, server, identity, state, state_body, reach, registered_at_us, version)
    values ('a', 'berlin', '', '', '', 'x', 'active', '', '', 0, 1), ('b', 'munich', '', '', '', 'x', 'active', '', '', 0, 1),
        ('c', 'rome', '', '', '', 'x', 'removed', '', '', 0, 1), ('d', 'oslo', '', '', '', 'y', 'active', '', '', 0, 1)";

macro_rules! first_layouts {
    ($database:literal) => {
        [
            include_str!(concat!("../../migrations/", $database, "/0001_first.sql")),
            include_str!(concat!("../../migrations/", $database, "/0002_overtaken_inventories.sql")),
            include_str!(concat!("../../migrations/", $database, "/0003_sealings.sql")),
            include_str!(concat!("../../migrations/", $database, "/0004_histories.sql")),
            ONE_CLUSTER_TWICE,
        ]
    };
}

#[tokio::test]
async fn of_two_names_for_one_cluster_the_first_keeps_its_identity_when_the_layout_is_raised() {
    let sqlite = Sqlite::new();
    let options = sqlx::sqlite::SqliteConnectOptions::from_str(&sqlite.url()).unwrap().create_if_missing(true);
    let mut lite = SqliteConnection::connect_with(&options).await.unwrap();
    for sql in first_layouts!("sqlite") {
        sqlx::raw_sql(sql).execute(&mut lite).await.unwrap();
    }
    let url = support::Postgres::shared().database();
    let mut post = PgConnection::connect(&url).await.unwrap();
    for sql in first_layouts!("postgres") {
        sqlx::raw_sql(sql).execute(&mut post).await.unwrap();
    }
    for url in [&sqlite.url(), &url] {
        assert_eq!(fleetlift::store::migrate(url, Options::default()).await.unwrap(), 4);
    }
    let (known, expected) = ("select id, identity, version from clusters order by id", "a:x:1 b:-:2 c:x:1 d:y:1");
    let told = |id: String, identity: Option<String>, version: i64| {
        format!("{id}:{}:{version}", identity.unwrap_or_else(|| "-".to_owned()))
    };
    let rows = sqlx::query(known).fetch_all(&mut lite).await.unwrap();
    let rows: Vec<String> = rows.iter().map(|row| told(row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(rows.join(" "), expected);
    let rows = sqlx::query(known).fetch_all(&mut post).await.unwrap();
    let rows: Vec<String> = rows.iter().map(|row| told(row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(rows.join(" "), expected);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    let url = support::Postgres::shared().database();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("create table tokens (of_somebody_else text)").execute(&mut connection).await.unwrap();
    assert!(fleetlift::store::migrate(&url, Options::default()).await.is_err());
    let sql = "select tablename::text from pg_tables where schemaname = 'public'";
    let tables = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    assert_eq!(tables.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>(), ["tokens"]);
    sqlx::query("drop table tokens").execute(&mut connection).await.unwrap();
    assert_eq!(fleetlift::store::migrate(&url, Options::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn audit_events_are_not_changed_by_hand_either() {
    let (sqlite, postgres) = (Sqlite::new(), Postgres::new().await);
    for backend in [&sqlite as &dyn crate::arrange::Backend, &postgres] {
        let kind = fleetlift::domain::event::EventType::RequestDenied;
        backend.open().await.record(vec![crate::arrange::event(kind)]).await.unwrap();
    }
    let mut lite = SqliteConnection::connect(&sqlite.url()).await.unwrap();
    let mut post = PgConnection::connect(&postgres.url()).await.unwrap();
    for sql in ["update events set body = ''", "delete from events"] {
        assert!(sqlx::query(sql).execute(&mut lite).await.is_err());
        assert!(sqlx::query(sql).execute(&mut post).await.is_err());
    }
}
