//! Whether a password is known from a breach: [`BreachCheck`].

use std::sync::Arc;

use async_trait::async_trait;

use super::NewPassword;
use crate::error::BoxError;

/// What a [`BreachCheck`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Breach {
    /// It is in a collection of leaked passwords.
    Found,
    /// It is in none that was looked into.
    NotFound,
}

/// What becomes of a new password when the [`BreachCheck`] fails. There is no default: the sources
/// disagree (ASVS 16.5.2 and 16.5.3), and only the application knows what it can do without.
///
/// Either way an audit event names the failure. The [`Blocklist`](super::Blocklist) has been asked
/// before, and needs nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unanswered {
    /// It is accepted: a service that is down locks nobody out.
    Accept,
    /// It is not: the person is asked to try again later, and the link stays good.
    Refuse,
}

/// Looks a new password up in a collection of leaked ones (ASVS 6.2.12).
///
/// Asked once a change, behind the [`Policy`](super::Policy) and the recovery policy, before
/// anything is hashed. Ready-made: `PwnedPasswords` in `password-reset-http`, and `BreachFilter` in
/// `password-reset-breach`, which asks nobody.
///
/// # Contract
///
/// - MUST NOT hand the password, or a whole digest of it, to anybody else. If not, whoever runs the
///   other side collects the passwords of your users. The first 20 bits of a digest are the custom
///   (k-anonymity).
/// - MUST NOT log or store it, and MUST NOT put it into an error (R76).
/// - MUST come to an end by itself, within seconds: the core has no timer, and the person waits.
/// - MUST answer an error when it does not know. [`Unanswered`] says what it means; a check that
///   answers [`Breach::NotFound`] instead decides for the application.
/// - MUST NOT block the thread: a file or a database is asked on a thread of its own.
///
/// ```
/// use password_reset::error::BoxError;
/// use password_reset::password::{Breach, BreachCheck, NewPassword};
///
/// struct OurOwnBreach(std::collections::HashSet<String>);
///
/// #[password_reset::async_trait]
/// impl BreachCheck for OurOwnBreach {
///     async fn look_up(&self, password: &NewPassword) -> Result<Breach, BoxError> {
///         Ok(match self.0.contains(password.expose()) {
///             true => Breach::Found,
///             false => Breach::NotFound,
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait BreachCheck: Send + Sync + 'static {
    /// Looks one password up.
    ///
    /// # Errors
    ///
    /// Any error when there is no answer.
    async fn look_up(&self, password: &NewPassword) -> Result<Breach, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: BreachCheck + ?Sized> BreachCheck for $pointer<T> {
            async fn look_up(&self, password: &NewPassword) -> Result<Breach, BoxError> {
                (**self).look_up(password).await
            }
        }
    )+ };
}
forward!(Arc, Box);
