//! Writing a backend: a `TokenStore` in one file, made of nothing but `std`.
//!
//! ```text
//! cargo run --example custom_store
//! ```
//!
//! The recipe, whatever you store in:
//!
//! 1. Keep every field of a record, in columns that lose nothing: integers for times, bytes or hex
//!    for selectors and digests, exact text for ids.
//! 2. Make each method one atomic step around a pure function of `token::state::State`. Here a
//!    mutex does it; in SQL it is one `UPDATE .. WHERE`, in Redis one script.
//! 3. Write before you answer.
//! 4. Run the conformance kit, as `main` does.
//!
//! The store is a journal: each change is one line, which holds the new form of every record that
//! changed. Opening it reads all lines; the last form of a record counts, and a last line that a
//! crash cut short counts for nothing. It serves one process, which a lock file ensures, and it
//! waits for the disk inside `async` functions: enough to learn from, too slow for a crowd.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::account::{Tenant, UserId};
use password_reset::error::BoxError;
use password_reset::store::{Insert, Live, Reach, TokenStore};
use password_reset::testing::kit::{Race, tokens};
use password_reset::token::state::{Claim, ClaimId, Hold, Revocation, Settlement};
use password_reset::token::{Epoch, KeyId, Purpose, Selector, TokenDigest, TokenRecord};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let root = std::env::temp_dir().join(format!("custom-store-{}", std::process::id()));
    for check in tokens::CHECKS {
        // A fresh, empty store for each check. A broken promise panics.
        let store = FileTokens::open(&root.join(check.name()))?;
        check.run(Arc::new(store), Race::on(tokio::spawn)).await;
        println!("kept: {}", check.name());
    }
    a_spent_token_survives_a_restart(&root.join("restart")).await?;
    println!("kept: a_spent_token_survives_a_restart");
    Ok(fs::remove_dir_all(root)?)
}

/// What the kit cannot see: the store is closed and opened again.
async fn a_spent_token_survives_a_restart(path: &Path) -> Result<(), BoxError> {
    let selector = Selector::from_bytes([1; 16]);
    let claim = ClaimId::from_bytes([2; 16]);
    let [now, until, expiry] = [0, 60, 1_800].map(|s| Timestamp::from_unix_micros(s * 1_000_000));
    let store = FileTokens::open(path)?;
    assert!(FileTokens::open(path).is_err(), "one process at a time");
    let record = TokenRecord::new(
        selector,
        Purpose::Reset,
        None,
        UserId::parse("42")?,
        Epoch::from_bytes([3; 32]),
        KeyId(1),
        TokenDigest::from_bytes([4; 32]),
        now,
        expiry,
    );
    assert_eq!(store.insert(&record, Live::default()).await?, Insert::Done);
    assert_eq!(store.claim(&selector, claim, now, until).await?, Claim::Won);
    assert!(
        store
            .settle(&selector, claim, Settlement::Spent { at: now })
            .await?
    );
    drop(store);

    // A power cut in the middle of a write.
    let mut torn = OpenOptions::new().append(true).open(path.join("journal"))?;
    torn.write_all(b"0101\treset")?;
    let store = FileTokens::open(path)?;
    assert_eq!(
        store.claim(&selector, claim, until, expiry).await?,
        Claim::Refused
    );
    Ok(())
}

/// Between the rows of one line, which count together or not at all.
const ROW: &str = "\u{1e}";
/// Before the selector of a record that was purged.
const GONE: &str = "gone\t";

/// Tokens in a file.
struct FileTokens(Mutex<Inner>);

struct Inner {
    folder: PathBuf,
    journal: File,
    records: HashMap<Selector, TokenRecord>,
    /// A write failed. What the disk holds is uncertain, so nothing is answered any more.
    broken: bool,
}

impl FileTokens {
    /// Opens the store in `folder`, or makes it.
    fn open(folder: &Path) -> Result<Self, BoxError> {
        fs::create_dir_all(folder)?;
        // After a crash somebody has to remove this file: better than two processes at once.
        File::create_new(folder.join("lock"))?;
        Self::replay(folder).inspect_err(|_| unlock(folder))
    }

    fn replay(folder: &Path) -> Result<Self, BoxError> {
        let mut options = OpenOptions::new();
        let mut journal = options
            .create(true)
            .read(true)
            .append(true)
            .open(folder.join("journal"))?;
        let mut bytes = Vec::new();
        journal.read_to_end(&mut bytes)?;
        // Only a line with its end was written in full, and only then was it answered.
        bytes.truncate(
            bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1),
        );
        let mut records = HashMap::new();
        for row in str::from_utf8(&bytes)?
            .lines()
            .flat_map(|line| line.split(ROW))
        {
            match row.strip_prefix(GONE) {
                Some(selector) => drop(records.remove(&Selector::from_bytes(unhex(selector)?))),
                None => {
                    let record = read(row)?;
                    records.insert(record.selector, record);
                }
            }
        }
        journal.set_len(bytes.len().try_into()?)?;
        journal.sync_all()?;
        // A new file is only there after a crash once its folder says so.
        File::open(folder)?.sync_all()?;
        let folder = folder.to_owned();
        Ok(Self(Mutex::new(Inner {
            folder,
            journal,
            records,
            broken: false,
        })))
    }

    /// Everything happens in here, one caller at a time, without an await: nobody sees a change
    /// by half, and a dropped future has changed all or nothing.
    fn inner(&self) -> Result<MutexGuard<'_, Inner>, BoxError> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.broken {
            Err("the journal could not be written".into())
        } else {
            Ok(inner)
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        unlock(&self.folder);
    }
}

fn unlock(folder: &Path) {
    // A lock that stays is noticed at the next start.
    let _ = fs::remove_file(folder.join("lock"));
}

impl Inner {
    /// Writes one line to the disk, and only then lets anyone see the change.
    fn commit(&mut self, changed: Vec<TokenRecord>, gone: &[Selector]) -> Result<(), BoxError> {
        let rows = changed.iter().map(written);
        let gone_rows = gone.iter().map(|selector| format!("{GONE}{selector}"));
        let rows: Vec<String> = rows.chain(gone_rows).collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.broken = true;
        self.journal
            .write_all(format!("{}\n", rows.join(ROW)).as_bytes())?;
        self.journal.sync_data()?;
        self.broken = false;
        self.records
            .extend(changed.into_iter().map(|record| (record.selector, record)));
        for selector in gone {
            self.records.remove(selector);
        }
        Ok(())
    }

    /// One pure transition of one record.
    fn change<T>(
        &mut self,
        selector: &Selector,
        transition: impl FnOnce(&mut TokenRecord) -> T,
    ) -> Result<Option<T>, BoxError> {
        let Some(mut record) = self.records.get(selector).cloned() else {
            return Ok(None);
        };
        let before = (record.state, record.attempts);
        let answer = transition(&mut record);
        if before != (record.state, record.attempts) {
            self.commit(vec![record], &[])?;
        }
        Ok(Some(answer))
    }

    fn of(&self, user: &UserId) -> Vec<TokenRecord> {
        self.records
            .values()
            .filter(|record| record.user == *user)
            .cloned()
            .collect()
    }
}

#[async_trait]
impl TokenStore for FileTokens {
    async fn insert(&self, record: &TokenRecord, live: Live) -> Result<Insert, BoxError> {
        let mut inner = self.inner()?;
        if inner.records.contains_key(&record.selector) {
            return Err("the selector is taken".into());
        }
        let now = record.issued_at;
        let mut others = inner.of(&record.user);
        others.retain(|other| other.is_live(now));
        match live {
            Live::AtMost(places) if others.len() >= places.get().try_into()? => {
                return Ok(Insert::Full);
            }
            Live::Newest(places) => {
                others.sort_by_key(|other| Reverse(other.issued_at));
                others.drain(..others.len().min((places.get() - 1).try_into()?));
                for other in &mut others {
                    other.state.revoke(now, Revocation::Superseded);
                }
            }
            _ => others.clear(),
        }
        others.push(record.clone());
        inner.commit(others, &[])?;
        Ok(Insert::Done)
    }

    async fn find(&self, selector: &Selector) -> Result<Option<TokenRecord>, BoxError> {
        Ok(self.inner()?.records.get(selector).cloned())
    }

    async fn claim(
        &self,
        selector: &Selector,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, BoxError> {
        let answer = self
            .inner()?
            .change(selector, |r| r.state.claim(claim, now, until))?;
        Ok(answer.unwrap_or(Claim::Refused))
    }

    async fn settle(
        &self,
        selector: &Selector,
        claim: ClaimId,
        settlement: Settlement,
    ) -> Result<bool, BoxError> {
        let answer = self
            .inner()?
            .change(selector, |r| r.state.settle(claim, settlement))?;
        Ok(answer.unwrap_or(false))
    }

    async fn abandoned(
        &self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<TokenRecord>, BoxError> {
        let mut inner = self.inner()?;
        let mut due: Vec<TokenRecord> = inner.records.values().cloned().collect();
        due.sort_by_key(|record| record.state.hold.due());
        due.retain_mut(|record| record.state.take_over(claim, now, until));
        due.truncate(max.try_into()?);
        inner.commit(due.clone(), &[])?;
        Ok(due)
    }

    async fn count_attempt(&self, selector: &Selector) -> Result<Option<u32>, BoxError> {
        self.inner()?.change(selector, |record| {
            record.attempts = record.attempts.saturating_add(1);
            record.attempts
        })
    }

    async fn revoke(
        &self,
        selector: &Selector,
        at: Timestamp,
        why: Revocation,
    ) -> Result<bool, BoxError> {
        let answer = self
            .inner()?
            .change(selector, |r| r.state.revoke(at, why))?;
        Ok(answer.unwrap_or(false))
    }

    async fn revoke_all(
        &self,
        user: &UserId,
        reach: Reach<'_>,
        at: Timestamp,
        why: Revocation,
    ) -> Result<u64, BoxError> {
        let mut inner = self.inner()?;
        let mut open = inner.of(user);
        open.retain_mut(|record| reach.includes(record) && record.state.revoke(at, why));
        let reached = open.len().try_into()?;
        inner.commit(open, &[])?;
        Ok(reached)
    }

    async fn purge(&self, expired_before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        let mut inner = self.inner()?;
        let dead = inner.records.values();
        let dead = dead.filter(|r| r.expires_at < expired_before && r.state.is_purgeable());
        let dead: Vec<Selector> = dead.take(limit.try_into()?).map(|r| r.selector).collect();
        inner.commit(Vec::new(), &dead)?;
        Ok(dead.len().try_into()?)
    }
}

/// A record as one row. Ids hold no control characters and are never empty, so a tab never stands
/// inside a column, and an empty column is one that is not there.
fn written(record: &TokenRecord) -> String {
    let state = record.state;
    let micros = |at: Timestamp| at.unix_micros().to_string();
    let (revoked, why) = state.revoked.unzip();
    let claim = match state.hold {
        Hold::Claimed { claim, .. } => hex(claim.as_bytes()),
        Hold::Watched { .. } | Hold::Free => String::new(),
    };
    let columns: [String; 15] = [
        record.selector.to_string(),
        record.purpose.as_str().to_owned(),
        record
            .tenant
            .as_ref()
            .map(Tenant::to_string)
            .unwrap_or_default(),
        record.user.to_string(),
        hex(record.epoch.as_bytes()),
        record.key.0.to_string(),
        hex(record.digest.as_bytes()),
        micros(record.issued_at),
        micros(record.expires_at),
        state.spent_at.map(micros).unwrap_or_default(),
        revoked.map(micros).unwrap_or_default(),
        why.map_or("", Revocation::as_str).to_owned(),
        claim,
        state.hold.due().map(micros).unwrap_or_default(),
        record.attempts.to_string(),
    ];
    columns.join("\t")
}

/// The way back. A row that cannot be read is an error, never a default: fail closed.
fn read(row: &str) -> Result<TokenRecord, BoxError> {
    let mut columns = row.split('\t');
    let mut next = || columns.next().ok_or("a row of the journal is too short");
    let mut record = TokenRecord::new(
        Selector::from_bytes(unhex(next()?)?),
        Purpose::parse(next()?).ok_or("an unknown purpose")?,
        some(next()?).map(Tenant::parse).transpose()?,
        UserId::parse(next()?)?,
        Epoch::from_bytes(unhex(next()?)?),
        KeyId(next()?.parse()?),
        TokenDigest::from_bytes(unhex(next()?)?),
        moment(next()?)?,
        moment(next()?)?,
    );
    record.state.spent_at = some(next()?).map(moment).transpose()?;
    record.state.revoked = match (some(next()?), Revocation::parse(next()?)) {
        (Some(at), Some(why)) => Some((moment(at)?, why)),
        (None, None) => None,
        _ => return Err("an unknown reason".into()),
    };
    let claim = some(next()?)
        .map(unhex)
        .transpose()?
        .map(ClaimId::from_bytes);
    let until = some(next()?).map(moment).transpose()?;
    record.state.hold = match (claim, until) {
        (None, None) => Hold::Free,
        (Some(claim), Some(until)) => Hold::Claimed { claim, until },
        (None, Some(until)) => Hold::Watched { until },
        (Some(_), None) => return Err("a claim without an end".into()),
    };
    record.attempts = next()?.parse()?;
    Ok(record)
}

fn some(column: &str) -> Option<&str> {
    Some(column).filter(|column| !column.is_empty())
}

fn moment(column: &str) -> Result<Timestamp, ParseIntError> {
    column.parse().map(Timestamp::from_unix_micros)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], BoxError> {
    let byte = |pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    let bytes: Result<Vec<u8>, BoxError> = text.as_bytes().chunks(2).map(byte).collect();
    bytes?
        .try_into()
        .map_err(|_| "bytes of another length".into())
}
