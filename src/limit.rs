//! Limits: [`RateLimiter`], [`Quota`] and the one GCRA function that every limiter shares.
//!
//! A limiter keeps [`Tats`] for each key and asks [`gcra`] what to do. Memory, SQL and Redis differ
//! only in how they make "read, decide, write" one atomic step.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64ct::{Base64UrlUnpadded, Encoding};

use crate::account::{InvalidText, UserId};
use crate::clock::{Timestamp, micros};
use crate::error::BoxError;

/// How many rates one [`Quota`] holds at most.
pub const MAX_RATES: usize = 3;

/// `count` uses in each span of `per`: all of them at once if need be, then one each
/// `per / count`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    count: NonZeroU32,
    per: Duration,
}

impl Rate {
    /// A rate. A span under one microsecond a use counts as one microsecond a use.
    pub const fn new(count: NonZeroU32, per: Duration) -> Self {
        Self { count, per }
    }

    /// How many uses.
    pub const fn count(&self) -> u32 {
        self.count.get()
    }

    /// In which span.
    pub const fn per(&self) -> Duration {
        self.per
    }

    /// Microseconds that one use takes to grow back.
    pub fn emission(&self) -> i64 {
        (micros(self.per) / i64::from(self.count.get())).max(1)
    }

    /// Microseconds that all uses together take to grow back.
    pub fn burst(&self) -> i64 {
        self.emission().saturating_mul(i64::from(self.count.get()))
    }
}

/// Up to three rates that hold at once: a use is allowed when every rate allows it, and a denied
/// use is charged to none.
///
/// ```
/// use std::time::Duration;
/// use password_reset::limit::Quota;
///
/// // One a minute, but no more than three an hour and ten a day.
/// let quota = Quota::new(1, Duration::from_secs(60))
///     .and(3, Duration::from_secs(3_600))
///     .and(10, Duration::from_secs(86_400));
/// assert_eq!(quota.rates().count(), 3);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    rates: [Option<Rate>; MAX_RATES],
}

impl Quota {
    /// `count` uses `per` span. A count of 0 is taken as 1: a limit that denies everyone is not a
    /// limit but a switch.
    pub fn new(count: u32, per: Duration) -> Self {
        Self {
            rates: [Some(rate(count, per)), None, None],
        }
    }

    /// And also `count` uses `per` span. A fourth rate replaces the third.
    pub fn and(mut self, count: u32, per: Duration) -> Self {
        let [_, second, third] = &mut self.rates;
        let free = if second.is_none() { second } else { third };
        *free = Some(rate(count, per));
        self
    }

    /// The same rates with every count multiplied.
    pub(crate) fn times(mut self, factor: u32) -> Self {
        for rate in self.rates.iter_mut().flatten() {
            rate.count = rate
                .count
                .saturating_mul(NonZeroU32::new(factor).unwrap_or(NonZeroU32::MIN));
        }
        self
    }

    /// The rates.
    pub fn rates(&self) -> impl Iterator<Item = Rate> {
        self.rates.iter().copied().flatten()
    }
}

fn rate(count: u32, per: Duration) -> Rate {
    Rate::new(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN), per)
}

/// What is counted: a keyed digest, so that a limiter's table names nobody.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LimitKey([u8; 32]);

impl LimitKey {
    /// A key from the bytes of a keyed digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store; compare them byte by byte.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Stands where a record names its account, for what belongs to none. No account's id is
    /// a keyed digest.
    pub(crate) fn as_user(&self) -> Result<UserId, InvalidText> {
        UserId::parse(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitKey(..)")
    }
}

/// What a limiter keeps of one key: for each rate the moment at which it is fully grown back
/// ("theoretical arrival time"), in microseconds. A new key starts at [`Tats::default`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tats(pub [i64; MAX_RATES]);

impl Default for Tats {
    fn default() -> Self {
        Self([i64::MIN; MAX_RATES])
    }
}

impl Tats {
    /// From this moment on the key may be forgotten: it is the same as a new one.
    pub fn forget_at(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.0.iter().copied().max().unwrap_or(i64::MIN))
    }
}

/// The answer of a limiter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Decision {
    /// Go on; the use was charged.
    Allow,
    /// Do not; nothing was charged.
    Deny {
        /// When the same call would be allowed, if nobody else uses the key till then.
        retry_after: Duration,
    },
}

/// The generic cell rate algorithm over all rates of a quota: what was kept in, decision and what
/// to keep out. Pure.
///
/// A clock that jumps back denies for no longer than the quota's own span: what is kept is cut to
/// it, also when the use is denied.
pub fn gcra(quota: &Quota, kept: Tats, now: Timestamp) -> (Decision, Tats) {
    let now = now.unix_micros();
    let (mut allowed, mut denied) = (kept, kept);
    let mut wait = 0;
    let tats = allowed.0.iter_mut().zip(&mut denied.0);
    for ((charged, free), rate) in tats.zip(quota.rates()) {
        // Never further ahead than the span itself: a quota may have been lowered since, and a
        // clock may have been wrong.
        let ahead = charged.saturating_sub(now).clamp(0, rate.burst());
        let grown = ahead.saturating_add(rate.emission());
        wait = wait.max(grown.saturating_sub(rate.burst()));
        *charged = now.saturating_add(grown);
        *free = (*free).min(now.saturating_add(rate.burst()));
    }
    if wait > 0 {
        let retry_after = Duration::from_micros(u64::try_from(wait).unwrap_or(0));
        return (Decision::Deny { retry_after }, denied);
    }
    (Decision::Allow, allowed)
}

/// Where uses are counted.
///
/// # Contract
///
/// Each line names the check of `testing::kit::limiter` that shows it.
///
/// - `check` MUST answer and keep what [`gcra`] says (`a_limiter_follows_gcra`,
///   `every_rate_of_a_quota_holds`, `the_retry_hint_is_exact`), and MUST read, decide and write in
///   one atomic step (`contention_never_allows_too_much`). Otherwise parallel requests all pass
///   (W18).
/// - A `check` whose future is dropped MUST have charged one use or none
///   (`a_dropped_check_never_blocks_the_key`). Otherwise a client that hangs up locks the owner out.
/// - A denied use MUST NOT be charged (`a_denied_use_is_free`). Otherwise an attacker keeps the
///   owner out for ever by knocking.
/// - An allowed and a denied use MUST take the same time: the same statements, the same waiting for
///   the disk. Otherwise the time of a request tells that somebody asked for this account before.
/// - Keys MUST be independent and compared byte by byte (`keys_are_independent`). Otherwise one
///   person uses up another's limit.
/// - `clear` MUST forget the key, and no other (`clearing_forgets_the_key`).
/// - Memory MUST be bounded: forget a key at [`Tats::forget_at`]; when there is no room, fail
///   rather than allow. A failing limiter denies (R38).
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Charges one use of `key` if `quota` allows it.
    async fn check(
        &self,
        key: &LimitKey,
        quota: &Quota,
        now: Timestamp,
    ) -> Result<Decision, BoxError>;

    /// Forgets what was charged to `key`.
    async fn clear(&self, key: &LimitKey) -> Result<(), BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: RateLimiter + ?Sized> RateLimiter for $pointer<T> {
            async fn check(
                &self,
                key: &LimitKey,
                quota: &Quota,
                now: Timestamp,
            ) -> Result<Decision, BoxError> {
                (**self).check(key, quota, now).await
            }
            async fn clear(&self, key: &LimitKey) -> Result<(), BoxError> {
                (**self).clear(key).await
            }
        }
    )+ };
}
forward!(Arc, Box);

/// Declines every limit, visibly: nothing is ever denied.
///
/// For hosts whose gateway limits requests by itself. Without limits anyone can fill anyone's
/// mailbox (W50).
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

#[async_trait]
impl RateLimiter for Unlimited {
    async fn check(&self, _: &LimitKey, _: &Quota, _: Timestamp) -> Result<Decision, BoxError> {
        Ok(Decision::Allow)
    }

    async fn clear(&self, _: &LimitKey) -> Result<(), BoxError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn allowed(quota: &Quota, tats: &mut Tats, at: i64) -> bool {
        let (decision, next) = gcra(quota, *tats, Timestamp::from_unix_micros(at));
        *tats = next;
        decision == Decision::Allow
    }

    #[test]
    fn a_burst_is_allowed_then_one_use_each_emission() {
        let quota = Quota::new(3, HOUR);
        let mut tats = Tats::default();
        let passed = (0..10).filter(|_| allowed(&quota, &mut tats, 0)).count();
        assert_eq!(passed, 3);
        let emission = 1_200_000_000;
        assert!(!allowed(&quota, &mut tats, emission - 1));
        assert!(allowed(&quota, &mut tats, emission));
        assert!(!allowed(&quota, &mut tats, emission));
    }

    #[test]
    fn the_retry_hint_is_exact() {
        let quota = Quota::new(1, Duration::from_secs(60)).and(3, HOUR);
        let start = Timestamp::from_unix_micros(5);
        let (_, tats) = gcra(&quota, Tats::default(), start);
        let (denied, _) = gcra(&quota, tats, start + Duration::from_secs(20));
        assert_eq!(
            denied,
            Decision::Deny {
                retry_after: Duration::from_secs(40)
            }
        );
    }

    #[test]
    fn a_denied_use_is_charged_to_no_rate() {
        let quota = Quota::new(1, Duration::from_secs(60)).and(3, HOUR);
        let mut tats = Tats::default();
        assert!(allowed(&quota, &mut tats, 0));
        for second in 1..60 {
            assert!(!allowed(&quota, &mut tats, second * 1_000_000));
        }
        // The hour still has two uses left.
        assert!(allowed(&quota, &mut tats, 60_000_000));
        assert!(allowed(&quota, &mut tats, 120_000_000));
        assert!(!allowed(&quota, &mut tats, 180_000_000));
    }

    #[test]
    fn a_clock_that_was_wrong_denies_no_longer_than_the_span() {
        let quota = Quota::new(1, HOUR);
        let (_, tats) = gcra(
            &quota,
            Tats::default(),
            Timestamp::from_unix_micros(i64::MAX / 2),
        );
        let start = Timestamp::from_unix_micros(0);
        let (denied, mut tats) = gcra(&quota, tats, start);
        assert_eq!(denied, Decision::Deny { retry_after: HOUR });
        // Whoever keeps knocking is let in when the hint said.
        let hour = 3_600_000_000;
        assert!(!allowed(&quota, &mut tats, hour / 2));
        assert!(!allowed(&quota, &mut tats, hour - 1));
        assert!(allowed(&quota, &mut tats, hour));
    }
}
