//! Whoever asks without a valid token: counted by source, and audited as one event a source and minute, so that a
//! scanner shows in the audit without filling it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::domain::Timestamp;

/// Each source is told of once in this time.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// How often it is looked whether the time is over.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// More sources than this in one minute are told of together.
const SOURCES_MAX: usize = 59;

/// Requests without a valid token of this minute.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    since: Option<Timestamp>,
    counts: BTreeMap<Source, u64>,
}

/// Where requests came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// One address, as the connection tells it.
    Address(IpAddr),
    /// A connection that tells none, or one source too many.
    Others,
}

impl Strangers {
    /// Counts one more.
    pub fn note(&self, source: Option<IpAddr>, now: Timestamp) {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minute.since.get_or_insert(now);
        let source = source.map_or(Source::Others, Source::Address);
        let known = minute.counts.contains_key(&source) || minute.counts.len() < SOURCES_MAX;
        *minute.counts.entry(if known { source } else { Source::Others }).or_default() += 1;
    }

    /// What is to be told now, if the minute is over or everything has to be told.
    fn due(&self, now: Timestamp, all: bool) -> Option<Minute> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = minute.since?;
        (all || now.since(since) >= TOLD_EVERY).then(|| std::mem::take(&mut *minute))
    }

    /// Keeps in the audit what was counted, until `stop`, and then the rest.
    pub async fn tell(&self, app: &App, stop: CancellationToken) {
        loop {
            let stopping = stop.is_cancelled();
            if let Some(Minute { since: Some(since), counts }) = self.due(app.clock.now(), stopping) {
                let counts: Vec<(String, u64)> =
                    counts.into_iter().map(|(source, count)| (source.to_string(), count)).collect();
                if let Err(error) = app.record_strangers(since, &counts).await {
                    tracing::warn!(%error, ?counts, "requests without a valid token could not be audited");
                }
            }
            if stopping {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Others => f.write_str("others"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_from_everywhere_is_a_bounded_number_of_rows_and_loses_no_count() {
        let strangers = Strangers::default();
        let start = Timestamp::from_micros(0);
        for round in 0..3 {
            for host in 0..200 {
                strangers.note(Some(IpAddr::from([10, 0, 0, host])), start + Duration::from_secs(round));
            }
        }
        strangers.note(None, start);
        assert!(strangers.due(start + Duration::from_secs(59), false).is_none());
        let minute = strangers.due(start + TOLD_EVERY, false).unwrap();
        assert_eq!((minute.counts.len(), minute.counts.values().sum::<u64>()), (SOURCES_MAX + 1, 601));
        assert_eq!(minute.counts[&Source::Address(IpAddr::from([10, 0, 0, 7]))], 3);
        assert!(strangers.due(start + TOLD_EVERY, true).is_none(), "nothing is told twice");
    }
}
