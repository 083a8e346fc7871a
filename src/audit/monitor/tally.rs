//! Counting: one table for each rule, one tally for each of its groups, in sliding windows.
//!
//! Facts come in the order of time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::Timestamp;
use crate::account::UserId;
use crate::audit::Pseudonym;
use crate::audit::monitor::alarm::{Alarm, Subject};
use crate::audit::monitor::fact::Fact;
use crate::audit::monitor::rule::{Counted, Group, Rule, Threshold};
use crate::audit::monitor::usual::Usual;
use crate::clock::micros;

/// Slices of a window of events.
const SLICES: i64 = 60;
/// How many subjects of one rule ring within its cool-down before the rest is told as one.
const MAX_RINGING: usize = 20;
/// How many members a table holds for each group that it may hold.
const MEMBERS_PER_GROUP: usize = 8;

/// What one rule has counted.
#[derive(Debug)]
pub(super) struct Table {
    rule: Rule,
    signals: u32,
    usual: Option<Usual>,
    /// How many groups are held at most.
    capacity: usize,
    groups: HashMap<Subject, Held>,
    /// All members of all groups.
    members: usize,
    /// Groups by what they have counted and when that was, the first to go first.
    lightest: BTreeMap<(usize, u64), Subject>,
    /// Groups by when they last counted.
    oldest: BTreeMap<u64, Subject>,
    touches: u64,
    /// What rang within the cool-down.
    ringing: VecDeque<(Timestamp, Subject)>,
}

#[derive(Debug)]
struct Held {
    tally: Tally,
    touched: u64,
    last: Timestamp,
}

/// What came of a fact.
pub(super) struct Outcome {
    /// Whether the threshold is reached, ringing or not.
    pub(super) reached: bool,
    pub(super) alarm: Option<Alarm>,
}

impl Table {
    pub(super) fn new(rule: &Rule, capacity: usize) -> Self {
        let usual = match rule.threshold {
            Threshold::Count(_) => None,
            Threshold::Usual { factor, floor } => Some(Usual::new(rule.window, factor, floor)),
        };
        Self {
            signals: rule.counts.iter().fold(0, |all, signal| all | signal.bit()),
            rule: rule.clone(),
            usual,
            capacity: capacity.max(1),
            groups: HashMap::new(),
            members: 0,
            lightest: BTreeMap::new(),
            oldest: BTreeMap::new(),
            touches: 0,
            ringing: VecDeque::new(),
        }
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.rule
    }

    /// How many groups are held.
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many members of groups are held.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Counts a fact, if the rule does.
    pub(super) fn count(&mut self, fact: &Fact) -> Option<Outcome> {
        if !fact.is_one_of(self.signals) {
            return None;
        }
        let subject = self.subject(fact)?;
        let member = match self.rule.what {
            Counted::Events => None,
            what => Some(Member::of(what, fact)?),
        };
        let threshold = match (&mut self.usual, self.rule.threshold) {
            (Some(usual), _) => usual.count(fact.at),
            (None, Threshold::Count(count)) => Some(count.into()),
            (None, Threshold::Usual { .. }) => None,
        };

        self.forget(fact.at);
        let seen = self.touch(&subject, fact.at, member);
        let crowded = self.make_room();
        let reached = threshold.is_some_and(|threshold| seen.count >= threshold);
        let mut alarm = None;
        if let (true, Some(threshold)) = (reached, threshold) {
            alarm = self.ring(subject, fact, &seen, threshold);
        }
        if alarm.is_none() && crowded {
            let held = u64::try_from(self.groups.len()).unwrap_or(u64::MAX);
            let crowd = Seen {
                count: held,
                first: fact.at,
            };
            alarm = self.ring(Subject::Many, fact, &crowd, held);
        }
        Some(Outcome { reached, alarm })
    }

    fn subject(&self, fact: &Fact) -> Option<Subject> {
        match self.rule.per {
            Group::All => Some(Subject::All),
            Group::Source => fact.source.map(Subject::Source),
            Group::Network => fact.network().map(Subject::Network),
            Group::Identifier => {
                let bytes = fact.identifier?;
                Some(Subject::Identifier(Pseudonym::from_bytes(bytes)))
            }
            Group::User => fact.user.clone().map(Subject::User),
        }
    }

    fn touch(&mut self, subject: &Subject, at: Timestamp, member: Option<Member>) -> Seen {
        self.touches += 1;
        let touched = self.touches;
        let held = self.groups.entry(subject.clone()).or_insert_with(|| Held {
            tally: Tally::new(member.is_some()),
            touched,
            last: at,
        });
        let before = (held.tally.weight(), held.touched);
        let size = held.tally.size();
        let cap = match self.rule.threshold {
            Threshold::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Threshold::Usual { .. } => usize::MAX,
        };
        let seen = held.tally.add(at, self.rule.window, member, cap);
        let after = (held.tally.weight(), touched);
        (held.touched, held.last) = (touched, at);
        self.members = self.members.saturating_sub(size) + held.tally.size();
        self.lightest.remove(&before);
        self.oldest.remove(&before.1);
        self.lightest.insert(after, subject.clone());
        self.oldest.insert(touched, subject.clone());
        seen
    }

    /// Forgets groups of which nothing is left in the window.
    fn forget(&mut self, now: Timestamp) {
        let slack = self.rule.window / 60;
        while let Some((_, subject)) = self.oldest.first_key_value() {
            let held = self.groups.get(subject);
            if held.is_some_and(|held| now.since(held.last) <= self.rule.window + slack) {
                return;
            }
            let subject = subject.clone();
            self.drop_group(&subject);
        }
    }

    /// Evicts the groups that are furthest from the threshold, of those the oldest, until there is
    /// room. Whoever would hide behind a flood of groups has to count higher than all of them; and a
    /// flood that makes this necessary is an alarm by itself.
    fn make_room(&mut self) -> bool {
        let mut crowded = false;
        let most = self.capacity.saturating_mul(MEMBERS_PER_GROUP);
        while self.groups.len() > self.capacity || self.members > most && self.groups.len() > 1 {
            let Some((_, subject)) = self.lightest.first_key_value() else {
                return crowded;
            };
            let subject = subject.clone();
            self.drop_group(&subject);
            crowded = true;
        }
        crowded
    }

    fn drop_group(&mut self, subject: &Subject) {
        if let Some(held) = self.groups.remove(subject) {
            self.members -= held.tally.size().min(self.members);
            self.lightest.remove(&(held.tally.weight(), held.touched));
            self.oldest.remove(&held.touched);
        }
    }

    /// An alarm, unless the same rang a while ago.
    fn ring(
        &mut self,
        subject: Subject,
        fact: &Fact,
        seen: &Seen,
        threshold: u64,
    ) -> Option<Alarm> {
        let (at, rule) = (fact.at, &self.rule);
        let over = |rang: &(Timestamp, Subject)| at.since(rang.0) >= rule.cool_down;
        while self.ringing.front().is_some_and(over) {
            self.ringing.pop_front();
        }
        let rings = |subject: &Subject| self.ringing.iter().any(|(_, rang)| rang == subject);
        if rings(&subject) {
            return None;
        }
        // One place is kept for the word that there are more.
        let subject = match self.ringing.len() < MAX_RINGING {
            true => subject,
            false if rings(&Subject::Many) => return None,
            false => Subject::Many,
        };
        self.ringing.push_back((at, subject.clone()));
        Some(Alarm {
            rule: rule.name,
            severity: rule.severity,
            at,
            subject,
            count: seen.count,
            threshold,
            window: rule.window,
            first_seen: seen.first,
            cool_down: rule.cool_down,
            source: fact.source,
            challenge: rule.challenge,
        })
    }
}

/// What one group has counted within the window.
#[derive(Debug)]
enum Tally {
    Events {
        /// Slices that counted something: their number, and how much.
        slices: VecDeque<(i64, u64)>,
        total: u64,
    },
    Distinct(Vec<(Member, Timestamp)>),
}

/// A count, and when the first of it was.
struct Seen {
    count: u64,
    first: Timestamp,
}

impl Tally {
    fn new(distinct: bool) -> Self {
        match distinct {
            true => Self::Distinct(Vec::new()),
            false => Self::Events {
                slices: VecDeque::new(),
                total: 0,
            },
        }
    }

    /// What keeps a group from being evicted.
    fn weight(&self) -> usize {
        match self {
            Self::Events { total, .. } => usize::try_from(*total).unwrap_or(usize::MAX),
            Self::Distinct(members) => members.len(),
        }
    }

    /// How much memory it takes.
    fn size(&self) -> usize {
        match self {
            Self::Events { slices, .. } => slices.len(),
            Self::Distinct(members) => members.len(),
        }
    }

    fn add(&mut self, at: Timestamp, window: Duration, member: Option<Member>, cap: usize) -> Seen {
        match (self, member) {
            (Self::Events { slices, total }, _) => add_event(slices, total, at, window),
            (Self::Distinct(members), Some(member)) => add_member(members, member, at, window, cap),
            (Self::Distinct(members), None) => Seen {
                count: u64::try_from(members.len()).unwrap_or(u64::MAX),
                first: at,
            },
        }
    }
}

fn add_event(
    slices: &mut VecDeque<(i64, u64)>,
    total: &mut u64,
    at: Timestamp,
    window: Duration,
) -> Seen {
    let width = (micros(window) / SLICES).max(1);
    let slice = at.unix_micros().div_euclid(width);
    // The slice in which the window begins counts whole: too much rather than too little.
    let begin = (at - window).unix_micros().div_euclid(width);
    while let Some((_, count)) = slices.front().filter(|(number, _)| *number < begin) {
        *total = total.saturating_sub(*count);
        slices.pop_front();
    }
    match slices.back_mut() {
        Some((number, count)) if *number == slice => *count += 1,
        _ => slices.push_back((slice, 1)),
    }
    *total += 1;
    let first = slices.front().map_or(slice, |(number, _)| *number);
    let first = Timestamp::from_unix_micros(first.saturating_mul(width));
    Seen {
        count: *total,
        first: first.max(at - window),
    }
}

/// Keeps the latest `cap` members: more are not needed to know that there are enough.
fn add_member(
    members: &mut Vec<(Member, Timestamp)>,
    member: Member,
    at: Timestamp,
    window: Duration,
    cap: usize,
) -> Seen {
    match members.iter_mut().find(|(known, _)| *known == member) {
        Some((_, last)) => *last = at,
        None => members.push((member, at)),
    }
    // Only where it matters: below the threshold, members of yesterday change nothing.
    if members.len() >= cap {
        members.retain(|(_, last)| at.since(*last) < window);
    }
    if members.len() > cap {
        let oldest = members
            .iter()
            .enumerate()
            .min_by_key(|(_, (_, last))| *last);
        if let Some((oldest, _)) = oldest {
            members.remove(oldest);
        }
    }
    Seen {
        count: u64::try_from(members.len()).unwrap_or(u64::MAX),
        first: members.iter().map(|(_, last)| *last).min().unwrap_or(at),
    }
}

/// One of the different things that are counted.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Member {
    Address(IpAddr),
    Bytes([u8; 16]),
    User(UserId),
}

impl Member {
    fn of(what: Counted, fact: &Fact) -> Option<Self> {
        match what {
            Counted::Events => None,
            Counted::Identifiers => fact.identifier.map(Self::Bytes),
            Counted::Sources => fact.source.map(Self::Address),
            Counted::Networks => fact.network().map(Self::Address),
            Counted::Users => fact.user.clone().map(Self::User),
            Counted::Tokens => fact.token.map(Self::Bytes),
        }
    }
}
