//! [`RateLimiter`] on Redis.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter};
use redis::{Script, cmd};

use crate::RedisBackend;
use crate::keys::digits;
use crate::reply::{text, unreadable};

static CHECK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/check.lua")));

/// A script's numbers are exact up to 2^53, and it adds two of these. 142 years.
const LONGEST: i64 = 1 << 52;

#[async_trait]
impl RateLimiter for RedisBackend {
    /// A quota's spans are taken as 142 years at most.
    async fn check(
        &self,
        key: &LimitKey,
        quota: &Quota,
        now: Timestamp,
    ) -> Result<Decision, BoxError> {
        let mut script = CHECK.key(self.keys.limit(key));
        script.arg(digits(now));
        for rate in quota.rates() {
            script
                .arg(rate.emission().min(LONGEST))
                .arg(rate.burst().min(LONGEST));
        }
        let wait = text(self.link.run(&script).await?, "limit")?;
        let wait: u64 = wait.parse().map_err(|_| unreadable("limit"))?;
        if wait == 0 {
            return Ok(Decision::Allow);
        }
        let retry_after = Duration::from_micros(wait);
        Ok(Decision::Deny { retry_after })
    }

    async fn clear(&self, key: &LimitKey) -> Result<(), BoxError> {
        let clear = cmd("DEL").arg(self.keys.limit(key)).to_owned();
        self.link.send(&clear).await?;
        Ok(())
    }
}
