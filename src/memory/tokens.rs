//! Tokens in a map, with one ordered index for each question that is asked of them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{NoRoom, lock};
use crate::account::UserId;
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::store::{Insert, Live, Reach, TokenStore};
use crate::token::state::{Claim, ClaimId, Hold, Revocation, Settlement, State};
use crate::token::{Purpose, Selector, TokenRecord};

/// A [`TokenStore`] in memory. Clones share their records.
#[derive(Clone)]
pub struct MemoryTokens(Arc<Mutex<Inner>>);

impl MemoryTokens {
    /// An empty store for at most `records` tokens, dead ones included until they are purged.
    ///
    /// A full store makes room by dropping expired tokens early, as long as nobody waits for
    /// them; when there are none, `insert` fails.
    pub fn with_capacity(records: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            capacity: records,
            ..Inner::default()
        })))
    }
}

impl Default for MemoryTokens {
    /// Room for 100,000 tokens.
    fn default() -> Self {
        Self::with_capacity(100_000)
    }
}

impl fmt::Debug for MemoryTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The records are not shown: they name people.
        f.debug_struct("MemoryTokens").finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenStore for MemoryTokens {
    async fn insert(&self, record: &TokenRecord, live: Live) -> Result<Insert, BoxError> {
        lock(&self.0).insert(record, live)
    }

    async fn find(&self, selector: &Selector) -> Result<Option<TokenRecord>, BoxError> {
        Ok(lock(&self.0).records.get(selector).cloned())
    }

    async fn claim(
        &self,
        selector: &Selector,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, BoxError> {
        let answer = lock(&self.0).change(selector, |state| state.claim(claim, now, until));
        Ok(answer.unwrap_or(Claim::Refused))
    }

    async fn settle(
        &self,
        selector: &Selector,
        claim: ClaimId,
        settlement: Settlement,
    ) -> Result<bool, BoxError> {
        let answer = lock(&self.0).change(selector, |state| state.settle(claim, settlement));
        Ok(answer.unwrap_or(false))
    }

    async fn abandoned(
        &self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<TokenRecord>, BoxError> {
        Ok(lock(&self.0).abandoned(claim, now, until, count(max)))
    }

    async fn count_attempt(&self, selector: &Selector) -> Result<Option<u32>, BoxError> {
        let mut inner = lock(&self.0);
        Ok(inner.count_attempt(selector))
    }

    async fn revoke(
        &self,
        selector: &Selector,
        at: Timestamp,
        why: Revocation,
    ) -> Result<bool, BoxError> {
        let answer = lock(&self.0).change(selector, |state| state.revoke(at, why));
        Ok(answer.unwrap_or(false))
    }

    async fn revoke_all(
        &self,
        user: &UserId,
        reach: Reach<'_>,
        at: Timestamp,
        why: Revocation,
    ) -> Result<u64, BoxError> {
        let mut inner = lock(&self.0);
        let open = inner.open.get(user).into_iter().flatten();
        let open: Vec<Selector> = open
            .map(|(_, selector)| *selector)
            .filter(|selector| {
                inner
                    .records
                    .get(selector)
                    .is_some_and(|r| reach.includes(r))
            })
            .collect();
        for selector in &open {
            inner.change(selector, |state| state.revoke(at, why));
        }
        Ok(u64::try_from(open.len()).unwrap_or(u64::MAX))
    }

    async fn purge(&self, expired_before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        Ok(lock(&self.0).purge(expired_before, count(limit)))
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Selectors in the order of a moment that matters to them.
type Index = BTreeSet<(Timestamp, Selector)>;

const LAST: Selector = Selector::from_bytes([u8::MAX; 16]);

#[derive(Default)]
struct Inner {
    capacity: usize,
    records: HashMap<Selector, TokenRecord>,
    /// The open records of each user by expiry, so that the live ones are counted and the
    /// expired ones, which pile up until the purge, are not looked at.
    open: HashMap<UserId, Index>,
    /// What the sweep has to look at, by the moment at which it is due.
    due: Index,
    /// What may be purged, by expiry. Claimed records are not in it.
    purgeable: Index,
    /// Counters of tries that have counted none yet, by expiry. Everybody who asks for a code leaves
    /// one for a month, and it says no more than if it were not there.
    idle: Index,
}

impl Inner {
    fn insert(&mut self, record: &TokenRecord, live: Live) -> Result<Insert, BoxError> {
        if self.records.contains_key(&record.selector) {
            return Err("the selector is taken".into());
        }
        let now = record.issued_at;
        let mut others = self.live(&record.user, now);
        if matches!(live, Live::AtMost(places) if others.len() >= count(places.get())) {
            return Ok(Insert::Full);
        }
        if self.records.len() >= self.capacity && !self.evict(now) {
            return Err(NoRoom { what: "token" }.into());
        }
        if let Live::Newest(places) = live {
            // Newest first; the new record takes one of the places.
            others.sort_unstable_by(|a, b| b.cmp(a));
            for (_, selector) in others.iter().skip(count(places.get()) - 1) {
                self.change(selector, |state| state.revoke(now, Revocation::Superseded));
            }
        }
        self.index(record);
        self.records.insert(record.selector, record.clone());
        Ok(Insert::Done)
    }

    /// The user's live records, each with the moment it was issued.
    fn live(&self, user: &UserId, now: Timestamp) -> Vec<(Timestamp, Selector)> {
        let Some(open) = self.open.get(user) else {
            return Vec::new();
        };
        open.range((Bound::Excluded((now, LAST)), Bound::Unbounded))
            .filter_map(|(_, selector)| self.records.get(selector))
            .map(|record| (record.issued_at, record.selector))
            .collect()
    }

    fn abandoned(
        &mut self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Vec<TokenRecord> {
        let due: Vec<Selector> = self
            .due
            .range(..=(now, LAST))
            .take(max)
            .map(|(_, s)| *s)
            .collect();
        for selector in &due {
            self.change(selector, |state| state.take_over(claim, now, until));
        }
        due.iter()
            .filter_map(|selector| self.records.get(selector).cloned())
            .collect()
    }

    fn purge(&mut self, expired_before: Timestamp, limit: usize) -> u64 {
        let first = Selector::from_bytes([0; 16]);
        let dead: Vec<Selector> = self
            .purgeable
            .range(..(expired_before, first))
            .take(limit)
            .map(|(_, s)| *s)
            .collect();
        for selector in &dead {
            self.remove(selector);
        }
        u64::try_from(dead.len()).unwrap_or(u64::MAX)
    }

    fn count_attempt(&mut self, selector: &Selector) -> Option<u32> {
        let record = self.records.get_mut(selector)?;
        record.attempts = record.attempts.saturating_add(1);
        self.idle.remove(&(record.expires_at, record.selector));
        Some(record.attempts)
    }

    /// Drops one expired record that nobody waits for, or else a counter that has counted nothing.
    /// Watched ones are spared: a late change of the password may still have to be settled, and whoever
    /// fills the store must not prevent it.
    fn evict(&mut self, now: Timestamp) -> bool {
        let victim = self
            .purgeable
            .range(..=(now, LAST))
            .map(|(_, selector)| *selector)
            .find(|selector| {
                self.records
                    .get(selector)
                    .is_some_and(|record| due(&record.state).is_none())
            });
        let victim = victim.or_else(|| self.idle.first().map(|(_, selector)| *selector));
        victim.is_some_and(|selector| self.remove(&selector))
    }

    /// One transition, with the indexes following the state.
    fn change<T>(
        &mut self,
        selector: &Selector,
        transition: impl FnOnce(&mut State) -> T,
    ) -> Option<T> {
        // The record leaves the map while the indexes change, which keeps the borrows apart.
        let mut record = self.records.remove(selector)?;
        self.unindex(&record);
        let answer = transition(&mut record.state);
        self.index(&record);
        self.records.insert(*selector, record);
        Some(answer)
    }

    fn remove(&mut self, selector: &Selector) -> bool {
        let removed = self.records.remove(selector);
        if let Some(record) = &removed {
            self.unindex(record);
        }
        removed.is_some()
    }

    fn index(&mut self, record: &TokenRecord) {
        let by_expiry = (record.expires_at, record.selector);
        if record.state.is_open() {
            self.open
                .entry(record.user.clone())
                .or_default()
                .insert(by_expiry);
        }
        if let Some(at) = due(&record.state) {
            self.due.insert((at, record.selector));
        }
        if record.state.is_purgeable() {
            self.purgeable.insert(by_expiry);
        }
        if record.purpose == Purpose::CodeTries && record.attempts == 0 {
            self.idle.insert(by_expiry);
        }
    }

    fn unindex(&mut self, record: &TokenRecord) {
        let by_expiry = (record.expires_at, record.selector);
        if let Some(open) = self.open.get_mut(&record.user) {
            open.remove(&by_expiry);
            if open.is_empty() {
                self.open.remove(&record.user);
            }
        }
        if let Some(at) = due(&record.state) {
            self.due.remove(&(at, record.selector));
        }
        self.purgeable.remove(&by_expiry);
        self.idle.remove(&by_expiry);
    }
}

/// When the sweep is due; `None` for what it never looks at (again).
fn due(state: &State) -> Option<Timestamp> {
    let hold = if state.spent_at.is_some() {
        Hold::Free
    } else {
        state.hold
    };
    hold.due()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::token::{Epoch, KeyId, TokenDigest};

    const THREE: Live = Live::at_most(std::num::NonZeroU32::new(3).unwrap());

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000)
    }

    fn record(number: u8, user: &str, issued: i64) -> TokenRecord {
        TokenRecord::new(
            Selector::from_bytes([number; 16]),
            Purpose::Reset,
            None,
            UserId::parse(user).unwrap(),
            Epoch::from_bytes([0; 32]),
            KeyId(0),
            TokenDigest::from_bytes([0; 32]),
            at(issued),
            at(issued + 10),
        )
    }

    fn store(capacity: usize) -> Inner {
        Inner {
            capacity,
            ..Inner::default()
        }
    }

    #[test]
    fn a_full_store_drops_expired_tokens_and_then_fails() {
        let mut store = store(2);
        assert_eq!(
            store.insert(&record(1, "a", 0), THREE).unwrap(),
            Insert::Done
        );
        assert_eq!(
            store.insert(&record(2, "b", 5), THREE).unwrap(),
            Insert::Done
        );
        assert!(store.insert(&record(3, "c", 9), THREE).is_err());
        assert_eq!(
            store.insert(&record(3, "c", 10), THREE).unwrap(),
            Insert::Done
        );
        assert!(
            !store
                .records
                .contains_key(&Selector::from_bytes([1_u8; 16]))
        );
        assert_eq!(store.records.len(), 2);
    }

    /// Otherwise requests for codes, for nobody's addresses, fill it for a month.
    #[test]
    fn a_full_store_drops_counters_that_have_counted_nothing() {
        let counter = |number, user| {
            let mut counter = record(number, user, 0);
            (counter.purpose, counter.expires_at) = (Purpose::CodeTries, at(2_592_000));
            counter
        };
        let mut store = store(2);
        for (number, user) in [(1, "a"), (2, "b")] {
            let done = store.insert(&counter(number, user), THREE).unwrap();
            assert_eq!(done, Insert::Done);
        }
        let tried = Selector::from_bytes([1; 16]);
        assert_eq!(store.count_attempt(&tried), Some(1));
        let done = store.insert(&record(3, "c", 1), THREE).unwrap();
        assert_eq!(done, Insert::Done);
        // The one that has counted stays.
        assert!(store.insert(&record(4, "d", 1), THREE).is_err());
        assert_eq!(store.count_attempt(&tried), Some(2));
        assert!(store.idle.is_empty());
    }

    #[test]
    fn a_full_store_spares_claimed_and_watched_tokens() {
        let mut store = store(2);
        let claim = ClaimId::from_bytes([7; 16]);
        for number in [1, 2] {
            let record = record(number, "a", 0);
            assert_eq!(store.insert(&record, THREE).unwrap(), Insert::Done);
            let won = store.change(&record.selector, |s| s.claim(claim, at(1), at(2)));
            assert_eq!(won, Some(Claim::Won));
        }
        let released = Settlement::Released { check_at: at(30) };
        store.change(&Selector::from_bytes([2; 16]), |s| {
            s.settle(claim, released)
        });
        assert!(store.insert(&record(3, "b", 20), THREE).is_err());
    }

    #[test]
    fn no_index_outlives_its_records() {
        let mut store = store(10);
        let claim = ClaimId::from_bytes([7; 16]);
        for number in 0..6 {
            let record = record(number, "a", i64::from(number));
            let newest = Live::newest(std::num::NonZeroU32::MIN);
            assert_eq!(store.insert(&record, newest).unwrap(), Insert::Done);
            let won = store.change(&record.selector, |s| s.claim(claim, at(7), at(8)));
            assert_eq!(won, Some(Claim::Won));
        }
        assert_eq!(store.open.values().map(BTreeSet::len).sum::<usize>(), 1);
        assert_eq!(store.purge(at(1_000), 100), 0);
        for record in store.abandoned(claim, at(9), at(10), 100) {
            store.change(&record.selector, |s| {
                s.settle(claim, Settlement::Spent { at: at(9) })
            });
        }
        assert_eq!(store.purge(at(1_000), 100), 6);
        assert!(store.records.is_empty() && store.open.is_empty());
        assert!(store.due.is_empty() && store.purgeable.is_empty());
    }
}
