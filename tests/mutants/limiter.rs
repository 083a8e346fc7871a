//! Limiters, all but one broken.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter, Tats, gcra};
use tokio::task::yield_now;

pub(crate) struct Limiter {
    defect: &'static str,
    tats: Mutex<HashMap<[u8; 32], Tats>>,
}

impl Limiter {
    pub(crate) fn with(defect: &'static str) -> Self {
        Self {
            defect,
            tats: Mutex::default(),
        }
    }

    fn is(&self, defect: &str) -> bool {
        self.defect == defect
    }

    fn key(&self, key: &LimitKey) -> [u8; 32] {
        match self.defect {
            "one_bucket" => [0; 32],
            "keys_are_text" => key.as_bytes().to_ascii_lowercase().try_into().unwrap(),
            _ => *key.as_bytes(),
        }
    }
}

#[async_trait]
impl RateLimiter for Limiter {
    async fn check(
        &self,
        key: &LimitKey,
        quota: &Quota,
        now: Timestamp,
    ) -> Result<Decision, BoxError> {
        let key = self.key(key);
        let read = || {
            self.tats
                .lock()
                .unwrap()
                .get(&key)
                .copied()
                .unwrap_or_default()
        };
        let stale = read();
        if self.is("reads_then_writes") {
            yield_now().await;
        }
        if self.is("blocked_while_checking") {
            // Marked as used up until the decision is made.
            let blocked = now + Duration::from_secs(86_400);
            let used_up = Tats([blocked.unix_micros(); 3]);
            self.tats.lock().unwrap().insert(key, used_up);
            yield_now().await;
            self.tats.lock().unwrap().insert(key, stale);
        }
        let mut tats = self.tats.lock().unwrap();
        let kept = match self.defect {
            "reads_then_writes" => stale,
            _ => tats.get(&key).copied().unwrap_or_default(),
        };
        let (mut decision, mut next) = gcra(quota, kept, now);
        if self.is("third_rate_is_forgotten") {
            next.0[2] = i64::MIN;
        }
        if let Decision::Deny { retry_after } = &mut decision {
            match self.defect {
                "hints_in_seconds" => *retry_after = Duration::from_secs(retry_after.as_secs() + 1),
                "a_wrong_clock_denies_for_ever" => next = kept,
                "hint_is_the_whole_span" => *retry_after = Duration::from_secs(3_600),
                "denied_is_charged" => {
                    for (tat, rate) in next.0.iter_mut().zip(quota.rates()) {
                        let from = (*tat).max(now.unix_micros());
                        *tat = from + rate.emission();
                    }
                }
                _ => {}
            }
        }
        tats.insert(key, next);
        Ok(decision)
    }

    async fn clear(&self, key: &LimitKey) -> Result<(), BoxError> {
        let key = self.key(key);
        let mut tats = self.tats.lock().unwrap();
        match self.defect {
            "clear_does_nothing" => {}
            "clear_clears_all" => tats.clear(),
            _ => drop(tats.remove(&key)),
        }
        Ok(())
    }
}
