//! The daemon's own file of signed checkpoints: one at start, at the end, and now and then in between.

use std::fs::OpenOptions;
use std::io::{BufReader, Write as _};
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
    let Some(earlier) = read(file)?.pop() else { return Ok(None) };
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

/// Every checkpoint of a file, signed each; none of a file that is not there.
pub fn read(file: &Path) -> anyhow::Result<Vec<Checkpoint>> {
    match std::fs::File::open(file) {
        Ok(open) => believed(BufReader::new(open), None).with_context(|| file.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("can't open {}", file.display())),
    }
}
