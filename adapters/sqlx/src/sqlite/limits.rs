//! [`RateLimiter`] on SQLite.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter, Tats, gcra};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SqliteBackend;
use super::writer::{Statement, TRIES, Writer};
use crate::error::Error;

/// Every so many charges one of them forgets up to [`SWEPT`] old keys first. More are forgotten
/// than can be added, so the table holds the keys that still count and a handful of others.
const SWEEP_EVERY: u32 = 16;
const SWEPT: u32 = 64;

pub(super) const FIND: &str = "SELECT tat0, tat1, tat2 FROM password_reset_limits WHERE key = ?1";

pub(super) const ADD: &str = "INSERT INTO password_reset_limits (key, tat0, tat1, tat2, forget_at)
VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO NOTHING";

pub(super) const SWAP: &str = "UPDATE password_reset_limits
SET tat0 = ?2, tat1 = ?3, tat2 = ?4, forget_at = ?5
WHERE key = ?1 AND tat0 = ?6 AND tat1 = ?7 AND tat2 = ?8";

/// SQLite does not write a row that stays as it is, so one number changes that decides nothing: the
/// key is kept a microsecond longer.
pub(super) const DENY: &str = "UPDATE password_reset_limits
SET forget_at = forget_at + 1 WHERE key = ?1";

pub(super) const CLEAR: &str = "DELETE FROM password_reset_limits WHERE key = ?1";

pub(super) const SWEEP: &str = "DELETE FROM password_reset_limits
WHERE key IN (
    SELECT key FROM password_reset_limits
    WHERE forget_at <= ?1 ORDER BY forget_at LIMIT ?2)";

#[async_trait]
impl RateLimiter for SqliteBackend {
    async fn check(
        &self,
        key: &LimitKey,
        quota: &Quota,
        now: Timestamp,
    ) -> Result<Decision, BoxError> {
        let mut writer = self.writer().await?;
        Ok(self.charge(&mut writer, key, quota, now).await?)
    }

    async fn clear(&self, key: &LimitKey) -> Result<(), BoxError> {
        let clear = sqlx::query(CLEAR).bind(key.as_bytes().as_slice());
        self.writer().await?.execute(clear).await?;
        Ok(())
    }
}

impl SqliteBackend {
    /// Read, decide, and write if nobody was there in between. A denied use is charged nothing, and
    /// writes as much as an allowed one: otherwise its time would tell that somebody was here
    /// before.
    async fn charge(
        &self,
        writer: &mut Writer,
        key: &LimitKey,
        quota: &Quota,
        now: Timestamp,
    ) -> Result<Decision, Error> {
        for _ in 0..TRIES {
            let find = sqlx::query(FIND).bind(key.as_bytes().as_slice());
            let kept = writer.rows(find).await?;
            let kept = kept.first().map(tats).transpose()?;
            let (decision, next) = gcra(quota, kept.unwrap_or_default(), now);
            // Before the charge: when even forgetting fails, nothing is allowed.
            let charges = self.charges.fetch_add(1, Ordering::Relaxed);
            if charges.is_multiple_of(SWEEP_EVERY) {
                sweep(writer, now).await?;
            }
            let charge = match kept {
                _ if decision != Decision::Allow => {
                    sqlx::query(DENY).bind(key.as_bytes().as_slice().to_vec())
                }
                None => bind_tats(sqlx::query(ADD), key, next),
                Some(Tats([first, second, third])) => bind_tats(sqlx::query(SWAP), key, next)
                    .bind(first)
                    .bind(second)
                    .bind(third),
            };
            if writer.execute(charge).await? == 1 {
                return Ok(decision);
            }
        }
        Err(Error::Contended)
    }
}

async fn sweep(writer: &mut Writer, now: Timestamp) -> Result<(), Error> {
    let sweep = sqlx::query(SWEEP)
        .bind(now.unix_micros())
        .bind(i64::from(SWEPT));
    writer.execute(sweep).await?;
    Ok(())
}

fn bind_tats<'q>(query: Statement<'q>, key: &LimitKey, tats: Tats) -> Statement<'q> {
    let Tats([first, second, third]) = tats;
    query
        .bind(key.as_bytes().to_vec())
        .bind(first)
        .bind(second)
        .bind(third)
        .bind(tats.forget_at().unix_micros())
}

fn tats(row: &SqliteRow) -> Result<Tats, Error> {
    Ok(Tats([
        row.try_get("tat0")?,
        row.try_get("tat1")?,
        row.try_get("tat2")?,
    ]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn keys_that_no_longer_count_are_forgotten_on_the_way() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let quota = Quota::new(1, Duration::from_micros(100));
        for now in 0..2_000_i64 {
            let mut key = [0; 32];
            key.split_at_mut(8).0.copy_from_slice(&now.to_be_bytes());
            let key = LimitKey::from_bytes(key);
            let now = Timestamp::from_unix_micros(now);
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
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM password_reset_limits")
            .fetch_one(&backend.writer)
            .await
            .unwrap();
        // 100 still count.
        assert!((100..=100 + 16).contains(&rows), "{rows}");
    }
}
