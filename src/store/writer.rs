//! The one writer of this process: commands that wait together are committed together.
//!
//! An fsync costs far more than a row, so whatever has queued up while the last group was being committed becomes the
//! next group: one transaction, one fsync, a savepoint for each command, so that one command's conflict undoes
//! nothing of the others. Nobody is answered before the commit: an effect that follows an answer follows a durable
//! intent.
//!
//! A group begins by taking the database's write lock: `begin immediate` on SQLite, the row of the audit head on
//! Postgres. So groups never overlap, whichever daemon they come from: no two of them can deadlock over budgets or
//! targets, a statement sees everything that was committed before it, and the same SQL is right on both databases.
//! Contention makes groups larger, not slower. A daemon that stalls inside a group is cut off by the database.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use super::StoreError;
use super::events;
use super::failure::{Shared, failed};
use super::session::{Dialect, Session};
use crate::audit::chain::Head;
use crate::domain::event::Event;
use crate::metrics::Metrics;

/// Commands that share one commit at most: bounds how long the first of them waits for the last.
const GROUP_MAX: usize = 256;

/// Commands that wait at most; whoever comes later waits for a place, which slows the callers down as it should.
const QUEUE_MAX: usize = 4096;

/// How long a connection may take to come about.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Postgres ends our transaction when nothing comes from us for three seconds, for then every other daemon waits.
const BEGIN_POSTGRES: &str =
    "begin; set local idle_in_transaction_session_timeout = '3s'; set local statement_timeout = '60s'";

/// How to come to a writing connection.
#[derive(Clone)]
pub(super) enum Address {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl Address {
    pub(super) async fn connect(&self) -> Result<Connection, StoreError> {
        let connecting = async {
            match self {
                Self::Sqlite(options) => SqliteConnection::connect_with(options).await.map(Connection::Sqlite),
                Self::Postgres(options) => PgConnection::connect_with(options).await.map(Connection::Postgres),
            }
        };
        match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
            Ok(connected) => connected.map_err(failed),
            Err(late) => Err(StoreError::Unavailable(Box::new(late))),
        }
    }
}

/// A connection of our own.
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    pub(super) const fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(connection) => Session::Sqlite(connection),
            Self::Postgres(connection) => Session::Postgres(connection),
        }
    }

    /// Closes it, however that goes: what was open in it is undone.
    pub(super) async fn close(self) {
        let closing = async {
            match self {
                Self::Sqlite(connection) => connection.close().await,
                Self::Postgres(connection) => connection.close_hard().await,
            }
        };
        let _ = tokio::time::timeout(CONNECT_DEADLINE, closing).await;
    }
}

/// What a command works with: the group's transaction, and the events that tell of what it does.
pub(super) struct Change<'c> {
    pub(super) session: Session<'c>,
    told: Vec<Event>,
}

impl Change<'_> {
    /// Chains these events behind those before them, in the same commit.
    pub(super) fn tell(&mut self, events: Vec<Event>) {
        self.told.extend(events);
    }
}

/// The way to the writer.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Command>>,
}

impl Writer {
    /// Starts the writer; it ends when the last of its handles is gone and the queue is empty.
    pub(super) fn start(address: Address, committed: watch::Sender<i64>, metrics: Option<Arc<Metrics>>) -> Self {
        let (queue, commands) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(Desk { address, connection: None, committed, metrics }.serve(commands));
        Self { queue }
    }

    /// Queues `work` and waits until the group that it became part of was committed.
    ///
    /// Once queued it is done, also when the caller does not wait any more.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Change<'c>) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let ended = || Shared::saying("the store was closed").to_error();
        let queued = Queued { work: Some(work), result: None, reply };
        self.queue.send(Box::new(queued)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// One command of a group: run inside the transaction, answered after it.
trait Command: Send {
    /// Runs it; whether the group can go on, and whether what it did counts.
    fn run<'t>(&'t mut self, change: &'t mut Change<'_>) -> BoxFuture<'t, Ran>;
    /// Tells the caller.
    fn answer(self: Box<Self>, committed: Result<(), &Shared>);
}

enum Ran {
    Done,
    Undone,
    Broken(Shared),
}

struct Queued<T, F> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Command for Queued<T, F>
where
    T: Send + 'static,
    F: for<'t, 'c> FnOnce(&'t mut Change<'c>) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
{
    fn run<'t>(&'t mut self, change: &'t mut Change<'_>) -> BoxFuture<'t, Ran> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return Ran::Undone };
            match work(change).await {
                Err(why @ (StoreError::Unavailable(_) | StoreError::Full(_))) => Ran::Broken(Shared::new(why)),
                result => {
                    let done = result.is_ok();
                    self.result = Some(result);
                    if done { Ran::Done } else { Ran::Undone }
                }
            }
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), &Shared>) {
        let result = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            // A refusal, too, was found beside changes that do not count now.
            (Err(why), _) => Err(why.to_error()),
            (Ok(()), None) => Err(Shared::saying("the command was not run").to_error()),
        };
        // The caller may have left; what it asked for is done all the same.
        let _ = self.reply.send(result);
    }
}

/// Where the groups are made.
struct Desk {
    address: Address,
    connection: Option<Connection>,
    committed: watch::Sender<i64>,
    metrics: Option<Arc<Metrics>>,
}

impl Desk {
    async fn serve(mut self, mut commands: mpsc::Receiver<Box<dyn Command>>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while commands.recv_many(&mut group, GROUP_MAX).await > 0 {
            let began = tokio::time::Instant::now();
            let size = group.len();
            let committed = self.commit(&mut group).await;
            for command in group.drain(..) {
                command.answer(committed.as_ref().copied());
            }
            if let (Some(metrics), Ok(())) = (&self.metrics, &committed) {
                metrics.committed(size, began.elapsed());
            }
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// One group, whole or not at all. After a failure the connection is made anew: whatever state it was in, the
    /// next group starts from a clean one.
    async fn commit(&mut self, group: &mut [Box<dyn Command>]) -> Result<(), Shared> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.address.connect().await.map_err(Shared::new)?,
        };
        match transact(&mut connection, group).await {
            Ok(head) => {
                self.connection = Some(connection);
                self.committed.send_if_modified(|seen| {
                    let newer = head > *seen;
                    *seen = head.max(*seen);
                    newer
                });
                Ok(())
            }
            Err(why) => {
                connection.close().await;
                Err(why)
            }
        }
    }
}

/// Runs a group in one transaction; answers the place of the last event.
async fn transact(connection: &mut Connection, group: &mut [Box<dyn Command>]) -> Result<i64, Shared> {
    let mut change = Change { session: connection.session(), told: Vec::new() };
    let begin = match change.session.dialect() {
        Dialect::Sqlite => "begin immediate",
        Dialect::Postgres => BEGIN_POSTGRES,
    };
    change.session.batch(begin).await.map_err(Shared::new)?;
    let head: Head = events::lock_head(&mut change.session).await.map_err(Shared::new)?;
    let alone = group.len() == 1;
    let mut savepoint = "savepoint command";
    for command in group {
        if !alone {
            change.session.batch(savepoint).await.map_err(Shared::new)?;
            savepoint = "release savepoint command; savepoint command";
        }
        let told = change.told.len();
        match command.run(&mut change).await {
            Ran::Done => {}
            Ran::Undone if alone => {
                change.session.batch("rollback").await.map_err(Shared::new)?;
                return Ok(head.seq);
            }
            Ran::Undone => {
                change.session.batch("rollback to savepoint command").await.map_err(Shared::new)?;
                change.told.truncate(told);
            }
            Ran::Broken(why) => return Err(why),
        }
    }
    let told = std::mem::take(&mut change.told);
    let head = events::append(&mut change.session, head, &told).await.map_err(Shared::new)?;
    change.session.batch("commit").await.map_err(Shared::new)?;
    Ok(head)
}
