//! One moment of the modelled world, and every step that can follow it.
//!
//! Times are kept relative to the present: a tick shortens every deadline by one, and what is over
//! is over. So the worlds are finitely many although time is not bounded.
//!
//! Left out: the audit event (nothing depends on it), and errors as steps of their own. An error is
//! ambiguous, so it is a crash before the call or a crash after it.

use password_reset::token::state::{Claim, Revocation, Settlement};

use crate::protocol::{Promise, Protocol, Scenario};
use crate::record::{Held, Record, at, claim_id, clock, later, left};

/// Ticks that a claim's lease lasts.
const LEASE: u8 = 2;
/// Ticks until a released token is looked at again.
const WATCH: u8 = 1;
/// Ticks until a token expires.
const LIFE: u8 = 3;
/// Ticks after expiry until a record may be purged.
const TOMBSTONE: u8 = 3;
/// Ticks after expiry until no process that may still swap exists; short of the tombstone time,
/// so that the purge has every slack it may ask for.
const PAUSE: u8 = 2;
/// The claim of the first sweeper; completers count from 0.
const SWEEPER: u8 = 10;

/// What follows a change, one awaited call each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Settle {
    Revoke,
    Sessions,
    Spend,
}

impl Settle {
    fn first(protocol: Protocol) -> Self {
        match protocol {
            Protocol::SpentFirst => Self::Spend,
            _ => Self::Revoke,
        }
    }

    fn next(self, protocol: Protocol) -> Option<Self> {
        match self {
            Self::Revoke => Some(Self::Sessions),
            Self::Sessions if protocol == Protocol::SpentFirst => None,
            Self::Sessions => Some(Self::Spend),
            Self::Spend if protocol == Protocol::SpentFirst => Some(Self::Revoke),
            Self::Spend => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Revoke => "revokes the account's tokens",
            Self::Sessions => "ends sessions",
            Self::Spend => "marks the token spent",
        }
    }
}

/// How far one call of `complete` is: the step that comes *next*, for which token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Completer {
    Verify,
    Claim(u8),
    Notice { token: u8, left: u8 },
    Recheck { token: u8, left: u8 },
    Release(u8),
    Swap(u8),
    LateClaim(u8),
    SpendStale(u8),
    LateNotice(u8),
    Settle(u8, Settle),
    Gone,
}

/// How far one sweeping worker is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Sweeper {
    Idle,
    Load(u8),
    Release { token: u8, last: bool },
    Settle(u8, Settle),
}

/// What the change that a token made still owes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Made {
    changes: u8,
    owes_sessions: bool,
    owes_notice: bool,
}

/// One moment.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct World {
    /// The account's credential, counted up by every change.
    credential: u8,
    /// The host may still change the password by itself.
    host: bool,
    records: [Option<Record>; 2],
    /// The credential that each token was made for; `None` when it was not made yet.
    epochs: [Option<u8>; 2],
    /// Ticks until each record may be purged; expired when no more than the tombstone time.
    clocks: [u8; 2],
    /// Whether an operator revoked the token.
    by_operator: [bool; 2],
    /// Whether a notice waits in the queue for the change that the token may make.
    noticed: [bool; 2],
    made: [Made; 2],
    completers: [Completer; 3],
    sweepers: [Sweeper; 2],
}

/// Who did what.
pub(crate) type Step = (&'static str, &'static str);

/// Where the steps that can follow are told.
pub(crate) type Next<'a> = dyn FnMut(Step, Result<World, Promise>) + 'a;

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut world = Self {
            credential: 0,
            host: scenario.host_changes,
            records: [None; 2],
            epochs: [None; 2],
            clocks: [LIFE + scenario.tombstone(TOMBSTONE); 2],
            by_operator: [false; 2],
            noticed: [false; 2],
            made: [Made {
                changes: 0,
                owes_sessions: false,
                owes_notice: false,
            }; 2],
            completers: [Completer::Gone; 3],
            sweepers: [Sweeper::Idle; 2],
        };
        for token in 0..scenario.tokens {
            world.issue(token);
        }
        for completer in 0..scenario.completers {
            world.completers[completer] = Completer::Verify;
        }
        world
    }

    /// Every step that any process can take now. Being paused is not a step: it is the others'
    /// steps and the clock's ticks coming first.
    pub(crate) fn steps(&self, scenario: &Scenario, next: &mut Next<'_>) {
        for id in 0..scenario.completers {
            self.completer_steps(id, scenario, next);
        }
        for id in 0..scenario.sweepers {
            self.sweeper_steps(id, scenario, next);
        }
        self.outside_steps(scenario, next);
    }

    fn completer_steps(&self, id: usize, scenario: &Scenario, next: &mut Next<'_>) {
        const NAMES: [&str; 3] = ["completer A", "completer B", "completer C"];
        let name = NAMES[id];
        let by = u8::try_from(id).unwrap();
        let protocol = scenario.protocol;
        let mut then = |what, change: &dyn Fn(&mut Self) -> Result<Completer, Promise>| {
            let mut world = *self;
            let outcome = change(&mut world).map(|stage| {
                world.completers[id] = stage;
                world
            });
            next((name, what), outcome);
        };
        let stage = self.completers[id];
        match stage {
            Completer::Gone => return,
            Completer::Verify => {
                for token in (0..2).filter(|token| self.verifies(*token, scenario)) {
                    let what = ["verifies token 1", "verifies token 2"][usize::from(token)];
                    then(what, &|_| {
                        Ok(match protocol {
                            Protocol::ClaimAfterSwap => Completer::Swap(token),
                            _ => Completer::Claim(token),
                        })
                    });
                }
            }
            Completer::Claim(token) | Completer::LateClaim(token) => {
                for skew in scenario.skews() {
                    let then_settles = matches!(stage, Completer::LateClaim(_));
                    then("claims", &|world| {
                        world
                            .claim(token, by, *skew, scenario)
                            .map(|won| match won {
                                None => Completer::Gone,
                                Some(_) if then_settles => {
                                    Completer::Settle(token, Settle::first(protocol))
                                }
                                Some(left) if protocol == Protocol::NoticeAfterSwap => {
                                    Completer::Recheck { token, left }
                                }
                                Some(left) => Completer::Notice { token, left },
                            })
                    });
                }
            }
            Completer::Notice { token, left } => then("queues the notice", &|world| {
                world.noticed[usize::from(token)] = true;
                Ok(Completer::Recheck { token, left })
            }),
            Completer::LateNotice(token) => then("queues the notice, late", &|world| {
                world.made[usize::from(token)].owes_notice = false;
                Ok(Completer::Settle(token, Settle::first(protocol)))
            }),
            Completer::Recheck { token, left } => {
                for skew in scenario.skews() {
                    then("re-checks expiry and its lease", &|world| {
                        let expired = world.is_expired(token, scenario);
                        if protocol == Protocol::NoRecheck {
                            return if expired {
                                Err(Promise::ExpiredChangesNothing)
                            } else {
                                Ok(Completer::Swap(token))
                            };
                        }
                        let over = clock(*skew) >= at(left);
                        Ok(if expired || over {
                            Completer::Release(token)
                        } else {
                            Completer::Swap(token)
                        })
                    });
                }
            }
            Completer::Release(token) => then("lets its claim go", &|world| {
                world.release(token, by, false, protocol);
                Ok(Completer::Gone)
            }),
            Completer::Swap(token) => {
                // The assumption under which records are purged at all.
                if !scenario.purges || self.clocks[usize::from(token)] > TOMBSTONE - PAUSE {
                    then(self.swap_name(token, by, protocol), &|world| {
                        world.swap(token, protocol)
                    });
                }
            }
            Completer::SpendStale(token) => then("marks a stale token spent", &|world| {
                world.settle(token, by, Settle::Spend, scenario);
                Ok(Completer::Gone)
            }),
            Completer::Settle(token, step) => then(step.name(), &|world| {
                world.settle(token, by, step, scenario);
                Ok(step
                    .next(protocol)
                    .map_or(Completer::Gone, |step| Completer::Settle(token, step)))
            }),
        }
        if stage != Completer::Verify {
            then("crashes, or hears an error and stops", &|_| {
                Ok(Completer::Gone)
            });
        }
    }

    fn sweeper_steps(&self, id: usize, scenario: &Scenario, next: &mut Next<'_>) {
        const NAMES: [&str; 2] = ["sweeper 1", "sweeper 2"];
        let protocol = scenario.protocol;
        let mut then = |what, change: &dyn Fn(&mut Self) -> Option<Sweeper>| {
            let mut world = *self;
            if let Some(stage) = change(&mut world) {
                world.sweepers[id] = stage;
                next((NAMES[id], what), Ok(world));
            }
        };
        let stage = self.sweepers[id];
        let by = SWEEPER + u8::try_from(id).unwrap();
        match stage {
            Sweeper::Idle => {
                for token in 0..2 {
                    let what = ["takes token 1 over", "takes token 2 over"][usize::from(token)];
                    for skew in scenario.skews() {
                        then(what, &|world| {
                            let now = clock(*skew);
                            let record = world.records[usize::from(token)].as_mut()?;
                            if protocol == Protocol::SweepSkipsRevoked && record.revoked {
                                return None;
                            }
                            record
                                .with(|state| state.take_over(claim_id(by), now, later(now, LEASE)))
                                .then_some(Sweeper::Load(token))
                        });
                    }
                }
            }
            Sweeper::Load(token) => {
                if self.is_fresh(token) {
                    let last_look = match protocol {
                        Protocol::LastLookAtExpiry => TOMBSTONE,
                        _ => TOMBSTONE - PAUSE,
                    };
                    let last = scenario.purges && self.clocks[usize::from(token)] <= last_look;
                    then("finds the credential unchanged", &|_| {
                        Some(Sweeper::Release { token, last })
                    });
                } else {
                    then("finds the credential changed", &|_| {
                        Some(Sweeper::Settle(token, Settle::first(protocol)))
                    });
                }
            }
            Sweeper::Release { token, last } => then("lets the token go", &|world| {
                world.release(token, by, last, protocol);
                if protocol == Protocol::UnchangedIsDead {
                    world.settle(token, by, Settle::Revoke, scenario);
                }
                Some(Sweeper::Idle)
            }),
            Sweeper::Settle(token, step) => then(step.name(), &|world| {
                world.settle(token, by, step, scenario);
                Some(
                    step.next(protocol)
                        .map_or(Sweeper::Idle, |step| Sweeper::Settle(token, step)),
                )
            }),
        }
        if stage != Sweeper::Idle {
            // Another worker takes its place. The dead one's claim stands until its lease is over.
            then("crashes", &|_| Some(Sweeper::Idle));
        }
    }

    fn outside_steps(&self, scenario: &Scenario, next: &mut Next<'_>) {
        let mut then = |who, what, change: &dyn Fn(&mut Self)| {
            let mut world = *self;
            change(&mut world);
            if world != *self {
                next((who, what), Ok(world));
            }
        };
        then("clock", "ticks", &Self::tick);
        if self.host {
            then("host", "changes the password by itself", &|world| {
                world.host = false;
                world.credential += 1;
            });
        }
        if scenario.operator_revokes {
            then("operator", "revokes every token", &|world| {
                for token in 0..2 {
                    world.by_operator[token] |= world.revoke(token, scenario);
                }
            });
        }
        if scenario.issues_later && self.epochs[1].is_none() {
            then("worker", "issues token 2", &|world| world.issue(1));
        }
        if scenario.purges {
            then("worker", "purges", &|world| {
                for token in 0..2 {
                    if world.clocks[token] == 0
                        && world.records[token].is_some_and(|r| purges(r, scenario.protocol))
                    {
                        world.records[token] = None;
                    }
                }
            });
        }
    }

    fn tick(&mut self) {
        self.records.iter_mut().flatten().for_each(Record::tick);
        for left in &mut self.clocks {
            *left = left.saturating_sub(1);
        }
        for completer in &mut self.completers {
            if let Completer::Notice { left, .. } | Completer::Recheck { left, .. } = completer {
                *left = left.saturating_sub(1);
            }
        }
    }

    fn issue(&mut self, token: usize) {
        self.records[token] = Some(Record::LIVE);
        self.epochs[token] = Some(self.credential);
    }

    fn is_fresh(&self, token: u8) -> bool {
        self.epochs[usize::from(token)] == Some(self.credential)
    }

    fn is_expired(&self, token: u8, scenario: &Scenario) -> bool {
        self.clocks[usize::from(token)] <= scenario.tombstone(TOMBSTONE)
    }

    fn verifies(&self, token: u8, scenario: &Scenario) -> bool {
        self.records[usize::from(token)]
            .is_some_and(|mut record| record.with(|state| state.is_open() && !state.is_held(at(0))))
            && self.is_fresh(token)
            && !self.is_expired(token, scenario)
    }

    /// Ticks left of the lease, if won.
    fn claim(
        &mut self,
        token: u8,
        by: u8,
        skew: i8,
        scenario: &Scenario,
    ) -> Result<Option<u8>, Promise> {
        let Some(record) = &mut self.records[usize::from(token)] else {
            return Ok(None);
        };
        let revoked = record.revoked;
        if scenario.protocol == Protocol::ClaimIgnoresRevocation {
            record.revoked = false;
        }
        let now = clock(skew);
        let until = later(now, LEASE);
        let answer = record.with(|state| state.claim(claim_id(by), now, until));
        record.revoked = revoked;
        match answer {
            Claim::Won if revoked => Err(Promise::RevokedIsNeverClaimed),
            Claim::Won => Ok(Some(left(until))),
            Claim::Held | Claim::Refused => Ok(None),
        }
    }

    fn swap_name(&self, token: u8, by: u8, protocol: Protocol) -> &'static str {
        let own = self.records[usize::from(token)].is_some_and(
            |record| matches!(record.hold, Held::Claimed { by: who, .. } if who == by),
        );
        match (self.is_fresh(token) || protocol == Protocol::NoCompare, own) {
            (true, true) => "swaps: done",
            (true, false) => "swaps: done, though its claim is gone",
            (false, true) => "swaps: stale",
            (false, false) => "swaps: stale, and its claim is gone",
        }
    }

    fn swap(&mut self, token: u8, protocol: Protocol) -> Result<Completer, Promise> {
        let fresh = self.is_fresh(token);
        if !fresh && protocol != Protocol::NoCompare {
            return Ok(match protocol {
                Protocol::StaleMarksSpent => Completer::SpendStale(token),
                _ => Completer::Gone,
            });
        }
        self.credential += 1;
        let made = &mut self.made[usize::from(token)];
        made.changes += 1;
        made.owes_sessions = true;
        made.owes_notice = !self.noticed[usize::from(token)];
        if made.changes > 1 {
            return Err(Promise::OneChangePerToken);
        }
        if !fresh {
            return Err(Promise::NothingIsOverwritten);
        }
        Ok(match protocol {
            Protocol::ClaimAfterSwap => Completer::LateClaim(token),
            Protocol::NoticeAfterSwap => Completer::LateNotice(token),
            _ => Completer::Settle(token, Settle::first(protocol)),
        })
    }

    fn settle(&mut self, token: u8, by: u8, step: Settle, scenario: &Scenario) {
        match step {
            Settle::Revoke => {
                let epoch = self.epochs[usize::from(token)];
                for sibling in 0..2 {
                    let reaches = match scenario.protocol {
                        Protocol::RevokesByUser => true,
                        _ => self.epochs[sibling] == epoch,
                    };
                    if reaches {
                        self.revoke(sibling, scenario);
                    }
                }
            }
            Settle::Sessions => {
                for made in &mut self.made {
                    made.owes_sessions = false;
                }
            }
            Settle::Spend => {
                if let Some(record) = &mut self.records[usize::from(token)] {
                    record
                        .with(|state| state.settle(claim_id(by), Settlement::Spent { at: at(0) }));
                }
            }
        }
    }

    fn release(&mut self, token: u8, by: u8, last: bool, protocol: Protocol) {
        if let Some(record) = &mut self.records[usize::from(token)] {
            let check_at = at(WATCH);
            let closes = match protocol {
                Protocol::ReleaseFrees => true,
                Protocol::PurgesWatched => false,
                _ => last,
            };
            let settlement = if closes {
                Settlement::Closed
            } else {
                Settlement::Released { check_at }
            };
            record.with(|state| state.settle(claim_id(by), settlement));
        }
    }

    fn revoke(&mut self, token: usize, scenario: &Scenario) -> bool {
        self.records[token].as_mut().is_some_and(|record| {
            let reached = record.with(|state| state.revoke(at(0), Revocation::Requested));
            if reached && scenario.protocol == Protocol::RevokeFrees {
                record.hold = Held::Free;
            }
            reached
        })
    }

    /// What has to hold at every moment.
    pub(crate) fn check(&self) -> Result<(), Promise> {
        for token in 0..2 {
            let Some(mut record) = self.records[token] else {
                continue;
            };
            // Whatever changed the password this token was made for, is settled.
            let unsettled = (0..2).any(|other| {
                self.epochs[other] == self.epochs[token]
                    && (self.made[other].owes_sessions || self.made[other].owes_notice)
            });
            if record.spent && unsettled {
                return Err(Promise::SpentIsSettled);
            }
            // As soon as the present lease is over: the sweeper's own is one, too.
            let due = record.with(|state| state.hold.due().unwrap_or(at(0)));
            if self.epochs[token] == Some(self.credential) && !self.by_operator[token] {
                let claim = record.with(|state| state.claim(claim_id(99), due, later(due, 1)));
                if claim != Claim::Won || due > at(LEASE + 1) {
                    return Err(Promise::UnchangedStaysUsable);
                }
            }
        }
        Ok(())
    }

    /// What has to hold in the end: when every completer is gone or never came, and no sweeper is
    /// at work, a sweep comes by that nobody disturbs. Since every process may crash at every
    /// step, this looks at every way in which everything can stop.
    pub(crate) fn check_end(&self, scenario: &Scenario) -> Result<(), Promise> {
        let at_rest = (self.completers.iter())
            .all(|stage| matches!(stage, Completer::Verify | Completer::Gone))
            && self.sweepers == [Sweeper::Idle; 2];
        if !at_rest {
            return Ok(());
        }
        let mut end = *self;
        for _ in 0..=LEASE {
            end.tick();
        }
        let calm = Scenario {
            skewed_clocks: false,
            ..*scenario
        };
        // One step at a time until no token is due: none is due twice without a tick, so that two
        // tokens take a dozen steps. The bound is for a transition that breaks this.
        for _ in 0..50 {
            let mut moved = false;
            let now = end;
            now.sweeper_steps(0, &calm, &mut |(_, what), world| {
                if what != "crashes" && !moved {
                    moved = true;
                    end = world.unwrap();
                }
            });
            if !moved {
                break;
            }
        }
        end.check()?;
        for token in 0..2 {
            let made = &end.made[token];
            let dead = end.records[token].is_none_or(|record| record.spent);
            let siblings_dead = (0..2).all(|other| {
                end.epochs[other] != end.epochs[token]
                    || end.records[other].is_none_or(|record| !record.is_open())
            });
            if made.owes_sessions || made.owes_notice {
                return Err(Promise::ChangesAreSettled);
            }
            if made.changes > 0 && !(dead && siblings_dead) {
                return Err(Promise::ChangesAreSettled);
            }
        }
        Ok(())
    }

    /// One line of a trace.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!("credential {}", self.credential);
        for (token, record) in self.records.iter().enumerate() {
            if self.epochs[token].is_some() {
                let record = record.map_or("no record".to_owned(), |record| format!("{record:?}"));
                text += &format!("; token {}: {record}", token + 1);
            }
        }
        if (self.made.iter()).any(|made| made.owes_sessions || made.owes_notice) {
            text += "; a change is not settled";
        }
        text
    }
}

/// Whether the purge removes a record whose tombstone time is over.
fn purges(mut record: Record, protocol: Protocol) -> bool {
    let purgeable = record.with(|state| state.is_purgeable());
    match protocol {
        Protocol::PurgesClaimed => true,
        Protocol::PurgesWatched => purgeable || matches!(record.hold, Held::Watched { .. }),
        _ => purgeable,
    }
}
