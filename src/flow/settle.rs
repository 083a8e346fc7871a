//! What follows a change, and what others left unfinished.

use std::time::Duration;

use crate::account::{Account, MAX_ADDRESSES, SessionScope, UserId};
use crate::audit::{EventKind, Step};
use crate::clock::Timestamp;
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::queue::Task;
use crate::store::Reach;
use crate::token::state::{ClaimId, Revocation, Settlement};
use crate::token::{Freshness, TokenRecord};

/// How long after a token's expiry a process that claimed it may still be about to change the
/// password. Its record is kept for a week, so that even this late change is found and settled.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3_600);
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
        account: Option<&Account>,
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
        let notices = self.queue_notices(user, account, at).await;

        let mut outcome = revoked.map(|_| ()).and(ended).and(notices);
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

    /// One notice for each verified address (R71).
    async fn queue_notices(
        &self,
        user: &UserId,
        account: Option<&Account>,
        at: Timestamp,
    ) -> Result<(), BackendError> {
        let Some(account) = account else {
            return Ok(());
        };
        for address in account.verified.iter().take(MAX_ADDRESSES) {
            let task = Task::Notice {
                user: user.clone(),
                tenant: account.tenant.clone(),
                address: address.clone(),
                locale: account.locale.clone(),
                at,
            };
            let job = self
                .job(task, false)
                .map_err(|e| self.noted(e, Step::Settle))?;
            let pushed = self.core.queue.push(&job).await;
            pushed.map_err(|e| self.failed(Backend::Queue, Step::Settle, e))?;
            self.wake(&job);
        }
        Ok(())
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
        let abandoned = abandoned.map_err(|e| failed(Backend::Tokens, e))?;
        let count = u32::try_from(abandoned.len()).unwrap_or(u32::MAX);
        let mut outcome = Ok(());
        for record in &abandoned {
            // One that fails does not stop the others; its lease runs out and it is found again.
            outcome = outcome.and(self.sweep_one(record, claim).await);
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
        // Without the key nothing can be compared: take it for changed, the safe direction.
        let key = flow.core.keyring.get(record.key);
        let unchanged = match (&account, key) {
            (Some(account), Some(key)) => {
                record.epoch.compare(key, account) != Freshness::CredentialChanged
            }
            _ => false,
        };
        if !unchanged {
            let account = account.as_ref();
            return flow.settle(record, claim, account, flow.now(), true).await;
        }
        // Judged by the moment *before* the look at the account: what came after it was not seen.
        let closed = looked_at >= record.expires_at + LONGEST_PAUSE;
        let released = if closed {
            Settlement::Closed
        } else {
            Settlement::Released {
                check_at: flow.next_check(record),
            }
        };
        let settled = flow
            .core
            .tokens
            .settle(&record.selector, claim, released)
            .await;
        settled.map(|_| ()).map_err(|e| failed(Backend::Tokens, e))
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
