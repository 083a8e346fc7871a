//! Watching the events: [`Monitor`], its [`Rules`], and the [`Alarm`]s that they raise (R78).
//!
//! A limit holds by itself and tells nobody. This tells somebody: one source asks for fifty
//! identifiers, one mailbox is asked for from ten places, a used link comes back from elsewhere.
//!
//! [`Monitor`] is pure: events and the time go in, alarms come out. It reads no clock, calls no
//! backend and holds a bounded amount of memory. What feeds it from an [`AuditLog`](super::AuditLog),
//! tells an [`AlarmSink`], records the alarm in the trail and turns the captcha on is the
//! [`Watcher`](crate::flow::Watcher), made by [`ResetFlow::watcher`](crate::ResetFlow::watcher).
//! Every process may run one: they read the same trail, so they count the same, and the flow's
//! limiter sees to it that one of them tells.
//!
//! It is not an intrusion detection system: it sees what this crate sees, and acts on nothing but
//! the captcha. It blocks nobody, since whoever can make somebody else's address ring could then
//! shut them out.
//!
//! ```
//! use std::time::Duration;
//! use password_reset::Timestamp;
//! use password_reset::audit::monitor::{Monitor, Rules, Subject};
//! use password_reset::audit::{Event, EventKind, Pseudonym};
//!
//! let mut monitor = Monitor::new(&Rules::default());
//! let source = "192.0.2.7".parse().unwrap();
//! let mut now = Timestamp::from_unix_micros(0);
//! for number in 0..50 {
//!     let mut event = Event::new(now, EventKind::Requested { suppressed: false });
//!     event.source = Some(source);
//!     event.identifier = Some(Pseudonym::from_bytes([number; 16]));
//!     monitor.observe(&event, now);
//!     now = now + Duration::from_secs(1);
//! }
//! // Alarms wait until no earlier event is expected any more.
//! let alarms = monitor.advance(now + Duration::from_secs(5));
//! assert_eq!(alarms[0].rule.as_str(), "identifiers_of_a_source");
//! assert_eq!(alarms[0].subject, Subject::Source(source));
//! ```

mod alarm;
mod fact;
mod rule;
mod tally;
mod usual;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use crate::Timestamp;
use crate::audit::Event;
use crate::audit::monitor::fact::{Fact, Ledger};
use crate::audit::monitor::tally::Table;

pub use alarm::{Alarm, AlarmSink, Subject, TracingAlarms};
pub use rule::{
    Counted, Group, MAX_DISTINCT, MAX_EVENTS, MAX_RULES, Rule, RuleError, RuleFlaw, Rules, Signal,
    Threshold,
};

/// How long an event may be on its way.
const LATENESS: Duration = Duration::from_secs(5);
const MOST_LATENESS: Duration = Duration::from_secs(60);
/// How many events wait for earlier ones; the earliest is counted when there are more.
const WAITING: usize = 65_536;
/// How many groups each rule holds.
const GROUPS: usize = 8_192;
const MOST_GROUPS: usize = 1_000_000;

/// Counts events by rules, and tells when one of them is reached.
///
/// Events may come in any order within the [lateness](Self::lateness): they are put into the order
/// of their time before they are counted, so the order in which they arrive changes nothing. Those
/// that come later still count, as if they had just happened; those from the future, of a process
/// whose clock is wrong, count as of now.
///
/// Memory is bounded: by default 8,192 groups for each rule, with eight different things each on
/// average, 65,536 events that wait, and 8,192 each of the tokens, changes and requests that have to
/// be remembered: under 8 MB for each rule that counts separately in the worst case, and next to
/// nothing in the ordinary one. A rule that has to give up groups rings for
/// [`Subject::Many`].
pub struct Monitor {
    tables: Vec<Table>,
    ledger: Ledger,
    waiting: BinaryHeap<Reverse<Fact>>,
    lateness: Duration,
    /// Everything before this moment has been counted.
    counted: Timestamp,
    alarms: Vec<Alarm>,
    challenge: Option<Timestamp>,
}

impl Monitor {
    /// A monitor that has seen nothing yet.
    pub fn new(rules: &Rules) -> Self {
        Self::with_capacity(rules, GROUPS)
    }

    /// The same, with room for so many groups in each rule: at least 1, at most a million. More than
    /// the default of 8,192 is for services where more than so many sources or identifiers ask within
    /// an hour.
    pub fn with_capacity(rules: &Rules, groups: usize) -> Self {
        let groups = groups.min(MOST_GROUPS);
        Self {
            tables: rules.iter().map(|rule| Table::new(rule, groups)).collect(),
            ledger: Ledger::default(),
            waiting: BinaryHeap::new(),
            lateness: LATENESS,
            counted: Timestamp::from_unix_micros(i64::MIN),
            alarms: Vec::new(),
            challenge: None,
        }
    }

    /// How long an event may be on its way before it counts as one of now: 5 seconds by default, at
    /// most 60. Alarms ring so much later.
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.lateness = lateness.min(MOST_LATENESS);
        self
    }

    /// Takes an event. What comes of it is told by [`advance`](Self::advance).
    pub fn observe(&mut self, event: &Event, now: Timestamp) {
        let Some(mut fact) = Fact::of(event) else {
            return;
        };
        fact.at = fact.at.min(now).max(self.counted);
        self.waiting.push(Reverse(fact));
        if self.waiting.len() > WAITING {
            self.count_first();
        }
    }

    /// Counts what happened more than the lateness before `now`, and tells what rang since the last
    /// call, the earliest first. A clock that goes back changes nothing.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Alarm> {
        let end = (now - self.lateness).max(self.counted);
        while let Some(Reverse(first)) = self.waiting.peek() {
            // Another event of this very moment may still come, and be before it.
            if first.at >= end {
                break;
            }
            self.count_first();
        }
        self.counted = end;
        std::mem::take(&mut self.alarms)
    }

    /// Until when a proof that a human asks is demanded, if a rule ever demanded one; that may be
    /// over. The end moves on for as long as the threshold is reached, ringing or not.
    pub fn challenge_until(&self) -> Option<Timestamp> {
        self.challenge
    }

    /// How many groups, members of groups and waiting events are held: what its memory is made of.
    pub fn held(&self) -> usize {
        let tables = self.tables.iter();
        let held: usize = tables.map(|table| table.groups() + table.members()).sum();
        held + self.waiting.len()
    }

    fn count_first(&mut self) {
        let Some(Reverse(mut fact)) = self.waiting.pop() else {
            return;
        };
        self.counted = self.counted.max(fact.at);
        self.ledger.complete(&mut fact);
        for table in &mut self.tables {
            let Some(outcome) = table.count(&fact) else {
                continue;
            };
            if let (true, Some(span)) = (outcome.reached, table.rule().challenge) {
                self.challenge = self.challenge.max(Some(fact.at + span));
            }
            self.alarms.extend(outcome.alarm);
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was counted is not shown: it is long.
        f.debug_struct("Monitor")
            .field("rules", &self.tables.len())
            .field("held", &self.held())
            .field("challenge", &self.challenge)
            .finish_non_exhaustive()
    }
}
