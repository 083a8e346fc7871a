//! The latest audit events, in a ring.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::lock;
use crate::account::UserId;
use crate::audit::log::{
    Arrival, AuditLog, Count, Entry, EntryId, MAX_ENTRIES, Order, Page, Query, Spans, Thread,
};
use crate::audit::{AuditSink, Event};
use crate::clock::Timestamp;
use crate::error::BoxError;

/// The latest audit events in memory: an [`AuditSink`] and an [`AuditLog`]. Clones share their
/// events.
///
/// When it is full, each event takes the place of the oldest. For tests, development and rules that
/// watch one process; a restart forgets everything, so it is no trail to answer questions with.
#[derive(Clone)]
pub struct MemoryLog(Arc<Mutex<Inner>>);

impl MemoryLog {
    /// A log of the latest `events` events; at least one. Each takes some hundred bytes.
    pub fn with_capacity(events: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            capacity: events.max(1),
            ..Inner::default()
        })))
    }
}

impl Default for MemoryLog {
    /// Room for 20,000 events.
    fn default() -> Self {
        Self::with_capacity(20_000)
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Inner {
    capacity: usize,
    arrived: u64,
    /// Up to where somebody has followed the log.
    followed: Option<Arrival>,
    lost: u64,
    /// In the order of their arrival.
    entries: VecDeque<Entry>,
}

impl AuditSink for MemoryLog {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        let mut inner = lock(&self.0);
        if inner.entries.len() >= inner.capacity {
            let oldest = inner.entries.pop_front().map(|entry| entry.arrival);
            // Nobody misses it but who follows, and has not come so far.
            if inner.followed.is_some_and(|seen| oldest > Some(seen)) {
                inner.lost += 1;
            }
        }
        inner.arrived += 1;
        let arrival = inner.arrived;
        let id = EntryId::from_bytes(u128::from(arrival).to_be_bytes());
        let entry = Entry::new(id, Arrival(arrival), event.clone());
        inner.entries.push_back(entry);
        Ok(())
    }

    /// What was forgotten before anybody who follows the log had come so far; what nobody follows was
    /// there to be read.
    fn lost(&self) -> u64 {
        lock(&self.0).lost
    }
}

#[async_trait]
impl AuditLog for MemoryLog {
    async fn read(&self, query: &Query) -> Result<Page, BoxError> {
        let inner = lock(&self.0);
        let mut found: Vec<_> = inner.entries.iter().collect();
        found.retain(|entry| query.matches(entry));
        match query.order {
            Order::Newest => found.sort_by_key(|entry| Reverse(entry.position())),
            Order::Oldest => found.sort_by_key(|entry| entry.position()),
        }
        Ok(page(&found, query.limit()))
    }

    async fn count(&self, query: &Query, spans: &Spans) -> Result<Vec<Count>, BoxError> {
        let mut query = query.clone();
        query.beyond = None;
        let inner = lock(&self.0);
        let mut counts: BTreeMap<(Timestamp, String), u64> = BTreeMap::new();
        for entry in inner.entries.iter().filter(|entry| query.matches(entry)) {
            if let Some(at) = spans.of(entry.event.at) {
                *counts.entry((at, entry.event.kind.code())).or_default() += 1;
            }
        }
        let counts = counts.into_iter();
        Ok(counts
            .map(|((at, code), events)| Count::new(at, code, events))
            .collect())
    }

    async fn arrived(&self, after: Arrival, limit: u32) -> Result<Page, BoxError> {
        let mut inner = lock(&self.0);
        let first = inner
            .entries
            .partition_point(|entry| entry.arrival <= after);
        let found: Vec<_> = inner.entries.range(first..).collect();
        let page = page(&found, limit.min(MAX_ENTRIES));
        // The furthest of all followers.
        let newest = Arrival(inner.arrived);
        let seen = page.entries.last().map_or(after, |entry| entry.arrival);
        let seen = seen.min(newest);
        inner.followed = inner.followed.max(Some(seen));
        Ok(page)
    }

    async fn latest(&self) -> Result<Arrival, BoxError> {
        Ok(Arrival(lock(&self.0).arrived))
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        let mut inner = lock(&self.0);
        let mut old: Vec<_> = inner.entries.iter().map(Entry::position).collect();
        old.retain(|position| position.at < before);
        old.sort_unstable();
        old.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let old: HashSet<_> = old.into_iter().collect();
        Ok(inner.delete(|entry| old.contains(&entry.position())))
    }

    async fn forget(&self, user: &UserId) -> Result<u64, BoxError> {
        let mut inner = lock(&self.0);
        let own = inner.entries.iter().filter(|entry| is_about(entry, user));
        let own: Vec<_> = own.collect();
        let mut names: HashSet<_> = own.iter().filter_map(|it| it.event.identifier).collect();
        // A name that stands beside another account too belongs to neither: whoever takes over a name
        // must not erase what happened under it before.
        for entry in &inner.entries {
            if let (Some(name), Some(of)) = (&entry.event.identifier, &entry.event.user)
                && of != user
            {
                names.remove(name);
            }
        }
        let own: HashSet<_> = own.into_iter().flat_map(threads).collect();
        Ok(inner.delete(|entry| {
            let is_theirs = || {
                let named = entry.event.identifier.is_some_and(|it| names.contains(&it));
                named || threads(entry).any(|it| own.contains(&it))
            };
            is_about(entry, user) || entry.event.user.is_none() && is_theirs()
        }))
    }
}

impl Inner {
    fn delete(&mut self, which: impl Fn(&Entry) -> bool) -> u64 {
        let before = self.entries.len();
        self.entries.retain(|entry| !which(entry));
        u64::try_from(before - self.entries.len()).unwrap_or(u64::MAX)
    }
}

fn is_about(entry: &Entry, user: &UserId) -> bool {
    entry.event.user.as_ref() == Some(user)
}

fn threads(entry: &Entry) -> impl Iterator<Item = Thread> + use<> {
    let job = entry.event.job.map(Thread::Job);
    let tokens = [entry.event.token, entry.event.parent];
    let tokens = tokens.into_iter().flatten().map(Thread::Token);
    job.into_iter().chain(tokens)
}

fn page(found: &[&Entry], limit: u32) -> Page {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let entries: Vec<Entry> = found.iter().take(limit).copied().cloned().collect();
    Page {
        more: found.len() > entries.len(),
        last: entries.last().map(|last| (last.position(), last.arrival)),
        entries,
        unreadable: 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::audit::EventKind;
    use crate::testing::block_on;

    /// Whoever floods a log until the watcher has missed events is seen by that.
    #[test]
    fn what_a_follower_has_missed_is_lost() {
        let log = MemoryLog::with_capacity(10);
        let record = |events| {
            for _ in 0..events {
                let event = Event::new(Timestamp::from_unix_micros(0), EventKind::Verified);
                log.record(&event).unwrap();
            }
        };
        // Nobody follows it yet.
        record(25);
        assert_eq!(log.lost(), 0);
        let page = block_on(log.arrived(Arrival(0), 10)).unwrap();
        assert_eq!(page.entries.last().unwrap().arrival, Arrival(25));
        record(10);
        assert_eq!(log.lost(), 0);
        record(3);
        assert_eq!(log.lost(), 3);
    }
}
