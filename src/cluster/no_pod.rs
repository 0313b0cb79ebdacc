//! Why a Job has no Pod: its Events.

use k8s_openapi::api::core::v1::Event;
use kube::core::params::ListParams;
use serde::Deserialize;

use super::EdgeError;
use super::edge::{Edge, at, checked, decode, impossible};
use super::nouns::EVENTS;
use super::text::plain;

/// Events about one Job that are read: the same warning counts up, it does not come anew.
const EVENTS_MAX: u32 = 50;

/// Characters that are kept.
const WORDS_MAX: usize = 500;

#[derive(Deserialize)]
struct Events {
    #[serde(default)]
    items: Vec<Event>,
}

impl Edge {
    /// Why no Pod could be made for the Job with that UID, as `reason: message`. Events explain and decide nothing: where
    /// they cannot be read there is none.
    pub(super) async fn why_no_pod(&self, namespace: &str, uid: &str) -> Result<Option<String>, EdgeError> {
        let about = format!("involvedObject.uid={},reason=FailedCreate", checked(uid)?);
        let params = ListParams::default().limit(EVENTS_MAX).fields(&about);
        let request = at(&EVENTS, Some(namespace))?.list(&params).map_err(impossible)?;
        let events: Events = match self.send(request, None).await {
            Ok(answer) => decode(&answer)?,
            Err(error) if error.reached() => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(latest(events.items))
    }
}

fn latest(events: Vec<Event>) -> Option<String> {
    let last = events.into_iter().max_by_key(|event| {
        let time = event.last_timestamp.as_ref().map(|time| time.0);
        time.or_else(|| event.event_time.as_ref().map(|time| time.0))
    })?;
    let (reason, message) = (last.reason.unwrap_or_default(), last.message.unwrap_or_default());
    Some(plain(&format!("{reason}: {message}"), WORDS_MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(reason: &str, time: Value) -> Event {
        let mut event = json!({"metadata": {}, "involvedObject": {}, "reason": reason, "message": "no\u{1b} room"});
        event["lastTimestamp"] = time;
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn the_latest_event_is_told_in_its_own_words() {
        let events = vec![
            event("Old", json!("2026-11-23T10:00:00Z")),
            event("FailedCreate", json!("2026-11-23T11:00:00Z")),
            event("Timeless", Value::Null),
        ];
        assert_eq!(latest(events).as_deref(), Some("FailedCreate: no  room"));
        assert_eq!(latest(Vec::new()), None);
    }
}
