//! How a database is opened, and when it is refused.

use std::os::unix::fs::PermissionsExt as _;

use fleetlift::store::{LAYOUT, Options, StoreError, migrate, open};
use futures::future::join_all;

use crate::arrange::{Backend as _, Postgres, Sqlite};
use crate::support;

#[tokio::test]
async fn a_sqlite_file_is_its_owners_alone() {
    let backend = Sqlite::new();
    let url = backend.url();
    let path = url.strip_prefix("sqlite://").unwrap();
    std::fs::write(path, "").unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _store = backend.open().await;
    for file in [path.to_owned(), format!("{path}-wal"), format!("{path}-shm")] {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn sqlite_is_opened_by_path_or_url_and_keeps_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b%20c?d.db").display().to_string();
    let first = open(&path, Options::default()).await.unwrap();
    first.record(vec![crate::arrange::event(fleetlift::domain::event::EventType::RequestDenied)]).await.unwrap();
    let head = first.audit_head().await.unwrap();
    drop(first);
    for url in [format!("sqlite:{path}"), format!("sqlite://{path}"), path] {
        assert_eq!(open(&url, Options::default()).await.unwrap().audit_head().await.unwrap(), head);
    }
}

#[tokio::test]
async fn an_address_that_names_no_database_is_refused_without_its_secrets() {
    for url in ["", "sqlite:", "sqlite::memory:", "mysql://u:secret@h/d", "postgres://u:secret@h:port/d"] {
        let refused = open(url, Options::default()).await.err().unwrap();
        assert!(matches!(refused, StoreError::Unusable { .. }), "{url}: {refused:?}");
        assert!(!format!("{refused:?} {refused}").contains("secret"));
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_and_names_no_secret() {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let url = format!("postgres://fleetlift:secret@127.0.0.1:{port}/fleetlift");
    let refused = open(&url, Options::default()).await.err().unwrap();
    assert!(refused.may_pass());
    assert!(!format!("{refused:?} {refused}").contains("secret"));
}

/// A deadline of the role's, and somebody who is in the way for longer, stand for an index over years of events.
#[tokio::test]
async fn a_migration_takes_the_time_that_it_takes() {
    use sqlx::{Connection as _, PgConnection};
    let url = support::Postgres::shared().database();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let name = url.rsplit('/').next().unwrap();
    let deadline = sqlx::AssertSqlSafe(format!("alter database {name} set statement_timeout = '50ms'"));
    sqlx::query(deadline).execute(&mut other).await.unwrap();
    let mut holding = other.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(x'666c6565746c6966'::bigint)").execute(&mut *holding).await.unwrap();
    let release = async {
        sqlx::query("select pg_sleep(0.4)").execute(&mut *holding).await.unwrap();
        holding.commit().await.unwrap();
    };
    let (migrated, ()) = futures::future::join(migrate(&url, Options::default()), release).await;
    assert_eq!(migrated.unwrap(), 0);
}

#[tokio::test]
async fn postgres_is_migrated_on_purpose_only_and_by_one_at_a_time() {
    let url = support::Postgres::shared().database();
    let refused = open(&url, Options::default()).await.err().unwrap();
    assert_eq!(refused.to_string(), "the database cannot be used: it is empty: run `fleetlift migrate` first");
    let migrated = join_all((0..4).map(|_| migrate(&url, Options::default()))).await;
    assert!(migrated.iter().all(Result::is_ok), "{migrated:?}");
    assert_eq!(migrate(&url, Options::default()).await.unwrap(), LAYOUT);
    open(&url, Options::default()).await.unwrap();
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let sqlite = Sqlite::new();
    drop(sqlite.open().await);
    sqlite.raise_layout().await;
    let postgres = Postgres::new().await;
    postgres.raise_layout().await;
    let sentence = format!(
        "the database cannot be used: its layout is number {}, made by a newer Fleetlift, and this version knows up to \
         {LAYOUT}: run that newer version",
        LAYOUT + 1
    );
    for url in [sqlite.url(), postgres.url()] {
        assert_eq!(open(&url, Options::default()).await.err().unwrap().to_string(), sentence);
        assert_eq!(migrate(&url, Options::default()).await.unwrap_err().to_string(), sentence);
    }
}

#[tokio::test]
async fn without_a_statement_cache_everything_works_as_well() {
    let backend = Postgres::new().await;
    let options = Options { statement_cache: false, ..Options::default() };
    let store = open(&backend.url(), options).await.unwrap();
    for _ in 0..3 {
        assert_eq!(store.current_fleet().await.unwrap(), None);
    }
}
