//! What the torture saw and did itself: [`Book`].

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::now;

/// Everything observed from outside, by whoever observes it.
#[derive(Default)]
pub(crate) struct Book(Mutex<Seen>);

/// The pages of the book. Times are microseconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: Vec<Request>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) mails: Vec<Mail>,
    pub(crate) runs: Vec<Run>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) finals: Vec<Final>,
    /// Old sessions that were looked at right after a success: how many were dead already.
    pub(crate) dead_at_once: u64,
    pub(crate) alive_for_a_while: u64,
    /// Resets that are under way, and the most that ever were.
    pub(crate) in_flight: u64,
    pub(crate) most_in_flight: u64,
}

/// Somebody asked for a link.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The identifier in a spelling of its own, by which its job is found.
    pub(crate) spelling: String,
    pub(crate) run: usize,
    pub(crate) outcome: Asked,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// "If there is an account, a mail is on its way."
    Accepted,
    /// Any other page.
    Refused,
    /// There was no connection.
    NotSent,
    /// The answer did not come; nobody knows.
    NoAnswer,
}

/// Somebody sent a new password for a link.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) account: u32,
    /// Of the token, in hexadecimal digits.
    pub(crate) selector: String,
    /// Sent once and never again, so that it says which attempt changed a password.
    pub(crate) password: String,
    pub(crate) at: i64,
    pub(crate) outcome: Tried,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Tried {
    /// "Your password is changed."
    Done,
    /// The link is dead.
    Dead,
    /// The link is in use.
    InUse,
    /// "Nothing was changed; please try again."
    Unavailable,
    /// "Your password may have been changed."
    Uncertain,
    /// There was no connection.
    NotSent,
    /// The answer did not come, or was not waited for.
    NoAnswer,
}

impl Tried {
    /// Whether the answer promises that this attempt changed nothing.
    pub(crate) const fn denies(self) -> bool {
        matches!(
            self,
            Self::Dead | Self::InUse | Self::Unavailable | Self::NotSent
        )
    }
}

/// A session that somebody got.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) account: u32,
    /// The password that it was begun with.
    pub(crate) password: String,
    /// SHA-256 of the cookie in hexadecimal digits, as the table has it.
    pub(crate) digest: String,
    /// Whether it still logged in at the very end.
    pub(crate) alive_at_end: Option<bool>,
}

/// A mail that lies in the mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) to: String,
    /// The job that mailed it.
    pub(crate) job: String,
    /// Of the token, if it holds a link.
    pub(crate) selector: Option<String>,
    /// The process that wrote it, and when.
    pub(crate) process: u32,
    pub(crate) at: i64,
}

/// One life of one process.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) process: u32,
    pub(crate) ended: Option<i64>,
    pub(crate) end: Option<End>,
    /// Whether it came as far as serving.
    pub(crate) ready: bool,
    /// Requests that it accepted and could not queue, by its log.
    pub(crate) failed_requests: u64,
    pub(crate) log: PathBuf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Killed,
    ByItself,
    /// With the torture.
    Told,
}

/// Something that was done to the demo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// The run that it hit; none: the database, and so everybody.
    pub(crate) run: Option<usize>,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum FaultKind {
    Killed,
    Paused,
    PausedOverItsLease,
    WriteLockHeld,
    ConnectionsCut,
    AnswersCut,
    Silence,
    StoppedFast,
    StoppedAtOnce,
}

impl FaultKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Killed => "processes killed",
            Self::Paused => "processes paused for seconds",
            Self::PausedOverItsLease => "processes paused over their leases",
            Self::WriteLockHeld => "write lock held by a stranger",
            Self::ConnectionsCut => "all connections to the database cut",
            Self::AnswersCut => "connections cut in an answer",
            Self::Silence => "connections silent for seconds",
            Self::StoppedFast => "database stopped, fast",
            Self::StoppedAtOnce => "database stopped, at once",
        }
    }
}

/// What an account's password was at the end.
#[derive(Clone, Debug)]
pub(crate) struct Final {
    pub(crate) account: u32,
    /// None: no password that was ever sent logs in.
    pub(crate) password: Option<String>,
}

impl Book {
    pub(crate) fn open(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a fault that begins now; [`fault_over`](Self::fault_over) ends it.
    pub(crate) fn fault(&self, kind: FaultKind, run: Option<usize>) -> usize {
        let mut seen = self.open();
        let from = now();
        let to = i64::MAX;
        seen.faults.push(Fault {
            kind,
            run,
            from,
            to,
        });
        seen.faults.len().saturating_sub(1)
    }

    pub(crate) fn fault_over(&self, fault: usize) {
        if let Some(fault) = self.open().faults.get_mut(fault) {
            fault.to = now();
        }
    }

    pub(crate) fn reset_begins(&self) {
        let mut seen = self.open();
        seen.in_flight = seen.in_flight.saturating_add(1);
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
    }

    pub(crate) fn reset_ends(&self) {
        let mut seen = self.open();
        seen.in_flight = seen.in_flight.saturating_sub(1);
    }
}
