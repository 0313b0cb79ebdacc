//! Connections that only read.

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use super::StoreError;
use super::failure::failed;
use super::session::Session;

/// The pool of readers.
#[derive(Clone)]
pub(super) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// One reader, given back when it is dropped.
pub(super) enum Reader {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    SqliteAtOnce(Transaction<'static, Sqlite>),
    PostgresAtOnce(Transaction<'static, Postgres>),
}

impl Readers {
    /// For a single query.
    pub(super) async fn one(&self) -> Result<Reader, StoreError> {
        match self {
            Self::Sqlite(pool) => pool.acquire().await.map(Reader::Sqlite).map_err(failed),
            Self::Postgres(pool) => pool.acquire().await.map(Reader::Postgres).map_err(failed),
        }
    }

    /// For several queries that must see one instant.
    pub(super) async fn at_once(&self) -> Result<Reader, StoreError> {
        match self {
            Self::Sqlite(pool) => pool.begin().await.map(Reader::SqliteAtOnce).map_err(failed),
            Self::Postgres(pool) => {
                let begun = pool.begin_with("begin isolation level repeatable read read only").await;
                begun.map(Reader::PostgresAtOnce).map_err(failed)
            }
        }
    }

    /// Waits for the readers that are out, then closes the pool.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Reader {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(connection) => Session::Sqlite(connection),
            Self::Postgres(connection) => Session::Postgres(connection),
            Self::SqliteAtOnce(transaction) => Session::Sqlite(transaction),
            Self::PostgresAtOnce(transaction) => Session::Postgres(transaction),
        }
    }
}
