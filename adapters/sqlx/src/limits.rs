//! [`RateLimiter`] on SQL: the core's [`gcra`] as one statement.
//!
//! A use reads, decides and writes in a single `INSERT .. ON CONFLICT`. In the words of [`gcra`],
//! for each rate: `ahead` is the kept time, no earlier than now and no later than now plus the
//! burst; the use is allowed when no rate's `ahead` is beyond its `limit`; then `emission` is
//! added. The furthest that any rate was beyond is kept as `denied_for`, and answered. What is kept
//! is never beyond the ceiling.
//!
//! A denied use is charged nothing, and writes as much as an allowed one: otherwise its time would
//! tell that somebody was here before.
//!
//! [`gcra`]: password_reset::limit::gcra

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter, Tats, gcra};

use crate::backend::SqlBackend;
use crate::driver::{Driver, Flavour, Syntax};
use crate::statement::{Statement, Value, values};
use crate::tokens::int;

/// A key is kept a little longer than it counts, for processes whose clocks do not agree.
const MARGIN: Duration = Duration::from_secs(60);
/// Every so many charges one of them forgets up to [`SWEPT`] old keys first. More are forgotten
/// than can be added, so the table holds the keys that still count and a handful of others.
const SWEEP_EVERY: u32 = 16;
const SWEPT: u32 = 64;

pub(crate) struct LimitSql {
    pub(crate) charge: Statement,
    pub(crate) clear: Statement,
    pub(crate) sweep: Statement,
}

impl LimitSql {
    pub(crate) fn new(syntax: &Syntax, write: impl Fn(&str) -> Statement) -> Self {
        Self {
            charge: write(&charge(syntax)),
            clear: write("DELETE FROM {limits} WHERE limit_key = ?1"),
            sweep: write(&syntax.delete_first(
                "{limits}",
                "limit_key",
                "forget_at <= ?1",
                "forget_at",
            )),
        }
    }
}

/// `?1` key; `?2`, `?3`, `?4` times and `?5` end of a new key; `?6` now; then for each rate
/// ceiling, limit and emission, which is 0 for a rate that the quota does not have.
fn charge(syntax: &Syntax) -> String {
    let Syntax {
        greatest, least, ..
    } = syntax;
    let rate = |n: usize| (7 + 3 * n, 8 + 3 * n, 9 + 3 * n);
    let ahead = |n: usize| {
        let (ceiling, ..) = rate(n);
        format!("{least}({greatest}({{limits}}.tat{n}, ?6), ?{ceiling})")
    };
    let beyond = |n: usize| format!("{} - ?{}", ahead(n), rate(n).1);
    let denied_for = format!("{greatest}(0, {}, {}, {})", beyond(0), beyond(1), beyond(2));
    // What is kept of one rate afterwards.
    let next = |n: usize, denied_for: &str| {
        let (ahead, (ceiling, _, emission)) = (ahead(n), rate(n));
        format!(
            "CASE WHEN ?{emission} = 0 THEN {{limits}}.tat{n} \
            WHEN {denied_for} = 0 THEN {ahead} + ?{emission} \
            ELSE {least}({{limits}}.tat{n}, ?{ceiling}) END"
        )
    };
    // MySQL assigns from left to right, and reads what it has assigned; the others read the row as
    // it was.
    let (conflict, denied, kept, end) = match syntax.flavour {
        Flavour::MySql => (
            "ON DUPLICATE KEY UPDATE",
            format!("LAST_INSERT_ID({denied_for})"),
            "{limits}.denied_for".to_owned(),
            format!("{greatest}({{limits}}.tat0, {{limits}}.tat1, {{limits}}.tat2)"),
        ),
        Flavour::Postgres | Flavour::Sqlite => {
            let next = |n| next(n, &denied_for);
            let end = format!("{greatest}({}, {}, {})", next(0), next(1), next(2));
            (
                "ON CONFLICT (limit_key) DO UPDATE SET",
                denied_for.clone(),
                denied_for,
                end,
            )
        }
    };
    let tat = |n| format!("tat{n} = {}", next(n, &kept));
    let returning = match syntax.flavour {
        Flavour::MySql => "",
        Flavour::Postgres | Flavour::Sqlite => "RETURNING denied_for",
    };
    format!(
        "INSERT INTO {{limits}} (limit_key, tat0, tat1, tat2, forget_at, denied_for)
        VALUES (?1, ?2, ?3, ?4, ?5, 0)
        {conflict} denied_for = {denied}, {}, {}, {}, forget_at = {end} {returning}",
        tat(0),
        tat(1),
        tat(2),
    )
}

#[async_trait]
impl<D: Driver> RateLimiter for SqlBackend<D> {
    async fn check(
        &self,
        key: &LimitKey,
        quota: &Quota,
        now: Timestamp,
    ) -> Result<Decision, BoxError> {
        let mut session = self.writer().await?;
        // Before the charge: when even forgetting fails, nothing is allowed.
        let charges = self.charges.fetch_add(1, Ordering::Relaxed);
        if charges.is_multiple_of(SWEEP_EVERY) {
            session
                .execute(&self.sql.limits.sweep, values![now - MARGIN, SWEPT])
                .await?;
        }
        let charge = &self.sql.limits.charge;
        let values = charge_values(key, quota, now);
        let denied_for = if D::SYNTAX.flavour == Flavour::MySql {
            session.execute(charge, values).await?.number
        } else {
            let rows = session.rows(charge, values).await?;
            let row = rows.first().ok_or("the limit was not written")?;
            u64::try_from(int::<D>(row, "denied_for")?).unwrap_or(u64::MAX)
        };
        Ok(match denied_for {
            0 => Decision::Allow,
            micros => Decision::Deny {
                retry_after: Duration::from_micros(micros),
            },
        })
    }

    async fn clear(&self, key: &LimitKey) -> Result<(), BoxError> {
        let mut session = self.writer().await?;
        session
            .execute(&self.sql.limits.clear, values![key])
            .await?;
        Ok(())
    }
}

fn charge_values(key: &LimitKey, quota: &Quota, now: Timestamp) -> Vec<Value> {
    // The first use of a key is always allowed.
    let (_, fresh) = gcra(quota, Tats::default(), now);
    let Tats([first, second, third]) = fresh;
    let mut values = values![key, first, second, third, fresh.forget_at(), now];
    let now = now.unix_micros();
    let mut rates = quota.rates();
    for _ in 0..password_reset::limit::MAX_RATES {
        values.extend(match rates.next() {
            Some(rate) => {
                let ceiling = now.saturating_add(rate.burst());
                values![
                    ceiling,
                    ceiling.saturating_sub(rate.emission()),
                    rate.emission()
                ]
            }
            None => values![now, now, 0_i64],
        });
    }
    values
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::SqliteBackend;

    #[tokio::test]
    async fn keys_that_no_longer_count_are_forgotten_on_the_way() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let quota = Quota::new(1, Duration::from_secs(100));
        for second in 0..2_000_i64 {
            let mut key = [0; 32];
            key.split_at_mut(8).0.copy_from_slice(&second.to_be_bytes());
            let key = LimitKey::from_bytes(key);
            let now = Timestamp::from_unix_micros(second * 1_000_000);
            assert_eq!(
                backend.check(&key, &quota, now).await.unwrap(),
                Decision::Allow
            );
            // A key that still counts is kept.
            assert_ne!(
                backend.check(&key, &quota, now).await.unwrap(),
                Decision::Allow
            );
        }
        let count = backend.statement("SELECT count(*) AS keys FROM {limits}");
        let mut session = backend.reader().await.unwrap();
        let rows = session.rows(&count, values![]).await.unwrap();
        let keys = int::<sqlx::Sqlite>(rows.first().unwrap(), "keys").unwrap();
        // 100 still count, 60 more may count for others.
        assert!((160..=160 + 16).contains(&keys), "{keys}");
    }
}
