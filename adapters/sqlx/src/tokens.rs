//! [`TokenStore`] on SQL.
//!
//! Each transition of a token's [`State`] is one statement: its `WHERE` asks what the core's pure
//! function asks, its `SET` writes what that function writes, and the number of rows is the answer.
//!
//! [`State`]: password_reset::token::state::State

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::error::BoxError;
use password_reset::store::{Insert, Live, Reach, TokenStore};
use password_reset::token::state::{Claim, ClaimId, Revocation, Settlement};
use password_reset::token::{Purpose, Selector, TokenRecord};

use crate::backend::SqlBackend;
use crate::columns::{StateColumns, TokenColumns, count};
use crate::driver::{Driver, Flavour, Syntax, Writers};
use crate::error::Error;
use crate::session::{Again, Session, Transaction};
use crate::statement::{Statement, Value, values};

const COLUMNS: &str = "selector, purpose, tenant, user_id, epoch, key_id, digest, issued_at, \
    expires_at, attempts, claim, hold_until, spent_at, revoked_at, revoked_why";

pub(crate) struct TokenSql {
    pub(crate) find: Statement,
    pub(crate) lock: Statement,
    pub(crate) insert: Statement,
    pub(crate) insert_at_most: Statement,
    pub(crate) superseded: Statement,
    pub(crate) claim: Statement,
    pub(crate) spend: Statement,
    pub(crate) release: Statement,
    pub(crate) overdue: Statement,
    pub(crate) take_over: Statement,
    pub(crate) count_attempt: Statement,
    pub(crate) revoke: Statement,
    pub(crate) revoke_all: Statement,
    pub(crate) purge: Statement,
}

impl TokenSql {
    pub(crate) fn new(syntax: &Syntax, write: impl Fn(&str) -> Statement) -> Self {
        let Syntax {
            dual, skip_locked, ..
        } = syntax;
        let values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15";
        let open = "spent_at IS NULL AND revoked_at IS NULL";
        // What a newer version wrote is left to its own kind.
        let known: Vec<_> = Purpose::ALL
            .iter()
            .map(|p| format!("'{}'", p.as_str()))
            .collect();
        let known = known.join(", ");
        let more = format!("{}(attempts + 1, 4294967295)", syntax.least);
        let (attempts, returning) = match syntax.flavour {
            Flavour::MySql => (format!("LAST_INSERT_ID({more})"), ""),
            Flavour::Postgres | Flavour::Sqlite => (more, "RETURNING attempts"),
        };
        Self {
            find: write(&format!(
                "SELECT {COLUMNS} FROM {{tokens}} WHERE selector = ?1"
            )),
            // A row that stands for many accounts: whoever has changed it is alone with them until
            // the end of the transaction.
            lock: write("UPDATE {locks} SET turn = turn + 1 WHERE id = ?1"),
            insert: write(&format!(
                "INSERT INTO {{tokens}} ({COLUMNS}) VALUES ({values})"
            )),
            // Places are counted by the statement that takes one.
            insert_at_most: write(&format!(
                "INSERT INTO {{tokens}} ({COLUMNS}) SELECT {values} {dual} WHERE ?16 > (
                    SELECT count(*) FROM {{tokens}}
                    WHERE user_id = ?4 AND {open} AND expires_at > ?8)"
            )),
            // All live tokens of a user but the given one and the newest of the others.
            superseded: write(&format!(
                "SELECT selector FROM {{tokens}}
                WHERE user_id = ?1 AND {open} AND expires_at > ?3 AND selector <> ?2
                ORDER BY issued_at DESC LIMIT 9223372036854775807 OFFSET ?4"
            )),
            claim: write(&format!(
                "UPDATE {{tokens}} SET claim = ?2, hold_until = ?4
                WHERE selector = ?1 AND {open} AND (claim IS NULL OR hold_until <= ?3)"
            )),
            spend: write(
                "UPDATE {tokens} SET spent_at = ?3
                WHERE selector = ?1 AND claim = ?2 AND spent_at IS NULL",
            ),
            release: write(
                "UPDATE {tokens} SET claim = NULL, hold_until = ?3
                WHERE selector = ?1 AND claim = ?2 AND spent_at IS NULL",
            ),
            overdue: write(&format!(
                "SELECT {COLUMNS} FROM {{tokens}}
                WHERE spent_at IS NULL AND hold_until IS NOT NULL AND hold_until <= ?1
                    AND purpose IN ({known})
                ORDER BY hold_until LIMIT ?2 {skip_locked}"
            )),
            take_over: write("UPDATE {tokens} SET claim = ?2, hold_until = ?3 WHERE selector = ?1"),
            count_attempt: write(&format!(
                "UPDATE {{tokens}} SET attempts = {attempts} WHERE selector = ?1 {returning}"
            )),
            revoke: write(&format!(
                "UPDATE {{tokens}} SET revoked_at = ?2, revoked_why = ?3
                WHERE selector = ?1 AND {open}"
            )),
            revoke_all: write(&format!(
                "UPDATE {{tokens}} SET revoked_at = ?2, revoked_why = ?3
                WHERE user_id = ?1 AND {open} AND (?4 IS NULL OR substr(epoch, 1, 16) = ?4)"
            )),
            purge: write(&syntax.delete_first(
                "{tokens}",
                "selector",
                "expires_at < ?1 AND (spent_at IS NOT NULL OR hold_until IS NULL)",
                "expires_at",
            )),
        }
    }
}

#[async_trait]
impl<D: Driver> TokenStore for SqlBackend<D> {
    async fn insert(&self, record: &TokenRecord, live: Live) -> Result<Insert, BoxError> {
        let mut session = self.writer().await?;
        if let (Live::AtMost(places), Writers::One) = (live, D::SYNTAX.writers) {
            let mut values = record_values(record);
            values.push(places.get().into());
            let insert = session.execute(&self.sql.tokens.insert_at_most, values);
            return Ok(inserted(insert.await?.rows));
        }
        let mut again = Again::default();
        loop {
            let inserted = self.insert_locked(&mut session, record, live).await;
            if !again.is_worth_it(&inserted).await {
                return Ok(inserted?);
            }
        }
    }

    async fn find(&self, selector: &Selector) -> Result<Option<TokenRecord>, BoxError> {
        let mut session = self.reader().await?;
        Ok(self.record(&mut session, selector).await?)
    }

    async fn claim(
        &self,
        selector: &Selector,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, BoxError> {
        let mut session = self.writer().await?;
        let values = values![selector, claim, now, until];
        let claimed = session.execute(&self.sql.tokens.claim, values).await?;
        if claimed.rows == 1 {
            return Ok(Claim::Won);
        }
        // Who lost may learn why in its own time.
        let record = self.record(&mut session, selector).await?;
        Ok(match record {
            Some(record) if record.state.is_open() => Claim::Held,
            _ => Claim::Refused,
        })
    }

    async fn settle(
        &self,
        selector: &Selector,
        claim: ClaimId,
        settlement: Settlement,
    ) -> Result<bool, BoxError> {
        let sql = &self.sql.tokens;
        let (statement, at) = match settlement {
            Settlement::Spent { at } => (&sql.spend, Some(at)),
            Settlement::Released { check_at } => (&sql.release, Some(check_at)),
            Settlement::Closed => (&sql.release, None),
        };
        let values = values![selector, claim, at.map(Timestamp::unix_micros)];
        let mut session = self.writer().await?;
        Ok(session.execute(statement, values).await?.rows == 1)
    }

    async fn abandoned(
        &self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<TokenRecord>, BoxError> {
        let mut session = self.writer().await?;
        let mut again = Again::default();
        loop {
            let mut transaction = session.begin().await?;
            let taken = self.take_over(&mut transaction, claim, now, until, max);
            let taken = taken.await;
            let taken = transaction.end(taken).await;
            if !again.is_worth_it(&taken).await {
                return Ok(taken?);
            }
        }
    }

    async fn count_attempt(&self, selector: &Selector) -> Result<Option<u32>, BoxError> {
        let mut session = self.writer().await?;
        let count_attempt = &self.sql.tokens.count_attempt;
        let values = values![selector];
        if D::SYNTAX.flavour == Flavour::MySql {
            let done = session.execute(count_attempt, values).await?;
            let number = i64::try_from(done.number).unwrap_or(i64::MAX);
            return Ok(match done.rows {
                0 => None,
                _ => Some(count(number, "attempts")?),
            });
        }
        let rows = session.rows(count_attempt, values).await?;
        let number = rows
            .first()
            .map(|row| int::<D>(row, "attempts"))
            .transpose()?;
        Ok(number.map(|n| count(n, "attempts")).transpose()?)
    }

    async fn revoke(
        &self,
        selector: &Selector,
        at: Timestamp,
        why: Revocation,
    ) -> Result<bool, BoxError> {
        let mut session = self.writer().await?;
        let values = values![selector, at, why];
        let revoked = session.execute(&self.sql.tokens.revoke, values).await?;
        Ok(revoked.rows == 1)
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
        let mut session = self.writer().await?;
        let values = values![user, at, why, credential];
        let revoked = session.execute(&self.sql.tokens.revoke_all, values).await?;
        Ok(revoked.rows)
    }

    async fn purge(&self, expired_before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        let mut session = self.writer().await?;
        let values = values![expired_before, limit];
        let purged = session.execute(&self.sql.tokens.purge, values).await?;
        Ok(purged.rows)
    }
}

impl<D: Driver> SqlBackend<D> {
    async fn record(
        &self,
        session: &mut Session<D>,
        selector: &Selector,
    ) -> Result<Option<TokenRecord>, Error> {
        let rows = session
            .rows(&self.sql.tokens.find, values![selector])
            .await?;
        rows.first().map(record::<D>).transpose()
    }

    /// Counts and stores while nobody else does either for the same account.
    async fn insert_locked(
        &self,
        session: &mut Session<D>,
        record: &TokenRecord,
        live: Live,
    ) -> Result<Insert, Error> {
        let mut transaction = session.begin().await?;
        let result = self.insert_in(&mut transaction, record, live).await;
        transaction.end(result).await
    }

    async fn insert_in(
        &self,
        transaction: &mut Transaction<'_, D>,
        record: &TokenRecord,
        live: Live,
    ) -> Result<Insert, Error> {
        let sql = &self.sql.tokens;
        if D::SYNTAX.writers == Writers::Many {
            let locked = transaction.execute(&sql.lock, values![stripe(&record.user)]);
            if locked.await?.rows != 1 {
                // Without the lock nobody could count.
                return Err(Error::Unreadable { column: "locks.id" });
            }
        }
        let mut values = record_values(record);
        let places = match live {
            Live::AtMost(places) => {
                values.push(places.get().into());
                let insert = transaction.execute(&sql.insert_at_most, values);
                return Ok(inserted(insert.await?.rows));
            }
            Live::Newest(places) => places.get(),
            _ => {
                return Err(Error::Unsupported {
                    what: "bound on live tokens",
                });
            }
        };
        transaction.execute(&sql.insert, values).await?;
        let others = values![
            &record.user,
            &record.selector,
            record.issued_at,
            places.saturating_sub(1),
        ];
        for row in transaction.rows(&sql.superseded, others).await? {
            let why = Revocation::Superseded;
            let values = values![D::bytes(&row, "selector")?, record.issued_at, why];
            transaction.execute(&sql.revoke, values).await?;
        }
        Ok(Insert::Done)
    }

    async fn take_over(
        &self,
        transaction: &mut Transaction<'_, D>,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<TokenRecord>, Error> {
        let sql = &self.sql.tokens;
        let mut taken = Vec::new();
        for row in transaction.rows(&sql.overdue, values![now, max]).await? {
            // A row that cannot be read is taken and left out, so that it does not stand in the way
            // of the others.
            let values = values![D::bytes(&row, "selector")?, claim, until];
            transaction.execute(&sql.take_over, values).await?;
            if let Ok(mut record) = record::<D>(&row)
                && record.state.take_over(claim, now, until)
            {
                taken.push(record);
            }
        }
        Ok(taken)
    }
}

fn inserted(rows: u64) -> Insert {
    match rows {
        0 => Insert::Full,
        _ => Insert::Done,
    }
}

/// Which of the 256 locks an account shares with others. The same in every process, for ever.
fn stripe(user: &UserId) -> i64 {
    let bytes = user.as_str().bytes();
    i64::from(bytes.fold(0_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte)))
}

fn record_values(record: &TokenRecord) -> Vec<Value> {
    let columns = TokenColumns::from(record);
    let state = columns.state;
    values![
        columns.selector,
        columns.purpose,
        columns.tenant,
        columns.user_id,
        columns.epoch,
        columns.key_id,
        columns.digest,
        columns.issued_at,
        columns.expires_at,
        columns.attempts,
        state.claim,
        state.hold_until,
        state.spent_at,
        state.revoked_at,
        state.revoked_why,
    ]
}

fn record<D: Driver>(row: &D::Row) -> Result<TokenRecord, Error> {
    TokenColumns {
        selector: bytes::<D>(row, "selector")?,
        purpose: text::<D>(row, "purpose")?,
        tenant: D::text(row, "tenant")?,
        user_id: text::<D>(row, "user_id")?,
        epoch: bytes::<D>(row, "epoch")?,
        key_id: int::<D>(row, "key_id")?,
        digest: bytes::<D>(row, "digest")?,
        issued_at: int::<D>(row, "issued_at")?,
        expires_at: int::<D>(row, "expires_at")?,
        attempts: int::<D>(row, "attempts")?,
        state: StateColumns {
            claim: D::bytes(row, "claim")?,
            hold_until: D::int(row, "hold_until")?,
            spent_at: D::int(row, "spent_at")?,
            revoked_at: D::int(row, "revoked_at")?,
            revoked_why: D::text(row, "revoked_why")?,
        },
    }
    .try_into()
}

/// A column that is never null.
pub(crate) fn int<D: Driver>(row: &D::Row, column: &'static str) -> Result<i64, Error> {
    D::int(row, column)?.ok_or(Error::Unreadable { column })
}

pub(crate) fn bytes<D: Driver>(row: &D::Row, column: &'static str) -> Result<Vec<u8>, Error> {
    D::bytes(row, column)?.ok_or(Error::Unreadable { column })
}

fn text<D: Driver>(row: &D::Row, column: &'static str) -> Result<String, Error> {
    D::text(row, column)?.ok_or(Error::Unreadable { column })
}
