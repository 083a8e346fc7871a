//! Reading the trail again: [`AuditLog`], [`Query`], [`Tail`], [`journey`].
//!
//! A sink takes events; a log gives them back, as the same typed [`Event`]s. `MemoryLog` of
//! [`memory`](crate::memory) and the SQL adapter's `SqlAudit` are both. An alarm that watches the
//! events, an operator's page and a report for an authority all read through here.
//!
//! ```
//! # #[cfg(feature = "testing")]
//! # password_reset::testing::block_on(async {
//! use password_reset::Timestamp;
//! use password_reset::audit::log::{AuditLog, Query};
//! use password_reset::audit::{AuditSink, Event, EventKind, Severity};
//! use password_reset::memory::MemoryLog;
//!
//! let log = MemoryLog::default();
//! let at = Timestamp::from_unix_micros(1_000_000);
//! log.record(&Event::new(at, EventKind::Completed))?;
//! log.record(&Event::new(at, EventKind::WorkerPanicked))?;
//!
//! let page = log.read(&Query::newest(10).severity(Severity::Critical)).await?;
//! assert_eq!(page.entries.len(), 1);
//! # Ok::<(), password_reset::error::BoxError>(()) }).unwrap();
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet, btree_map};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::account::{Tenant, UserId};
use crate::audit::code::MAX_CODE_BYTES;
use crate::audit::{Event, EventKind, Pseudonym, Severity};
use crate::clock::{Timestamp, micros};
use crate::error::BoxError;
use crate::queue::JobId;
use crate::token::Selector;

/// The most entries that one call answers.
pub const MAX_ENTRIES: u32 = 1_000;
/// The most pseudonyms that one query asks for: one for each key of a ring.
pub const MAX_PSEUDONYMS: usize = 8;

/// The most spans that are counted at once.
pub const MAX_SPANS: u32 = 400;

/// The name of one event in a trail: 16 bytes that no other event has.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EntryId([u8; 16]);

impl EntryId {
    /// A name from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads what [`Display`](fmt::Display) writes: 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        crate::token::unhex(text).map(Self)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::token::hex(f, &self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryId({self})")
    }
}

/// Where an entry stands in the order in which a trail took its entries. 0 is before all of them.
///
/// Entries that are written at the same moment may become visible in another order: see [`Tail`].
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Arrival(pub u64);

/// One event of a trail.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// Where it stands.
    pub arrival: Arrival,
    /// What happened.
    pub event: Event,
}

impl Entry {
    /// An entry as a log answers it.
    pub fn new(id: EntryId, arrival: Arrival, event: Event) -> Self {
        Self { id, arrival, event }
    }

    /// Where it stands in the order of time: what [`Query::beyond`] goes on from.
    pub fn position(&self) -> Position {
        Position {
            at: self.event.at,
            id: self.id,
        }
    }
}

/// A place in the order of time. Entries of the same moment follow their names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// The moment.
    pub at: Timestamp,
    /// The entry of that moment.
    pub id: EntryId,
}

/// What a log answers at once.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The entries, in the order that was asked for.
    pub entries: Vec<Entry>,
    /// Whether there may be more behind the last one.
    pub more: bool,
    /// How many entries were left out because this version cannot read them: a newer one wrote them.
    pub unreadable: u32,
    /// The last place that was looked at, unreadable entries included; go on behind it.
    pub last: Option<(Position, Arrival)>,
}

impl Page {
    /// An empty page, for a log to fill.
    pub fn of(more: bool) -> Self {
        Self {
            more,
            ..Self::default()
        }
    }
}

/// In which order entries are answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Order {
    /// The latest first.
    #[default]
    Newest,
    /// The earliest first.
    Oldest,
}

/// The beginning of a [code](EventKind::code): `refused` means every refusal, `refused.spent` one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CodePrefix(Box<str>);

impl CodePrefix {
    /// Reads one: one or more whole words of a code.
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.split('.').next();
        let known = first.is_some_and(|word| EventKind::WORDS.contains(&word));
        let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '.');
        let plain = text.len() <= MAX_CODE_BYTES && text.chars().all(plain);
        (known && plain && !text.ends_with('.')).then(|| Self(text.into()))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a code begins with these words.
    pub fn matches(&self, code: &str) -> bool {
        let rest = code.strip_prefix(&*self.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Which entries are asked for: all that meet every condition that is set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Query {
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// What happened.
    pub code: Option<CodePrefix>,
    /// At least this severe.
    pub severity: Option<Severity>,
    /// In this tenant.
    pub tenant: Option<Tenant>,
    /// About this account.
    pub user: Option<UserId>,
    /// About one of these pseudonyms, where there are any; the first [`MAX_PSEUDONYMS`] count. See
    /// [`ResetFlow::pseudonyms`](crate::ResetFlow::pseudonyms).
    pub identifiers: Vec<Pseudonym>,
    /// From this source, exactly as the event has it: an IPv4 address, or the first address of an
    /// IPv6 /64.
    pub source: Option<IpAddr>,
    /// Of this job.
    pub job: Option<JobId>,
    /// Of this token, or of one that it was exchanged for as a code.
    pub token: Option<Selector>,
    /// In this order.
    pub order: Order,
    /// Only what stands behind this place, in that order.
    pub beyond: Option<Position>,
    /// At most so many; [`MAX_ENTRIES`] is the most.
    pub limit: u32,
}

impl Query {
    /// Up to `limit` entries, the latest first.
    pub fn newest(limit: u32) -> Self {
        Self {
            from: None,
            until: None,
            code: None,
            severity: None,
            tenant: None,
            user: None,
            identifiers: Vec::new(),
            source: None,
            job: None,
            token: None,
            order: Order::Newest,
            beyond: None,
            limit: limit.min(MAX_ENTRIES),
        }
    }

    /// Up to `limit` entries, the earliest first.
    pub fn oldest(limit: u32) -> Self {
        Self {
            order: Order::Oldest,
            ..Self::newest(limit)
        }
    }

    /// From this moment on.
    pub fn from(mut self, from: Timestamp) -> Self {
        self.from = Some(from);
        self
    }

    /// Before this moment.
    pub fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// Only what happened in these words.
    pub fn code(mut self, code: CodePrefix) -> Self {
        self.code = Some(code);
        self
    }

    /// Only what is at least this severe.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Only what is about this account.
    pub fn user(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// Only what stands behind this place.
    pub fn beyond(mut self, position: Position) -> Self {
        self.beyond = Some(position);
        self
    }

    /// The limit, within its bounds.
    pub fn limit(&self) -> u32 {
        self.limit.min(MAX_ENTRIES)
    }

    /// The pseudonyms, within their bounds.
    pub fn identifiers(&self) -> &[Pseudonym] {
        let (counted, _) = self
            .identifiers
            .split_at(self.identifiers.len().min(MAX_PSEUDONYMS));
        counted
    }

    /// Whether an entry meets every condition; for logs that have no database to ask.
    pub fn matches(&self, entry: &Entry) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, found: &Option<T>) -> bool {
            wanted.is_none() || wanted == found
        }
        let (event, position) = (&entry.event, entry.position());
        let behind = |place: &Position| match self.order {
            Order::Newest => position < *place,
            Order::Oldest => position > *place,
        };
        let identifiers = self.identifiers();
        let identified = |pseudonym| identifiers.contains(&pseudonym);
        self.from.is_none_or(|from| event.at >= from)
            && self.until.is_none_or(|until| event.at < until)
            && self
                .code
                .as_ref()
                .is_none_or(|code| code.matches(&event.kind.code()))
            && self
                .severity
                .is_none_or(|least| event.kind.severity() >= least)
            && is(&self.tenant, &event.tenant)
            && is(&self.user, &event.user)
            && (identifiers.is_empty() || event.identifier.is_some_and(identified))
            && is(&self.source, &event.source)
            && is(&self.job, &event.job)
            && (is(&self.token, &event.token) || is(&self.token, &event.parent))
            && self.beyond.as_ref().is_none_or(behind)
    }
}

/// How many events of one code fell into one span of time.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Count {
    /// The beginning of the span.
    pub at: Timestamp,
    /// What happened: the [code](EventKind::code), of a newer version perhaps.
    pub code: String,
    /// How often.
    pub events: u64,
}

impl Count {
    /// A count as a log answers it.
    pub fn new(at: Timestamp, code: String, events: u64) -> Self {
        Self { at, code, events }
    }
}

/// Spans of equal width, for [`AuditLog::count`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spans {
    from: Timestamp,
    width: Duration,
    number: u32,
}

impl Spans {
    /// `number` spans of `width` each, from `from` on. At least one, at most [`MAX_SPANS`]; a width
    /// is at least a second.
    pub fn new(from: Timestamp, width: Duration, number: u32) -> Self {
        Self {
            from,
            width: width.max(Duration::from_secs(1)),
            number: number.clamp(1, MAX_SPANS),
        }
    }

    /// Where the first one begins.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// Where the last one ends.
    pub fn until(&self) -> Timestamp {
        self.from + self.width.saturating_mul(self.number)
    }

    /// How wide each is, in microseconds.
    pub fn micros(&self) -> i64 {
        micros(self.width).max(1)
    }

    /// How many.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where the span begins that a moment falls into; `None` outside of them.
    pub fn of(&self, at: Timestamp) -> Option<Timestamp> {
        if at < self.from || at >= self.until() {
            return None;
        }
        let into = at.unix_micros().saturating_sub(self.from.unix_micros());
        let before = into.rem_euclid(self.micros());
        Some(Timestamp::from_unix_micros(
            at.unix_micros().saturating_sub(before),
        ))
    }
}

/// A trail that can be read, and shortened.
///
/// # Contract
///
/// Each line names the check of `testing::kit::log` that shows it.
///
/// - Every event that was recorded MUST come back whole (`every_event_comes_back_whole`).
///   Otherwise an alarm does not ring.
/// - `read` MUST answer exactly the entries that [`Query::matches`], in the order that was asked
///   for, and MUST go on behind a [`Position`] without gap or repetition
///   (`a_query_answers_what_it_matches`, `pages_follow_each_other`).
/// - `count` MUST count exactly the events in the spans that meet the query (`counts_add_up`).
/// - `arrived` MUST answer in the order of [`Arrival`], and an arrival MUST never be given twice,
///   also after the latest entries were deleted (`what_arrives_is_told_once`).
/// - An entry that cannot be read MUST be counted in [`Page::unreadable`] and passed over, not
///   fail the call. Otherwise one row of a newer version blinds every older process.
/// - `purge` MUST delete the oldest first and nothing else (`a_purge_takes_the_oldest`).
/// - `forget` MUST delete every entry of the account and of its jobs and tokens, and no other
///   (`what_is_forgotten_is_gone`). Otherwise something of a person stays that was told it is gone.
/// - No call may answer more than [`MAX_ENTRIES`] entries.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// The entries that meet a query.
    async fn read(&self, query: &Query) -> Result<Page, BoxError>;

    /// How many events of each code fell into each span, whatever the query's order, place and
    /// limit. Spans and codes without events are left out; the order is any.
    async fn count(&self, query: &Query, spans: &Spans) -> Result<Vec<Count>, BoxError>;

    /// Up to `limit` entries that arrived after `after`, the first one first.
    async fn arrived(&self, after: Arrival, limit: u32) -> Result<Page, BoxError>;

    /// The latest arrival; 0 when nothing has arrived yet.
    async fn latest(&self) -> Result<Arrival, BoxError>;

    /// Deletes up to `limit` entries from before `before`, the oldest first; answers how many.
    ///
    /// How long a trail must be kept is the application's decision, so nobody calls this by itself.
    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError>;

    /// Deletes what the trail holds of one account: its entries, and those that name no account but
    /// the same job, token or pseudonym, such as its requests, taken or turned away. Answers how many.
    ///
    /// What stays are requests under identifiers that never led to the account, or to others too, and
    /// numbers. Whether a person's
    /// wish (GDPR article 17) outweighs the duty to keep a security log (article 17 (3) b and e) is
    /// for the application's lawyers: see the page about operations. An attacker who has taken an
    /// account over may wish to be forgotten too.
    async fn forget(&self, user: &UserId) -> Result<u64, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: AuditLog + ?Sized> AuditLog for $pointer<T> {
            async fn read(&self, query: &Query) -> Result<Page, BoxError> {
                (**self).read(query).await
            }
            async fn count(&self, query: &Query, spans: &Spans) -> Result<Vec<Count>, BoxError> {
                (**self).count(query, spans).await
            }
            async fn arrived(&self, after: Arrival, limit: u32) -> Result<Page, BoxError> {
                (**self).arrived(after, limit).await
            }
            async fn latest(&self) -> Result<Arrival, BoxError> {
                (**self).latest().await
            }
            async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
                (**self).purge(before, limit).await
            }
            async fn forget(&self, user: &UserId) -> Result<u64, BoxError> {
                (**self).forget(user).await
            }
        }
    )+ };
}
forward!(Arc, Box);

/// How long an arrival may stay hidden behind later ones: longer than any statement that writes.
const SETTLING: Duration = Duration::from_secs(15);
/// The most entries that a tail remembers.
const REMEMBERED: usize = 50_000;

/// Follows a trail: tells each entry once, whichever process wrote it.
///
/// A database numbers rows when they are inserted and shows them when they are committed, so a
/// later number may be seen before an earlier one. A tail therefore looks again at what arrived in
/// the last 15 seconds and leaves out what it told before: nothing is missed while a writer needs
/// no longer than that for one statement. It remembers at most 50,000 entries; when more than that
/// arrive in 15 seconds it looks back less far.
///
/// The events are told in the order of their arrival, not of their time: a process may write what
/// happened some seconds ago.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// Everything up to here was told and is not looked at again.
    settled: Arrival,
    /// How far this round has come.
    cursor: Arrival,
    /// What was told behind `settled`, and when it was first seen.
    told: BTreeMap<(Arrival, EntryId), Timestamp>,
}

impl Tail {
    /// Follows everything that arrives after a place: [`AuditLog::latest`] for what is new from now
    /// on, [`Arrival::default`] for the whole trail.
    pub fn after(arrival: Arrival) -> Self {
        Self {
            settled: arrival,
            ..Self::default()
        }
    }

    /// What arrived since the last call, at most [`MAX_ENTRIES`]: call again while it is not empty.
    /// `now` is the reader's clock.
    ///
    /// # Errors
    ///
    /// The log failed. Nothing is lost: the next call tells it.
    pub async fn next(
        &mut self,
        log: &dyn AuditLog,
        now: Timestamp,
    ) -> Result<Vec<Entry>, BoxError> {
        loop {
            let after = self.cursor.max(self.settled);
            let page = log.arrived(after, MAX_ENTRIES).await?;
            let end = page.last.map(|(_, arrival)| arrival);
            let more = page.more && end.is_some_and(|end| end > after);
            // At the end, the next round begins where something may still come in between.
            self.cursor = end.filter(|_| more).unwrap_or_default();
            let fresh: Vec<_> = page
                .entries
                .into_iter()
                .filter(|entry| self.is_new(entry, now))
                .collect();
            self.settle(now);
            if !fresh.is_empty() || !more {
                return Ok(fresh);
            }
        }
    }

    fn is_new(&mut self, entry: &Entry, now: Timestamp) -> bool {
        match self.told.entry((entry.arrival, entry.id)) {
            btree_map::Entry::Vacant(place) => {
                place.insert(now);
                true
            }
            btree_map::Entry::Occupied(_) => false,
        }
    }

    /// Forgets what is too old to be overtaken.
    fn settle(&mut self, now: Timestamp) {
        let old = now - SETTLING;
        while let Some(first) = self.told.first_entry() {
            let (arrival, _) = *first.key();
            let settled = *first.get() <= old;
            if !settled && self.told.len() <= REMEMBERED {
                break;
            }
            self.settled = arrival;
            self.told.pop_first();
        }
    }
}

/// From where a journey is followed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Thread {
    /// A job: from the request to the mail.
    Job(JobId),
    /// A token: from the mail to the new password.
    Token(Selector),
}

/// The most jobs and tokens that one journey is followed through.
const MAX_THREADS: usize = 32;
/// The most entries that are read of each.
const MAX_PER_THREAD: u32 = 200;

/// The whole journey that a job or a token belongs to, the earliest event first: the request, the
/// token that it led to, what became of it, and the notices of the change.
///
/// Jobs and tokens have names of their own, each drawn at random, so that neither can be guessed
/// from the other; the events in which one leads to the next name both. This follows them, through
/// at most 32 jobs and tokens and 200 events of each.
///
/// # Errors
///
/// The log failed.
pub async fn journey(log: &dyn AuditLog, start: Thread) -> Result<Vec<Entry>, BoxError> {
    let (mut open, mut seen) = (vec![start], BTreeSet::from([start]));
    let (mut entries, mut known) = (Vec::new(), HashSet::new());
    while let Some(thread) = open.pop() {
        let mut query = Query::oldest(MAX_PER_THREAD);
        match thread {
            Thread::Job(job) => query.job = Some(job),
            Thread::Token(token) => query.token = Some(token),
        }
        for entry in log.read(&query).await?.entries {
            let job = entry.event.job.map(Thread::Job);
            let tokens = [entry.event.token, entry.event.parent];
            let tokens = tokens.into_iter().flatten().map(Thread::Token);
            for next in job.into_iter().chain(tokens) {
                if seen.len() < MAX_THREADS && seen.insert(next) {
                    open.push(next);
                }
            }
            if known.insert(entry.id) {
                entries.push(entry);
            }
        }
    }
    entries.sort_by_key(Entry::position);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A database whose rows are shown in another order than they were numbered.
    #[derive(Default)]
    struct Rows {
        shown: Mutex<BTreeSet<u64>>,
        calls: AtomicU32,
    }

    impl Rows {
        fn show(&self, arrivals: impl IntoIterator<Item = u64>) {
            self.shown.lock().unwrap().extend(arrivals);
        }
    }

    #[async_trait]
    impl AuditLog for Rows {
        async fn read(&self, _: &Query) -> Result<Page, BoxError> {
            Err("not asked for".into())
        }
        async fn count(&self, _: &Query, _: &Spans) -> Result<Vec<Count>, BoxError> {
            Err("not asked for".into())
        }
        async fn arrived(&self, after: Arrival, limit: u32) -> Result<Page, BoxError> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let shown = self.shown.lock().unwrap();
            let limit = usize::try_from(limit).unwrap();
            let found: Vec<_> = shown.range(after.0 + 1..).take(limit + 1).collect();
            let mut page = Page::of(found.len() > limit);
            for arrival in found.into_iter().take(limit) {
                let id = EntryId::from_bytes(u128::from(*arrival).to_be_bytes());
                let event = Event::new(Timestamp::from_unix_micros(0), EventKind::Completed);
                let entry = Entry::new(id, Arrival(*arrival), event);
                page.last = Some((entry.position(), entry.arrival));
                page.entries.push(entry);
            }
            Ok(page)
        }
        async fn latest(&self) -> Result<Arrival, BoxError> {
            Err("not asked for".into())
        }
        async fn purge(&self, _: Timestamp, _: u32) -> Result<u64, BoxError> {
            Err("not asked for".into())
        }
        async fn forget(&self, _: &UserId) -> Result<u64, BoxError> {
            Err("not asked for".into())
        }
    }

    /// Futures that are ready at once need no runtime.
    fn now_or_never<T>(call: impl Future<Output = T>) -> T {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(call).poll(&mut context) {
            std::task::Poll::Ready(answer) => answer,
            std::task::Poll::Pending => std::process::abort(),
        }
    }

    fn told(tail: &mut Tail, rows: &Rows, second: u64) -> Vec<u64> {
        let now = Timestamp::from_unix_micros(0) + Duration::from_secs(second);
        let told = now_or_never(tail.next(rows, now)).unwrap();
        told.iter().map(|entry| entry.arrival.0).collect()
    }

    #[test]
    fn what_is_shown_late_is_told_once_and_not_missed() {
        let (rows, mut tail) = (Rows::default(), Tail::after(Arrival(0)));
        rows.show([1, 2, 5]);
        assert_eq!(told(&mut tail, &rows, 0), [1, 2, 5]);
        assert!(told(&mut tail, &rows, 1).is_empty());
        rows.show([4]);
        assert_eq!(told(&mut tail, &rows, 2), [4]);
        rows.show([6]);
        assert_eq!(told(&mut tail, &rows, 14), [6]);
        // Later than any statement may take.
        assert!(told(&mut tail, &rows, 40).is_empty());
        rows.show([3, 7]);
        assert_eq!(told(&mut tail, &rows, 41), [7]);
        assert!(tail.told.len() <= 3, "{:?}", tail.told);
    }

    #[test]
    fn a_long_trail_is_read_once_from_end_to_end() {
        let (rows, mut tail) = (Rows::default(), Tail::default());
        rows.show(1..=30_500);
        let mut all = Vec::new();
        loop {
            let some = told(&mut tail, &rows, 0);
            if some.is_empty() {
                break;
            }
            assert!(some.len() <= 1_000);
            all.extend(some);
        }
        assert_eq!(all, (1..=30_500).collect::<Vec<_>>());
        // Once through, and the round that finds nothing new.
        assert!(rows.calls.load(Ordering::Relaxed) <= 62);
    }

    #[test]
    fn what_a_tail_remembers_is_bounded() {
        let (rows, mut tail) = (Rows::default(), Tail::default());
        rows.show(1..=60_000);
        let mut all = 0;
        loop {
            let some = told(&mut tail, &rows, 0);
            if some.is_empty() {
                break;
            }
            all += some.len();
            assert!(tail.told.len() <= REMEMBERED);
        }
        assert_eq!(all, 60_000);
    }

    #[test]
    fn spans_cover_their_time_without_gap() {
        let at = Timestamp::from_unix_micros;
        let spans = Spans::new(at(-10), Duration::from_secs(1), 3);
        assert_eq!(spans.until(), at(2_999_990));
        for (moment, span) in [
            (-11, None),
            (-10, Some(-10)),
            (999_989, Some(-10)),
            (999_990, Some(999_990)),
            (2_999_989, Some(1_999_990)),
            (2_999_990, None),
        ] {
            assert_eq!(spans.of(at(moment)), span.map(at), "{moment}");
        }
        let extreme = Spans::new(at(i64::MIN), Duration::MAX, u32::MAX);
        assert_eq!(extreme.number(), MAX_SPANS);
        assert!(extreme.of(at(-2)).is_some());
    }
}
