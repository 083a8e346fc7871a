//! What a rule needs of an event, and what has to be remembered to tell it.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use crate::Timestamp;
use crate::account::{Client, UserId};
use crate::audit::monitor::rule::Signal;
use crate::audit::{Event, EventKind, Mailing, Refused, Withheld};

/// How long after its use a token that is presented elsewhere is told.
const REUSE: Duration = Duration::from_secs(3_600);
/// How long after a change "this wasn't me" speaks of the change.
const CHANGE: Duration = Duration::from_secs(86_400);
/// How long it may take until a worker finds no account.
const LOOK_UP: Duration = Duration::from_secs(900);
/// How many tokens, changes and requests are remembered; beyond that the oldest are forgotten.
const REMEMBERED: usize = 8_192;

/// One event, cut down to what is counted. The order makes the outcome the same however events of
/// the same moment arrive.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Fact {
    pub(super) at: Timestamp,
    role: Role,
    signals: u32,
    pub(super) source: Option<IpAddr>,
    pub(super) identifier: Option<[u8; 16]>,
    pub(super) user: Option<UserId>,
    pub(super) token: Option<[u8; 16]>,
    job: Option<[u8; 16]>,
}

/// What must be looked up, or remembered for others.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Role {
    /// A request: where its job came from.
    Request,
    /// A token was used, and where.
    Use,
    /// The same, and the password was changed by it.
    Change,
    /// Nothing more.
    Plain,
    /// No account was found for a job.
    Stranger,
    /// A token was presented that was used before.
    Again,
    /// "This wasn't me".
    Disown,
}

impl Fact {
    /// `None` for events that no rule needs. Alarms are among them: they feed on nothing of their
    /// own.
    pub(super) fn of(event: &Event) -> Option<Self> {
        use Signal::{
            Asked, BadProof, BadToken, BudgetSpent, CodeTriedOut, CodesLocked, Disowned,
            MailGivenUp, NoticeStuck, PartFailed, Taken, TokenLimited, WrongCode,
        };
        let (role, signals): (Role, &[Signal]) = match event.kind {
            EventKind::Requested { .. } => (Role::Request, &[Asked, Taken]),
            EventKind::Unreadable => (Role::Plain, &[Asked]),
            // Without an identifier it is a token that was presented, not a request.
            EventKind::RateLimited | EventKind::NetworkLimited if event.identifier.is_none() => {
                (Role::Plain, &[TokenLimited])
            }
            EventKind::RateLimited | EventKind::NetworkLimited | EventKind::Challenged => {
                (Role::Plain, &[Asked])
            }
            EventKind::GlobalLimited => (Role::Plain, &[Asked, BudgetSpent]),
            EventKind::ProofRefused(_) => (Role::Plain, &[Asked, BadProof]),
            EventKind::Withheld(Withheld::Unknown) => (Role::Stranger, &[]),
            EventKind::Refused(why) => match why {
                Refused::Malformed
                | Refused::Unknown
                | Refused::WrongVerifier
                | Refused::WrongTenant => (Role::Plain, &[BadToken]),
                Refused::WrongCode => (Role::Plain, &[WrongCode]),
                Refused::CodeTries => (Role::Plain, &[WrongCode, CodeTriedOut]),
                Refused::CodesLocked => (Role::Plain, &[WrongCode, CodesLocked]),
                Refused::Spent => (Role::Again, &[]),
                _ => return None,
            },
            EventKind::CodeRedeemed => (Role::Use, &[]),
            EventKind::Completed => (Role::Change, &[]),
            EventKind::Disowned { .. } => (Role::Disown, &[Disowned]),
            EventKind::MailFailed {
                what: Mailing::Notice,
                attempt: 3..,
            } => (Role::Plain, &[NoticeStuck]),
            EventKind::DeadLetter { .. } => (Role::Plain, &[MailGivenUp]),
            EventKind::BackendFailed { .. }
            | EventKind::WorkerPanicked
            | EventKind::KeyMissing
            | EventKind::ChangeUncertain => (Role::Plain, &[PartFailed]),
            _ => return None,
        };
        Some(Self {
            at: event.at,
            role,
            signals: signals.iter().fold(0, |all, signal| all | signal.bit()),
            source: event.source,
            identifier: event.identifier.map(|pseudonym| *pseudonym.as_bytes()),
            user: event.user.clone(),
            token: event.token.map(|selector| *selector.as_bytes()),
            job: event.job.map(|job| *job.as_bytes()),
        })
    }

    pub(super) fn is_one_of(&self, signals: u32) -> bool {
        self.signals & signals != 0
    }

    pub(super) fn network(&self) -> Option<IpAddr> {
        network(self.source)
    }

    fn add(&mut self, signal: Signal) {
        self.signals |= signal.bit();
    }
}

fn network(source: Option<IpAddr>) -> Option<IpAddr> {
    source.and_then(|source| Client::from_ip(source).network())
}

/// What earlier events said about later ones. Bounded: nobody can push out what is remembered of
/// tokens and changes without changing thousands of passwords.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Where a token was used.
    used: Recent<[u8; 16], Option<IpAddr>>,
    /// Whose password was changed.
    changed: Recent<UserId, ()>,
    /// Where a job came from.
    asked: Recent<[u8; 16], Option<IpAddr>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            used: Recent::new(REUSE),
            changed: Recent::new(CHANGE),
            asked: Recent::new(LOOK_UP),
        }
    }
}

impl Ledger {
    /// Remembers what a fact says, and adds what can be told of it by now.
    pub(super) fn complete(&mut self, fact: &mut Fact) {
        let at = fact.at;
        match fact.role {
            Role::Plain => {}
            Role::Request => {
                if let Some(job) = fact.job {
                    self.asked.put(job, fact.source, at);
                }
            }
            Role::Use | Role::Change => {
                if let Some(token) = fact.token {
                    self.used.put(token, fact.network(), at);
                }
                if let (Role::Change, Some(user)) = (fact.role, &fact.user) {
                    self.changed.put(user.clone(), (), at);
                }
            }
            Role::Stranger => {
                fact.add(Signal::Unknown);
                let source = fact.job.and_then(|job| self.asked.get(&job, at).copied());
                fact.source = fact.source.or(source.flatten());
            }
            Role::Again => {
                let used_in = fact.token.and_then(|token| self.used.get(&token, at));
                if used_in.is_some_and(|network| *network != fact.network()) {
                    fact.add(Signal::Reused);
                }
            }
            Role::Disown => {
                let user = fact.user.as_ref();
                if user.is_some_and(|user| self.changed.get(user, at).is_some()) {
                    fact.add(Signal::ChangeDisowned);
                }
            }
        }
    }
}

/// The latest entries of a map, for a while.
#[derive(Debug)]
struct Recent<K, V> {
    life: Duration,
    entries: HashMap<K, (V, Timestamp)>,
    order: VecDeque<(Timestamp, K)>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn new(life: Duration) -> Self {
        Self {
            life,
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The latest word on a key counts.
    fn put(&mut self, key: K, value: V, at: Timestamp) {
        while let Some((since, oldest)) = self.order.front() {
            let over = at.since(*since) >= self.life;
            if !over && self.order.len() < REMEMBERED {
                break;
            }
            // It may have been put again since.
            if self.entries.get(oldest).is_some_and(|(_, at)| at == since) {
                self.entries.remove(oldest);
            }
            self.order.pop_front();
        }
        self.order.push_back((at, key.clone()));
        self.entries.insert(key, (value, at));
    }

    fn get<Q>(&self, key: &Q, now: Timestamp) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (value, at) = self.entries.get(key)?;
        (now.since(*at) < self.life).then_some(value)
    }
}
