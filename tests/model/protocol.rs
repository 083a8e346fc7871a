//! What is explored: the protocol or one defect of it, among which processes.

/// The protocol, or the protocol with one defect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// As it should be:
    ///
    /// - Claim, queue the notice, re-check, swap, and then settle: revoke, end sessions, spent. The
    ///   notice waits in the queue until the credential has changed.
    /// - Settling revokes the tokens that were made for the same credential as the settled one, and
    ///   leaves those alone that were issued after the change.
    /// - The sweep settles what it finds changed and releases what it finds unchanged to *watched*.
    ///   Only when no process that may still swap can be left, some time after expiry, is its look
    ///   the last: then it releases to *free*.
    /// - The purge removes what is spent or free, never what is claimed or watched.
    Sound,
    /// The notice is queued behind the swap.
    NoticeAfterSwap,
    /// A released token goes back to *free*: nobody looks at it again.
    ReleaseFrees,
    /// A completer that finds the swap stale marks the token spent.
    StaleMarksSpent,
    /// The swap comes first, the claim after it.
    ClaimAfterSwap,
    /// The token is marked spent before the rest is settled.
    SpentFirst,
    /// `set_password` does not compare.
    NoCompare,
    /// Nothing is re-checked between claim and swap.
    NoRecheck,
    /// Revoking a token drops the claim that stands on it.
    RevokeFrees,
    /// The sweep passes revoked tokens by.
    SweepSkipsRevoked,
    /// A revoked token can be claimed.
    ClaimIgnoresRevocation,
    /// The sweep kills a token whose holder changed nothing.
    UnchangedIsDead,
    /// Settling revokes whatever the account has, tokens issued after the change included.
    RevokesByUser,
    /// The purge removes tokens that are watched.
    PurgesWatched,
    /// The sweep looks at a token for the last time as soon as it has expired.
    LastLookAtExpiry,
    /// The purge removes tokens that are claimed.
    PurgesClaimed,
}

/// What the protocol promises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Promise {
    /// A token changes at most one password.
    OneChangePerToken,
    /// No swap begins once the re-check could see that the token expired.
    ExpiredChangesNothing,
    /// Nobody who presents a revoked token wins a claim on it.
    RevokedIsNeverClaimed,
    /// A swap succeeds on the credential that the token was made for, and on no other.
    NothingIsOverwritten,
    /// After every change that a token made, somebody ends sessions, queues the notice, revokes
    /// the siblings and marks the token spent.
    ChangesAreSettled,
    /// While the credential is the one it was made for, and no operator revoked it, a token can
    /// be claimed as soon as the present lease is over.
    UnchangedStaysUsable,
    /// A token that is marked spent leaves nothing of the change to be settled.
    SpentIsSettled,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) protocol: Protocol,
    /// Tokens of the account at the start.
    pub(crate) tokens: usize,
    /// Calls of `complete`, each with any token.
    pub(crate) completers: usize,
    pub(crate) sweepers: usize,
    /// The host changes the password once by itself, at any moment.
    pub(crate) host_changes: bool,
    /// An operator revokes every token, at any moment, any number of times.
    pub(crate) operator_revokes: bool,
    /// The second token is issued at any moment, for the credential of that moment.
    pub(crate) issues_later: bool,
    /// Dead records are purged.
    pub(crate) purges: bool,
    /// Every reading of a clock may be one tick early or late.
    pub(crate) skewed_clocks: bool,
}

impl Scenario {
    /// Two completers and a sweeper on one token, and everything that may come from outside.
    pub(crate) const fn of(protocol: Protocol) -> Self {
        Self {
            protocol,
            tokens: 1,
            completers: 2,
            sweepers: 1,
            host_changes: true,
            operator_revokes: true,
            issues_later: false,
            purges: false,
            skewed_clocks: false,
        }
    }

    pub(crate) const fn skews(&self) -> &'static [i8] {
        if self.skewed_clocks {
            &[-1, 0, 1]
        } else {
            &[0]
        }
    }

    /// Without a purge nothing happens after expiry that a count of ticks could tell apart.
    pub(crate) const fn tombstone(&self, ticks: u8) -> u8 {
        if self.purges { ticks } else { 0 }
    }
}
