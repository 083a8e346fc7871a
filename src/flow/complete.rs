//! The password is changed: once, through any crash.
//!
//! The order is the promise. Policy, decision, what has to be looked up about the password, and hash
//! come before the claim, so that a refusal or an overload leaves the token untouched. The claim is written before anything changes, so that
//! whoever dies after it leaves a trace for the sweep. The notices are queued before the change, so
//! that no change goes without. The compare-and-swap is the single point of
//! no return, even where tokens and users live in different databases.

use crate::account::{Swap, UserId};
use crate::audit::{EventKind, Refused, Step};
use crate::clock::Timestamp;
use crate::error::{Backend, BackendError};
use crate::flow::{ScreenError, Verified, VerifyError};
use crate::password::{NewPassword, PasswordHash, PasswordRejected, PoolError, Share};
use crate::recovery::Recovery;
use crate::token::state::{Claim, ClaimId};

/// Why a password was not changed. Unless a variant says otherwise, nothing was changed and the
/// token is as good as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompleteError {
    /// The link died between verification and change, or another change came first.
    #[error("the link is not valid")]
    Invalid,
    /// Its time ran out, or the verification is older than ten minutes.
    #[error("the link has expired")]
    Expired,
    /// Another request is using the link at this moment.
    #[error("the link is being used at this moment")]
    InProgress,
    /// The new password does not meet the policy, is known from a breach, or is not a new one.
    #[error("the new password was refused")]
    Password(#[source] PasswordRejected),
    /// The application refuses this account.
    #[error("this account cannot be recovered this way")]
    Denied,
    /// A second factor has to be proven first, for this very token:
    /// [`prove_factor`](Verified::prove_factor) and [`with_proof`](Verified::with_proof). Where the
    /// account has no [usable factor](Verified::usable_factors), name a way to reach your support.
    #[error("a second factor is needed")]
    StepUp,
    /// The hashing pool is full. Answer "503" and ask to try again.
    #[error("too busy at this moment")]
    Busy,
    /// A part of the flow failed before anything was changed.
    #[error("not available at this moment")]
    Unavailable(#[source] BackendError),
    /// The user store failed while it changed the password: it may or may not have happened. The
    /// worker finds out and finishes the work. Ask to log in with the new password, or to try the
    /// link again after the claim's lease (2 minutes).
    #[error("the outcome is not known yet")]
    Uncertain(#[source] BackendError),
}

impl CompleteError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::InProgress | Self::Busy => true,
            Self::Unavailable(error) | Self::Uncertain(error) => error.is_transient(),
            _ => false,
        }
    }
}

/// The password was changed.
///
/// Carries no session: redirect to the login page (R65).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Completed {
    /// Whose password it is.
    pub user: UserId,
    /// When; ask for full authentication before sensitive changes for a while after it (R69).
    pub at: Timestamp,
    /// `false` when revoking other tokens or ending sessions failed: the change stands, and the
    /// worker finishes the rest.
    pub settled: bool,
}

/// Why the change does not go ahead, and what becomes of the claim.
enum Unready {
    /// It is left to the sweep.
    CredentialChanged(CompleteError),
    /// It is let go.
    Other(CompleteError),
}

impl From<CompleteError> for Unready {
    fn from(error: CompleteError) -> Self {
        Self::Other(error)
    }
}

impl From<Unready> for CompleteError {
    fn from(unready: Unready) -> Self {
        match unready {
            Unready::CredentialChanged(error) | Unready::Other(error) => error,
        }
    }
}

impl Verified {
    /// Sets the new password, and everything that belongs to it: notices queued, other tokens
    /// revoked, sessions ended, token spent.
    ///
    /// Takes a [`NewPassword`], so a text that no policy has judged cannot get here (W60):
    ///
    /// ```compile_fail
    /// async fn raw(verified: password_reset::Verified) {
    ///     verified.complete("hunter2").await.unwrap();
    /// }
    /// ```
    ///
    /// Dropping the future is safe at every point. Before the claim nothing has happened; after it
    /// the worker's sweep finishes or frees the token when the claim's lease is over.
    ///
    /// # Errors
    ///
    /// See [`CompleteError`].
    pub async fn complete(self, password: NewPassword) -> Result<Completed, CompleteError> {
        self.decide(&password).await?;
        self.screen(&password).await?;
        let hash = self.hash(password).await?;
        let (claim, until) = self.claim().await?;
        if let Err(refused) = self.prepare(until).await {
            // A changed credential may be the late swap of an earlier claimant whom nobody else
            // would settle, so that claim is left to the sweep, which settles every change.
            if !matches!(refused, Unready::CredentialChanged(_)) {
                self.flow.let_go(&self.record, claim, Step::Complete).await;
            }
            return Err(refused.into());
        }
        let at = self.swap(&hash).await?;

        let mut event = self.flow.event(EventKind::Completed);
        event.user = Some(self.account.id.clone());
        event.token = Some(self.record.selector);
        event.source = self.client.prefix();
        self.flow.record(event);
        let settled = self.flow.settle(&self.record, claim, at, false).await;
        let settled = settled.is_ok();
        Ok(Completed {
            user: self.account.id,
            at,
            settled,
        })
    }

    /// Policy and decision: both cheap, both before the hash.
    async fn decide(&self, password: &NewPassword) -> Result<(), CompleteError> {
        let now = self.flow.now();
        let grant_over = self.at + self.flow.core.settings.grant_life;
        if now >= grant_over || now >= self.record.expires_at {
            return Err(self.refused(Refused::Expired));
        }
        if let Err(rejected) = self.flow.policy().recheck(password, &self.context()) {
            let _ = self.refused(Refused::Password);
            return Err(CompleteError::Password(rejected));
        }
        let decision = self.flow.core.recovery.decide(&self.attempt()).await;
        match decision.map_err(|e| self.unavailable(Backend::Recovery, e))? {
            Recovery::Deny => Err(self.refused(Refused::Denied)),
            Recovery::StepUp if self.proven(&self.account).is_none() => {
                Err(self.refused(Refused::StepUp))
            }
            // Whatever the policy says, nobody gets around a factor that is enrolled (R67).
            Recovery::Allow | Recovery::StepUp => self
                .satisfied(&self.account)
                .map_err(|why| self.refused(why)),
        }
    }

    /// Behind the decision: who may not change this password is not told whether it is the present
    /// one.
    async fn screen(&self, password: &NewPassword) -> Result<(), CompleteError> {
        let screened = self
            .flow
            .screen_parsed(password, &self.account, Step::Complete)
            .await;
        screened.map_err(|error| match error {
            ScreenError::Password(rejected) => {
                let _ = self.refused(Refused::Password);
                CompleteError::Password(rejected)
            }
            ScreenError::Busy => self.refused(Refused::Busy),
            ScreenError::Unavailable(error) => CompleteError::Unavailable(error),
        })
    }

    async fn hash(&self, password: NewPassword) -> Result<PasswordHash, CompleteError> {
        self.flow
            .core
            .hashing
            .of(Share::Owners)
            .hash(password)
            .await
            .map_err(|error| match error {
                PoolError::Busy => self.refused(Refused::Busy),
                other => self.unavailable(Backend::Hasher, other),
            })
    }

    /// Writes the intent down, before anything changes.
    async fn claim(&self) -> Result<(ClaimId, Timestamp), CompleteError> {
        let core = &self.flow.core;
        let id = self
            .flow
            .id()
            .map_err(|e| self.unavailable(Backend::Random, e))?;
        let claim = ClaimId::from_bytes(id);
        let now = self.flow.now();
        let until = now + core.settings.claim_lease;
        let claimed = core
            .tokens
            .claim(&self.record.selector, claim, now, until)
            .await;
        match claimed.map_err(|e| self.unavailable(Backend::Tokens, e))? {
            Claim::Won => Ok((claim, until)),
            Claim::Held => Err(self.refused(Refused::InProgress)),
            Claim::Refused => Err(self.refused(Refused::Spent)),
        }
    }

    /// The last look before the point of no return, and the notices.
    ///
    /// The notices are queued before the change, to the addresses of this moment: whoever has the
    /// new password can change the addresses, and a crash behind the change must not leave it to
    /// him who is told. A worker sends them once the credential has changed.
    async fn prepare(&self, until: Timestamp) -> Result<(), Unready> {
        let account = self.flow.core.users.account(&self.account.id).await;
        let account = account.map_err(|e| self.unavailable(Backend::Users, e))?;
        let account = match self.flow.present(&self.record, account) {
            Ok(account) => account,
            Err(why @ Refused::CredentialChanged) => {
                return Err(Unready::CredentialChanged(self.refused(why)));
            }
            Err(why) => return Err(self.refused(why).into()),
        };
        // A factor may have been enrolled, or exchanged, since the decision.
        if let Err(why) = self.satisfied(&account) {
            return Err(self.refused(why).into());
        }
        let queued = self
            .flow
            .queue_notices(&self.record, &account, self.seen.as_ref())
            .await;
        queued.map_err(CompleteError::Unavailable)?;
        let now = self.flow.now();
        if now >= self.record.expires_at {
            return Err(self.refused(Refused::Expired).into());
        }
        if now >= until {
            return Err(self.refused(Refused::InProgress).into());
        }
        Ok(())
    }

    /// The point of no return.
    async fn swap(&self, hash: &PasswordHash) -> Result<Timestamp, CompleteError> {
        let users = &self.flow.core.users;
        match users
            .set_password(&self.account.id, &self.account.credential, hash)
            .await
        {
            Ok(Swap::Done) => Ok(self.flow.now()),
            // Left to the sweep, for the same reason as above.
            Ok(Swap::Stale) => Err(self.refused(Refused::CredentialChanged)),
            Err(source) => {
                let mut event = self.flow.event(EventKind::ChangeUncertain);
                event.user = Some(self.account.id.clone());
                event.token = Some(self.record.selector);
                self.flow.record(event);
                Err(CompleteError::Uncertain(BackendError::new(
                    Backend::Users,
                    source,
                )))
            }
        }
    }

    fn refused(&self, why: Refused) -> CompleteError {
        let (selector, user) = (self.record.selector, &self.account.id);
        let public = self
            .flow
            .refuse(why, &self.client, Some(selector), Some(user));
        match (why, public) {
            (Refused::Denied, _) => CompleteError::Denied,
            (Refused::StepUp | Refused::SameChannel, _) => CompleteError::StepUp,
            (Refused::Busy, _) => CompleteError::Busy,
            (_, VerifyError::Expired) => CompleteError::Expired,
            (_, VerifyError::InProgress) => CompleteError::InProgress,
            _ => CompleteError::Invalid,
        }
    }

    fn unavailable(
        &self,
        backend: Backend,
        source: impl Into<crate::error::BoxError>,
    ) -> CompleteError {
        CompleteError::Unavailable(self.flow.failed(backend, Step::Complete, source))
    }
}
