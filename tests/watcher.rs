//! The watcher (R78, R77): every process counts, one of them tells, and nothing that fails makes it
//! silent.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Backends, World, typed};
use password_reset::account::{Client, UserId};
use password_reset::audit::log::{Arrival, AuditLog, Count, Page, Query, Spans};
use password_reset::audit::monitor::{Alarm, AlarmSink, Rules, Subject, TracingAlarms};
use password_reset::audit::{AuditSink, Event, EventKind, RuleName, Severity};
use password_reset::clock::Clock;
use password_reset::error::BoxError;
use password_reset::flow::{WatchReport, Watcher, WatcherOptions};
use password_reset::human::{Demand, HumanCheck, Proof, Verdict, When};
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter};
use password_reset::memory::{MemoryLimiter, MemoryLog};
use password_reset::testing::{block_on, cut_after};
use password_reset::{Timestamp, async_trait};

/// Keeps what it is told, and fails when it is told to.
#[derive(Clone, Default)]
struct Pager {
    told: Arc<Mutex<Vec<Alarm>>>,
    failures: Arc<AtomicU32>,
}

impl Pager {
    fn rules(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().map(|alarm| alarm.rule.to_string()).collect()
    }
}

#[async_trait]
impl AlarmSink for Pager {
    async fn raise(&self, alarm: &Alarm) -> Result<(), BoxError> {
        let left = self.failures.load(Ordering::Relaxed);
        if left > 0 {
            self.failures.store(left - 1, Ordering::Relaxed);
            assert_ne!(left, 7, "a pager may panic");
            return Err("nobody answers".into());
        }
        self.told.lock().unwrap().push(alarm.clone());
        Ok(())
    }
}

struct Riddle;

#[async_trait]
impl HumanCheck for Riddle {
    async fn check(&self, _: &Proof, _: &Client) -> Result<Verdict, BoxError> {
        Ok(Verdict::Accept)
    }
}

/// One process of a service: its flow, its watcher, its captcha.
struct Node {
    world: World,
    watcher: Watcher,
    demand: Demand,
}

/// What the processes share.
struct Shared {
    log: MemoryLog,
    limiter: Arc<dyn RateLimiter>,
    pager: Pager,
    first: Option<password_reset::testing::ManualClock>,
}

impl Shared {
    fn new() -> Self {
        Self {
            log: MemoryLog::default(),
            limiter: Arc::new(MemoryLimiter::default()),
            pager: Pager::default(),
            first: None,
        }
    }

    fn node(&mut self) -> Node {
        let demand = Demand::default();
        let (log, clock, when) = (self.log.clone(), self.first.clone(), demand.clone());
        let backends = Backends {
            limiter: self.limiter.clone(),
            ..Backends::default()
        };
        let mut world = World::with(backends, |mut builder| {
            if let Some(clock) = &clock {
                builder = builder.clock(clock.clone());
            }
            builder.audit(log).human(Riddle, When::Demanded(when))
        });
        match &self.first {
            Some(clock) => world.clock = clock.clone(),
            None => self.first = Some(world.clock.clone()),
        }
        let watcher = world
            .flow
            .watcher(self.log.clone())
            .alarms(self.pager.clone());
        Node {
            world,
            watcher,
            demand,
        }
    }
}

impl Node {
    /// Fifty names from one source, and the seconds that an event may be on its way.
    async fn sweep(&self, source: [u8; 4]) {
        for number in 0..50 {
            let identifier = typed(&format!("nobody-{number}@example.com"));
            let client = Client::from_ip(source.into());
            let _ = self.world.flow.request(&identifier, &client).await;
            self.world.clock.advance(Duration::from_millis(100));
        }
        self.world.clock.advance(Duration::from_secs(5));
    }

    async fn round(&mut self) -> WatchReport {
        self.watcher.run_once().await
    }
}

fn alarms_in(log: &MemoryLog) -> Vec<Event> {
    let page = block_on(log.read(&Query::oldest(1_000))).unwrap();
    let events = page.entries.into_iter().map(|entry| entry.event);
    events
        .filter(|event| matches!(event.kind, EventKind::Alarm { .. }))
        .collect()
}

/// R78: two processes read one trail; one of them tells, both ask for a captcha, and the alarm
/// stands in the trail once.
#[test]
fn two_processes_tell_an_alarm_once_and_both_ask_for_a_proof() {
    block_on(async {
        let mut shared = Shared::new();
        let (mut one, mut two) = (shared.node(), shared.node());
        one.round().await;
        two.round().await;
        one.sweep([192, 0, 2, 7]).await;
        assert_eq!(one.round().await.alarms + two.round().await.alarms, 1);
        assert_eq!(shared.pager.rules(), ["identifiers_of_a_source"]);
        let now = one.world.clock.now();
        assert!(one.demand.is_on(now) && two.demand.is_on(now));
        assert!(one.world.flow.asks_for_proof());

        let recorded = alarms_in(&shared.log);
        assert_eq!(recorded.len(), 1);
        assert_eq!(recorded[0].source, Some([192, 0, 2, 7].into()));
        let rule = RuleName::new("identifiers_of_a_source");
        assert_eq!(recorded[0].kind, EventKind::Alarm { rule, count: 50 });

        // It goes on: quiet for an hour, and then again, once.
        one.sweep([192, 0, 2, 7]).await;
        assert_eq!(one.round().await.alarms + two.round().await.alarms, 0);
        one.world.clock.advance(Duration::from_secs(3_600));
        one.sweep([192, 0, 2, 7]).await;
        assert_eq!(two.round().await.alarms + one.round().await.alarms, 1);
        // Half an hour after the last of it, nobody is asked any more.
        one.world.clock.advance(Duration::from_secs(1_800));
        one.round().await;
        assert!(!one.world.flow.asks_for_proof());
    });
}

/// What rang before a restart, and stands in the trail, is not told again, even though the limiter
/// has forgotten it; what rang while nobody watched is.
#[test]
fn a_restart_neither_repeats_nor_misses_an_alarm() {
    block_on(async {
        let mut shared = Shared::new();
        let mut node = shared.node();
        node.round().await;
        node.sweep([192, 0, 2, 7]).await;
        assert_eq!(node.round().await.alarms, 1);
        drop(node.watcher);
        // Nobody watches, for longer than the cool-down.
        let node_two = shared.node();
        node_two.sweep([198, 51, 100, 9]).await;
        node_two.world.clock.advance(Duration::from_secs(2 * 3_600));

        shared.limiter = Arc::new(MemoryLimiter::default());
        let mut later = shared.node();
        assert_eq!(later.round().await.alarms, 1);
        let told = shared.pager.told.lock().unwrap().clone();
        assert_eq!(told.len(), 2);
        assert_eq!(told[1].subject, Subject::Source([198, 51, 100, 9].into()));
        // The captcha is not turned on for what is over.
        assert!(!later.world.flow.asks_for_proof());
    });
}

/// R77: a pager that fails, or panics, is tried again; a limiter that fails leaves nobody untold.
#[test]
fn a_failing_pager_or_limiter_silences_nothing() {
    struct Broken;
    #[async_trait]
    impl RateLimiter for Broken {
        async fn check(&self, _: &LimitKey, _: &Quota, _: Timestamp) -> Result<Decision, BoxError> {
            Err("away".into())
        }
        async fn clear(&self, _: &LimitKey) -> Result<(), BoxError> {
            Err("away".into())
        }
    }
    block_on(async {
        let mut shared = Shared::new();
        shared.limiter = Arc::new(Broken);
        let mut node = shared.node();
        node.round().await;
        shared.pager.failures.store(7, Ordering::Relaxed);
        for second in 0..20 {
            let mut event = Event::new(
                node.world.clock.now() - Duration::from_secs(second),
                EventKind::WorkerPanicked,
            );
            event.source = None;
            shared.log.record(&event).unwrap();
        }
        node.world.clock.advance(Duration::from_secs(6));
        for _ in 0..7 {
            let report = node.round().await;
            assert_eq!((report.alarms, report.failures), (0, 1));
        }
        assert_eq!(node.round().await.alarms, 1);
        // It reads what it wrote down.
        let report = node.round().await;
        assert_eq!((report.events, report.alarms, report.failures), (1, 0, 0));
        assert_eq!(node.round().await, WatchReport::default());
        assert_eq!(shared.pager.rules(), ["parts_failing"]);
        assert_eq!(alarms_in(&shared.log).len(), 1);
    });
}

/// A trail that cannot be read is read when it can.
#[test]
fn an_outage_of_the_trail_delays_and_loses_nothing() {
    struct Flaky(MemoryLog, Arc<AtomicU32>);
    #[async_trait]
    impl AuditLog for Flaky {
        async fn read(&self, query: &Query) -> Result<Page, BoxError> {
            self.0.read(query).await
        }
        async fn arrived(&self, after: Arrival, limit: u32) -> Result<Page, BoxError> {
            match self.1.load(Ordering::Relaxed) {
                0 => self.0.arrived(after, limit).await,
                _ => Err("away".into()),
            }
        }
        async fn latest(&self) -> Result<Arrival, BoxError> {
            self.0.latest().await
        }
        async fn count(&self, query: &Query, spans: &Spans) -> Result<Vec<Count>, BoxError> {
            self.0.count(query, spans).await
        }
        async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
            self.0.purge(before, limit).await
        }
        async fn forget(&self, user: &UserId) -> Result<u64, BoxError> {
            self.0.forget(user).await
        }
    }
    block_on(async {
        let mut shared = Shared::new();
        let node = shared.node();
        let away = Arc::new(AtomicU32::new(1));
        let log = Flaky(shared.log.clone(), Arc::clone(&away));
        let mut watcher = node.world.flow.watcher(log).alarms(shared.pager.clone());
        node.sweep([192, 0, 2, 7]).await;
        let report = watcher.run_once().await;
        assert_eq!((report.failures, report.alarms), (1, 0));
        away.store(0, Ordering::Relaxed);
        assert_eq!(watcher.run_once().await.alarms, 1);
        assert_eq!(watcher.run_once().await.alarms, 0);
    });
}

/// A round that is cut off at any await tells what it had to tell in the next one.
#[test]
fn a_round_that_is_cut_off_anywhere_loses_no_alarm() {
    let mut polls = 0;
    loop {
        let mut shared = Shared::new();
        let mut node = shared.node();
        block_on(async {
            node.round().await;
            node.sweep([192, 0, 2, 7]).await;
        });
        node.world.faults.yield_each_call();
        let whole = cut_after(node.watcher.run_once(), polls).is_some();
        block_on(node.round());
        assert_eq!(shared.pager.rules(), ["identifiers_of_a_source"], "{polls}");
        if whole {
            break;
        }
        polls += 1;
    }
    assert!(polls > 1);
}

/// R77: whoever floods the trail until it takes no more is told by that.
#[test]
fn events_that_are_lost_ring_by_themselves() {
    struct Full;
    impl AuditSink for Full {
        fn record(&self, _: &Event) -> Result<(), BoxError> {
            Err("full".into())
        }
        fn lost(&self) -> u64 {
            0
        }
    }
    block_on(async {
        let world = World::with(Backends::default(), |builder| builder.audit(Full));
        let pager = Pager::default();
        let mut watcher = world
            .flow
            .watcher(MemoryLog::default())
            .alarms(pager.clone());
        assert_eq!(watcher.run_once().await.alarms, 0);
        for second in 0..3 {
            let client = Client::from_ip([192, 0, 2, second].into());
            let _ = world.flow.request(&typed("ada@example.com"), &client).await;
        }
        assert_eq!(watcher.run_once().await.alarms, 1);
        // The alarm itself is lost to the trail as well, and rings nothing.
        for _ in 0..3 {
            assert_eq!(watcher.run_once().await.alarms, 0);
        }
        assert_eq!(pager.rules(), ["events_lost"]);
        assert_eq!(pager.told.lock().unwrap()[0].count, 3);
    });
}

/// R77: a sink that takes everything and cannot write it is as loud as one that is full.
#[test]
fn events_that_were_taken_and_then_lost_ring_too() {
    #[derive(Clone, Default)]
    struct Away(Arc<AtomicU32>);
    impl AuditSink for Away {
        fn record(&self, _: &Event) -> Result<(), BoxError> {
            Ok(())
        }
        fn lost(&self) -> u64 {
            self.0.load(Ordering::Relaxed).into()
        }
    }
    block_on(async {
        let away = Away::default();
        let both = (MemoryLog::default(), away.clone());
        let world = World::with(Backends::default(), |builder| builder.audit(both));
        let pager = Pager::default();
        let mut watcher = world.flow.watcher(MemoryLog::default());
        watcher = watcher.alarms(pager.clone());
        assert_eq!(watcher.run_once().await.alarms, 0);
        away.0.store(7, Ordering::Relaxed);
        assert_eq!(world.flow.audit_failures(), 7);
        assert_eq!(watcher.run_once().await.alarms, 1);
        assert_eq!(watcher.run_once().await.alarms, 0);
        assert_eq!(pager.rules(), ["events_lost"]);
        assert_eq!(pager.told.lock().unwrap()[0].count, 7);
    });
}

/// A watcher that reads nothing must not look like a quiet day.
#[test]
fn a_trail_that_cannot_be_read_for_a_minute_rings_by_itself() {
    struct Away;
    #[async_trait]
    impl AuditLog for Away {
        async fn read(&self, _: &Query) -> Result<Page, BoxError> {
            Err("away".into())
        }
        async fn arrived(&self, _: Arrival, _: u32) -> Result<Page, BoxError> {
            Err("away".into())
        }
        async fn latest(&self) -> Result<Arrival, BoxError> {
            panic!("away")
        }
        async fn count(&self, _: &Query, _: &Spans) -> Result<Vec<Count>, BoxError> {
            Err("away".into())
        }
        async fn purge(&self, _: Timestamp, _: u32) -> Result<u64, BoxError> {
            Err("away".into())
        }
        async fn forget(&self, _: &UserId) -> Result<u64, BoxError> {
            Err("away".into())
        }
    }
    block_on(async {
        let world = World::new();
        let pager = Pager::default();
        let mut watcher = world.flow.watcher(Away).alarms(pager.clone());
        for second in 0..3_900 {
            let alarms = watcher.run_once().await.alarms;
            // After a minute, and again after an hour.
            let expected = u32::from(second == 60 || second == 3_660);
            assert_eq!(alarms, expected, "{second}");
            world.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(pager.rules(), ["trail_unreadable", "trail_unreadable"]);
    });
}

/// Whoever claims an alarm and dies before it is told takes it to no grave: another process tells
/// it, once.
#[test]
fn an_alarm_whose_teller_died_is_told_by_another() {
    block_on(async {
        let mut shared = Shared::new();
        let (mut one, mut two, mut three) = (shared.node(), shared.node(), shared.node());
        for node in [&mut one, &mut two, &mut three] {
            node.round().await;
        }
        one.sweep([192, 0, 2, 7]).await;
        // The pager does not answer, and then the process is gone.
        let mut dies = one.world.flow.watcher(shared.log.clone()).alarms(Silent);
        assert!(cut_after(dies.run_once(), 100).is_none());
        drop(dies);
        for _ in 0..3 {
            assert_eq!(two.round().await.alarms + three.round().await.alarms, 0);
        }
        // The next one that tries to tell it dies as well.
        let mut dies = one.world.flow.watcher(shared.log.clone()).alarms(Silent);
        let _ = dies.run_once().await;
        one.world.clock.advance(Duration::from_secs(120));
        assert!(cut_after(dies.run_once(), 100).is_none());
        drop(dies);
        assert_eq!(two.round().await.alarms + three.round().await.alarms, 0);
        one.world.clock.advance(Duration::from_secs(240));
        assert_eq!(two.round().await.alarms + three.round().await.alarms, 1);
        for _ in 0..3 {
            one.world.clock.advance(Duration::from_secs(120));
            assert_eq!(two.round().await.alarms + three.round().await.alarms, 0);
        }
        assert_eq!(shared.pager.rules(), ["identifiers_of_a_source"]);
        assert_eq!(alarms_in(&shared.log).len(), 1);
    });
}

/// Never answers.
struct Silent;

#[async_trait]
impl AlarmSink for Silent {
    async fn raise(&self, _: &Alarm) -> Result<(), BoxError> {
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await
    }
}

/// An operator who turns the captcha off has the last word until the threshold is reached again.
#[test]
fn an_operator_may_turn_the_proof_off() {
    block_on(async {
        let mut shared = Shared::new();
        let mut node = shared.node();
        node.round().await;
        node.sweep([192, 0, 2, 7]).await;
        node.round().await;
        assert!(node.world.flow.asks_for_proof());
        node.demand.off();
        node.round().await;
        assert!(!node.world.flow.asks_for_proof());
        node.sweep([192, 0, 2, 7]).await;
        node.round().await;
        assert!(node.world.flow.asks_for_proof());
    });
}

/// R76, R77: an alarm is one line, and an account's key cannot break out of it.
#[test]
fn an_alarm_is_one_line_whatever_an_account_is_called() {
    block_on(async {
        let mut shared = Shared::new();
        let mut node = shared.node();
        node.round().await;
        let key = "7\" since 2026\u{2028}ALARM \u{202e}evil";
        let now = node.world.clock.now();
        let mut event = Event::new(
            now,
            EventKind::Refused(password_reset::audit::Refused::CodesLocked),
        );
        event.user = Some(UserId::parse(key).unwrap());
        shared.log.record(&event).unwrap();
        node.world.clock.advance(Duration::from_secs(6));
        assert_eq!(node.round().await.alarms, 1);
        let alarm = shared.pager.told.lock().unwrap()[0].clone();
        let line = alarm.to_string();
        let plain = |c: char| !c.is_control() && !"\u{2028}\u{202e}".contains(c);
        assert!(
            line.chars().all(plain) && line.contains("user \"7\\\""),
            "{line}"
        );
        assert_eq!(alarm.severity, Severity::Critical);
        TracingAlarms.raise(&alarm).await.unwrap();
    });
}

/// Rules of one's own replace the default ones.
#[test]
fn rules_can_be_chosen() {
    block_on(async {
        let mut shared = Shared::new();
        let node = shared.node();
        let rules = Rules::default().without(RuleName::new("identifiers_of_a_source"));
        let watcher = node.world.flow.watcher(shared.log.clone());
        let mut watcher = watcher.alarms(shared.pager.clone()).rules(rules);
        node.sweep([192, 0, 2, 7]).await;
        assert_eq!(watcher.run_once().await.alarms, 0);
    });
}

/// In the background: an alarm is told within some rounds, and the end is graceful.
#[tokio::test(start_paused = true)]
async fn a_spawned_watcher_tells_and_stops() {
    let mut shared = Shared::new();
    let node = shared.node();
    let handle = node.watcher.spawn(WatcherOptions::default());
    for number in 0..50 {
        let identifier = typed(&format!("nobody-{number}@example.com"));
        let client = Client::from_ip([192, 0, 2, 7].into());
        let _ = node.world.flow.request(&identifier, &client).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(shared.pager.rules(), Vec::<String>::new());
    node.world.clock.advance(Duration::from_secs(6));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(shared.pager.rules(), ["identifiers_of_a_source"]);
    let report = handle.shutdown().await;
    assert_eq!((report.alarms, report.failures), (1, 0));
    assert!(report.events >= 50);
}
