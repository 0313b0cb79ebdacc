//! Following one Job: a hint to look again now. Polling stays the floor, so that a lost hint costs time and nothing else.

use std::time::Duration;

use http_body_util::BodyExt as _;
use k8s_openapi::api::batch::v1::Job;
use kube::core::params::WatchParams;
use serde::Deserialize;
use serde_json::Value;

use super::edge::{Edge, at, checked, impossible};
use super::nouns::JOBS;
use super::{EdgeError, jobs};
use crate::domain::observation::JobSeen;

/// One watch of one Job.
pub struct JobWatch {
    body: kube::client::Body,
    line: Vec<u8>,
    /// What was read after the last whole line.
    rest: Vec<u8>,
    version: String,
}

/// What a watch told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The Job ended, was suspended, or is gone: look again now. What changes while it runs can wait for the poll.
    Look,
    /// The server ended the watch, as it does every few minutes: open it again from [`JobWatch::version`].
    Ended,
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    #[serde(default)]
    object: Value,
}

impl Edge {
    /// Watches that Job from `version` on (empty: from now, beginning with its present state) for at most `lasting`.
    /// [`EdgeError::Gone`] means: begin with an empty version. Trying again, and how soon, is the caller's.
    pub async fn watch_job(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        lasting: Duration,
    ) -> Result<JobWatch, EdgeError> {
        // kube refuses more than 295 s; an API server ends watches at about that age anyway.
        let seconds = u32::try_from(lasting.as_secs()).unwrap_or(u32::MAX).clamp(1, 290);
        let params = WatchParams::default().fields(&format!("metadata.name={}", checked(name)?)).timeout(seconds);
        // "0" is any version that the server has at hand: the newest is more than a hint needs. API servers take a watch
        // from there with bookmarks for a streamed list, which those from 1.34 on refuse over an etcd 3.4.
        let from = if version.is_empty() { "0" } else { version };
        let params = WatchParams { bookmarks: from != "0", ..params };
        let request = at(&JOBS, Some(namespace))?.watch(&params, from).map_err(impossible)?;
        let body = self.open(request, None).await?.into_body();
        Ok(JobWatch { body, line: Vec::new(), rest: Vec::new(), version: version.to_owned() })
    }
}

impl JobWatch {
    /// Waits until there is something to look at. Dropping the future loses nothing; it may be called again.
    pub async fn next(&mut self) -> Result<Hint, EdgeError> {
        loop {
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                self.line.extend(self.rest.drain(..=end));
                let line = std::mem::take(&mut self.line);
                if let Some(hint) = self.read(&line)? {
                    return Ok(hint);
                }
            }
            // A line that is not complete yet is moved once, not searched again.
            self.line.append(&mut self.rest);
            match self.body.frame().await {
                None => return Ok(Hint::Ended),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// Where a new watch continues this one.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<Hint>, EdgeError> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let Line { r#type, object } = super::edge::decode(line)?;
        if r#type == "ERROR" {
            return Err(match object["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or_default() {
                410 => EdgeError::Gone,
                status => {
                    let message = super::text::plain(object["message"].as_str().unwrap_or_default(), 300);
                    EdgeError::ServerError { status, message }
                }
            });
        }
        if let Some(version) = object["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty()) {
            self.version = super::text::plain(version, 64);
        }
        Ok(match r#type.as_str() {
            "BOOKMARK" => None,
            "ADDED" | "MODIFIED" if runs(&object) => None,
            _ => Some(Hint::Look),
        })
    }
}

/// Whether this is a Job that has neither ended nor been suspended.
fn runs(object: &Value) -> bool {
    Job::deserialize(object).is_ok_and(|job| matches!(jobs::seen(&job, String::new(), 0), JobSeen::Active { .. }))
}
