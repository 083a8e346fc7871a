//! [`TokenStore`] on SQLite.

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::error::BoxError;
use password_reset::store::{Insert, Live, Reach, TokenStore};
use password_reset::token::state::{Claim, ClaimId, Revocation, Settlement, State};
use password_reset::token::{Selector, TokenRecord};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SqliteBackend;
use super::writer::{Statement, TRIES, Writer, execute, rows};
use crate::columns::{StateColumns, TokenColumns, count};
use crate::error::Error;

pub(super) const FIND: &str = "SELECT * FROM password_reset_tokens WHERE selector = ?1";

/// Places are counted by the statement that takes one.
pub(super) const INSERT_AT_MOST: &str = "INSERT INTO password_reset_tokens (
    selector, purpose, tenant, user_id, epoch, key_id, digest, issued_at, expires_at, attempts,
    claim, hold_until, spent_at, revoked_at, revoked_why)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15
WHERE ?16 > (
    SELECT count(*) FROM password_reset_tokens
    WHERE user_id = ?4 AND spent_at IS NULL AND revoked_at IS NULL AND expires_at > ?8)";

pub(super) const INSERT: &str = "INSERT INTO password_reset_tokens (
    selector, purpose, tenant, user_id, epoch, key_id, digest, issued_at, expires_at, attempts,
    claim, hold_until, spent_at, revoked_at, revoked_why)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// All live tokens of a user but the given one and the newest of the others.
pub(super) const SUPERSEDE: &str = "UPDATE password_reset_tokens
SET revoked_at = ?3, revoked_why = ?5
WHERE selector IN (
    SELECT selector FROM password_reset_tokens
    WHERE user_id = ?1 AND spent_at IS NULL AND revoked_at IS NULL AND expires_at > ?3
        AND selector <> ?2
    ORDER BY issued_at DESC LIMIT -1 OFFSET ?4)";

/// `IS` rather than `=`: a null equals a null here.
pub(super) const SWAP: &str = "UPDATE password_reset_tokens
SET claim = ?2, hold_until = ?3, spent_at = ?4, revoked_at = ?5, revoked_why = ?6
WHERE selector = ?1 AND claim IS ?7 AND hold_until IS ?8 AND spent_at IS ?9
    AND revoked_at IS ?10 AND revoked_why IS ?11";

pub(super) const OVERDUE: &str = "SELECT * FROM password_reset_tokens
WHERE spent_at IS NULL AND hold_until IS NOT NULL AND hold_until <= ?1
ORDER BY hold_until LIMIT ?2";

pub(super) const TAKE_OVER: &str = "UPDATE password_reset_tokens
SET claim = ?2, hold_until = ?3
WHERE selector = ?1";

pub(super) const COUNT_ATTEMPT: &str = "UPDATE password_reset_tokens
SET attempts = min(attempts + 1, 4294967295)
WHERE selector = ?1 RETURNING attempts";

pub(super) const REVOKE_ALL: &str = "UPDATE password_reset_tokens
SET revoked_at = ?2, revoked_why = ?3
WHERE user_id = ?1 AND spent_at IS NULL AND revoked_at IS NULL
    AND (?4 IS NULL OR substr(epoch, 1, 16) = ?4)";

pub(super) const PURGE: &str = "DELETE FROM password_reset_tokens
WHERE selector IN (
    SELECT selector FROM password_reset_tokens
    WHERE expires_at < ?1 AND (spent_at IS NOT NULL OR hold_until IS NULL)
    ORDER BY expires_at LIMIT ?2)";

#[async_trait]
impl TokenStore for SqliteBackend {
    async fn insert(&self, record: &TokenRecord, live: Live) -> Result<Insert, BoxError> {
        Ok(match live {
            Live::AtMost(places) => self.insert_at_most(record, places.get()).await?,
            Live::Newest(places) => self.insert_newest(record, places.get()).await?,
            _ => return Err("this bound on live tokens is not known here".into()),
        })
    }

    async fn find(&self, selector: &Selector) -> Result<Option<TokenRecord>, BoxError> {
        let row = sqlx::query(FIND)
            .bind(selector.as_bytes().as_slice())
            .fetch_optional(&self.reader)
            .await
            .map_err(Error::from)?;
        Ok(row.as_ref().map(record).transpose()?)
    }

    async fn claim(
        &self,
        selector: &Selector,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, BoxError> {
        let answer = self
            .transition(selector, |state| state.claim(claim, now, until))
            .await?;
        Ok(answer.unwrap_or(Claim::Refused))
    }

    async fn settle(
        &self,
        selector: &Selector,
        claim: ClaimId,
        settlement: Settlement,
    ) -> Result<bool, BoxError> {
        let answer = self
            .transition(selector, |state| state.settle(claim, settlement))
            .await?;
        Ok(answer.unwrap_or(false))
    }

    async fn abandoned(
        &self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<TokenRecord>, BoxError> {
        Ok(self.take_over(claim, now, until, max).await?)
    }

    async fn count_attempt(&self, selector: &Selector) -> Result<Option<u32>, BoxError> {
        let counted = sqlx::query(COUNT_ATTEMPT).bind(selector.as_bytes().as_slice());
        let rows = self.writer().await?.rows(counted).await?;
        let attempts = rows.first().map(|row| row.try_get("attempts"));
        let attempts = attempts.transpose().map_err(Error::from)?;
        Ok(attempts.map(|n| count(n, "attempts")).transpose()?)
    }

    async fn revoke(
        &self,
        selector: &Selector,
        at: Timestamp,
        why: Revocation,
    ) -> Result<bool, BoxError> {
        let answer = self
            .transition(selector, |state| state.revoke(at, why))
            .await?;
        Ok(answer.unwrap_or(false))
    }

    async fn revoke_all(
        &self,
        user: &UserId,
        reach: Reach<'_>,
        at: Timestamp,
        why: Revocation,
    ) -> Result<u64, BoxError> {
        let credential = match reach {
            Reach::All => None,
            Reach::SameCredential(epoch) => Some(epoch.credential().to_vec()),
        };
        let revoked = sqlx::query(REVOKE_ALL)
            .bind(user.as_str())
            .bind(at.unix_micros())
            .bind(why.as_str())
            .bind(credential);
        Ok(self.writer().await?.execute(revoked).await?)
    }

    async fn purge(&self, expired_before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        let purged = sqlx::query(PURGE)
            .bind(expired_before.unix_micros())
            .bind(i64::from(limit));
        Ok(self.writer().await?.execute(purged).await?)
    }
}

impl SqliteBackend {
    pub(super) async fn writer(&self) -> Result<Writer, Error> {
        Writer::acquire(&self.writer).await
    }

    async fn insert_at_most(&self, record: &TokenRecord, places: u32) -> Result<Insert, Error> {
        let insert = bind_record(sqlx::query(INSERT_AT_MOST), record).bind(i64::from(places));
        match self.writer().await?.execute(insert).await? {
            0 => Ok(Insert::Full),
            _ => Ok(Insert::Done),
        }
    }

    async fn insert_newest(&self, record: &TokenRecord, places: u32) -> Result<Insert, Error> {
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin().await?;
        execute(&mut transaction, bind_record(sqlx::query(INSERT), record)).await?;
        let supersede = sqlx::query(SUPERSEDE)
            .bind(record.user.as_str())
            .bind(record.selector.as_bytes().as_slice())
            .bind(record.issued_at.unix_micros())
            .bind(i64::from(places.saturating_sub(1)))
            .bind(Revocation::Superseded.as_str());
        execute(&mut transaction, supersede).await?;
        transaction.commit().await?;
        Ok(Insert::Done)
    }

    /// One transition of one token, atomically: read, decide by the core's pure function, and swap
    /// if nobody was there in between. The same state decides the same way, so a state that came
    /// back does no harm.
    async fn transition<A: Send>(
        &self,
        selector: &Selector,
        decide: impl Fn(&mut State) -> A + Send,
    ) -> Result<Option<A>, Error> {
        let mut writer = self.writer().await?;
        for _ in 0..TRIES {
            let find = sqlx::query(FIND).bind(selector.as_bytes().as_slice());
            let rows = writer.rows(find).await?;
            let Some(row) = rows.first() else {
                return Ok(None);
            };
            let before = state(row)?;
            let old = State::try_from(before.clone())?;
            let mut new = old;
            let answer = decide(&mut new);
            if new == old || writer.execute(swap(selector, before, new)).await? == 1 {
                return Ok(Some(answer));
            }
        }
        Err(Error::Contended)
    }

    async fn take_over(
        &self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<TokenRecord>, Error> {
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin().await?;
        let overdue = sqlx::query(OVERDUE)
            .bind(now.unix_micros())
            .bind(i64::from(max));
        let mut taken = Vec::new();
        for row in rows(&mut transaction, overdue).await? {
            // A row of a newer version is left to its own kind.
            let Ok(mut record) = record(&row) else {
                continue;
            };
            if record.state.take_over(claim, now, until) {
                let take = sqlx::query(TAKE_OVER)
                    .bind(record.selector.as_bytes().to_vec())
                    .bind(claim.as_bytes().as_slice())
                    .bind(until.unix_micros());
                execute(&mut transaction, take).await?;
                taken.push(record);
            }
        }
        transaction.commit().await?;
        Ok(taken)
    }
}

fn swap<'q>(selector: &Selector, old: StateColumns, new: State) -> Statement<'q> {
    let query = sqlx::query(SWAP).bind(selector.as_bytes().to_vec());
    bind_state(bind_state(query, new.into()), old)
}

fn bind_record<'q>(query: Statement<'q>, record: &TokenRecord) -> Statement<'q> {
    let columns = TokenColumns::from(record);
    let query = query
        .bind(columns.selector)
        .bind(columns.purpose)
        .bind(columns.tenant)
        .bind(columns.user_id)
        .bind(columns.epoch)
        .bind(columns.key_id)
        .bind(columns.digest)
        .bind(columns.issued_at)
        .bind(columns.expires_at)
        .bind(columns.attempts);
    bind_state(query, columns.state)
}

fn bind_state(query: Statement<'_>, columns: StateColumns) -> Statement<'_> {
    query
        .bind(columns.claim)
        .bind(columns.hold_until)
        .bind(columns.spent_at)
        .bind(columns.revoked_at)
        .bind(columns.revoked_why)
}

fn record(row: &SqliteRow) -> Result<TokenRecord, Error> {
    TokenColumns {
        selector: row.try_get("selector")?,
        purpose: row.try_get("purpose")?,
        tenant: row.try_get("tenant")?,
        user_id: row.try_get("user_id")?,
        epoch: row.try_get("epoch")?,
        key_id: row.try_get("key_id")?,
        digest: row.try_get("digest")?,
        issued_at: row.try_get("issued_at")?,
        expires_at: row.try_get("expires_at")?,
        attempts: row.try_get("attempts")?,
        state: state(row)?,
    }
    .try_into()
}

fn state(row: &SqliteRow) -> Result<StateColumns, Error> {
    Ok(StateColumns {
        claim: row.try_get("claim")?,
        hold_until: row.try_get("hold_until")?,
        spent_at: row.try_get("spent_at")?,
        revoked_at: row.try_get("revoked_at")?,
        revoked_why: row.try_get("revoked_why")?,
    })
}
