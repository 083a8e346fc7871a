//! Passwords that an account had before: [`PasswordHistory`].

use std::sync::Arc;

use async_trait::async_trait;

use super::PasswordHash;
use crate::account::UserId;
use crate::error::BoxError;

/// The most former passwords that a new one is compared with. Each costs a hash.
pub const MAX_HISTORY: u8 = 24;

/// The hashes of an account's former passwords, for those who must refuse them (PCI DSS 8.3.7: the
/// last four).
///
/// Off unless plugged in, and best left so where nobody asks for it: NIST and ASVS have no history,
/// it keeps old hashes around to be stolen, and it teaches people to count upwards (R53). The
/// present password is refused without it.
///
/// The crate only reads. Keep the old hash yourself when
/// [`UserStore::set_password`](crate::account::UserStore::set_password) replaces it, in the same
/// transaction, and delete what you need no longer.
///
/// # Contract
///
/// - MUST answer the former hashes of this very account, the latest first, at most `max`.
/// - An error refuses the change and leaves the link good: a rule that somebody is audited for does
///   not lapse because a table is locked.
///
/// A hash that the hasher cannot read is passed over.
#[async_trait]
pub trait PasswordHistory: Send + Sync + 'static {
    /// The former hashes, latest first.
    ///
    /// # Errors
    ///
    /// Any error when they cannot be read.
    async fn former(&self, user: &UserId, max: u8) -> Result<Vec<PasswordHash>, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: PasswordHistory + ?Sized> PasswordHistory for $pointer<T> {
            async fn former(&self, user: &UserId, max: u8) -> Result<Vec<PasswordHash>, BoxError> {
                (**self).former(user, max).await
            }
        }
    )+ };
}
forward!(Arc, Box);
