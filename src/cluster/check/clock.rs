//! The cluster's clock beside the hub's: Jobs end by the cluster's, deadlines are watched by the hub's.

use std::time::Duration;

use http::Request;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;

use super::Finding;
use crate::cluster::edge::{collect, decode, impossible};
use crate::cluster::text::plain;
use crate::cluster::{Edge, EdgeError};
use crate::domain::Timestamp;

/// More than a slow answer and a `Date` in whole seconds explain.
const NOTICEABLE: Duration = Duration::from_secs(30);

/// By now a Job's deadline and the hub's watch over it no longer mean the same time.
const UNBEARABLE: Duration = Duration::from_mins(10);

/// How far the cluster's clock is from ours, and to which side; `None` where it did not tell.
type Skew = Option<(Duration, &'static str)>;

/// The API server's version, and its clock as told by the header `Date` of that answer.
pub(super) async fn version_and_skew(edge: &Edge) -> Result<(String, Skew), EdgeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        git_version: String,
    }
    let asked_at = edge.clock().now();
    let request = Request::get("/version").body(Vec::new()).map_err(impossible)?;
    let answer = edge.open(request, None).await?;
    let answered_at = edge.clock().now();
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok()).and_then(parse);
    let version: Version = decode(&collect(answer).await?)?;
    Ok((plain(&version.git_version, 64), date.map(|date| skew(date, asked_at, answered_at))))
}

fn parse(date: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(date).ok().map(Timestamp::from_jiff)
}

/// The least distance that fits: the header was written between the two, and cut to a second.
fn skew(date: Timestamp, asked_at: Timestamp, answered_at: Timestamp) -> (Duration, &'static str) {
    let second = Duration::from_secs(1);
    if date + second < asked_at {
        (asked_at.since(date + second), "behind")
    } else {
        (date.since(answered_at), "ahead")
    }
}

pub(super) fn finding(skew: Skew) -> Finding {
    let remedy = "set the cluster's or the hub's clock (NTP)";
    match skew {
        None => Finding::warn("clock", "the API server does not tell its time", "compare the clocks by hand"),
        Some((by, _)) if by < NOTICEABLE => {
            Finding::ok("clock", format!("within {} s of the hub's", NOTICEABLE.as_secs()))
        }
        Some((by, side)) => {
            let seen = format!("{} s {side} of the hub's", by.as_secs());
            if by < UNBEARABLE { Finding::warn("clock", seen, remedy) } else { Finding::fail("clock", seen, remedy) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_slow_answer_is_not_taken_for_a_wrong_clock() {
        let date = parse("Mon, 02 Nov 2026 10:00:00 GMT").unwrap();
        let after = |seconds: u64| date + Duration::from_secs(seconds);
        assert_eq!(finding(Some(skew(date, date - Duration::from_mins(2), after(0)))).level, Level::Ok);
        assert_eq!(finding(Some(skew(date, after(61), after(62)))).level, Level::Warn);
        assert_eq!(skew(date, after(61), after(62)), (Duration::from_mins(1), "behind"));
        assert_eq!(skew(date, date - Duration::from_hours(2), date - Duration::from_hours(1)).1, "ahead");
        assert_eq!(finding(Some((Duration::from_hours(1), "ahead"))).level, Level::Fail);
        assert_eq!(finding(None).level, Level::Warn);
    }
}
