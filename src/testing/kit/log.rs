//! Checks of the [`AuditLog`] contract.
//!
//! A log is filled by a sink, which may write later: a [`LogFixture`] has both, and says how to
//! wait.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Answered, Race, at, fresh, just_before};
use crate::account::{Tenant, UserId};
use crate::audit::log::{
    Arrival, AuditLog, CodePrefix, Entry, MAX_ENTRIES, Order, Query, Spans, Tail, Thread, journey,
};
use crate::audit::{
    Actor, AuditSink, Event, EventKind, Mailing, Pseudonym, Refused, RuleName, Severity, Withheld,
};
use crate::clock::Timestamp;
use crate::memory::MemoryLog;
use crate::queue::JobId;
use crate::token::Selector;

/// What the checks of an [`AuditLog`] need beside it: a sink that fills it.
#[async_trait]
pub trait LogFixture: Send + Sync + 'static {
    /// Takes events into the trail.
    fn sink(&self) -> &dyn AuditSink;

    /// Gives them back.
    fn log(&self) -> &dyn AuditLog;

    /// Waits until everything recorded so far can be read.
    async fn written(&self);
}

#[async_trait]
impl LogFixture for MemoryLog {
    fn sink(&self) -> &dyn AuditSink {
        self
    }

    fn log(&self) -> &dyn AuditLog {
        self
    }

    async fn written(&self) {}
}

/// The one list of this trait's promises.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_promises {
    ($then:ident $($rest:tt)*) => {
        $crate::$then! { [
            every_event_comes_back_whole
            a_query_answers_what_it_matches
            pages_follow_each_other
            counts_add_up
            what_arrives_is_told_once
            a_purge_takes_the_oldest
            what_is_forgotten_is_gone
        ] $($rest)* }
    };
}

/// Writes one test for each promise of an [`AuditLog`]; see [`testing::kit`](crate::testing::kit).
/// The store is a [`LogFixture`], fresh and empty.
#[macro_export]
macro_rules! conformance_log {
    ($($tests:tt)+) => { $crate::__log_promises! { __conformance_tests log $($tests)+ } };
}

crate::__log_promises! { __conformance_checks dyn LogFixture }

type Store = Arc<dyn LogFixture>;

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a plain name")
}

fn job() -> JobId {
    JobId::from_bytes(fresh())
}

fn token() -> Selector {
    Selector::from_bytes(fresh())
}

async fn record(store: &Store, events: &[Event]) {
    for chunk in events.chunks(500) {
        for event in chunk {
            store.sink().record(event).answered("record");
        }
        store.written().await;
    }
}

async fn read(store: &Store, query: &Query) -> Vec<Entry> {
    let page = store.log().read(query).await.answered("read");
    assert_eq!(
        page.unreadable, 0,
        "an entry of this very version cannot be read"
    );
    page.entries
}

/// Everything that `Debug` prints of an event, which is all of it.
fn whole(event: &Event) -> String {
    format!("{event:?}")
}

fn events_of(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| whole(&entry.event)).collect()
}

/// One of each kind, with every field, and with none.
fn one_of_each() -> Vec<Event> {
    let mut events = Vec::new();
    for (second, kind) in (0..).zip(EventKind::every()) {
        events.push(Event::new(at(second), kind));
        let mut event = Event::new(at(second), kind);
        // What an application may call things: no letter is folded, no space at the end is lost.
        event.tenant = Some(Tenant::parse("Größe & Söhne ").expect("a name"));
        event.user = Some(user("Ada \u{2028}'\"<b>%_ "));
        event.identifier = Some(Pseudonym::from_bytes(fresh()));
        event.source = Some(match second % 2 {
            0 => IpAddr::from([192, 0, 2, 7]),
            _ => IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, 0]),
        });
        event.job = Some(job());
        event.token = Some(token());
        event.actor = Some(Actor::parse("grace, ticket 7 ").expect("a name"));
        events.push(event);
    }
    events
}

/// Every kind, with every field that an event may have.
pub async fn every_event_comes_back_whole(store: Store, _: Race) {
    let events = one_of_each();
    record(&store, &events).await;
    let mut found = Vec::new();
    let mut after = Arrival::default();
    loop {
        let page = store.log().arrived(after, 100).await.answered("arrived");
        assert!(page.entries.len() <= 100, "more than was asked for");
        found.extend(events_of(&page.entries));
        let Some((_, last)) = page.last.filter(|_| page.more) else {
            break;
        };
        after = last;
    }
    let events: Vec<_> = events.iter().map(whole).collect();
    for event in &events {
        assert!(found.contains(event), "{event} did not come back");
    }
    assert_eq!(found.len(), events.len(), "events came back twice");
}

/// Many events about few people, so that every condition finds some and leaves some out.
fn a_week() -> Vec<Event> {
    let kinds = [
        EventKind::Requested { suppressed: false },
        EventKind::Requested { suppressed: true },
        EventKind::Refused(Refused::Spent),
        EventKind::Refused(Refused::Unknown),
        EventKind::RateLimited,
        EventKind::MailFailed {
            what: Mailing::Notice,
            attempt: 3,
        },
        EventKind::Completed,
    ];
    let name = |prefix: &str, number: usize| user(&format!("{prefix}{number}"));
    let mut events = Vec::new();
    for (number, kind) in (0..420).zip(kinds.into_iter().cycle()) {
        // Some at the same moment, and not in the order of time.
        let second = i64::try_from((number * 37) % 100).unwrap_or(0);
        let mut event = Event::new(at(second), kind);
        event.user = (number % 3 > 0).then(|| name("user", number % 5));
        event.tenant = (number % 4 == 0).then(|| Tenant::parse("acme").expect("a name"));
        let byte = u8::try_from(number % 11).unwrap_or(0);
        event.identifier = Some(Pseudonym::from_bytes([byte; 16]));
        event.source = Some(IpAddr::from([192, 0, 2, byte]));
        event.job = Some(JobId::from_bytes([byte / 2; 16]));
        event.token = (number % 2 == 0).then(|| Selector::from_bytes([byte / 3; 16]));
        events.push(event);
    }
    events
}

fn queries() -> Vec<Query> {
    let all = || Query::newest(MAX_ENTRIES);
    let code = |text| CodePrefix::parse(text).expect("a code");
    let with = |set: &dyn Fn(&mut Query)| {
        let mut query = all();
        set(&mut query);
        query
    };
    vec![
        all(),
        all().from(at(50)),
        all().until(at(50)),
        all().from(at(20)).until(at(21)),
        all().from(at(21)).until(at(20)),
        all().code(code("requested")),
        all().code(code("requested.suppressed")),
        all().code(code("refused")),
        all().code(code("mail_failed")),
        all().code(code("mail_failed.notice")),
        all().code(code("completed")),
        all().severity(Severity::Info),
        all().severity(Severity::Warn),
        all().severity(Severity::Critical),
        all().user(user("user2")),
        all().user(user("User2")),
        all().user(user("user2 ")),
        all().user(user("user%")),
        with(&|query| query.tenant = Tenant::parse("acme").ok()),
        with(&|query| query.identifiers = vec![Pseudonym::from_bytes([3; 16])]),
        with(&|query| {
            query.identifiers = [1, 2, 99].map(|n| Pseudonym::from_bytes([n; 16])).to_vec();
        }),
        with(&|query| query.source = Some(IpAddr::from([192, 0, 2, 4]))),
        with(&|query| query.job = Some(JobId::from_bytes([2; 16]))),
        with(&|query| query.token = Some(Selector::from_bytes([1; 16]))),
        with(&|query| {
            query.user = Some(user("user1"));
            query.severity = Some(Severity::Warn);
            query.from = Some(at(10));
        }),
    ]
}

/// Each condition, alone and with others, against [`Query::matches`].
pub async fn a_query_answers_what_it_matches(store: Store, _: Race) {
    record(&store, &a_week()).await;
    let everything = read(&store, &Query::oldest(MAX_ENTRIES)).await;
    assert_eq!(everything.len(), 420, "events are missing");
    for mut query in queries() {
        for order in [Order::Oldest, Order::Newest] {
            query.order = order;
            let mut expected: Vec<_> = everything.iter().filter(|it| query.matches(it)).collect();
            expected.sort_by_key(|entry| entry.position());
            if order == Order::Newest {
                expected.reverse();
            }
            let expected: Vec<_> = expected.iter().map(|entry| entry.id).collect();
            let found = read(&store, &query).await;
            let found: Vec<_> = found.iter().map(|entry| entry.id).collect();
            assert_eq!(found, expected, "{query:?}");
        }
    }
}

/// Pages of any size, in both orders.
pub async fn pages_follow_each_other(store: Store, _: Race) {
    record(&store, &a_week()).await;
    for order in [Order::Oldest, Order::Newest] {
        for size in [1, 7, 419, 420] {
            let mut query = Query::newest(size);
            query.order = order;
            let (mut seen, mut calls) = (BTreeSet::new(), 0);
            loop {
                let page = store.log().read(&query).await.answered("read");
                calls += 1;
                assert!(page.entries.len() <= usize::try_from(size).unwrap_or(0));
                for entry in &page.entries {
                    assert!(seen.insert(entry.id), "{entry:?} was answered twice");
                }
                if !page.more {
                    break;
                }
                query.beyond = page.last.map(|(position, _)| position);
                assert!(query.beyond.is_some() && calls <= 420, "no way on");
            }
            assert_eq!(seen.len(), 420, "pages of {size} left entries out");
        }
    }
}

/// Each span and each code, against [`Query::matches`] and [`Spans::of`].
pub async fn counts_add_up(store: Store, _: Race) {
    record(&store, &a_week()).await;
    let everything = read(&store, &Query::oldest(MAX_ENTRIES)).await;
    for (spans, query) in [
        Spans::new(at(0), Duration::from_secs(100), 1),
        Spans::new(at(0), Duration::from_secs(7), 15),
        Spans::new(just_before(at(10)), Duration::from_secs(10), 4),
    ]
    .into_iter()
    .flat_map(|spans| queries().into_iter().map(move |query| (spans, query)))
    {
        let mut expected = BTreeMap::new();
        for entry in everything.iter().filter(|entry| query.matches(entry)) {
            if let Some(at) = spans.of(entry.event.at) {
                *expected.entry((at, entry.event.kind.code())).or_insert(0) += 1;
            }
        }
        let found = store.log().count(&query, &spans).await.answered("count");
        let number = found.len();
        let found: BTreeMap<_, _> = found
            .into_iter()
            .map(|count| ((count.at, count.code), count.events))
            .collect();
        assert_eq!(found, expected, "{query:?} in {spans:?}");
        assert_eq!(found.len(), number, "one count was answered in two pieces");
    }
}

/// A [`Tail`] hears of everything once, also of what comes after the latest entries were deleted.
pub async fn what_arrives_is_told_once(store: Store, _: Race) {
    let log = store.log();
    let mut tail = Tail::after(store.log().latest().await.answered("latest"));
    let mut told = Vec::new();
    for round in 0..6 {
        let mut events = a_week();
        events.truncate(50);
        for event in &mut events {
            event.user = Some(user(&format!("round{round}")));
        }
        record(&store, &events).await;
        // At once, and again when nothing can come in between any more.
        for now in [at(round * 60), at(round * 60 + 30)] {
            loop {
                let fresh = tail.next(log, now).await.answered("arrived");
                if fresh.is_empty() {
                    break;
                }
                let order: Vec<_> = fresh.iter().map(|entry| entry.arrival).collect();
                assert!(order.is_sorted(), "not in the order of arrival");
                told.extend(fresh.into_iter().map(|entry| entry.event.user));
            }
        }
        // The latest are deleted: what comes now must not take their places.
        if round % 2 == 0 {
            let user = user(&format!("round{round}"));
            assert_eq!(store.log().forget(&user).await.answered("forget"), 50);
        }
    }
    assert_eq!(told.len(), 300, "entries were missed, or told twice");
    let latest = store.log().latest().await.answered("latest");
    let rest = store.log().arrived(latest, 10).await.answered("arrived");
    assert!(
        rest.entries.is_empty(),
        "something is later than the latest"
    );
}

/// By age, the oldest first, at most so many.
pub async fn a_purge_takes_the_oldest(store: Store, _: Race) {
    let moments = [5, 1, 4, 2, 3, 3];
    let events = moments.map(|second| Event::new(at(second), EventKind::Completed));
    record(&store, &events).await;
    let left = || async {
        let entries = read(&store, &Query::oldest(100)).await;
        entries
            .iter()
            .map(|entry| entry.event.at)
            .collect::<Vec<_>>()
    };
    let purge = |before: Timestamp, limit| {
        let store = Arc::clone(&store);
        async move { store.log().purge(before, limit).await.answered("purge") }
    };
    assert_eq!(purge(at(4), 2).await, 2);
    assert_eq!(left().await, [3, 3, 4, 5].map(at));
    assert_eq!(purge(at(4), 100).await, 2, "of the same moment, one stayed");
    assert_eq!(left().await, [4, 5].map(at), "what is not old was deleted");
    assert_eq!(purge(at(4), 100).await, 0);
}

/// The account's entries, the requests that led to them or were turned away, and nothing of anybody
/// else.
pub async fn what_is_forgotten_is_gone(store: Store, _: Race) {
    let (ada, bob) = (user("ada"), user("ada "));
    let alarm = EventKind::Alarm {
        rule: RuleName::new("many"),
        count: 9,
    };
    let mut stays = vec![Event::new(at(0), alarm)];
    let mut goes = Vec::new();
    for (second, owner) in (0..300).zip([&ada, &bob].into_iter().cycle()) {
        let (job, token) = (Some(job()), Some(token()));
        let mut asked = Event::new(at(second), EventKind::Requested { suppressed: false });
        asked.job = job;
        let mut issued = Event::new(at(second), EventKind::Issued);
        (issued.job, issued.token, issued.user) = (job, token, Some(owner.clone()));
        issued.identifier = Some(Pseudonym::from_bytes([u8::from(*owner == ada); 16]));
        // Turned away: there is no job, and nothing but the pseudonym ties it to anybody.
        let mut limited = Event::new(at(second), EventKind::RateLimited);
        limited.identifier = issued.identifier;
        let mut tried = Event::new(at(second), EventKind::Refused(Refused::WrongVerifier));
        tried.token = token;
        let list = if *owner == ada { &mut goes } else { &mut stays };
        list.extend([asked, issued, limited, tried]);
    }
    // A name that both have had, one after the other.
    for (list, owner) in [(&mut goes, &ada), (&mut stays, &bob)] {
        let mut withheld = Event::new(at(400), EventKind::Withheld(Withheld::Unverified));
        withheld.identifier = Some(Pseudonym::from_bytes([7; 16]));
        withheld.user = Some(owner.clone());
        list.push(withheld);
    }
    let mut limited = Event::new(at(401), EventKind::RateLimited);
    limited.identifier = Some(Pseudonym::from_bytes([7; 16]));
    stays.push(limited);
    let all: Vec<_> = stays.iter().chain(&goes).cloned().collect();
    record(&store, &all).await;
    let thread = goes.iter().find_map(|event| event.job).expect("a job");
    let followed = journey(store.log(), Thread::Job(thread))
        .await
        .answered("read");
    assert_eq!(followed.len(), 3, "a journey was not followed to its end");

    let gone = store.log().forget(&ada).await.answered("forget");
    assert_eq!(gone, u64::try_from(goes.len()).unwrap_or(0));
    let mut left = Vec::new();
    let mut query = Query::oldest(MAX_ENTRIES);
    loop {
        let page = store.log().read(&query).await.answered("read");
        left.extend(events_of(&page.entries));
        query.beyond = page.last.map(|(position, _)| position);
        if !page.more {
            break;
        }
    }
    for event in &goes {
        assert!(!left.contains(&whole(event)), "{event:?} is still there");
    }
    assert_eq!(left.len(), stays.len(), "entries of others were deleted");
    let again = store.log().forget(&ada).await.answered("forget");
    assert_eq!(again, 0);
}
