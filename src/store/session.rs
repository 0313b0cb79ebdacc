//! One connection of either kind, in the words that the operations use: text of SQL, values, rows.
//!
//! Both stores run the same SQL text (`$1` placeholders, `bigint` microseconds, text ids), so the operations are
//! written once, against [`Session`]. What differs is named by [`Dialect`] and is little.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::StoreError;
use super::failure::{corrupt, failed};
use crate::domain::Timestamp;

/// A statement that Postgres has not answered after this long: the connection is as good as lost.
const STATEMENT_DEADLINE: Duration = Duration::from_mins(1);

/// Which SQL the database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// The same lines for two types of query: a generic function would need a page of bounds.
macro_rules! query {
    ($sql:ident, $values:ident) => {
        $values.into_iter().fold(sqlx::query($sql), |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    };
}

/// Text of SQL: never anything that came from outside.
pub(super) type Sql = Cow<'static, str>;

/// A connection that is borrowed for some statements.
pub(super) enum Session<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Session<'_> {
    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement; answers how many rows it changed.
    pub(super) async fn run(&mut self, sql: impl Into<Sql>, values: Vec<Value>) -> Result<u64, StoreError> {
        let sql = AssertSqlSafe(sql.into());
        match self {
            Self::Sqlite(connection) => {
                let query = query!(sql, values);
                Ok(query.execute(&mut **connection).await.map_err(failed)?.rows_affected())
            }
            Self::Postgres(connection) => {
                let query = query!(sql, values);
                Ok(in_time(query.execute(&mut **connection)).await?.rows_affected())
            }
        }
    }

    /// Runs a query; answers all its rows.
    pub(super) async fn rows(&mut self, sql: impl Into<Sql>, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let sql = AssertSqlSafe(sql.into());
        match self {
            Self::Sqlite(connection) => {
                let query = query!(sql, values);
                let rows = query.fetch_all(&mut **connection).await.map_err(failed)?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(connection) => {
                let query = query!(sql, values);
                let rows = in_time(query.fetch_all(&mut **connection)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a query that gives at most one row.
    pub(super) async fn row(&mut self, sql: impl Into<Sql>, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Runs the statements of a layout, and waits for whoever applies one. However long that takes: an index over a year
    /// of events does not come sooner when it is given up each minute.
    pub(super) async fn layout(&mut self, sql: impl Into<Sql>) -> Result<(), StoreError> {
        let sql = AssertSqlSafe(sql.into());
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(sql).execute(&mut **connection).await.map_err(failed).map(drop),
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(&mut **connection).await.map_err(failed).map(drop),
        }
    }

    /// Runs statements without values or answers: transaction control.
    pub(super) async fn batch(&mut self, sql: impl Into<Sql>) -> Result<(), StoreError> {
        let sql = AssertSqlSafe(sql.into());
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(sql).execute(&mut **connection).await.map_err(failed).map(drop),
            Self::Postgres(connection) => in_time(sqlx::raw_sql(sql).execute(&mut **connection)).await.map(drop),
        }
    }

    /// `($1, $2), ($3, $4)`; on SQLite `(?, ?), (?, ?)`, since it looks each named value up among all of them: with
    /// thousands, that takes longer than everything else.
    pub(super) fn placeholders(&self, rows: usize, width: usize) -> String {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(rows * width * 6);
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 1..=width {
                text.push_str(if column == 1 { "" } else { ", " });
                let _ = match self {
                    Self::Sqlite(_) => text.write_char('?'),
                    Self::Postgres(_) => write!(text, "${}", row * width + column),
                };
            }
            text.push(')');
        }
        text
    }

    /// Runs `head` followed by a list of rows of values and by `tail`, in as few statements as the databases' bounds
    /// on values allow; answers how many rows it changed.
    pub(super) async fn run_many(
        &mut self,
        head: &'static str,
        rows: Vec<Vec<Value>>,
        tail: &'static str,
    ) -> Result<u64, StoreError> {
        let mut changed = 0;
        let mut rows = rows.into_iter().peekable();
        while let Some(width) = rows.peek().map(Vec::len) {
            let chunk = chunk_of(rows.len());
            let sql = format!("{head} {} {tail}", self.placeholders(chunk, width));
            changed += self.run(sql, rows.by_ref().take(chunk).flatten().collect()).await?;
        }
        Ok(changed)
    }
}

/// Few sizes, so that few statements are prepared; the largest keeps twelve columns below SQLite's 32,766 values.
fn chunk_of(left: usize) -> usize {
    [1024, 128, 16, 4].into_iter().find(|size| *size <= left).unwrap_or(1)
}

async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(STATEMENT_DEADLINE, work).await {
        Ok(done) => done.map_err(failed),
        Err(late) => Err(StoreError::Unavailable(Box::new(late))),
    }
}

/// A value for a placeholder.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

impl Value {
    /// Anything that is stored by its text: ids, digests.
    pub(super) fn text(value: impl Display) -> Self {
        value.to_string().into()
    }

    /// The same where there may be none.
    pub(super) fn text_if_any(value: Option<impl Display>) -> Self {
        value.map(|value| value.to_string()).into()
    }

    /// A body: JSON text.
    pub(super) fn json(value: &impl serde::Serialize) -> Result<Self, StoreError> {
        serde_json::to_string(value).map(|text| Self::Text(Some(text))).map_err(|error| corrupt("a value", &error))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.as_micros()))
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::as_micros))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        value.to_owned().into()
    }
}

/// Postgres takes no NUL in a text, and a hostile cluster may name things as it likes: what it sent in its place is
/// the character for what cannot be shown. JSON has its own spelling of NUL, so bodies are never touched.
impl From<String> for Value {
    fn from(value: String) -> Self {
        let value = if value.contains('\0') { value.replace('\0', "\u{fffd}") } else { value };
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        value.map_or(Self::Text(None), Self::from)
    }
}

/// One row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// Its columns, to be read in order.
    pub(super) const fn columns(&self) -> Columns<'_> {
        Columns { row: self, next: 0 }
    }
}

/// The columns of a row, read one after the other in the order in which the query lists them.
pub(super) struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

macro_rules! read {
    ($columns:ident) => {{
        let place = $columns.next;
        $columns.next += 1;
        let read = match $columns.row {
            Row::Sqlite(row) => row.try_get(place),
            Row::Postgres(row) => row.try_get(place),
        };
        read.map_err(|error| corrupt(&format!("column {place} of an answer"), &error))
    }};
}

impl Columns<'_> {
    pub(super) fn int(&mut self) -> Result<i64, StoreError> {
        read!(self)
    }

    pub(super) fn int_if_any(&mut self) -> Result<Option<i64>, StoreError> {
        read!(self)
    }

    /// A count or place: never negative.
    pub(super) fn count(&mut self) -> Result<u32, StoreError> {
        let value = self.int()?;
        u32::try_from(value).map_err(|error| corrupt(&format!("the count {value}"), &error))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.int().map(Timestamp::from_micros)
    }

    pub(super) fn time_if_any(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.int_if_any()?.map(Timestamp::from_micros))
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        read!(self)
    }

    pub(super) fn text_if_any(&mut self) -> Result<Option<String>, StoreError> {
        read!(self)
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        read!(self)
    }

    /// An id or digest.
    pub(super) fn id<T: FromStr<Err: Display>>(&mut self) -> Result<T, StoreError> {
        let text = self.text()?;
        text.parse().map_err(|error: T::Err| corrupt("an id", &error))
    }

    pub(super) fn id_if_any<T: FromStr<Err: Display>>(&mut self) -> Result<Option<T>, StoreError> {
        let text = self.text_if_any()?;
        text.map(|text| text.parse().map_err(|error: T::Err| corrupt("an id", &error))).transpose()
    }

    /// A body.
    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        let text = self.text()?;
        serde_json::from_str(&text).map_err(|error| corrupt("a body", &error))
    }

    pub(super) fn json_if_any<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        let text = self.text_if_any()?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| corrupt("a body", &error))).transpose()
    }

    /// Whether the next column, a text, is null; it is still to be read.
    pub(super) fn is_null(&mut self) -> Result<bool, StoreError> {
        let null = self.text_if_any()?.is_none();
        self.next -= 1;
        Ok(null)
    }
}

/// Names the statements of one file and lists them, so that a test can prepare each on both databases.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* const $name: &str = $text;)*
        /// Every statement of this file.
        #[cfg(test)]
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(super) use statements;
