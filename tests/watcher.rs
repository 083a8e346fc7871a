//! The watcher (R78, R77): every process counts, one of them tells, and nothing that fails makes it
//! silent.

#![allow(
    clippy::unwrap_used,
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
