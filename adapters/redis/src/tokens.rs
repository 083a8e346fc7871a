//! [`TokenStore`] on Redis.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::error::BoxError;
use password_reset::store::{Insert, Live, Reach, TokenStore};
use password_reset::token::state::{Claim, ClaimId, Revocation, Settlement};
use password_reset::token::{Selector, TokenRecord};
use redis::{Script, ScriptInvocation, Value, cmd};

use crate::RedisBackend;
use crate::error::Error;
use crate::fields::{FIELDS, pairs, record};
use crate::keys::digits;
use crate::reply::{array, count, exactly, integer, list, text, yes};

static INSERT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/insert.lua")));
static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/claim.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/settle.lua")));
static ABANDONED: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/abandoned.lua")));
static COUNT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/count_attempt.lua")));
static REVOKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/revoke.lua")));
static REVOKE_ALL: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/revoke_all.lua")));
static PURGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/purge.lua")));

/// How many records or jobs one script touches at most: the server does nothing else meanwhile.
pub(crate) const AT_ONCE: u32 = 1_000;

/// How much longer than its token a record lives when nobody purges.
const REST: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// A time to live must not run past the end of the server's own calendar. 142 years.
const LONGEST_LIFE: u128 = (1 << 52) / 1_000;

#[async_trait]
impl TokenStore for RedisBackend {
    async fn insert(&self, record: &TokenRecord, live: Live) -> Result<Insert, BoxError> {
        let (rule, places) = match live {
            Live::AtMost(places) => ("at-most", places),
            Live::Newest(places) => ("newest", places),
            _ => return Err("this bound on live tokens is not known here".into()),
        };
        let keep = (record.expires_at.since(record.issued_at) + REST).as_millis();
        let keep = keep.min(LONGEST_LIFE).to_string();
        let held = match record.state.spent_at {
            Some(_) => None,
            None => record.state.hold.due(),
        };
        let mut script = INSERT.key(self.keys.record(&record.selector));
        script
            .key(self.keys.user(&record.user))
            .key(&self.keys.purgeable)
            .key(&self.keys.sweep)
            .arg(record.selector.as_bytes().as_slice())
            .arg(digits(record.issued_at))
            .arg(digits(record.expires_at))
            .arg(&keep)
            .arg(rule)
            .arg(places.get())
            .arg(u8::from(record.state.is_open()))
            .arg(held.map(digits).unwrap_or_default())
            .arg(Revocation::Superseded.as_str())
            .arg(&self.keys.records)
            .arg("keep")
            .arg(&keep);
        for (name, value) in pairs(record) {
            script.arg(name).arg(value);
        }
        match text(self.link.run(&script).await?, "insert")?.as_str() {
            "done" => Ok(Insert::Done),
            "full" => Ok(Insert::Full),
            _ => Err(Error::Taken.into()),
        }
    }

    async fn find(&self, selector: &Selector) -> Result<Option<TokenRecord>, BoxError> {
        let mut find = cmd("HMGET");
        find.arg(self.keys.record(selector)).arg(&FIELDS);
        let values = exactly(self.link.send(&find).await?, "record")?;
        Ok(record(selector, values)?)
    }

    async fn claim(
        &self,
        selector: &Selector,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, BoxError> {
        let mut script = CLAIM.key(self.keys.record(selector));
        script
            .key(&self.keys.sweep)
            .key(&self.keys.purgeable)
            .arg(selector.as_bytes().as_slice())
            .arg(claim.as_bytes().as_slice())
            .arg(digits(now))
            .arg(digits(until))
            .arg(&self.keys.users);
        match text(self.link.run(&script).await?, "claim")?.as_str() {
            "won" => Ok(Claim::Won),
            "held" => Ok(Claim::Held),
            _ => Ok(Claim::Refused),
        }
    }

    async fn settle(
        &self,
        selector: &Selector,
        claim: ClaimId,
        settlement: Settlement,
    ) -> Result<bool, BoxError> {
        let (how, at) = match settlement {
            Settlement::Spent { at } => ("spent", Some(at)),
            Settlement::Released { check_at } => ("released", Some(check_at)),
            Settlement::Closed => ("closed", None),
        };
        let mut script = SETTLE.key(self.keys.record(selector));
        script
            .key(&self.keys.sweep)
            .key(&self.keys.purgeable)
            .arg(selector.as_bytes().as_slice())
            .arg(claim.as_bytes().as_slice())
            .arg(how)
            .arg(at.map(digits).unwrap_or_default())
            .arg(&self.keys.users);
        Ok(yes(self.link.run(&script).await?, "settle")?)
    }

    /// At most 1,000 at once: the server does nothing else in the meantime. A record that cannot be
    /// read is left out, and looked at again when the lease of this sweep is over.
    async fn abandoned(
        &self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<TokenRecord>, BoxError> {
        let mut script = ABANDONED.key(&self.keys.sweep);
        script
            .arg(digits(now))
            .arg(digits(until))
            .arg(claim.as_bytes().as_slice())
            .arg(max.min(AT_ONCE))
            .arg(&self.keys.records)
            .arg(&FIELDS);
        let found = list(self.link.run(&script).await?, "abandoned")?;
        Ok(found.into_iter().filter_map(swept).collect())
    }

    async fn count_attempt(&self, selector: &Selector) -> Result<Option<u32>, BoxError> {
        let script = COUNT.key(self.keys.record(selector));
        match self.link.run(&script).await? {
            Value::Nil => Ok(None),
            attempts => Ok(Some(count(attempts, "attempts")?)),
        }
    }

    async fn revoke(
        &self,
        selector: &Selector,
        at: Timestamp,
        why: Revocation,
    ) -> Result<bool, BoxError> {
        let mut script = REVOKE.key(self.keys.record(selector));
        script
            .arg(selector.as_bytes().as_slice())
            .arg(digits(at))
            .arg(why.as_str())
            .arg(&self.keys.users);
        Ok(yes(self.link.run(&script).await?, "revoke")?)
    }

    async fn revoke_all(
        &self,
        user: &UserId,
        reach: Reach<'_>,
        at: Timestamp,
        why: Revocation,
    ) -> Result<u64, BoxError> {
        let credential = match reach {
            Reach::All => Vec::new(),
            Reach::SameCredential(epoch) => epoch.credential().to_vec(),
        };
        let mut script = REVOKE_ALL.key(self.keys.user(user));
        script
            .arg(digits(at))
            .arg(why.as_str())
            .arg(credential)
            .arg(&self.keys.records);
        Ok(integer(self.link.run(&script).await?, "revoke_all")?)
    }

    async fn purge(&self, expired_before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        let before = digits(expired_before);
        let purged = self.in_batches(limit, |size| {
            let mut script = PURGE.key(&self.keys.purgeable);
            script
                .arg(&before)
                .arg(size)
                .arg(&self.keys.records)
                .arg(&self.keys.users);
            script
        });
        Ok(purged.await?)
    }
}

/// A record that the sweep leased; `None` when it cannot be read.
fn swept(value: Value) -> Option<TokenRecord> {
    let [selector, values] = exactly(value, "record").ok()?;
    let selector = Selector::from_bytes(array(selector, "selector").ok()?);
    record(&selector, exactly(values, "record").ok()?).ok()?
}

impl RedisBackend {
    /// Purges up to `limit`, [`AT_ONCE`] at a time. A batch answers how many it looked at and how
    /// many of them it removed; the others had gone before.
    pub(crate) async fn in_batches(
        &self,
        limit: u32,
        batch: impl Fn(u64) -> ScriptInvocation<'static> + Send + Sync,
    ) -> Result<u64, Error> {
        let (mut removed, limit) = (0, u64::from(limit));
        while removed < limit {
            let size = limit.saturating_sub(removed).min(u64::from(AT_ONCE));
            let [seen, gone] = exactly(self.link.run(&batch(size)).await?, "purge")?;
            removed += integer(gone, "purge")?;
            if integer(seen, "purge")? < size {
                break;
            }
        }
        Ok(removed)
    }
}
