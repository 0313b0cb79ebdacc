//! Maintenance windows: when a cluster may be worked on.
//!
//! A rule covers stretches of local time, each starting on a day that its `days` and `dates` admit; hours that cross
//! midnight belong to the day on which they begin. A deny beats every allow. Where daylight saving makes a local time
//! ambiguous, allowing is read as narrowly and denying as widely as the clock permits: a window of one hour never
//! becomes two.

use std::fmt;

use jiff::ToSpan as _;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousTimestamp, TimeZone};
use serde::{Deserialize, Serialize};

use super::{Timestamp, Zone};

/// A named set of rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Its name in the fleet file.
    pub name: String,
    /// When work may run; none at all means always, but for what is denied.
    pub allow: Vec<Rule>,
    /// When it may not, whatever is allowed.
    pub deny: Vec<Rule>,
}

/// Stretches of local time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The days on which a stretch begins.
    pub days: Days,
    /// The dates on which a stretch begins; `None` is every date.
    pub dates: Option<Dates>,
    /// From when to when; `None` is the whole day.
    pub hours: Option<Hours>,
    /// Why, as shown to whoever waits.
    pub reason: Option<String>,
}

/// A set of weekdays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Days(u8);

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);
    /// No day: to start adding from.
    pub const NONE: Self = Self(0);

    /// The same with `day` in it.
    #[must_use]
    pub fn with(self, day: Weekday) -> Self {
        Self(self.0 | 1 << day.to_monday_zero_offset())
    }

    /// Whether `day` is in it.
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }

    /// Whether every day of `other` is in it.
    pub fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
}

/// Dates from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dates {
    /// The first.
    pub first: Date,
    /// The last, not before the first.
    pub last: Date,
}

/// Local hours: minutes after midnight. `to` at or before `from` lies on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hours {
    /// From this minute on, 0 to 1439.
    pub from: u16,
    /// Up to this minute, which is not part of it any more, 0 to 1440.
    pub to: u16,
}

impl Rule {
    /// Whether a stretch begins on `date`.
    fn begins_on(&self, date: Date) -> bool {
        self.days.contains(date.weekday())
            && self.dates.is_none_or(|Dates { first, last }| (first..=last).contains(&date))
    }
}

/// Whether work may run now, and when that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowState {
    /// It may.
    Open {
        /// When it may not any more; `None` when that is further away than [`CLOSES_WITHIN_DAYS`].
        closes_at: Option<Timestamp>,
    },
    /// It may not.
    Closed {
        /// When it may; `None` when that is further away than [`OPENS_WITHIN_DAYS`], or never.
        opens_at: Option<Timestamp>,
        /// Why: the reason of the rule that denies, or the windows that are not open.
        reason: String,
    },
}

/// How far ahead the end of an open window is looked for: longer than any task may take.
pub const CLOSES_WITHIN_DAYS: i64 = 14;

/// How far ahead the next opening is looked for: once a year is the rarest that people write.
pub const OPENS_WITHIN_DAYS: i64 = 400;

/// What all `windows` together say at `now` in `zone`: any of their allows admits, any of their denies forbids. None
/// of them means always open.
pub fn state(windows: &[Window], now: Timestamp, zone: &Zone) -> WindowState {
    if windows.iter().all(|window| window.allow.is_empty() && window.deny.is_empty()) {
        return WindowState::Open { closes_at: None };
    }
    let calendar = Calendar { windows, zone: zone.rules() };
    let open = calendar.allows(now);
    let days = if open { CLOSES_WITHIN_DAYS } else { OPENS_WITHIN_DAYS };
    let changes_at = calendar.next_change(now, open, days);
    if open {
        WindowState::Open { closes_at: changes_at }
    } else {
        WindowState::Closed { opens_at: changes_at, reason: calendar.why_closed(now) }
    }
}

/// The rules laid over a zone's calendar.
struct Calendar<'a> {
    windows: &'a [Window],
    zone: TimeZone,
}

/// A stretch of time: from its start up to, not including, its end.
#[derive(Clone, Copy)]
struct Stretch {
    start: Timestamp,
    end: Timestamp,
}

impl Stretch {
    fn contains(self, instant: Timestamp) -> bool {
        self.start <= instant && instant < self.end
    }
}

impl Calendar<'_> {
    fn allows(&self, instant: Timestamp) -> bool {
        let mut allows = self.windows.iter().flat_map(|window| &window.allow).peekable();
        let allowed = allows.peek().is_none() || allows.any(|rule| self.covers(rule, instant, narrow));
        allowed && self.denied_by(instant).is_none()
    }

    fn denied_by(&self, instant: Timestamp) -> Option<&Rule> {
        self.windows.iter().flat_map(|window| &window.deny).find(|rule| self.covers(rule, instant, wide))
    }

    fn covers(&self, rule: &Rule, instant: Timestamp, read: Reading) -> bool {
        self.stretches(rule, self.date(instant), read).any(|stretch| stretch.contains(instant))
    }

    /// The stretches that can touch `date`: begun the day before, on it, or (read widely) on the next.
    fn stretches<'r>(&'r self, rule: &'r Rule, date: Date, read: Reading) -> impl Iterator<Item = Stretch> + 'r {
        (-1..=1).filter_map(move |offset: i64| {
            let date = date.checked_add(offset.days()).ok()?;
            rule.begins_on(date).then(|| self.stretch(rule, date, read)).flatten()
        })
    }

    fn stretch(&self, rule: &Rule, date: Date, read: Reading) -> Option<Stretch> {
        let Hours { from, to } = rule.hours.unwrap_or(Hours { from: 0, to: MINUTES_A_DAY });
        let last = if to <= from || to == MINUTES_A_DAY { date.tomorrow().ok()? } else { date };
        let local = |date: Date, minute: u16| {
            self.zone.to_ambiguous_timestamp(date.to_datetime(time_of_day(minute % MINUTES_A_DAY)))
        };
        let stretch = read(local(date, from), local(last, to))?;
        // In the spring a stretch can lie wholly in the hour that the clock leaves out.
        (stretch.start < stretch.end).then_some(stretch)
    }

    /// The first instant after `now` at which `allows` is not `open` any more.
    fn next_change(&self, now: Timestamp, open: bool, days: i64) -> Option<Timestamp> {
        let first = self.date(now);
        for offset in 0..=days {
            let date = first.checked_add(offset.days()).ok()?;
            let mut edges: Vec<Timestamp> = self.edges(date).filter(|edge| *edge > now).collect();
            edges.sort_unstable();
            if let Some(edge) = edges.into_iter().find(|edge| self.allows(*edge) != open) {
                return Some(edge);
            }
        }
        None
    }

    /// Where something begins or ends on or about `date`.
    fn edges(&self, date: Date) -> impl Iterator<Item = Timestamp> {
        let allows = self.windows.iter().flat_map(|window| &window.allow).map(|rule| (rule, narrow as Reading));
        let denies = self.windows.iter().flat_map(|window| &window.deny).map(|rule| (rule, wide as Reading));
        allows
            .chain(denies)
            .flat_map(move |(rule, read)| self.stretches(rule, date, read))
            .flat_map(|stretch| [stretch.start, stretch.end])
    }

    fn why_closed(&self, now: Timestamp) -> String {
        if let Some(rule) = self.denied_by(now) {
            return rule.reason.clone().unwrap_or_else(|| format!("denied ({rule})"));
        }
        let names: Vec<&str> =
            self.windows.iter().filter(|window| !window.allow.is_empty()).map(|window| window.name.as_str()).collect();
        format!("outside window {}", names.join(", "))
    }

    fn date(&self, instant: Timestamp) -> Date {
        self.zone.to_datetime(instant.to_jiff()).date()
    }
}

/// How a stretch's two local ends become instants.
type Reading = fn(AmbiguousTimestamp, AmbiguousTimestamp) -> Option<Stretch>;

fn narrow(start: AmbiguousTimestamp, end: AmbiguousTimestamp) -> Option<Stretch> {
    Some(Stretch { start: Timestamp::from_jiff(start.later().ok()?), end: Timestamp::from_jiff(end.earlier().ok()?) })
}

fn wide(start: AmbiguousTimestamp, end: AmbiguousTimestamp) -> Option<Stretch> {
    Some(Stretch { start: Timestamp::from_jiff(start.earlier().ok()?), end: Timestamp::from_jiff(end.later().ok()?) })
}

const MINUTES_A_DAY: u16 = 24 * 60;

fn time_of_day(minute: u16) -> Time {
    let part = |value: u16| i8::try_from(value).unwrap_or(0);
    Time::new(part(minute / 60), part(minute % 60), 0, 0).unwrap_or(Time::midnight())
}

/// The rule as people would say it: `Mon,Tue 22:00-05:00, 2026-12-20..2027-01-06`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.days != Days::ALL {
            parts.push(self.days.to_string());
        }
        if let Some(Hours { from, to }) = self.hours {
            parts.push(format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60));
        }
        if let Some(Dates { first, last }) = self.dates {
            parts.push(format!("{first}..{last}"));
        }
        if parts.is_empty() { f.write_str("always") } else { f.write_str(&parts.join(" ")) }
    }
}

/// `Mon,Tue`.
impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let names: Vec<&str> =
            NAMES.iter().enumerate().filter(|(n, _)| self.0 & (1 << n) != 0).map(|(_, d)| *d).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_jiff(text.parse().unwrap())
    }

    fn berlin() -> Zone {
        "Europe/Berlin".parse().unwrap()
    }

    fn hours(from: u16, to: u16) -> Rule {
        Rule { days: Days::ALL, dates: None, hours: Some(Hours { from: from * 60, to: to * 60 }), reason: None }
    }

    fn dates(first: &str, last: &str) -> Rule {
        Rule {
            days: Days::ALL,
            dates: Some(Dates { first: first.parse().unwrap(), last: last.parse().unwrap() }),
            hours: None,
            reason: Some("peak season".into()),
        }
    }

    fn window(allow: Vec<Rule>, deny: Vec<Rule>) -> [Window; 1] {
        [Window { name: "nights".into(), allow, deny }]
    }

    fn open(until: &str) -> WindowState {
        WindowState::Open { closes_at: Some(at(until)) }
    }

    fn closed(until: &str, reason: &str) -> WindowState {
        WindowState::Closed { opens_at: Some(at(until)), reason: reason.into() }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let mut night = hours(22, 5);
        night.days = Days::NONE.with(Weekday::Friday);
        let nights = window(vec![night], vec![]);
        // 2026-11-06 is a Friday; Berlin is at +01:00.
        let state = |text| state(&nights, at(text), &berlin());
        assert_eq!(state("2026-11-06T20:59:59Z"), closed("2026-11-06T21:00:00Z", "outside window nights"));
        assert_eq!(state("2026-11-06T21:00:00Z"), open("2026-11-07T04:00:00Z"));
        assert_eq!(state("2026-11-07T03:59:59Z"), open("2026-11-07T04:00:00Z"));
        assert_eq!(state("2026-11-07T04:00:00Z"), closed("2026-11-13T21:00:00Z", "outside window nights"));
        assert_eq!(state("2026-11-05T23:00:00Z"), closed("2026-11-06T21:00:00Z", "outside window nights"));
    }

    #[test]
    fn a_deny_beats_an_allow_and_says_why() {
        let nights = window(vec![hours(22, 5)], vec![dates("2026-12-20", "2027-01-06")]);
        let state = |text| state(&nights, at(text), &berlin());
        assert_eq!(state("2026-12-19T22:30:00Z"), open("2026-12-19T23:00:00Z"));
        assert_eq!(state("2026-12-19T23:00:00Z"), closed("2027-01-06T23:00:00Z", "peak season"));
        assert_eq!(state("2027-01-06T23:00:00Z"), open("2027-01-07T04:00:00Z"));
    }

    #[test]
    fn a_window_that_only_denies_is_open_otherwise() {
        let freeze = window(vec![], vec![dates("2026-12-20", "2027-01-06")]);
        let state = |text| state(&freeze, at(text), &Zone::utc());
        assert_eq!(state("2026-06-01T00:00:00Z"), WindowState::Open { closes_at: None });
        assert_eq!(state("2026-12-18T00:00:00Z"), open("2026-12-20T00:00:00Z"));
    }

    #[test]
    fn the_hour_that_is_repeated_in_autumn_does_not_lengthen_a_window() {
        // 2026-10-25 in Berlin: 03:00+02:00 becomes 02:00+01:00.
        let early = window(vec![hours(2, 3)], vec![]);
        let state = |text| state(&early, at(text), &berlin());
        assert_eq!(state("2026-10-24T23:00:00Z"), closed("2026-10-25T01:00:00Z", "outside window nights"));
        assert_eq!(state("2026-10-25T01:00:00Z"), open("2026-10-25T02:00:00Z"));
        assert_eq!(state("2026-10-25T02:00:00Z"), closed("2026-10-26T01:00:00Z", "outside window nights"));
        // A night across the change is an hour longer, as the clock on the wall says.
        let night = window(vec![hours(22, 5)], vec![]);
        assert_eq!(super::state(&night, at("2026-10-24T20:00:00Z"), &berlin()), open("2026-10-25T04:00:00Z"));
    }

    #[test]
    fn a_denied_hour_that_is_repeated_in_autumn_is_denied_twice() {
        let quiet = window(vec![], vec![hours(2, 3)]);
        let state = |text| state(&quiet, at(text), &berlin());
        assert_eq!(state("2026-10-24T23:00:00Z"), open("2026-10-25T00:00:00Z"));
        assert_eq!(state("2026-10-25T00:30:00Z"), closed("2026-10-25T02:00:00Z", "denied (02:00-03:00)"));
    }

    #[test]
    fn a_window_in_the_hour_that_spring_leaves_out_does_not_open_that_day() {
        // 2026-03-29 in Berlin: 02:00+01:00 becomes 03:00+02:00.
        let early = window(vec![hours(2, 3)], vec![]);
        let state = |text| state(&early, at(text), &berlin());
        assert_eq!(state("2026-03-29T00:30:00Z"), closed("2026-03-30T00:00:00Z", "outside window nights"));
        assert_eq!(state("2026-03-29T01:30:00Z"), closed("2026-03-30T00:00:00Z", "outside window nights"));
    }

    #[test]
    fn windows_that_touch_are_one_and_what_never_opens_says_so() {
        let halves = window(vec![hours(0, 12), hours(12, 24)], vec![]);
        let instant = at("2026-11-06T11:00:00Z");
        assert_eq!(state(&halves, instant, &berlin()), WindowState::Open { closes_at: None });
        let past = window(vec![dates("2020-01-01", "2020-01-02")], vec![]);
        assert_eq!(
            state(&past, instant, &berlin()),
            WindowState::Closed { opens_at: None, reason: "outside window nights".into() }
        );
        assert_eq!(state(&[], instant, &berlin()), WindowState::Open { closes_at: None });
    }

    proptest! {
        /// Whatever the rules and the zone: at the announced change the state is the other one, just before it the same.
        #[test]
        fn the_announced_change_is_the_next_change(
            minutes in 0_i64..60 * 24 * 400,
            allow in (0_u16..1440, 0_u16..=1440, 1_u8..128),
            deny in (0_u16..1440, 0_u16..=1440, 0_u8..128),
            zone in prop::sample::select(vec!["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
        ) {
            let rule = |(from, to, days): (u16, u16, u8)| Rule {
                days: Days(days), dates: None, hours: Some(Hours { from, to }), reason: None,
            };
            let windows = window(vec![rule(allow)], vec![rule(deny)]);
            let zone: Zone = zone.parse().unwrap();
            let now = Timestamp::from_micros(at("2026-01-01T00:00:00Z").as_micros() + minutes * 60_000_000);
            let is_open = |instant| matches!(state(&windows, instant, &zone), WindowState::Open { .. });
            let (was_open, change) = match state(&windows, now, &zone) {
                WindowState::Open { closes_at } => (true, closes_at),
                WindowState::Closed { opens_at, .. } => (false, opens_at),
            };
            if let Some(change) = change {
                prop_assert!(change > now);
                prop_assert_eq!(is_open(change), !was_open);
                let just_before = Timestamp::from_micros(change.as_micros() - 1);
                prop_assert_eq!(is_open(just_before), was_open);
                let halfway = Timestamp::from_micros(i64::midpoint(now.as_micros(), change.as_micros()));
                prop_assert_eq!(is_open(halfway), was_open);
            }
        }
    }
}
