//! What follows a change, and what others left unfinished.

use std::time::Duration;

use crate::account::{Account, Address, MAX_ADDRESSES, Seen, SessionScope};
use crate::audit::{EventKind, Step};
use crate::clock::Timestamp;
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::flow::worker::contain;
use crate::queue::Task;
use crate::random;
use crate::store::Reach;
use crate::token::state::{ClaimId, Revocation, Settlement};
use crate::token::{Beside, Freshness, TokenRecord};

/// How long after a token's expiry a process that claimed it may still be about to change the
/// password. Its record is kept for a week, so that even this late change is found and settled.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3_600);
/// The longest life that any token can have: that of an invitation.
pub(super) const LONGEST_LIFE: Duration = Duration::from_secs(7 * 86_400);
/// How long a notice waits for the change that it is about.
const NOTICE_DELAY: Duration = Duration::from_secs(1);
/// How many abandoned claims one round of the sweep takes.
const SWEEP_BATCH: u32 = 64;

impl ResetFlow {
    /// Everything that a changed password asks for. Every step may be done twice; a step that
    /// fails does not stop the others. The token is marked spent last, and only when all went
    /// well: until then the sweep does it all again.
    pub(super) async fn settle(
        &self,
        record: &TokenRecord,
        claim: ClaimId,
        at: Timestamp,
        by_sweep: bool,
    ) -> Result<(), BackendError> {
        let (core, user) = (&self.core, &record.user);
        let failed = |backend, source| self.failed(backend, Step::Settle, source);
        let why = Revocation::PasswordChanged;
        let siblings = Reach::SameCredential(&record.epoch);
        let revoked = core.tokens.revoke_all(user, siblings, at, why).await;
        let revoked = revoked.map_err(|e| failed(Backend::Tokens, e));
        let ended = core.users.end_sessions(user, SessionScope::All).await;
        let ended = ended.map_err(|e| failed(Backend::Users, e));

        let mut outcome = revoked.map(|_| ()).and(ended);
        if outcome.is_ok() {
            self.record_settlement(record, EventKind::Settled { by_sweep });
            let spent = Settlement::Spent { at };
            let settled = core.tokens.settle(&record.selector, claim, spent).await;
            outcome = settled.map(|_| ()).map_err(|e| failed(Backend::Tokens, e));
        }
        if outcome.is_err() {
            self.record_settlement(record, EventKind::SettlePending);
        }
        outcome
    }

    fn record_settlement(&self, record: &TokenRecord, kind: EventKind) {
        let mut event = self.event(kind);
        event.user = Some(record.user.clone());
        event.token = Some(record.selector);
        self.record(event);
    }

    /// One notice for each address of the account, former ones included (R71), to be sent once the
    /// credential has changed.
    pub(super) async fn queue_notices(
        &self,
        record: &TokenRecord,
        account: &Account,
        seen: Option<&Seen>,
    ) -> Result<(), BackendError> {
        let verified = account.verified.iter().take(MAX_ADDRESSES);
        let former = account.former.iter().take(MAX_ADDRESSES);
        let former = former.filter(|address| !account.verified.contains(address));
        // Where the change came from is the owner's to know, and no business of whoever has a
        // mailbox that is not theirs any more.
        let verified = verified.map(|address| (address, seen));
        let former = former.map(|address| (address, None));
        for (address, seen) in verified.chain(former) {
            let task = Task::Notice {
                user: account.id.clone(),
                tenant: account.tenant.clone(),
                address: address.clone(),
                locale: account.locale.clone(),
                at: self.now(),
                key: record.key,
                epoch: record.epoch.clone(),
                token: record.selector,
                seal: self.notice_seal(record, address),
                seen: seen.cloned(),
            };
            let mut job = self
                .job(task, false)
                .map_err(|e| self.noted(e, Step::Complete))?;
            // The change itself is milliseconds away; a notice that comes before it waits longer.
            job.due = job.due + NOTICE_DELAY;
            let pushed = self.core.queue.push(&job).await;
            pushed.map_err(|e| self.failed(Backend::Queue, Step::Complete, e))?;
            self.wake(&job);
        }
        Ok(())
    }

    /// What tells the worker that a notice was queued here.
    fn notice_seal(&self, record: &TokenRecord, address: &Address) -> [u8; 16] {
        let claims = self.cancel_claims(Beside::Notice, record.selector, &record.user);
        let key = self.core.keyring.get(record.key);
        key.map_or([0; 16], |key| claims.seal(key, address))
    }

    /// Finishes, or frees, the tokens whose claimants never came back. Answers how many it looked
    /// at, and whether there may be more.
    pub(super) async fn sweep(&self) -> Result<(u32, bool), BackendError> {
        let failed = |backend, source| self.failed(backend, Step::Sweep, source);
        let claim = self.id().map_err(|e| failed(Backend::Random, e))?;
        let claim = ClaimId::from_bytes(claim);
        let now = self.now();
        let until = now + self.core.settings.claim_lease;
        let abandoned = self
            .core
            .tokens
            .abandoned(claim, now, until, SWEEP_BATCH)
            .await;
        let mut abandoned = abandoned.map_err(|e| failed(Backend::Tokens, e))?;
        let count = u32::try_from(abandoned.len()).unwrap_or(u32::MAX);
        // From a random place on, so that one account whose look-up hangs, and with it ends every
        // sweep, does not always stand before the same others.
        let first = random::below(self.core.random.as_ref(), count.into()).unwrap_or(0);
        abandoned.rotate_left(usize::try_from(first).unwrap_or(0));
        let mut outcome = Ok(());
        for record in &abandoned {
            // One that fails, or panics, does not stop the others.
            let swept = contain(self.sweep_one(record, claim)).await;
            outcome = outcome.and(swept.unwrap_or_else(|| {
                let error = self.failed(Backend::Users, Step::Sweep, "it panicked");
                Err(error)
            }));
        }
        outcome.map(|()| (count, count == SWEEP_BATCH))
    }

    async fn sweep_one(&self, record: &TokenRecord, claim: ClaimId) -> Result<(), BackendError> {
        let flow = Self {
            core: self.core.clone(),
            tenant: record.tenant.clone(),
        };
        let failed = |backend, source| flow.failed(backend, Step::Sweep, source);
        let looked_at = flow.now();
        let account = flow.core.users.account(&record.user).await;
        let account = account.map_err(|e| failed(Backend::Users, e))?;
        let Some(key) = flow.core.keyring.get(record.key) else {
            // Nothing can be compared without the key. Another worker may have it.
            let mut event = flow.event(EventKind::KeyMissing);
            event.token = Some(record.selector);
            flow.record(event);
            return flow.look_again(record, claim).await;
        };
        let changed = account.is_none_or(|account| {
            record.epoch.compare(key, &account) == Freshness::CredentialChanged
        });
        if changed {
            let settled = flow.settle(record, claim, flow.now(), true).await;
            if settled.is_err() {
                // Not at once: what fails now is likely to fail in two minutes too.
                let _ = flow.look_again(record, claim).await;
            }
            return settled;
        }
        // Judged by the moment *before* the look at the account: what came after it was not seen.
        if looked_at < record.expires_at + LONGEST_PAUSE {
            return flow.look_again(record, claim).await;
        }
        let closed = flow
            .core
            .tokens
            .settle(&record.selector, claim, Settlement::Closed)
            .await;
        closed.map(|_| ()).map_err(|e| failed(Backend::Tokens, e))
    }

    /// Lets a claim go under which nothing was changed. If that fails, the lease runs out.
    pub(super) async fn let_go(&self, record: &TokenRecord, claim: ClaimId, step: Step) {
        let check_at = self.next_check(record);
        let released = Settlement::Released { check_at };
        let settled = self.core.tokens.settle(&record.selector, claim, released);
        if let Err(source) = settled.await {
            let _ = self.failed(Backend::Tokens, step, source);
        }
    }

    /// Leaves the token to a later sweep.
    async fn look_again(&self, record: &TokenRecord, claim: ClaimId) -> Result<(), BackendError> {
        let check_at = self.next_check(record);
        let released = Settlement::Released { check_at };
        let settled = self
            .core
            .tokens
            .settle(&record.selector, claim, released)
            .await;
        settled
            .map(|_| ())
            .map_err(|e| self.failed(Backend::Tokens, Step::Sweep, e))
    }

    /// When to look again at a token that was claimed and not used: after a lease at first, then
    /// ever more rarely, so that a week of watching costs a dozen looks.
    pub(super) fn next_check(&self, record: &TokenRecord) -> Timestamp {
        let now = self.now();
        now + now
            .since(record.issued_at)
            .max(self.core.settings.claim_lease)
    }

    /// Names in the audit trail a failure that was made without it.
    pub(super) fn noted(&self, error: BackendError, step: Step) -> BackendError {
        self.record(self.event(EventKind::BackendFailed {
            backend: error.backend(),
            step,
        }));
        error
    }
}
