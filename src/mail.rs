//! Mail: [`Mailer`], [`Message`], the [`Site`] that every mail names, and the letters.
//!
//! The crate writes two letters, the link and the notice of a changed password, and hands each to
//! the application's [`Mailer`]. It opens no connection itself. Everything in a letter comes from
//! the [`Site`] that was configured and from the account; nothing comes from the request (R85).

mod letters;
mod message;
mod site;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::BoxError;

pub use letters::{Letter, PasswordChanged, ResetLink, StandardLetters, Templates};
pub use message::{InvalidMessage, Kind, Message};
pub use site::{InvalidSite, LinkBase, Mailbox, Site};

/// What sends mail.
///
/// # Contract
///
/// - MUST send to [`Message::to`] and to nobody else: no copy, no archive, no catch-all (W1).
///   Whoever reads a copy can set the password.
/// - MUST take the header lines and the envelope sender from the message, never from a request's
///   host (W6). Otherwise the bounce carries the link to an attacker.
/// - MUST encode subject and display names as header text, and MUST send [`Message::headers`].
/// - MUST keep click tracking, link rewriting and open pixels off where
///   [`Message::is_sensitive`] is `true` (R87); when they cannot be switched off, answer a permanent
///   error. Otherwise the provider, and whoever reads its reports, holds live links.
/// - MUST NOT log, store or trace the body (R76, W13), and MUST NOT put it into an error.
/// - MUST answer `Ok` only once a server has taken the mail over, and MUST come to an end by
///   itself. The worker calls again after a transient error. A notice keeps its [`Message::id`] then,
///   so that a provider can recognise the second try; each try of a link is a new mail with a new
///   link, and has an id of its own.
///
/// The connection to the relay is the mailer's business: encrypt it (R88).
///
/// ```
/// use password_reset::mail::{MailError, Mailer, Message};
///
/// struct Printer;
///
/// #[password_reset::async_trait]
/// impl Mailer for Printer {
///     async fn send(&self, message: &Message) -> Result<(), MailError> {
///         // The body is a secret. What may be shown is what `Debug` shows.
///         println!("would send {message:?}");
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Sends one message.
    ///
    /// # Errors
    ///
    /// - [`MailError::transient`] when a later try may succeed: no connection, a 4xx answer.
    /// - [`MailError::uncertain`] when nobody knows whether the server took the mail.
    /// - [`MailError::permanent`] when none will: no such mailbox, a refused sender.
    async fn send(&self, message: &Message) -> Result<(), MailError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: Mailer + ?Sized> Mailer for $pointer<T> {
            async fn send(&self, message: &Message) -> Result<(), MailError> {
                (**self).send(message).await
            }
        }
    )+ };
}
forward!(Arc, Box);

/// A mail was not sent. Prints its own layer only; the mailer's words are in `source()`.
///
/// ```
/// use password_reset::mail::MailError;
///
/// let error = MailError::transient("450 4.2.1 mailbox busy");
/// assert!(error.is_transient());
/// assert_eq!(error.to_string(), "the mail was not taken this time");
/// ```
#[derive(thiserror::Error)]
#[error("{}", if *.transient {
    "the mail was not taken this time"
} else {
    "the mail was refused for good"
})]
pub struct MailError {
    transient: bool,
    may_have_arrived: bool,
    source: BoxError,
}

impl MailError {
    /// A later try may succeed.
    pub fn transient(source: impl Into<BoxError>) -> Self {
        Self {
            transient: true,
            may_have_arrived: false,
            source: source.into(),
        }
    }

    /// The connection was lost, or time ran out, after the mail was handed over and before the
    /// server took it or refused it: it may have arrived. It is tried again, and the link in it
    /// stays good.
    pub fn uncertain(source: impl Into<BoxError>) -> Self {
        Self {
            transient: true,
            may_have_arrived: true,
            source: source.into(),
        }
    }

    /// No later try will succeed; the worker gives the mail up.
    pub fn permanent(source: impl Into<BoxError>) -> Self {
        Self {
            transient: false,
            may_have_arrived: false,
            source: source.into(),
        }
    }

    /// Whether a later try may succeed.
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// Whether the mail may be in the mailbox all the same.
    pub fn may_have_arrived(&self) -> bool {
        self.may_have_arrived
    }
}

impl fmt::Debug for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The source is not shown: a server's answer often quotes the address.
        f.debug_struct("MailError")
            .field("transient", &self.transient)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use std::error::Error;

    use super::*;

    #[test]
    fn a_mail_error_prints_its_own_layer_and_keeps_its_source() {
        for (error, transient) in [
            (MailError::transient("550 ada@example.com unknown"), true),
            (MailError::permanent("550 ada@example.com unknown"), false),
        ] {
            assert_eq!(error.is_transient(), transient);
            assert!(!format!("{error} {error:?}").contains("ada@"));
            assert!(error.source().unwrap().to_string().contains("ada@"));
        }
    }
}
