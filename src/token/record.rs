//! What a store keeps: [`TokenRecord`].

use crate::account::{Tenant, UserId};
use crate::clock::Timestamp;
use crate::token::state::State;
use crate::token::{Claims, Epoch, Key, KeyId, Selector, TokenDigest};

/// What a token may be used for. It is part of the digest: a token made for one purpose is nothing
/// at all for another (W41).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Purpose {
    /// Setting a new password.
    Reset,
    /// Setting the first password of an account that has none yet.
    First,
    /// A code that a person types. It is exchanged for a token of purpose `Redeemed`.
    Code,
    /// Setting a new password, with a token that a right code was exchanged for.
    Redeemed,
    /// Counts the codes that were tried for one account; no token.
    CodeTries,
    /// Says that nothing is mailed to one account for a while; no token.
    Pause,
}

impl Purpose {
    /// Every purpose that this version knows. A store may hold records of a newer one.
    pub const ALL: &[Self] = &[
        Self::Reset,
        Self::First,
        Self::Code,
        Self::Redeemed,
        Self::CodeTries,
        Self::Pause,
    ];

    /// The stable name to store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::First => "first",
            Self::Code => "code",
            Self::Redeemed => "redeemed",
            Self::CodeTries => "code-tries",
            Self::Pause => "pause",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        let all = Self::ALL.iter().copied();
        all.into_iter().find(|purpose| purpose.as_str() == name)
    }
}

/// One row of a token store. Holds nothing that could be used as a token.
///
/// Every field but [`state`](Self::state) and [`attempts`](Self::attempts) is written once. A store
/// MUST give each back exactly as it took it; the digest covers most of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenRecord {
    /// Where it is found; unique.
    pub selector: Selector,
    /// What it may be used for.
    pub purpose: Purpose,
    /// The tenant it was made in.
    pub tenant: Option<Tenant>,
    /// The account it is for, or a pseudonym of the identifier for a decoy.
    pub user: UserId,
    /// The account's credential and address at the time, digested.
    pub epoch: Epoch,
    /// The key that the digests were made with.
    pub key: KeyId,
    /// The digest of the verifier and of the fields above.
    pub digest: TokenDigest,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From this moment on it is refused. Judged by the flow, never by the store.
    pub expires_at: Timestamp,
    /// Where it stands in its life.
    pub state: State,
    /// How many tries were counted against it.
    pub attempts: u32,
}

impl TokenRecord {
    /// A record in its first state. For stores that read rows back, and for their tests; the
    /// flow's own records are made by the worker.
    #[allow(
        clippy::too_many_arguments,
        reason = "one argument a column, each of its own type"
    )]
    pub fn new(
        selector: Selector,
        purpose: Purpose,
        tenant: Option<Tenant>,
        user: UserId,
        epoch: Epoch,
        key: KeyId,
        digest: TokenDigest,
        issued_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            selector,
            purpose,
            tenant,
            user,
            epoch,
            key,
            digest,
            issued_at,
            expires_at,
            state: State::LIVE,
            attempts: 0,
        }
    }

    /// Whether it takes one of its account's places: not spent, not revoked, not expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state.is_open() && now < self.expires_at
    }

    /// Whether it is for an account's first password.
    pub(crate) fn is_first(&self) -> bool {
        self.purpose == Purpose::First
    }

    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims {
            purpose: self.purpose,
            tenant: self.tenant.as_ref(),
            user: &self.user,
            epoch: &self.epoch,
            expires_at: self.expires_at,
        }
    }

    pub(crate) fn digest_of(&self, key: &Key, secret: &[u8]) -> TokenDigest {
        self.claims().digest(key, secret)
    }
}
