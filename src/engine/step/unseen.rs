//! The cluster cannot be worked on now. Unreachable is not failed: what may still run keeps its slots until it has
//! surely ended, everything else gives them back and stays owed.

use std::time::Duration;

use super::{Left, Scene};
use crate::domain::event::EventType;
use crate::domain::target::{Deferral, TargetState};
use crate::domain::{TargetId, Timestamp};
use crate::engine::decide::Rules;
use crate::store::StoreError;

/// How long after a Job's deadline it has surely ended: the Job controller's own delays, clocks apart by a minute, and
/// the Pod's grace period.
pub(super) const SURELY_ENDED: Duration = Duration::from_mins(3);

/// How often a cluster with a Job under way is tried while it does not answer: a connection's time-out apart.
const LOOK_WHILE_UNSEEN: Duration = Duration::from_secs(10);

/// How soon it is tried again at first: most silences are one broken connection.
const LOOK_AFTER_A_HICCUP: Duration = Duration::from_secs(1);

/// How soon again where the cluster answers, and refuses or fails what is asked of it.
const LOOK_AFTER_A_REFUSAL: Duration = Duration::from_secs(5);

/// Other people's upgrades and rebuilds take minutes, not the quarter of an hour that a dead cluster is left alone.
const LOOK_AT_THE_BUSY: Duration = Duration::from_mins(1);

/// How soon a cluster that asks for fewer requests is tried again at the earliest: it says "in a second" to everybody.
const LOOK_AT_THE_OVERLOADED: Duration = Duration::from_secs(10);

/// Keeps the slots or gives them back, as the case may be. `passes_within` is what the cluster itself gave to hope for.
pub(super) async fn go_on_without(
    scene: &mut Scene<'_>,
    reason: Deferral,
    passes_within: Option<Duration>,
) -> Result<Left, StoreError> {
    let now = scene.now();
    scene.draft.tick(now);
    let Some(attempt) = &scene.draft.work.open_attempt else { return defer(scene, reason, passes_within).await };
    let TargetState::Running { unseen_since, .. } = scene.draft.work.target.state else { return Ok(Left::Ended) };
    let surely_ended = attempt.deadline + SURELY_ENDED;
    // It answered what was asked first, and not what came then: that is no time without sight, or a cluster that always
    // fails the same request would hold its slots for ever.
    if scene.draft.was_seen() {
        if now >= surely_ended {
            return defer(scene, reason, passes_within).await;
        }
        let broke = matches!(reason, Deferral::Unreachable { .. });
        let wait = if broke { LOOK_AFTER_A_HICCUP } else { LOOK_AFTER_A_REFUSAL };
        scene.draft.runs(format!("its Job may run until {surely_ended}: {reason}"), now + wait);
        scene.commit().await?;
        return Ok(Left::Running);
    }
    let first = unseen_since.is_none();
    let unseen_since = unseen_since.unwrap_or(now);
    if now >= surely_ended {
        return defer(scene, Deferral::Unverified { unseen_since }, None).await;
    }
    let doing = format!("unseen since {unseen_since}, its Job may run until {surely_ended}: {reason}");
    if first {
        scene.draft.event(EventType::TargetUnseen, |event| event.because(reason.to_string()));
    }
    let wait = look_again(now.since(unseen_since), passes_within);
    scene.draft.unseen(unseen_since, doing, (now + wait).min(surely_ended));
    scene.commit().await?;
    Ok(Left::Running)
}

/// Gives the slots back; the target is tried again later.
pub(super) async fn defer(
    scene: &mut Scene<'_>,
    reason: Deferral,
    passes_within: Option<Duration>,
) -> Result<Left, StoreError> {
    let retry_at = retry_at(scene.draft.work.target.id, &reason, passes_within, &scene.rules, scene.now());
    scene.draft.event(EventType::TargetDeferred, |event| {
        event.because(reason.to_string()).with("reason", reason.name()).with("retry_at", retry_at.to_string())
    });
    scene.draft.become_now(TargetState::Deferred { reason, retry_at });
    scene.commit().await?;
    Ok(Left::Ended)
}

/// When a cluster with a Job under way is looked at again. As long again as it has been silent: one broken connection
/// costs a second, and a dead cluster little. One that asks for a pause gets it.
fn look_again(silent_for: Duration, passes_within: Option<Duration>) -> Duration {
    let asked = passes_within.unwrap_or_default().min(LOOK_WHILE_UNSEEN);
    silent_for.clamp(LOOK_AFTER_A_HICCUP, LOOK_WHILE_UNSEEN).max(asked)
}

/// When a deferred target is tried again, spread by a tenth either way, so that what went silent together does not come
/// back together. What an API server says will pass is tried soon; a dead network, a missing right or CRD as often as
/// the strategy says; what its window shuts out when that opens.
fn retry_at(
    target: TargetId,
    reason: &Deferral,
    passes_within: Option<Duration>,
    rules: &Rules,
    now: Timestamp,
) -> Timestamp {
    let every = match reason {
        // Limits hold back whatever the same window lets in at once.
        Deferral::OutsideWindow { opens_at: Some(at) } => return *at,
        Deferral::Refused { .. } => {
            passes_within.map_or(rules.retry_every, |wait| wait.max(LOOK_AT_THE_OVERLOADED).min(rules.retry_every))
        }
        Deferral::Busy { .. } | Deferral::Unsettled { .. } => rules.retry_every.min(LOOK_AT_THE_BUSY),
        Deferral::Unreachable { .. }
        | Deferral::Unverified { .. }
        | Deferral::InUse { .. }
        | Deferral::ControlPlane { .. }
        | Deferral::OutsideWindow { opens_at: None } => rules.retry_every,
    };
    // The id's last characters are random.
    let spread = target.to_string().bytes().rev().take(4).fold(0_u32, |sum, byte| sum * 31 + u32::from(byte)) % 201;
    now + every.saturating_mul(900 + spread) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::EdgeError;

    #[test]
    fn retries_are_spread_by_a_tenth_around_what_the_strategy_says() {
        let rules =
            Rules { retry_every: Duration::from_secs(1_000), ..Rules::of(&crate::engine::decide::tests::strategy()) };
        let now = Timestamp::from_micros(0);
        let reason = Deferral::Refused { error: String::new() };
        let waits: std::collections::BTreeSet<u64> = (0..50)
            .map(|n| {
                let id = format!("01890000-0000-7000-8000-0000000{:05x}", n * 7919).parse().unwrap();
                retry_at(id, &reason, None, &rules, now).since(now).as_secs()
            })
            .collect();
        assert!(waits.iter().all(|wait| (900..=1_100).contains(wait)), "{waits:?}");
        assert!(waits.len() > 20, "{waits:?}");
    }

    #[test]
    fn an_overloaded_server_is_asked_again_when_it_says_and_a_missing_right_as_often_as_the_strategy_says() {
        let rules =
            Rules { retry_every: Duration::from_mins(15), ..Rules::of(&crate::engine::decide::tests::strategy()) };
        let id: TargetId = "01890000-0000-7000-8000-000000000000".parse().unwrap();
        let now = Timestamp::from_micros(0);
        let wait = |error: &EdgeError, rules: &Rules| {
            let reason = Deferral::Refused { error: error.to_string() };
            retry_at(id, &reason, error.passes_within(), rules, now).since(now).as_secs_f64()
        };
        let is_about = |wait: f64, seconds: f64| (0.9 * seconds..=1.1 * seconds).contains(&wait);
        let throttled = |seconds| EdgeError::Throttled { retry_after: Duration::from_secs(seconds) };
        let failed = EdgeError::ServerError { status: 503, message: String::new() };
        let lacking = EdgeError::NoSuchApi { resource: "upgradetasks.openebs.io".into() };
        for (error, seconds) in [
            (throttled(1), 10.0),
            (throttled(40), 40.0),
            (failed, 60.0),
            (lacking, 900.0),
            (EdgeError::Unauthorized, 900.0),
        ] {
            let found = wait(&error, &rules);
            assert!(is_about(found, seconds), "{error}: {found}");
        }
        let often = Rules { retry_every: Duration::from_secs(5), ..rules };
        assert!(is_about(wait(&throttled(40), &often), 5.0), "never less often than the strategy says");
    }

    #[test]
    fn a_cluster_with_a_job_under_way_gets_the_pause_that_it_asks_for() {
        let seconds = Duration::from_secs;
        assert_eq!(look_again(seconds(0), None), seconds(1));
        assert_eq!(look_again(seconds(4), None), seconds(4));
        assert_eq!(look_again(seconds(99), None), seconds(10));
        assert_eq!(look_again(seconds(0), Some(seconds(7))), seconds(7));
        assert_eq!(look_again(seconds(0), Some(seconds(60))), seconds(10), "its Job may end any moment");
    }

    #[test]
    fn what_its_window_shut_out_is_tried_again_when_that_opens() {
        let rules = Rules::of(&crate::engine::decide::tests::strategy());
        let opens_at = Timestamp::from_micros(7_000_000);
        let reason = Deferral::OutsideWindow { opens_at: Some(opens_at) };
        let id = "01890000-0000-7000-8000-000000000001".parse().unwrap();
        assert_eq!(retry_at(id, &reason, None, &rules, Timestamp::from_micros(0)), opens_at);
    }
}
