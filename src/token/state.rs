//! The life of a token, as pure transitions: no I/O, no clock.
//!
//! ```text
//!            claim                      settle(Spent)
//!   live ───────────► claimed ────────────────────────► spent
//!    │                 │    ▲
//!    │  settle(Released)    │ claim (lease over), or at once when watched
//!    │                 ▼    │
//!    │                watched
//!    └── revoke ──► revoked (a claim or a watch stands beside it and is swept all the same)
//! ```
//!
//! Two rules carry the promise "once":
//!
//! - A claim is written *before* anything changes. Whoever dies after it leaves a trace.
//! - A token that was ever claimed stays under the sweep until it is spent, or closed long after
//!   its expiry. A process that was paused past its lease may still swap the password, however
//!   late, and somebody has to end the sessions then. This is why releasing a claim does not lead
//!   back to *live* but to *watched*: free to claim, looked at again, and never purged.
//!
//! *Expired* is not a state: it is judged from the record's `expires_at` and the present moment.
//!
//! A store implements each function as one atomic statement; `tests/model.rs` explores these very
//! functions exhaustively.

use std::fmt;

use crate::clock::Timestamp;

/// Who holds a claim: random, so that a late process cannot settle somebody else's.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClaimId([u8; 16]);

impl ClaimId {
    /// A claim's id from random bytes, or read back from a store.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimId(")?;
        super::secret::hex(f, &self.0)?;
        f.write_str(")")
    }
}

/// Why a token was revoked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Revocation {
    /// A newer token took its place.
    Superseded,
    /// Another token of the account, or this one, changed the password (R63).
    PasswordChanged,
    /// Its mail could not be sent.
    Undelivered,
    /// The application or an operator asked for it.
    Requested,
    /// Its owner said that it was not them who asked.
    Disowned,
}

impl Revocation {
    /// The stable name to store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::PasswordChanged => "password-changed",
            Self::Undelivered => "undelivered",
            Self::Requested => "requested",
            Self::Disowned => "disowned",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::Superseded,
            Self::PasswordChanged,
            Self::Undelivered,
            Self::Requested,
            Self::Disowned,
        ]
        .into_iter()
        .find(|why| why.as_str() == name)
    }
}

/// Who may be working on the token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hold {
    /// Nobody ever claimed it.
    Free,
    /// Somebody claimed it; until `until` nobody else may.
    Claimed {
        /// Whose claim it is.
        claim: ClaimId,
        /// When the lease is over.
        until: Timestamp,
    },
    /// It was claimed and let go. Anybody may claim it; the sweep looks again at `until`.
    Watched {
        /// When to look again.
        until: Timestamp,
    },
}

impl Hold {
    /// When the sweep is due; never for a token that was not claimed.
    pub const fn due(self) -> Option<Timestamp> {
        match self {
            Self::Free => None,
            Self::Claimed { until, .. } | Self::Watched { until } => Some(until),
        }
    }
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// Set when its password change was settled in full. Final.
    pub spent_at: Option<Timestamp>,
    /// Set when it was revoked: it can never be claimed again by who presents it.
    pub revoked: Option<(Timestamp, Revocation)>,
    /// Who may be working on it.
    pub hold: Hold,
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Claim {
    /// The caller holds the claim.
    Won,
    /// Somebody else holds it.
    Held,
    /// Spent, revoked or unknown: nobody will ever hold it.
    Refused,
}

/// How the holder of a claim ends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settlement {
    /// The password was changed and everything that follows is done.
    Spent {
        /// When.
        at: Timestamp,
    },
    /// Nothing was changed as far as the holder knows. The token can be claimed again, and the
    /// sweep looks at it again.
    Released {
        /// When the sweep should look.
        check_at: Timestamp,
    },
    /// Nothing was changed, and nobody can be left who still might: the token expired so long ago
    /// that even a paused process is over. The sweep's last look.
    Closed,
}

impl State {
    /// The first state.
    pub const LIVE: Self = Self {
        spent_at: None,
        revoked: None,
        hold: Hold::Free,
    };

    /// Neither spent nor revoked.
    pub const fn is_open(&self) -> bool {
        self.spent_at.is_none() && self.revoked.is_none()
    }

    /// Whether somebody holds a claim whose lease is not over.
    pub fn is_held(&self, now: Timestamp) -> bool {
        matches!(self.hold, Hold::Claimed { until, .. } if now < until)
    }

    /// One caller takes the token for itself.
    pub fn claim(&mut self, claim: ClaimId, now: Timestamp, until: Timestamp) -> Claim {
        if !self.is_open() {
            return Claim::Refused;
        }
        if self.is_held(now) {
            return Claim::Held;
        }
        self.hold = Hold::Claimed { claim, until };
        Claim::Won
    }

    /// The sweep takes the token over if its lease, or its watch, is over. Unlike a claim it may
    /// take a revoked token.
    pub fn take_over(&mut self, claim: ClaimId, now: Timestamp, until: Timestamp) -> bool {
        let due = self.spent_at.is_none() && self.hold.due().is_some_and(|due| due <= now);
        if due {
            self.hold = Hold::Claimed { claim, until };
        }
        due
    }

    /// The holder ends its claim; `false` when the claim is not (or no longer) its own.
    pub fn settle(&mut self, own: ClaimId, settlement: Settlement) -> bool {
        let holds = matches!(self.hold, Hold::Claimed { claim, .. } if claim == own);
        if self.spent_at.is_some() || !holds {
            return false;
        }
        match settlement {
            Settlement::Spent { at } => self.spent_at = Some(at),
            Settlement::Released { check_at } => self.hold = Hold::Watched { until: check_at },
            Settlement::Closed => self.hold = Hold::Free,
        }
        true
    }

    /// Revokes an open token; `false` when it was spent or revoked before. A claim or a watch
    /// stays where it is, so the sweep still sees a change that its holder may have made.
    pub fn revoke(&mut self, at: Timestamp, why: Revocation) -> bool {
        let open = self.is_open();
        if open {
            self.revoked = Some((at, why));
        }
        open
    }

    /// Whether the record may be deleted once its tombstone time is over: it is spent, or neither
    /// claimed nor watched. Who purges a watched token forgets a late change.
    pub const fn is_purgeable(&self) -> bool {
        self.spent_at.is_some() || matches!(self.hold, Hold::Free)
    }
}
