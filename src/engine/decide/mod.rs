//! Decisions, pure: values and the time in, values out. The same functions decide, explain, plan and are simulated.

pub mod attempt;
pub mod rollout;
pub mod target;

use std::time::Duration;

use crate::domain::fleet::{Attached, Strategy};

/// What a strategy means for the tasks of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Attempts at one task.
    pub attempts: u32,
    /// The wait after the first failed attempt.
    pub backoff_first: Duration,
    /// The longest wait between attempts.
    pub backoff_longest: Duration,
    /// The time that one Job has.
    pub task_deadline: Duration,
    /// The time that one cluster has, while it runs.
    pub cluster_deadline: Duration,
    /// How long replicas may take to settle before and between tasks while the target keeps its slots.
    pub settle_deadline: Duration,
    /// How often a deferred target is tried again.
    pub retry_every: Duration,
    /// What to do about volumes in use.
    pub attached: Attached,
}

/// The least time that replicas are given to settle. A rebuild on a slow node takes minutes, whatever the deadlines.
const SETTLE_AT_LEAST: Duration = Duration::from_mins(10);

impl Rules {
    /// What `strategy` says about the tasks of one target.
    pub fn of(strategy: &Strategy) -> Self {
        let Strategy { deadlines, retries, unreachable, attached, .. } = strategy;
        Self {
            attempts: retries.attempts,
            backoff_first: retries.first.duration(),
            backoff_longest: retries.longest.duration(),
            task_deadline: deadlines.task.duration(),
            cluster_deadline: deadlines.cluster.duration(),
            settle_deadline: deadlines.task.duration().max(SETTLE_AT_LEAST),
            retry_every: unreachable.retry_every.duration(),
            attached: *attached,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! What the tests of the decisions and steps start from.

    use crate::domain::fleet::{
        Amount, ApprovalRule, Attached, Deadlines, Failures, Limits, Retries, Seconds, Strategy, Takes, Uncovered,
        Unreachable, WaveSpec,
    };
    use crate::domain::{Timestamp, Zone};

    /// No randomness.
    pub(crate) struct Zeros;

    impl crate::domain::Entropy for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    /// So many seconds after the epoch.
    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    /// One wave of everything, one attempt, nothing may fail.
    pub(crate) fn strategy() -> Strategy {
        Strategy {
            name: "plain".into(),
            waves: vec![WaveSpec {
                name: "all".into(),
                takes: Takes::Rest,
                soak: Seconds(0),
                approval: ApprovalRule::None,
                start: None,
            }],
            limits: Limits::default(),
            failures: Failures { allow: Amount::Number(0), per_wave: None, at_least_succeeded: None },
            attached: Attached::Allow,
            deadlines: Deadlines { task: Seconds(600), cluster: Seconds(3_600), rollout: Seconds(86_400) },
            retries: Retries { attempts: 1, first: Seconds(30), longest: Seconds(300) },
            windows: vec![],
            time_zone: Zone::utc(),
            uncovered: Uncovered::Fail,
            unreachable: Unreachable { retry_every: Seconds(900), min_reached: Amount::Percent(100) },
        }
    }
}
