//! The maintenance windows of a fleet file.

use super::problem::At;
use super::raw::{RawRule, RawWindow};
use super::resolve::read_optional;
use super::scalars;
use crate::domain::window::{Dates, Days, Rule, Window};

/// The most rules of one window.
const RULES_MAX: usize = 200;

/// The window, or `None` after problems.
pub fn window(raw: &RawWindow, at: &At<'_>) -> Option<Window> {
    let RawWindow { name, allow, deny } = raw;
    if allow.is_none() && deny.is_none() && at.is_clean() {
        at.problem("says nothing: add `allow:` or `deny:` with at least one rule");
    }
    let allow = rules(allow.as_deref(), &at.field("allow"));
    let deny = rules(deny.as_deref(), &at.field("deny"));
    if let Some(always) =
        deny.iter().position(|rule| rule.days == Days::ALL && rule.dates.is_none() && rule.hours.is_none())
    {
        at.field("deny").element(always).problem("denies always, so the window never opens: add days, dates or hours");
    }
    if !allow.is_empty()
        && let Some(deny) = deny.iter().find(|deny| allow.iter().all(|allow| is_swallowed(allow, deny)))
    {
        at.problem(format!("never opens: everything it allows is denied by `{deny}`"));
    }
    Some(Window { name: name.clone()?, allow, deny })
}

/// Whether whatever `allow` admits, `deny` forbids; told only where no calendar is needed.
fn is_swallowed(allow: &Rule, deny: &Rule) -> bool {
    let dates = match (allow.dates, deny.dates) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(allow), Some(deny)) => deny.first <= allow.first && allow.last <= deny.last,
    };
    // Hours over midnight reach into a day that the other rule may not cover: only equal ones or whole days are sure.
    let over_midnight = allow.hours.is_some_and(|hours| hours.to <= hours.from);
    let hours = deny.hours.is_none_or(|hours| allow.hours == Some(hours)) && (!over_midnight || deny.hours.is_some());
    let days = deny.days.contains_all(allow.days);
    dates && hours && days
}

fn rules(raw: Option<&[RawRule]>, at: &At<'_>) -> Vec<Rule> {
    let raw = raw.unwrap_or_default();
    if raw.len() > RULES_MAX {
        at.problem(format!("at most {RULES_MAX} rules are possible, found {}", raw.len()));
    }
    raw.iter().take(RULES_MAX).zip(at.elements()).filter_map(|(raw, at)| rule(raw, &at)).collect()
}

fn rule(raw: &RawRule, at: &At<'_>) -> Option<Rule> {
    let RawRule { days, dates, from, to, reason } = raw;
    if days.is_none() && dates.is_none() && from.is_none() && to.is_none() && at.is_clean() {
        at.problem("says nothing: add days, dates, or from and to");
    }
    let checked_days = read_optional(days.as_deref(), &at.field("days"), scalars::days);
    let checked_dates = read_optional(dates.as_deref(), &at.field("dates"), scalars::dates);
    let hours = match (from, to) {
        (None, None) => None,
        (Some(from), Some(to)) => {
            let from = read_optional(Some(from), &at.field("from"), scalars::from_minute);
            let to = read_optional(Some(to), &at.field("to"), scalars::to_minute);
            let (from, to) = (from?, to?);
            read_optional(Some(""), &at.field("to"), |_| scalars::hours(from, to))
        }
        (Some(_), None) => {
            at.field("to").problem("is missing: write when it ends, for example to: \"05:00\"");
            None
        }
        (None, Some(_)) => {
            at.field("from").problem("is missing: write when it begins, for example from: \"22:00\"");
            None
        }
    };
    if let (Some(days), Some(dates)) = (checked_days, checked_dates)
        && !has_a_day(dates, days)
    {
        at.problem(format!("never applies: no {days} lies in {}..{}", dates.first, dates.last));
    }
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > 200) {
        at.field("reason").problem("has more than 200 characters: it is shown in one line");
    }
    // A rule with a part missing would say more than was written.
    at.is_clean().then(|| Rule {
        days: checked_days.unwrap_or(Days::ALL),
        dates: checked_dates,
        hours,
        reason: reason.clone(),
    })
}

fn has_a_day(dates: Dates, days: Days) -> bool {
    dates
        .first
        .series(jiff::Span::new().days(1))
        .take(7)
        .take_while(|date| *date <= dates.last)
        .any(|date| days.contains(date.weekday()))
}
