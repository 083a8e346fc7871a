//! Limits in a map and in the order in which they may be forgotten.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{NoRoom, lock};
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::limit::{Decision, LimitKey, Quota, RateLimiter, Tats, gcra};

/// How many keys that may be forgotten each call takes along: two for the one that it may add.
const FORGET: usize = 2;

/// A [`RateLimiter`] in memory. Clones share their counts; other processes do not.
#[derive(Clone)]
pub struct MemoryLimiter(Arc<Mutex<Inner>>);

impl MemoryLimiter {
    /// A limiter for at most `keys` keys that are in use at once.
    ///
    /// A full one fails for every new key, which the flow takes as a denial: whoever fills it
    /// with foreign keys must not get past it.
    pub fn with_capacity(keys: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            capacity: keys,
            ..Inner::default()
        })))
    }
}

impl Default for MemoryLimiter {
    /// Room for 100,000 keys.
    fn default() -> Self {
        Self::with_capacity(100_000)
    }
}

impl fmt::Debug for MemoryLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimiter").finish_non_exhaustive()
    }
}

#[async_trait]
impl RateLimiter for MemoryLimiter {
    async fn check(
        &self,
        key: &LimitKey,
        quota: &Quota,
        now: Timestamp,
    ) -> Result<Decision, BoxError> {
        lock(&self.0).check(key, quota, now)
    }

    async fn clear(&self, key: &LimitKey) -> Result<(), BoxError> {
        lock(&self.0).clear(key);
        Ok(())
    }
}

#[derive(Default)]
struct Inner {
    capacity: usize,
    keys: HashMap<LimitKey, Tats>,
    order: BTreeSet<(Timestamp, LimitKey)>,
}

impl Inner {
    fn check(
        &mut self,
        key: &LimitKey,
        quota: &Quota,
        now: Timestamp,
    ) -> Result<Decision, BoxError> {
        self.forget(now);
        let known = self.keys.get(key).copied();
        let (decision, next) = gcra(quota, known.unwrap_or_default(), now);
        if known.is_none() && self.keys.len() >= self.capacity {
            return Err(NoRoom { what: "limit" }.into());
        }
        self.clear(key);
        self.keys.insert(*key, next);
        self.order.insert((next.forget_at(), *key));
        Ok(decision)
    }

    fn clear(&mut self, key: &LimitKey) {
        if let Some(tats) = self.keys.remove(key) {
            self.order.remove(&(tats.forget_at(), *key));
        }
    }

    fn forget(&mut self, now: Timestamp) {
        for _ in 0..FORGET {
            let Some((_, key)) = self.order.first().copied().filter(|(at, _)| *at <= now) else {
                return;
            };
            self.clear(&key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_full_limiter_fails_for_new_keys_and_never_allows() {
        let mut limiter = Inner {
            capacity: 2,
            ..Inner::default()
        };
        let quota = Quota::new(1, Duration::from_secs(1));
        let key = |n| LimitKey::from_bytes([n; 32]);
        let start = Timestamp::from_unix_micros(0);
        for number in [1, 2] {
            assert_eq!(
                limiter.check(&key(number), &quota, start).unwrap(),
                Decision::Allow
            );
        }
        assert!(limiter.check(&key(3), &quota, start).is_err());
        // Known keys are still judged.
        assert_ne!(
            limiter.check(&key(1), &quota, start).unwrap(),
            Decision::Allow
        );
        let later = start + Duration::from_secs(1);
        assert_eq!(
            limiter.check(&key(3), &quota, later).unwrap(),
            Decision::Allow
        );
        assert_eq!((limiter.keys.len(), limiter.order.len()), (1, 1));
        limiter.clear(&key(3));
        assert!(limiter.keys.is_empty() && limiter.order.is_empty());
    }
}
