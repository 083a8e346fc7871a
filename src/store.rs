//! Where tokens are kept: [`TokenStore`].
//!
//! A store is dumb on purpose: it never sees a token, judges no expiry and compares no secret. It
//! owes one thing, atomicity, and `testing::kit::tokens` proves it.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;

use crate::account::UserId;
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::token::state::{Claim, ClaimId, Revocation, Settlement};
use crate::token::{Epoch, Selector, TokenRecord};

/// How many tokens of one account may be live at once, and what gives way.
///
/// ```
/// use password_reset::store::Live;
///
/// let default = Live::default();
/// assert_eq!(default, Live::at_most(3.try_into().unwrap()));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Live {
    /// A further token is not stored while this many are live: its owner already holds them, and
    /// nobody can void them by asking again (W32).
    AtMost(NonZeroU32),
    /// A further token is always stored; of the older ones only the newest stay, the others are
    /// revoked as superseded (W31).
    Newest(NonZeroU32),
}

impl Live {
    /// See [`Live::AtMost`].
    pub const fn at_most(count: NonZeroU32) -> Self {
        Self::AtMost(count)
    }

    /// See [`Live::Newest`]. With this setting whoever knows an address can void the link that
    /// its owner is about to click, as often as the limits allow.
    pub const fn newest(count: NonZeroU32) -> Self {
        Self::Newest(count)
    }
}

impl Live {
    /// With room for so many more.
    pub(crate) const fn widened(self, more: u32) -> Self {
        match self {
            Self::AtMost(count) => Self::AtMost(count.saturating_add(more)),
            Self::Newest(count) => Self::Newest(count),
        }
    }

    /// With room for so many more, and nothing that gives way.
    pub(crate) const fn beside(self, more: u32) -> Self {
        match self {
            Self::AtMost(count) | Self::Newest(count) => Self::AtMost(count.saturating_add(more)),
        }
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::AtMost(NonZeroU32::MIN.saturating_add(2))
    }
}

/// The answer of [`TokenStore::insert`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Insert {
    /// The record is stored.
    Done,
    /// The account has as many live tokens as [`Live::AtMost`] allows; nothing was stored.
    Full,
}

/// Which tokens of an account [`TokenStore::revoke_all`] reaches.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    /// All of them.
    All,
    /// Those whose epoch has the same [`Epoch::credential`]: the siblings of a token that changed
    /// the password. A link that its owner asked for *after* the change is not among them.
    SameCredential(&'a Epoch),
}

impl Reach<'_> {
    /// Whether a record of the account is meant.
    pub fn includes(&self, record: &TokenRecord) -> bool {
        match self {
            Self::All => true,
            Self::SameCredential(epoch) => record.epoch.credential() == epoch.credential(),
        }
    }
}

/// Where tokens are kept.
///
/// The meaning of every transition is fixed by the pure functions of
/// [`State`](crate::token::state::State); a store makes each atomic. A complete implementation to
/// copy stands in `examples/custom_store.rs`.
///
/// # Contract
///
/// Each line names the check of `testing::kit::tokens` that shows it, and what an attacker gains
/// where it is broken.
///
/// - What `insert` took, `find` MUST give back exactly, to the microsecond and the byte
///   (`a_record_comes_back_as_it_went_in`, `times_survive_the_round_trip`), and what a transition
///   wrote likewise (`every_state_survives_the_round_trip`). Otherwise every token of the store is
///   refused.
/// - Selectors MUST be compared byte by byte (`selectors_are_compared_byte_by_byte`), and user ids
///   too (`user_ids_are_case_sensitive`, `user_ids_are_compared_byte_by_byte`): no collation, no
///   normal form, no number. Otherwise one person's reset revokes, or blocks, another's.
/// - A selector that was never stored MUST be nothing to every call
///   (`an_unknown_selector_is_nothing`).
/// - `insert` MUST NOT replace a record; it answers an error (`a_selector_is_never_replaced`), also
///   when many insert one selector at once (`one_of_many_inserts_is_kept`): the first to try a code
///   makes the count of its account, and a second one would begin it anew (W19). It
///   MUST count and store in one atomic step (`live_tokens_are_bounded_under_contention`,
///   `newest_supersedes_older_tokens`, `newest_is_bounded_under_contention`), MUST change nothing
///   when it answers [`Insert::Full`] (`a_full_account_stores_nothing`) and MUST NOT count spent,
///   revoked and expired tokens (`dead_tokens_take_no_place`). Otherwise one account fills the
///   table, or its owner gets no link.
/// - `claim` MUST be one atomic step with one winner (`one_claim_wins`,
///   `a_claim_is_exclusive_until_its_lease_is_over`). Otherwise one token changes two passwords
///   (W27).
/// - A call whose future is dropped MUST have happened or not, never by half
///   (`a_dropped_insert_takes_no_place`, `a_dropped_claim_is_only_a_lease`). Otherwise a client
///   that hangs up locks the owner out.
/// - Calls on one record that race MUST change their own part only: no reading, changing and
///   writing back (`racing_writes_lose_nothing`). Otherwise a used token comes back to life.
/// - `claim` MUST refuse a spent or revoked record for good
///   (`a_spent_token_is_never_claimed_again`, `a_revoked_token_is_never_claimed`, W28).
/// - `settle` MUST act for the present holder only (`only_the_holder_settles`,
///   `a_swept_claim_is_lost_to_its_holder`, `the_holder_and_the_sweep_never_both_win`). Otherwise a late process frees a token that another one is spending.
/// - `abandoned` MUST lease each record to one caller (`abandoned_claims_have_one_finder`), MUST
///   find revoked claims too (`a_revoked_claim_is_still_swept`), MUST find released ones again
///   (`a_released_token_is_watched`), MUST NOT find spent or closed ones
///   (`a_spent_token_leaves_the_sweep`, `a_closed_token_leaves_the_sweep`) and MUST take the longest-overdue first, at most `max`
///   (`the_longest_overdue_are_swept_first`). Otherwise a change that nobody settled keeps its
///   thief's sessions.
/// - `count_attempt` MUST count every call, also in parallel (`every_attempt_is_counted`, W18),
///   and of spent and revoked records too (`racing_writes_lose_nothing`). Otherwise a code can be
///   guessed.
/// - `revoke_all` MUST reach every open record of the user, claimed and expired ones included
///   (`revoking_reaches_every_open_token_of_one_user`), `revoke` its own only
///   (`revoking_one_spares_the_others`). Otherwise older links survive (R63). With
///   [`Reach::SameCredential`] it MUST spare the others (`revoking_siblings_spares_later_tokens`).
///   Otherwise a late settlement kills the link that its owner has just asked for.
/// - `purge` MUST remove only records that expired before the given moment and that nobody holds
///   or watches (`purge_removes_only_dead_records`), and at most `limit` (`purge_stops_at_its_limit`).
///   Nor may a store drop one by itself any earlier, such as by a time to live; no check waits that
///   long. Otherwise a crash is forgotten, the count of an account's tries, or its pause.
/// - After an answer, every caller on every machine MUST see the change. A store behind a lagging
///   replica breaks this: read from the primary.
///
/// Any call may fail; none may fail *after* another caller has seen its effect and then be
/// retried by the store itself with a different outcome.
#[async_trait]
pub trait TokenStore: Send + Sync + 'static {
    /// Stores a record if the account's places allow it. A record takes a place while
    /// [`TokenRecord::is_live`] at the new record's `issued_at`.
    async fn insert(&self, record: &TokenRecord, live: Live) -> Result<Insert, BoxError>;

    /// The record with this selector.
    async fn find(&self, selector: &Selector) -> Result<Option<TokenRecord>, BoxError>;

    /// [`State::claim`](crate::token::state::State::claim), atomically; [`Claim::Refused`] for an
    /// unknown selector.
    async fn claim(
        &self,
        selector: &Selector,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, BoxError>;

    /// [`State::settle`](crate::token::state::State::settle), atomically; `false` for an unknown
    /// selector.
    async fn settle(
        &self,
        selector: &Selector,
        claim: ClaimId,
        settlement: Settlement,
    ) -> Result<bool, BoxError>;

    /// [`State::take_over`](crate::token::state::State::take_over) on up to `max` records that are
    /// due at `now`, atomically each; answers them as they are afterwards.
    async fn abandoned(
        &self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<TokenRecord>, BoxError>;

    /// Adds one to the record's tries and answers the new number; `None` for an unknown selector.
    async fn count_attempt(&self, selector: &Selector) -> Result<Option<u32>, BoxError>;

    /// [`State::revoke`](crate::token::state::State::revoke) on one record; `false` when it is
    /// unknown or not open.
    async fn revoke(
        &self,
        selector: &Selector,
        at: Timestamp,
        why: Revocation,
    ) -> Result<bool, BoxError>;

    /// [`State::revoke`](crate::token::state::State::revoke) on every open record of the user that
    /// is within reach; answers how many there were.
    async fn revoke_all(
        &self,
        user: &UserId,
        reach: Reach<'_>,
        at: Timestamp,
        why: Revocation,
    ) -> Result<u64, BoxError>;

    /// Deletes up to `limit` records that expired before `expired_before` and are
    /// [purgeable](crate::token::state::State::is_purgeable); answers how many.
    async fn purge(&self, expired_before: Timestamp, limit: u32) -> Result<u64, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: TokenStore + ?Sized> TokenStore for $pointer<T> {
            async fn insert(&self, record: &TokenRecord, live: Live) -> Result<Insert, BoxError> {
                (**self).insert(record, live).await
            }
            async fn find(&self, selector: &Selector) -> Result<Option<TokenRecord>, BoxError> {
                (**self).find(selector).await
            }
            async fn claim(
                &self,
                selector: &Selector,
                claim: ClaimId,
                now: Timestamp,
                until: Timestamp,
            ) -> Result<Claim, BoxError> {
                (**self).claim(selector, claim, now, until).await
            }
            async fn settle(
                &self,
                selector: &Selector,
                claim: ClaimId,
                settlement: Settlement,
            ) -> Result<bool, BoxError> {
                (**self).settle(selector, claim, settlement).await
            }
            async fn abandoned(
                &self,
                claim: ClaimId,
                now: Timestamp,
                until: Timestamp,
                max: u32,
            ) -> Result<Vec<TokenRecord>, BoxError> {
                (**self).abandoned(claim, now, until, max).await
            }
            async fn count_attempt(&self, selector: &Selector) -> Result<Option<u32>, BoxError> {
                (**self).count_attempt(selector).await
            }
            async fn revoke(
                &self,
                selector: &Selector,
                at: Timestamp,
                why: Revocation,
            ) -> Result<bool, BoxError> {
                (**self).revoke(selector, at, why).await
            }
            async fn revoke_all(
                &self,
                user: &UserId,
                reach: Reach<'_>,
                at: Timestamp,
                why: Revocation,
            ) -> Result<u64, BoxError> {
                (**self).revoke_all(user, reach, at, why).await
            }
            async fn purge(
                &self,
                expired_before: Timestamp,
                limit: u32,
            ) -> Result<u64, BoxError> {
                (**self).purge(expired_before, limit).await
            }
        }
    )+ };
}
forward!(Arc, Box);
