//! When a rollout will be done, as far as can be told.

use std::collections::HashSet;
use std::time::Duration;

use crate::domain::plan::PlannedTarget;
use crate::domain::rollout::{RolloutState, WaveStatus};
use crate::domain::target::TargetState;
use crate::domain::window::{self, Window, WindowState};
use crate::domain::{Timestamp, Zone};
use crate::engine::decide::rollout::{self, Limits, Scene};

/// From the pace so far (before there is one, from what the plan expects): wave after wave, what is left by as many at
/// once as the limits allow, begun when the wave may begin, worked on while windows are open, and soaked. Nothing while it
/// waits for a person, or for a window that never opens.
pub(super) fn eta(scene: &Scene<'_>, statuses: &[WaveStatus], now: Timestamp) -> Option<Timestamp> {
    if !matches!(scene.rollout.state, RolloutState::Running { .. }) {
        return None;
    }
    let waits_for_a_person =
        |status: &WaveStatus| matches!(status, WaveStatus::AwaitingApproval { .. } | WaveStatus::Breached { .. });
    if statuses.iter().any(waits_for_a_person) {
        return None;
    }
    let limits = Limits::of(scene);
    let each = pace(scene);
    let mut at = now;
    for (position, status) in statuses.iter().enumerate() {
        let spec = rollout::spec(scene, position);
        let soak = spec.map_or(Duration::ZERO, |spec| spec.soak.duration());
        match status {
            WaveStatus::Passed { .. } | WaveStatus::Verifying { .. } => {}
            WaveStatus::Soaking { until } => at = at.max(*until),
            WaveStatus::Behind { .. }
            | WaveStatus::Scheduled { .. }
            | WaveStatus::AwaitingApproval { .. }
            | WaveStatus::OutsideWindow { .. }
            | WaveStatus::Open { .. }
            | WaveStatus::Breached { .. } => {
                let start = spec.and_then(|spec| spec.start).unwrap_or(at);
                let left: Vec<&PlannedTarget> = scene
                    .targets
                    .iter()
                    .filter(|target| target.wave as usize == position && !target.state.is_settled())
                    .filter_map(|target| rollout::planned(scene, target))
                    .collect();
                let rounds = (left.len() as u64).div_ceil(u64::from(limits.at_once()));
                let rounds = rounds.max(limits.rounds_by_label(left.iter().copied()));
                let work = each.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
                let zones: HashSet<&Zone> = left.iter().map(|planned| &planned.time_zone).collect();
                at = worked(&scene.plan.strategy.windows, &zones, at.max(start), work)? + soak;
            }
        }
    }
    Some(at)
}

/// How long one target takes.
fn pace(scene: &Scene<'_>) -> Duration {
    let took = scene.targets.iter().filter_map(|target| match (&target.state, target.first_started_at) {
        (TargetState::Succeeded { at }, Some(start)) => Some(at.since(start)),
        _ => None,
    });
    let expected = scene.targets.iter().filter_map(|target| rollout::planned(scene, target));
    mean(took)
        .or_else(|| mean(expected.map(|planned| Duration::from_secs(planned.expected_seconds()))))
        .unwrap_or_default()
}

fn mean(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let (mut sum, mut count) = (Duration::ZERO, 0_u32);
    for time in times {
        sum = sum.saturating_add(time);
        count = count.saturating_add(1);
    }
    (count > 0).then(|| sum / count)
}

/// Work that takes longer than so many windows is not foretold.
const WINDOWS_FORETOLD: usize = 400;

/// When `work` that begins at `start` is done, if it goes on only while windows are open: in the zone that comes last.
fn worked(windows: &[Window], zones: &HashSet<&Zone>, start: Timestamp, work: Duration) -> Option<Timestamp> {
    if windows.is_empty() || zones.is_empty() {
        return Some(start + work);
    }
    let in_zone = |zone: &Zone| {
        let (mut at, mut left) = (start, work);
        for _ in 0..WINDOWS_FORETOLD {
            match window::state(windows, at, zone) {
                WindowState::Closed { opens_at, .. } => at = opens_at?,
                WindowState::Open { closes_at: Some(closes_at) } if closes_at < at + left => {
                    left = left.saturating_sub(closes_at.since(at));
                    at = closes_at;
                }
                WindowState::Open { .. } => return Some(at + left),
            }
        }
        None
    };
    let ends: Option<Vec<Timestamp>> = zones.iter().map(|zone| in_zone(zone)).collect();
    ends?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::window::{Days, Hours, Rule};

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_micros(hour * 3_600_000_000)
    }

    fn window(allow: Option<Hours>) -> [Window; 1] {
        let rule = |hours| Rule { days: Days::ALL, dates: None, hours, reason: None };
        let deny = if allow.is_none() { vec![rule(None)] } else { vec![] };
        let allow = allow.map(|hours| vec![rule(Some(hours))]).unwrap_or_default();
        [Window { name: "nights".into(), allow, deny }]
    }

    #[test]
    fn work_goes_on_only_while_its_windows_are_open_and_in_the_zone_that_comes_last() {
        let nights = window(Some(Hours { from: 22 * 60, to: 5 * 60 }));
        let (utc, tokyo): (Zone, Zone) = (Zone::utc(), "Asia/Tokyo".parse().unwrap());
        let worked = |zones: &[&Zone], hours: u64| {
            worked(&nights, &zones.iter().copied().collect(), hour(12), Duration::from_secs(hours * 3_600))
        };
        assert_eq!(worked(&[&utc], 2), Some(hour(24)));
        assert_eq!(worked(&[&utc], 9), Some(hour(48)), "seven hours of the first night, two of the next");
        // 22:00 in Tokyo is 13:00 in UTC.
        assert_eq!(worked(&[&tokyo], 2), Some(hour(15)));
        assert_eq!(worked(&[&tokyo, &utc], 2), Some(hour(24)));
    }

    #[test]
    fn nothing_is_foretold_of_work_whose_window_never_opens() {
        let (zone, hour_of_work) = (Zone::utc(), Duration::from_hours(1));
        assert_eq!(worked(&window(None), &HashSet::from([&zone]), hour(0), hour_of_work), None);
        assert_eq!(worked(&[], &HashSet::from([&zone]), hour(0), hour_of_work), Some(hour(1)));
    }
}
