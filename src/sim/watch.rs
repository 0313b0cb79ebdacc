//! Watches: a stream of lines, one an event, from a version on.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::object::Object;
use super::problem::Problem;
use super::query::Query;
use super::resources::Resource;
use super::shape::Shape;
use super::store::{Change, Event, Store};

/// A watch that names no time ends after so long, as those of real API servers do after 30 to 60 minutes.
const LASTING: Duration = Duration::from_mins(30);

/// Between two bookmarks, for clients that want them. (Real API servers take a minute.)
const BOOKMARKS: Duration = Duration::from_secs(10);

/// So long before its end a watch tells a bookmark in any case, so that its successor begins there.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// One watch.
pub(super) struct Watch {
    cluster: Arc<Cluster>,
    resource: Resource,
    namespace: Option<String>,
    query: Query,
    shape: Shape,
    changes: Receiver<u64>,
    /// Everything up to this version was told.
    told: u64,
    /// What is there at the beginning, if that is to be told first.
    begin: bool,
    ends: Instant,
    bookmark: Instant,
    over: bool,
}

impl Watch {
    /// A watch of what `query` selects; a version that is no longer known is told as the first line, not refused.
    pub fn new(
        cluster: Arc<Cluster>,
        resource: Resource,
        namespace: Option<&str>,
        query: Query,
        shape: Shape,
    ) -> Result<Self, Problem> {
        let version = match query.version.as_str() {
            "" | "0" => None,
            text => Some(text.parse::<u64>().map_err(|_| Problem::NoVersion(text.to_owned()))?),
        };
        let (now, changes) = cluster.with(true, |store, _| (store.version(), store.changes()));
        if version.is_some_and(|version| version > now) {
            let far = "Too large resource version";
            return Err(Problem::BadRequest(far.to_owned()));
        }
        let asked = query.timeout.map_or(LASTING, Duration::from_secs);
        let lasting = match cluster.behaviour().watch_ms_max {
            0 => asked,
            longest => asked.min(Duration::from_millis(longest)),
        };
        Ok(Self {
            resource,
            namespace: namespace.map(str::to_owned),
            shape,
            changes,
            told: version.unwrap_or(now),
            begin: version.is_none() || query.initial_events,
            ends: Instant::now() + lasting,
            bookmark: Instant::now() + first_bookmark(lasting),
            over: false,
            query,
            cluster,
        })
    }

    /// The lines, until the watch ends.
    pub fn lines(self) -> impl stream::Stream<Item = Bytes> + Send + 'static {
        stream::unfold(self, |mut watch| async move {
            let lines = watch.next().await?;
            Some((Bytes::from(lines), watch))
        })
    }

    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if self.over {
            return None;
        }
        loop {
            self.changes.mark_unchanged();
            let lines = self.take();
            if !lines.is_empty() || self.over {
                return Some(lines);
            }
            tokio::select! {
                () = self.cluster.world.stopped.cancelled() => return None,
                changed = self.changes.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep_until(self.ends) => return None,
                () = tokio::time::sleep_until(self.bookmark), if self.query.bookmarks => {
                    self.bookmark = Instant::now() + BOOKMARKS;
                    return Some(self.bookmark_line(false));
                }
            }
        }
    }

    /// The lines of everything that is not told yet.
    fn take(&mut self) -> Vec<u8> {
        let cluster = Arc::clone(&self.cluster);
        cluster.with(true, |store, _| {
            let mut lines = Vec::new();
            if std::mem::take(&mut self.begin) {
                for object in store.list(self.resource, self.namespace.as_deref(), None) {
                    if self.query.matches(object) {
                        self.line(&mut lines, "ADDED", object);
                    }
                }
                self.told = store.version();
                if self.query.initial_events {
                    lines.extend(self.bookmark_line(true));
                }
                return lines;
            }
            let Some(events) = store.since(self.told) else {
                self.over = true;
                let message = format!("too old resource version: {} ({})", self.told, store.version());
                let line = json!({"type": "ERROR", "object": Problem::Expired(message).status()});
                return as_line(&line);
            };
            for event in events {
                self.tell(&mut lines, event);
            }
            self.told = told(store);
            lines
        })
    }

    fn tell(&self, lines: &mut Vec<u8>, event: &Event) {
        let key = &event.object.key;
        let here = self.namespace.as_deref().is_none_or(|namespace| *key.namespace == *namespace);
        if key.resource != self.resource || !here {
            return;
        }
        let matched = event.before.as_ref().is_some_and(|before| self.query.matches(before));
        let matches = self.query.matches(&event.object);
        // What no longer matches is gone for whoever watches, and what begins to match is new.
        let kind = match (event.change, matched, matches) {
            (Change::Deleted, true, _) | (Change::Modified, true, false) => "DELETED",
            (Change::Added | Change::Modified, false, true) => "ADDED",
            (Change::Modified, true, true) => "MODIFIED",
            (Change::Added, true, _) | (_, false, _) => return,
        };
        match (&event.before, event.change) {
            // What left the selector is shown as it was when it last fitted, at the version at which it left.
            (Some(before), Change::Modified) if kind == "DELETED" => {
                self.line(lines, kind, &Object::new(key.clone(), event.object.version, before.value()));
            }
            _ => self.line(lines, kind, &event.object),
        }
    }

    fn line(&self, lines: &mut Vec<u8>, kind: &str, object: &Object) {
        lines.extend_from_slice(br#"{"type":""#);
        lines.extend_from_slice(kind.as_bytes());
        lines.extend_from_slice(br#"","object":"#);
        self.shape.write_one(lines, object);
        lines.extend_from_slice(b"}\n");
    }

    fn bookmark_line(&self, initial_events_end: bool) -> Vec<u8> {
        let mut metadata = json!({"resourceVersion": self.told.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let row = self.resource.row();
        as_line(&json!({"type": "BOOKMARK",
            "object": {"kind": row.kind, "apiVersion": self.resource.api_version(), "metadata": metadata}}))
    }
}

fn first_bookmark(lasting: Duration) -> Duration {
    match lasting.saturating_sub(BOOKMARK_BEFORE_END) {
        Duration::ZERO => BOOKMARKS,
        before_end => BOOKMARKS.min(before_end),
    }
}

fn told(store: &Store) -> u64 {
    store.version()
}

fn as_line(value: &Value) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
