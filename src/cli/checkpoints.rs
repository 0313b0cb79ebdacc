//! The daemon's own file of signed checkpoints: one at start, at the end, and now and then in between.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::audit::checkpoint::{Checkpoint, believed};

/// In the data folder, unless `audit.checkpoint_file` names another one.
pub const CHECKPOINT_FILE: &str = "audit-checkpoints.jsonl";

/// How often it is said how far the audit has come, while it goes on.
const EVERY: Duration = Duration::from_mins(10);

/// Writes checkpoints until `stop` and a last one then. What can't be written or does not fit is logged: a daemon that
/// stopped for it would leave more undone than unsaid.
pub async fn keep(app: Arc<App>, file: PathBuf, stop: CancellationToken) {
    let mut last = 0;
    match compare(&app, &file).await {
        Ok(Some(earlier)) => last = earlier.seq,
        Ok(None) => {}
        Err(error) => tracing::error!("{error:#}"),
    }
    loop {
        let is_last = stop.is_cancelled();
        match write(&app, &file, last).await {
            Ok(seq) => last = seq,
            Err(error) => tracing::error!("no checkpoint of the audit was written: {error:#}"),
        }
        if is_last {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// The last checkpoint of the file, if the history still leads to it.
async fn compare(app: &App, file: &Path) -> anyhow::Result<Option<Checkpoint>> {
    let Some(earlier) = last(file)? else { return Ok(None) };
    anyhow::ensure!(
        app.leads_to(&earlier).await?,
        "the audit does not lead to the checkpoint of {} (event {}) in {}: its end was cut off, it was written anew, or an \
         older database was restored; `fleetlift audit verify` says where",
        earlier.at,
        earlier.seq,
        file.display()
    );
    Ok(Some(earlier))
}

/// Appends how far the audit has come, unless it says nothing new.
async fn write(app: &App, file: &Path, last: i64) -> anyhow::Result<i64> {
    let checkpoint = app.checkpoint().await?;
    if checkpoint.seq == last {
        return Ok(last);
    }
    append(file, &checkpoint)?;
    Ok(checkpoint.seq)
}

/// Appends one checkpoint to a file of them, which is made if it is not there.
pub fn append(file: &Path, checkpoint: &Checkpoint) -> anyhow::Result<()> {
    let place = || format!("can't write {}", file.display());
    let mut open = OpenOptions::new().create(true).append(true).mode(0o600).open(file).with_context(place)?;
    // One write: a line is there or not.
    open.write_all(format!("{}\n", serde_json::to_string(checkpoint)?).as_bytes()).with_context(place)?;
    open.sync_data().with_context(place)
}

/// The last checkpoint of a file, signed; none of a file that is not there. The others are not looked at: a daemon that
/// starts has better things to do, and `audit verify` judges them all.
fn last(file: &Path) -> anyhow::Result<Option<Checkpoint>> {
    let place = || format!("can't read {}", file.display());
    let open = match std::fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        open => open.with_context(place)?,
    };
    let mut last = String::new();
    for line in BufReader::new(open).lines() {
        let line = line.with_context(place)?;
        if !line.trim().is_empty() {
            last = line;
        }
    }
    Ok(believed(last.as_bytes(), None).with_context(|| format!("the end of {}", file.display()))?.pop())
}

/// Every checkpoint of a file, signed each; by `key` when one is named.
pub fn read(file: &Path, key: Option<&str>) -> anyhow::Result<Vec<Checkpoint>> {
    let open = std::fs::File::open(file).with_context(|| format!("can't open {}", file.display()))?;
    believed(BufReader::new(open), key).with_context(|| format!("the checkpoints in {}", file.display()))
}
