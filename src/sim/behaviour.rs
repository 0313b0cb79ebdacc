//! How a cluster behaves, or misbehaves: a plan that is fixed beforehand, so that trouble can be repeated.

use serde::{Deserialize, Serialize};

/// How one cluster behaves. Times are in milliseconds of real time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Behaviour {
    /// How many times longer upgrades, rollouts and operators take; 1 is normal.
    pub slowness: u32,
    /// How long each request waits before it is looked at.
    pub latency_ms: u64,
    /// When it cannot be reached.
    pub outages: Vec<Outage>,
    /// What becomes of upgrades.
    pub upgrades: Vec<UpgradeFault>,
    /// Pods that are deleted go on for so long: their kubelet does not answer.
    pub lingering_ms: u64,
    /// Watches end after so long; 0 for when they end by themselves.
    pub watch_ms_max: u64,
    /// What becomes of requests; the first that fits is taken.
    pub requests: Vec<RequestFault>,
    /// Rights that the hub's account does not have, as `VERB RESOURCE.GROUP` or `* RESOURCE.GROUP`.
    pub denied: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            slowness: 1,
            latency_ms: 0,
            outages: Vec::new(),
            upgrades: Vec::new(),
            lingering_ms: 0,
            watch_ms_max: 0,
            requests: Vec::new(),
            denied: Vec::new(),
        }
    }
}

/// A time in which nothing gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outage {
    /// When it begins.
    pub from: Moment,
    /// How long it lasts.
    pub lasting_ms: u64,
    /// How it looks from outside.
    pub manner: Manner,
}

/// When something begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// So many milliseconds after the fleet has started.
    StartedMs(u64),
    /// When the cluster has answered so many requests.
    Requests(u64),
    /// When the cluster has answered so many requests that change something.
    Changes(u64),
}

/// How an outage looks from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Manner {
    /// New connections are refused, open ones are reset.
    Refuse,
    /// Connections are taken, and nothing is ever answered, on open ones neither.
    Blackhole,
    /// Every request is answered with this HTTP status and not carried out: an API server that has just come back says
    /// 403 until it has read its rules, and 503 until it is ready.
    Status(u16),
}

/// What becomes of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpgradeFault {
    /// Of which kind of resource (`jivaVolume`); of any without it.
    #[serde(default)]
    pub kind: Option<String>,
    /// Of which resource; of any without it.
    #[serde(default)]
    pub name: Option<String>,
    /// How many upgrades it befalls; all without it.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens.
    pub what: UpgradeTrouble,
}

/// What happens to an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UpgradeTrouble {
    /// Its last step fails with this reason.
    Fails(String),
    /// The operator does not accept the version: the executor polls until its Job's deadline.
    Refused,
    /// It hangs in its first step until its Job's deadline.
    Hangs,
    /// The executor says that all is well and has changed nothing.
    Lies,
}

/// What becomes of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestFault {
    /// Of which method; of any without it.
    #[serde(default)]
    pub method: Option<String>,
    /// What the path contains; anything without it.
    #[serde(default)]
    pub path: Option<String>,
    /// How many fitting requests come through first.
    #[serde(default)]
    pub after: u32,
    /// How many it befalls; all without it.
    #[serde(default)]
    pub times: Option<u32>,
    /// How many of a thousand it befalls.
    #[serde(default = "always")]
    pub per_mille: u32,
    /// What happens.
    pub what: Trouble,
}

const fn always() -> u32 {
    1_000
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    /// The connection is reset; the request was not carried out.
    ResetBefore,
    /// The request is carried out and the connection reset: nobody hears of it.
    ResetAfter,
    /// Answered with this HTTP status and a Status object; 429 and 503 with `Retry-After: 1`.
    Status(u16),
    /// HTML with 200: a login page.
    Html,
    /// 302 to elsewhere.
    Redirect(String),
    /// A body without end.
    EndlessBody,
    /// One byte a second.
    Drip,
    /// Half of the answer, then the connection is reset. The request is carried out.
    HalfBody,
    /// Carried out, and answered only after so many milliseconds.
    StallMs(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_written_as_it_is_read() {
        let text = r#"{"slowness": 10, "outages": [{"from": {"changes": 2}, "lastingMs": 4000, "manner": "refuse"}],
            "upgrades": [{"kind": "jivaVolume", "what": {"fails": "no"}}],
            "requests": [{"method": "POST", "path": "/jobs", "times": 1, "what": "resetAfter"}]}"#;
        let read: Behaviour = serde_json::from_str(text).unwrap();
        assert_eq!(read.slowness, 10);
        assert_eq!(read.requests[0].per_mille, 1_000);
        let again: Behaviour = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
        assert!(serde_json::from_str::<Behaviour>(r#"{"slownes": 10}"#).is_err());
    }
}
