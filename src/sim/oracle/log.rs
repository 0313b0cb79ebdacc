//! Where the records go: into memory, for tests in the same process, or into a file of JSON lines.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Record;

/// Records that are kept in memory: an upgrade leaves some twenty. What comes later is counted and not kept.
const KEPT_MAX: usize = 2_000_000;

/// The log of one fleet; clones share it.
#[derive(Clone)]
pub struct Oracle(Arc<Mutex<Log>>);

struct Log {
    kept: Vec<Record>,
    lost: u64,
    file: Option<BufWriter<File>>,
}

impl Oracle {
    /// Keeps records in memory.
    pub fn in_memory() -> Self {
        Self(Arc::new(Mutex::new(Log { kept: Vec::new(), lost: 0, file: None })))
    }

    /// Writes records to a new file at `path`, and keeps none.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Self(Arc::new(Mutex::new(Log { kept: Vec::new(), lost: 0, file: Some(file) }))))
    }

    /// What was kept so far.
    pub fn records(&self) -> Vec<Record> {
        self.log().kept.clone()
    }

    /// How many records were not kept, or could not be written.
    pub fn lost(&self) -> u64 {
        self.log().lost
    }

    /// Hands everything that was written to the operating system.
    pub fn flush(&self) {
        let mut log = self.log();
        if log.file.as_mut().is_some_and(|file| file.flush().is_err()) {
            log.lost += 1;
        }
    }

    /// Adds records, in this order.
    pub(in crate::sim) fn note(&self, records: impl IntoIterator<Item = Record>) {
        let mut log = self.log();
        for record in records {
            log.note(record);
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn note(&mut self, record: Record) {
        if let Some(file) = &mut self.file {
            let written = serde_json::to_writer(&mut *file, &record).is_ok() && file.write_all(b"\n").is_ok();
            self.lost += u64::from(!written);
        } else if self.kept.len() < KEPT_MAX {
            self.kept.push(record);
        } else {
            self.lost += 1;
        }
    }
}

/// The records of a log that was written to a file. A last line without its end, from a process that was killed, is
/// left out.
impl Oracle {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> io::Result<Vec<Record>> {
        let text = std::fs::read_to_string(path)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
    }
}
