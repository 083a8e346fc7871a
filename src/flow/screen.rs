//! What has to be looked up before a new password is taken: breaches, the present password, and
//! those before it.
//!
//! Behind the policy, which costs microseconds and tells all its reasons at once; before the hash.
//! Each step here costs a call or a hash, so the first reason ends it.

use crate::account::{Account, Credential, UserId};
use crate::audit::Step;
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::password::{
    Breach, Candidate, Context, HasherError, NewPassword, PasswordHash, PasswordRejected,
    PoolError, Share, Unanswered, Violation,
};

/// Why a new password was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScreenError {
    /// It was refused. Tell the person why: [`PasswordRejected::violations`].
    #[error("the new password was refused")]
    Password(#[from] PasswordRejected),
    /// The hashing pool is full. Answer "503" and ask to try again.
    #[error("too busy at this moment")]
    Busy,
    /// A part that has to be asked failed.
    #[error("not available at this moment")]
    Unavailable(#[source] BackendError),
}

impl ScreenError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Password(_) => false,
            Self::Busy => true,
            Self::Unavailable(error) => error.is_transient(),
        }
    }
}

impl ResetFlow {
    /// Judges a new password for a sign-up form by everything that a reset would hold against it
    /// (R54): the policy, and then the [`BreachCheck`](crate::password::BreachCheck), if there is
    /// one. Give it what the person typed beside it: name, address.
    ///
    /// ```
    /// # #[cfg(feature = "testing")]
    /// # password_reset::testing::block_on(async {
    /// use password_reset::ResetFlow;
    /// use password_reset::flow::ScreenError;
    /// use password_reset::password::{Context, PasswordHash};
    ///
    /// /// POST /sign-up
    /// async fn hash_of(
    ///     flow: &ResetFlow,
    ///     address: &str,
    ///     raw: &str,
    /// ) -> Result<PasswordHash, Box<dyn std::error::Error>> {
    ///     let password = flow.screen(raw, &Context::default().word(address)).await?;
    ///     Ok(flow.hashing().hash(password).await?)
    /// }
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ScreenError`].
    pub async fn screen(&self, raw: &str, context: &Context) -> Result<NewPassword, ScreenError> {
        let password = self.policy().parse(raw, context)?;
        self.screen_breach(&password, Step::Screen).await?;
        Ok(password)
    }

    /// The same for a form on which somebody who is logged in changes the password: also refuses
    /// the present one, and those of the [`PasswordHistory`](crate::password::PasswordHistory).
    ///
    /// Ask for the present password first, or have them log in again: this does not.
    ///
    /// # Errors
    ///
    /// See [`ScreenError`].
    pub async fn screen_change(
        &self,
        raw: &str,
        account: &Account,
    ) -> Result<NewPassword, ScreenError> {
        let password = self.policy().parse(raw, &self.context_of(account))?;
        self.screen_parsed(&password, account, Step::Screen).await?;
        Ok(password)
    }

    /// Everything behind the policy.
    pub(super) async fn screen_parsed(
        &self,
        password: &NewPassword,
        account: &Account,
        step: Step,
    ) -> Result<(), ScreenError> {
        self.screen_breach(password, step).await?;
        if let Credential::Password(present) = &account.credential
            && self.is_same(password, present, step).await?
        {
            return Err(refused(Violation::Unchanged));
        }
        self.screen_history(password, &account.id, step).await
    }

    async fn screen_breach(&self, password: &NewPassword, step: Step) -> Result<(), ScreenError> {
        let Some((check, unanswered)) = &self.core.breach else {
            return Ok(());
        };
        match check.look_up(password).await {
            Ok(Breach::NotFound) => Ok(()),
            Ok(Breach::Found) => Err(refused(Violation::Breached)),
            Err(error) => {
                let error = self.failed(Backend::Breach, step, error);
                match unanswered {
                    Unanswered::Accept => Ok(()),
                    Unanswered::Refuse => Err(ScreenError::Unavailable(error)),
                }
            }
        }
    }

    async fn screen_history(
        &self,
        password: &NewPassword,
        user: &UserId,
        step: Step,
    ) -> Result<(), ScreenError> {
        let Some((history, max)) = &self.core.history else {
            return Ok(());
        };
        let former = history.former(user, *max).await;
        let former =
            former.map_err(|e| ScreenError::Unavailable(self.failed(Backend::History, step, e)))?;
        for stored in former.iter().take(usize::from(*max)) {
            if self.is_same(password, stored, step).await? {
                return Err(refused(Violation::Reused));
            }
        }
        Ok(())
    }

    /// On the pool, whose bound holds here too.
    ///
    /// A stored hash that cannot be checked keeps nobody out: who comes with a reset may have
    /// nothing but that hash, and wants to be rid of it.
    async fn is_same(
        &self,
        password: &NewPassword,
        stored: &PasswordHash,
        step: Step,
    ) -> Result<bool, ScreenError> {
        let share = match step {
            Step::Complete => Share::Owners,
            _ => Share::Others,
        };
        let pool = self.core.hashing.of(share);
        let verified = pool.verify(Candidate::from(password), stored.clone());
        match verified.await {
            Ok(same) => Ok(same),
            Err(PoolError::Busy) => Err(ScreenError::Busy),
            // A scheme that this application has left behind, or longer than it ever took.
            Err(PoolError::Hasher(HasherError::Unsupported | HasherError::TooManyBytes { .. })) => {
                Ok(false)
            }
            Err(error) => {
                self.failed(Backend::Hasher, step, error);
                Ok(false)
            }
        }
    }
}

fn refused(why: Violation) -> ScreenError {
    ScreenError::Password(PasswordRejected::of(why))
}
