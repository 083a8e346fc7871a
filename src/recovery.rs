//! The decision hook before a change: [`RecoveryPolicy`].
//!
//! A reset proves control of a mailbox, nothing more. Whether that is enough for an account with a
//! second factor is the application's decision, asked for after the token is proven and before the
//! password is hashed (R67, W64).

use std::sync::Arc;

use async_trait::async_trait;

use crate::account::{Account, Client};
use crate::error::BoxError;
use crate::token::Selector;

/// One attempt to set a password.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecoveryAttempt<'a> {
    /// The account.
    pub account: &'a Account,
    /// The token: bind the proof of a second factor to it, so that a proof which the owner gave
    /// elsewhere does not count for somebody else's attempt.
    pub token: Selector,
    /// Where the attempt comes from.
    pub client: Client,
}

/// What the application decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Recovery {
    /// The proven mailbox is enough, or the second factor was just verified by the application.
    Allow,
    /// This account's password may not be set this way.
    Deny,
    /// The person must prove a second factor first; the token stays usable.
    StepUp,
}

/// Decides whether a proven token may set a password.
///
/// # Contract
///
/// - MUST verify a second factor itself, for this very token, and MUST NOT take the caller's word for it: a flag that
///   the browser sends is not a proof (W64).
/// - An error refuses the change and leaves the token usable.
///
/// Without a policy the flow refuses every account with a second factor.
#[async_trait]
pub trait RecoveryPolicy: Send + Sync + 'static {
    /// Decides about one attempt.
    async fn decide(&self, attempt: &RecoveryAttempt<'_>) -> Result<Recovery, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: RecoveryPolicy + ?Sized> RecoveryPolicy for $pointer<T> {
            async fn decide(&self, attempt: &RecoveryAttempt<'_>) -> Result<Recovery, BoxError> {
                (**self).decide(attempt).await
            }
        }
    )+ };
}
forward!(Arc, Box);

/// The default: accounts with a second factor are refused.
pub(crate) struct RefuseSecondFactor;

#[async_trait]
impl RecoveryPolicy for RefuseSecondFactor {
    async fn decide(&self, attempt: &RecoveryAttempt<'_>) -> Result<Recovery, BoxError> {
        Ok(if attempt.account.second_factor {
            Recovery::StepUp
        } else {
            Recovery::Allow
        })
    }
}
