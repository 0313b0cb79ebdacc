//! How many requests one principal may make: a bucket that fills at a steady rate.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

use crate::domain::Timestamp;

/// A burst may use what was saved up in ten seconds.
const BURST_SECONDS: i64 = 10;

/// More principals than this at once are not told apart: the fullest buckets are forgotten first.
const BUCKETS_MAX: usize = 10_000;

/// One bucket for each key; pure but for its own memory: the time is passed in.
#[derive(Debug)]
pub struct Rate<K> {
    per_second: i64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In millionths of a request, so that microseconds times requests per second need no rounding.
    level: i64,
    at: Timestamp,
}

impl<K: Eq + Hash + Clone> Rate<K> {
    /// `per_second` requests for each key.
    pub fn new(per_second: u32) -> Self {
        Self { per_second: i64::from(per_second.max(1)), buckets: Mutex::new(HashMap::new()) }
    }

    /// Whether `key` may make one more request at `now`.
    pub fn admits(&self, key: &K, now: Timestamp) -> bool {
        let full = self.per_second * BURST_SECONDS * 1_000_000;
        let mut buckets = self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(key) {
            buckets.retain(|_, bucket| bucket.level < full / 2);
        }
        let bucket = buckets.entry(key.clone()).or_insert(Bucket { level: full, at: now });
        let elapsed = i64::try_from(now.since(bucket.at).as_micros()).unwrap_or(i64::MAX);
        bucket.level = bucket.level.saturating_add(elapsed.saturating_mul(self.per_second)).min(full);
        bucket.at = now;
        if bucket.level < 1_000_000 {
            return false;
        }
        bucket.level -= 1_000_000;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_ends_and_fills_up_again_and_others_do_not_notice() {
        let rate = Rate::new(2);
        let start = Timestamp::from_micros(0);
        let burst = (0..100).filter(|_| rate.admits(&"a", start)).count();
        assert_eq!(burst, 20);
        assert!(rate.admits(&"b", start));
        assert!(!rate.admits(&"a", start + Duration::from_millis(499)));
        assert!(rate.admits(&"a", start + Duration::from_millis(500)));
    }
}
