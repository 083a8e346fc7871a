//! A record of the store, and times relative to the present.
//!
//! The transitions are the crate's own: [`Record::with`] hands out a real [`State`].

use password_reset::Timestamp;
use password_reset::token::state::{ClaimId, Hold, Revocation, State};

/// The present, in every world. Any number larger than all spans.
const NOW: i64 = 100;

/// What the store keeps of a token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Record {
    pub(crate) spent: bool,
    pub(crate) revoked: bool,
    pub(crate) hold: Held,
}

/// [`Hold`], with ticks left for a deadline.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Held {
    Free,
    Claimed { by: u8, left: u8 },
    Watched { left: u8 },
}

impl Record {
    pub(crate) const LIVE: Self = Self {
        spent: false,
        revoked: false,
        hold: Held::Free,
    };

    /// Runs one of the crate's transitions. When a token was spent or revoked, and why, decides
    /// nothing and is not kept.
    pub(crate) fn with<R>(&mut self, transition: impl FnOnce(&mut State) -> R) -> R {
        let mut state = State {
            spent_at: self.spent.then_some(at(0)),
            revoked: self.revoked.then_some((at(0), Revocation::Requested)),
            hold: match self.hold {
                Held::Free => Hold::Free,
                Held::Claimed { by, left } => Hold::Claimed {
                    claim: claim_id(by),
                    until: at(left),
                },
                Held::Watched { left } => Hold::Watched { until: at(left) },
            },
        };
        let answer = transition(&mut state);
        *self = Self {
            spent: state.spent_at.is_some(),
            revoked: state.revoked.is_some(),
            hold: match state.hold {
                Hold::Free => Held::Free,
                Hold::Claimed { claim, until } => Held::Claimed {
                    by: claim.as_bytes()[0],
                    left: left(until),
                },
                Hold::Watched { until } => Held::Watched { left: left(until) },
            },
        };
        answer
    }

    pub(crate) fn tick(&mut self) {
        if let Held::Claimed { left, .. } | Held::Watched { left } = &mut self.hold {
            *left = left.saturating_sub(1);
        }
    }

    pub(crate) fn is_open(mut self) -> bool {
        self.with(|state| state.is_open())
    }
}

pub(crate) fn at(ticks: u8) -> Timestamp {
    Timestamp::from_unix_micros(NOW + i64::from(ticks))
}

/// The clock of one machine beside the model's.
pub(crate) fn clock(skew: i8) -> Timestamp {
    Timestamp::from_unix_micros(NOW + i64::from(skew))
}

pub(crate) fn later(now: Timestamp, ticks: u8) -> Timestamp {
    Timestamp::from_unix_micros(now.unix_micros() + i64::from(ticks))
}

pub(crate) fn left(until: Timestamp) -> u8 {
    u8::try_from((until.unix_micros() - NOW).max(0)).unwrap()
}

pub(crate) fn claim_id(by: u8) -> ClaimId {
    let mut bytes = [0; 16];
    bytes[0] = by;
    ClaimId::from_bytes(bytes)
}
