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
const SURELY_ENDED: Duration = Duration::from_mins(3);

/// How often a cluster with a Job under way is tried while it does not answer: a connection's time-out apart.
const LOOK_WHILE_UNSEEN: Duration = Duration::from_secs(10);

/// How soon it is tried again at first: most silences are one broken connection.
const LOOK_AFTER_A_HICCUP: Duration = Duration::from_secs(1);

/// Other people's upgrades and rebuilds take minutes, not the quarter of an hour that a dead cluster is left alone.
const LOOK_AT_THE_BUSY: Duration = Duration::from_mins(1);

/// Keeps the slots or gives them back, as the case may be.
pub(super) async fn go_on_without(scene: &mut Scene<'_>, reason: Deferral) -> Result<Left, StoreError> {
    let now = scene.now();
    scene.draft.tick(now);
    let Some(attempt) = &scene.draft.work.open_attempt else { return defer(scene, reason).await };
    let TargetState::Running { since, unseen_since, .. } = &scene.draft.work.target.state else {
        return Ok(Left::Ended);
    };
    let (since, first) = (*since, unseen_since.is_none());
    let unseen_since = unseen_since.unwrap_or(now);
    let surely_ended = attempt.deadline + SURELY_ENDED;
    if now >= surely_ended {
        return defer(scene, Deferral::Unverified { unseen_since }).await;
    }
    let doing = format!("unseen since {unseen_since}, its Job may run until {surely_ended}: {reason}");
    if first {
        scene.draft.event(EventType::TargetUnseen, |event| event.because(reason.to_string()));
    }
    // As long again as it has been silent: one broken connection costs a second, and a dead cluster little.
    let wait = now.since(unseen_since).clamp(LOOK_AFTER_A_HICCUP, LOOK_WHILE_UNSEEN);
    scene.draft.runs(doing.clone(), (now + wait).min(surely_ended));
    scene.draft.become_now(TargetState::Running { since, unseen_since: Some(unseen_since), doing });
    scene.commit().await?;
    Ok(Left::Running)
}

/// Gives the slots back; the target is tried again later.
pub(super) async fn defer(scene: &mut Scene<'_>, reason: Deferral) -> Result<Left, StoreError> {
    let retry_at = retry_at(scene.draft.work.target.id, &reason, &scene.rules, scene.now());
    scene.draft.event(EventType::TargetDeferred, |event| {
        event.because(reason.to_string()).with("reason", reason.name()).with("retry_at", retry_at.to_string())
    });
    scene.draft.become_now(TargetState::Deferred { reason, retry_at });
    scene.commit().await?;
    Ok(Left::Ended)
}

/// When a deferred target is tried again: as often as the strategy says, spread by a tenth either way, so that what went
/// silent together does not come back together.
fn retry_at(target: TargetId, reason: &Deferral, rules: &Rules, now: Timestamp) -> Timestamp {
    let every = match reason {
        Deferral::Busy { .. } | Deferral::Unsettled { .. } => rules.retry_every.min(LOOK_AT_THE_BUSY),
        Deferral::Unreachable { .. }
        | Deferral::Unverified { .. }
        | Deferral::Refused { .. }
        | Deferral::InUse { .. }
        | Deferral::ControlPlane { .. }
        | Deferral::OutsideWindow { .. } => rules.retry_every,
    };
    // The id's last characters are random.
    let spread = target.to_string().bytes().rev().take(4).fold(0_u32, |sum, byte| sum * 31 + u32::from(byte)) % 201;
    now + every.saturating_mul(900 + spread) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_spread_by_a_tenth_around_what_the_strategy_says() {
        let rules =
            Rules { retry_every: Duration::from_secs(1_000), ..Rules::of(&crate::engine::decide::tests::strategy()) };
        let now = Timestamp::from_micros(0);
        let reason = Deferral::Refused { error: String::new() };
        let waits: std::collections::BTreeSet<u64> = (0..50)
            .map(|n| {
                let id = format!("01890000-0000-7000-8000-0000000{:05x}", n * 7919).parse().unwrap();
                retry_at(id, &reason, &rules, now).since(now).as_secs()
            })
            .collect();
        assert!(waits.iter().all(|wait| (900..=1_100).contains(wait)), "{waits:?}");
        assert!(waits.len() > 20, "{waits:?}");
    }
}
