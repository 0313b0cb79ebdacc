//! Another reader of the daemon's database: what it sees was committed by then, and the daemon does no work for it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use fleetlift::domain::Clock as _;
use fleetlift::system::SystemClock;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Row as _};

use crate::process::Process;

/// How often it looks: finer than the latencies that are aimed at, and about a hundredth of one core.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The open database, read up to an event.
pub struct Witness {
    database: SqliteConnection,
    read: i64,
}

/// When it saw what, in Unix microseconds.
#[derive(Debug, Default)]
pub struct Seen {
    /// `attempt.judged`, by attempt.
    pub judged_us: HashMap<String, i64>,
    /// `target.succeeded`.
    pub freed_us: Vec<i64>,
}

impl Witness {
    /// Reads from the audit's present end.
    pub async fn open(file: &Path) -> anyhow::Result<Self> {
        let mut database = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
        let read = sqlx::query("select seq from audit_head").fetch_one(&mut database).await?.try_get(0)?;
        Ok(Self { database, read })
    }

    /// Watches until the rollout has finished.
    pub async fn until_finished(&mut self, daemon: &mut Process) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let rows = sqlx::query("select seq, type, body from events where seq > $1 order by seq")
                .bind(self.read)
                .fetch_all(&mut self.database)
                .await?;
            let now = SystemClock.now().as_micros();
            if rows.is_empty() {
                ensure!(daemon.runs(), "the daemon ended");
            }
            for row in rows {
                self.read = row.try_get(0)?;
                match row.try_get::<&str, _>(1)? {
                    "attempt.judged" => {
                        let event: Value = serde_json::from_str(row.try_get(2)?)?;
                        let attempt = event["subject"]["attempt"].as_str().unwrap_or_default();
                        seen.judged_us.insert(attempt.to_owned(), now);
                    }
                    "target.succeeded" => seen.freed_us.push(now),
                    "rollout.finished" => return Ok(seen),
                    _ => {}
                }
            }
        }
    }
}
