//! Where the database is, and how it is opened.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::database::Database;
use super::readers::Readers;
use super::writer::Address;
use super::{Store, StoreError, schema};
use crate::metrics::Metrics;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections that read at most at the same time.
    pub readers: u32,
    /// Whether statements stay prepared on a Postgres connection: not through a pgbouncer older than 1.21 in
    /// transaction mode.
    pub statement_cache: bool,
    /// Where group commits are counted.
    pub metrics: Option<Arc<Metrics>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers: 4, statement_cache: true, metrics: None }
    }
}

/// Statements that stay prepared on one connection: all of ours, and the few sizes of those with many rows.
const STATEMENTS_KEPT: usize = 256;

/// Another process (a backup, `fleetlift audit`) may hold SQLite's write lock that long before we give up.
const BUSY: Duration = Duration::from_secs(10);

/// What the write-ahead log may keep of the disk once its content was moved into the database: 64 MiB.
const WAL_BYTES_KEPT: &str = "67108864";

/// How long a reader is waited for.
const READER_DEADLINE: Duration = Duration::from_secs(10);

/// Opens the database at `url`: a path, `sqlite:PATH`, `sqlite://PATH` or `postgres://…`.
///
/// A Postgres on another machine is spoken to by TLS, with its certificate verified for its name, unless the URL says
/// otherwise (`sslmode=disable`, `sslrootcert=FILE` …).
///
/// A SQLite file is made if need be (mode 0600) and brought to this version's layout; Postgres must have it already
/// (see [`migrate`]).
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Store>, StoreError> {
    let address = address(url, &options)?;
    let mut connection = address.connect().await?;
    let ready = match &address {
        Address::Sqlite(_) => schema::migrate(&mut connection.session()).await.map(drop),
        Address::Postgres(_) => schema::check(&mut connection.session()).await,
    };
    connection.close().await;
    ready?;
    let readers = readers(&address, &options);
    Ok(Arc::new(Database::start(address, readers, options.metrics).await?))
}

/// Brings the database at `url` to this version's layout; answers the number of the layout that it had, 0 for none.
pub async fn migrate(url: &str, options: Options) -> Result<i64, StoreError> {
    let mut connection = address(url, &options)?.connect().await?;
    let migrated = schema::migrate(&mut connection.session()).await;
    connection.close().await;
    migrated
}

pub(super) fn address(url: &str, options: &Options) -> Result<Address, StoreError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        // The parser's own words might repeat the password.
        let parsed = PgConnectOptions::from_str(url).map_err(|_| StoreError::Unusable {
            why: "its URL cannot be read (expected postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=verify-full)"
                .to_owned(),
        })?;
        let parsed =
            if names_its_tls(url) || is_local(&parsed) { parsed } else { parsed.ssl_mode(PgSslMode::VerifyFull) };
        let kept = if options.statement_cache { STATEMENTS_KEPT } else { 0 };
        let parsed = parsed.application_name("fleetlift").statement_cache_capacity(kept).disable_statement_logging();
        return Ok(Address::Postgres(parsed));
    }
    let path = match url.strip_prefix("sqlite:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None => url,
    };
    if path.is_empty() || path.contains("://") || path.starts_with(":memory:") {
        return Err(StoreError::Unusable {
            why: "its URL is neither a path, sqlite:PATH nor postgres://USER:PASSWORD@HOST:PORT/NAME".to_owned(),
        });
    }
    let path = PathBuf::from(path);
    make_private(&path).map_err(|error| {
        let said = format!("{} can't be made or written: {error}", path.display());
        StoreError::Unavailable(Box::new(std::io::Error::new(error.kind(), said)))
    })?;
    Ok(Address::Sqlite(sqlite(&path)))
}

fn names_its_tls(url: &str) -> bool {
    url.contains("sslmode=") || url.contains("ssl-mode=")
}

/// Whether nobody sits between us and the server.
fn is_local(server: &PgConnectOptions) -> bool {
    let host = server.get_host().trim_matches(['[', ']']);
    let loopback = host.parse::<IpAddr>().map_or(host == "localhost", |address| address.is_loopback());
    loopback || server.get_socket().is_some() || host.starts_with('/')
}

fn sqlite(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit that was answered survives a power cut, not only a crash.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // A removed credential leaves no traces in free pages.
        .pragma("secure_delete", "on")
        // After a burst the write-ahead log shrinks again.
        .pragma("journal_size_limit", WAL_BYTES_KEPT)
        .busy_timeout(BUSY)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging()
}

fn readers(address: &Address, options: &Options) -> Readers {
    match address {
        Address::Sqlite(address) => {
            let pool = SqlitePoolOptions::new().max_connections(options.readers).acquire_timeout(READER_DEADLINE);
            // A file does not hang up.
            let pool = pool.test_before_acquire(false);
            Readers::Sqlite(pool.connect_lazy_with(address.clone().pragma("query_only", "on")))
        }
        Address::Postgres(address) => {
            let pool = PgPoolOptions::new().max_connections(options.readers).acquire_timeout(READER_DEADLINE);
            Readers::Postgres(pool.connect_lazy_with(address.clone()))
        }
    }
}

/// Makes the file, for its owner only, or takes it away from everybody else. SQLite gives its companions (`-wal`,
/// `-shm`) the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machines_postgres_is_spoken_to_by_verified_tls_unless_the_url_says_otherwise() {
        let mode = |url: &str| match address(url, &Options::default()).unwrap() {
            Address::Postgres(options) => format!("{:?}", options.get_ssl_mode()),
            Address::Sqlite(_) => "none".to_owned(),
        };
        assert_eq!(mode("postgres://u:p@db.example/f"), "VerifyFull");
        assert_eq!(mode("postgresql://u:p@192.0.2.1:5433/f?application_name=x"), "VerifyFull");
        assert_eq!(mode("postgres://u:p@db.example/f?sslmode=disable"), "Disable");
        for local in ["127.0.0.1", "localhost", "[::1]", "%2Frun%2Fpostgresql"] {
            assert_eq!(mode(&format!("postgres://u@{local}/f")), "Prefer", "{local}");
        }
    }
}
