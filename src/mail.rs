//! Mail: [`Mailer`], [`Message`], the [`Site`] that every mail names, and the letters.
//!
//! The crate writes the letters (the link or the code, the notice of a changed password, and two
//! that hold no secret) and hands each to the application's [`Mailer`]. It opens no connection
//! itself. Everything in a letter comes from the [`Site`] that was configured and from the account;
//! nothing comes from the request (R85), but for what the application says that it has
//! [`Seen`](crate::account::Seen).

mod letters;
mod message;
mod site;

use std::sync::Arc;

use async_trait::async_trait;

pub use crate::error::SendError;
pub use letters::{
    Hint, Letter, Occasion, PasswordChanged, ResetCode, ResetLink, StandardLetters, Templates,
};
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
///   itself. The worker calls again after a transient error. The message keeps its [`Message::id`]
///   then, so that a provider can recognise the second try; only a link does not: each of its tries
///   is a new mail with a new link, and has an id of its own.
///
/// The connection to the relay is the mailer's business: encrypt it (R88).
///
/// ```
/// use password_reset::mail::{SendError, Mailer, Message};
///
/// struct Printer;
///
/// #[password_reset::async_trait]
/// impl Mailer for Printer {
///     async fn send(&self, message: &Message) -> Result<(), SendError> {
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
    /// - [`SendError::transient`] when a later try may succeed: no connection, a 4xx answer.
    /// - [`SendError::uncertain`] when nobody knows whether the server took the mail.
    /// - [`SendError::permanent`] when none will: no such mailbox, a refused sender.
    async fn send(&self, message: &Message) -> Result<(), SendError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: Mailer + ?Sized> Mailer for $pointer<T> {
            async fn send(&self, message: &Message) -> Result<(), SendError> {
                (**self).send(message).await
            }
        }
    )+ };
}
forward!(Arc, Box);
