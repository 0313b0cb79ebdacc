//! What reading one cluster may take in all. Each request has its own limits; without these, a cluster that answers just
//! fast enough, with one page more each time, would hold its reader for ever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::cluster::{EdgeError, Limits, WaitingFor};

/// Pages and bytes of one reading, counted over all its lists.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    pages: AtomicUsize,
    bytes: AtomicUsize,
}

impl Budget {
    pub fn of(limits: Limits) -> Self {
        Self { limits, pages: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Counts an answer.
    pub fn spend(&self, bytes: usize) -> Result<(), EdgeError> {
        let Limits { reading_pages, reading_bytes, .. } = self.limits;
        let spent = |counter: &AtomicUsize, more: usize| counter.fetch_add(more, Ordering::Relaxed) + more;
        if spent(&self.pages, 1) > reading_pages {
            return Err(EdgeError::NotKubernetes { what: format!("lists of more than {reading_pages} pages") });
        }
        if spent(&self.bytes, bytes) > reading_bytes {
            return Err(EdgeError::NotKubernetes { what: format!("lists of more than {reading_bytes} bytes") });
        }
        Ok(())
    }
}

/// The reading, or that it takes too long. Nothing but questions is given up in the middle.
pub(in crate::cluster) async fn in_time<T>(
    limit: Duration,
    reading: impl Future<Output = Result<T, EdgeError>>,
) -> Result<T, EdgeError> {
    match tokio::time::timeout(limit, reading).await {
        Ok(read) => read,
        Err(_) => Err(EdgeError::TimedOut { waiting_for: WaitingFor::End, after: limit }),
    }
}
