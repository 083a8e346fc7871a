//! A second factor is proven, between the token and the change (R67).
//!
//! Tries are counted before anything is compared, in the token's own record, which every process
//! shares, and for the account in the limiter. The proof is computed, never stored; see
//! [`recovery`](crate::recovery).

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::account::Account;
use crate::audit::{EventKind, Refused, Step};
use crate::error::{Backend, BackendError, BoxError};
use crate::flow::{Verified, VerifyError};
use crate::limit::Decision;
use crate::recovery::{
    self, FactorResponse, Means, ProofClaims, RecoveryAttempt, SecondFactor, StepUpProof,
};

/// How often the second factor may be tried with one token.
const TRIES: u32 = 5;

/// Why a second factor was not proven. The token is as good as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepUpError {
    /// Not the one, or used before.
    #[error("the second factor was not proven")]
    Wrong,
    /// The account has no second factor that counts for this token: none is enrolled, all travel as
    /// the token did, or nobody is there to check one.
    #[error("no second factor counts here")]
    NoFactor,
    /// It was tried five times with this token. A new link gives five more.
    #[error("the second factor was tried too often with this link")]
    TooManyTries,
    /// The token's time ran out, or its verification is older than ten minutes.
    #[error("the link has expired")]
    Expired,
    /// It was tried too often for this account, with whatever token.
    #[error("the second factor was tried too often")]
    RateLimited {
        /// When it may be tried again.
        retry_after: Duration,
    },
    /// A part of the flow failed. The try may have been counted.
    #[error("not available at this moment")]
    Unavailable(#[source] BackendError),
}

impl StepUpError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. } => true,
            Self::Unavailable(error) => error.is_transient(),
            _ => false,
        }
    }
}

/// One try at the second factor, counted already.
///
/// For applications with a ceremony of their own. Dropping it is a try that came to nothing.
#[must_use]
pub struct StepUp<'a> {
    verified: &'a Verified,
}

impl Verified {
    /// Brings along the proof of a second factor, as
    /// [`StepUpProof::expose`](crate::recovery::StepUpProof::expose) gave it. Any text is taken: one
    /// that proves nothing is as good as none.
    pub fn with_proof(mut self, proof: &str) -> Self {
        self.proof = Some(SecretString::from(proof));
        self
    }

    /// Whether the account has a second factor, and no good proof of one was brought along: then ask
    /// for it before the new password, which could not be set.
    pub fn needs_second_factor(&self) -> bool {
        self.satisfied(&self.account).is_err()
    }

    /// The account's second factors that count for this token: those that reach their owner in
    /// another way than the token did.
    pub fn usable_factors(&self) -> Vec<SecondFactor> {
        self.usable(&self.account).collect()
    }

    /// How the token came to its owner.
    pub fn means(&self) -> Means {
        let record = &self.record;
        let key = self.flow.core.keyring.get(record.key);
        let to_phone = key.is_some_and(|key| record.epoch.went_to_phone(key, &self.account));
        Means::of(record.purpose, to_phone)
    }

    /// Has the response checked by the flow's
    /// [`SecondFactorCheck`](crate::recovery::SecondFactorCheck), and answers the proof.
    ///
    /// # Errors
    ///
    /// See [`StepUpError`].
    pub async fn prove_factor(
        &self,
        response: &FactorResponse,
    ) -> Result<StepUpProof, StepUpError> {
        let Some(check) = &self.flow.core.second_factor else {
            return Err(self.factor_refused(Refused::StepUp));
        };
        let step_up = self.begin_step_up().await?;
        let checked = check.check(&self.attempt(), response).await;
        match checked.map_err(|e| self.step_up_unavailable(Backend::SecondFactor, e))? {
            Some(factor) => step_up.proven(factor),
            None => Err(step_up.refused()),
        }
    }

    /// Counts one try at the second factor: for a ceremony of the application's own, such as that of
    /// a passkey. Call it before anything is compared.
    ///
    /// # Errors
    ///
    /// See [`StepUpError`]; never [`StepUpError::Wrong`].
    pub async fn begin_step_up(&self) -> Result<StepUp<'_>, StepUpError> {
        let core = &self.flow.core;
        let now = self.flow.now();
        if now >= self.at + core.settings.grant_life || now >= self.record.expires_at {
            return Err(self.factor_refused(Refused::Expired));
        }
        if self.usable(&self.account).next().is_none() {
            let why = match self.has_second_factor() {
                true => Refused::SameChannel,
                false => Refused::StepUp,
            };
            return Err(self.factor_refused(why));
        }
        // The token first: a dead one cannot use up its account's tries.
        let tries = core.tokens.count_attempt(&self.record.selector).await;
        let tries = tries.map_err(|e| self.step_up_unavailable(Backend::Tokens, e))?;
        if tries.is_none_or(|tries| tries > TRIES) {
            return Err(self.factor_refused(Refused::FactorTries));
        }
        let user = self.account.id.as_str().as_bytes();
        let account = self.flow.limit_key("step-up", user);
        let quota = &core.settings.limits.step_ups;
        let decision = core.limiter.check(&account, quota, now).await;
        match decision.map_err(|e| self.step_up_unavailable(Backend::Limiter, e))? {
            Decision::Allow => Ok(StepUp { verified: self }),
            Decision::Deny { retry_after } => {
                self.record_factor(EventKind::RateLimited);
                Err(StepUpError::RateLimited { retry_after })
            }
        }
    }

    /// What is asked about: with the proof that was brought along, if it is a good one.
    pub(super) fn attempt(&self) -> RecoveryAttempt<'_> {
        RecoveryAttempt {
            account: &self.account,
            token: self.record.selector,
            means: self.means(),
            proven: self.proven(&self.account),
            client: self.client,
        }
    }

    /// Whether this account, as it is now, asks for nothing that was not proven.
    pub(super) fn satisfied(&self, account: &Account) -> Result<(), Refused> {
        if !account.has_second_factor() || self.proven(account).is_some() {
            Ok(())
        } else if self.usable(account).next().is_none() {
            Err(Refused::SameChannel)
        } else {
            Err(Refused::StepUp)
        }
    }

    /// The factor that was proven for this token, if it still is the account's and counts.
    pub(super) fn proven(&self, account: &Account) -> Option<SecondFactor> {
        let text = self.proof.as_ref()?.expose_secret();
        let keyring = &self.flow.core.keyring;
        let factor = recovery::proven(keyring, &self.record, text, self.flow.now())?;
        self.usable(account).find(|usable| *usable == factor)
    }

    fn usable<'a>(&self, account: &'a Account) -> impl Iterator<Item = SecondFactor> + use<'a> {
        let channel = self.means().channel();
        let enrolled = account.second_factors.iter().copied();
        enrolled.filter(move |factor| factor.is_independent_of(channel))
    }

    fn record_factor(&self, kind: EventKind) {
        let mut event = self.flow.event(kind);
        event.user = Some(self.account.id.clone());
        event.token = Some(self.record.selector);
        event.source = self.client.prefix();
        self.flow.record(event);
    }

    fn factor_refused(&self, why: Refused) -> StepUpError {
        let (selector, user) = (self.record.selector, &self.account.id);
        let _: VerifyError = self
            .flow
            .refuse(why, &self.client, Some(selector), Some(user));
        match why {
            Refused::WrongFactor => StepUpError::Wrong,
            Refused::FactorTries => StepUpError::TooManyTries,
            Refused::Expired => StepUpError::Expired,
            _ => StepUpError::NoFactor,
        }
    }

    fn step_up_unavailable(&self, backend: Backend, source: BoxError) -> StepUpError {
        StepUpError::Unavailable(self.flow.failed(backend, Step::StepUp, source))
    }
}

impl StepUp<'_> {
    /// The application has verified this factor, itself and just now.
    ///
    /// # Errors
    ///
    /// - [`StepUpError::NoFactor`] for a kind that is not enrolled, or travels as the token did.
    /// - [`StepUpError::Unavailable`] when no proof could be made.
    pub fn proven(self, factor: SecondFactor) -> Result<StepUpProof, StepUpError> {
        let verified = self.verified;
        let mut usable = verified.usable(&verified.account);
        if !usable.any(|usable| usable == factor) {
            return Err(verified.factor_refused(Refused::SameChannel));
        }
        let core = &verified.flow.core;
        let ends = verified.flow.now() + core.settings.grant_life;
        let claims = ProofClaims {
            record: &verified.record,
            factor,
            expires_at: ends.min(verified.record.expires_at),
        };
        let proof = claims.proof(core.keyring.active());
        let proof = proof.map_err(|e| verified.step_up_unavailable(Backend::SecondFactor, e))?;
        verified.record_factor(EventKind::FactorProven);
        Ok(proof)
    }

    /// It was not the one; answers [`StepUpError::Wrong`].
    pub fn refused(self) -> StepUpError {
        self.verified.factor_refused(Refused::WrongFactor)
    }
}
