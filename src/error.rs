//! Errors that belong to no single operation.

use std::fmt;

/// What a backend answers when it fails: any error of its own.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A closed set of words: each variant with its stable name, listed once.
macro_rules! words {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every one that this version knows.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// One word, stable, for stores, logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads a stable word.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Which plugged-in part failed.
    Backend {
        /// The application's users.
        Users = "users",
        /// The token store.
        Tokens = "tokens",
        /// The job queue.
        Queue = "queue",
        /// The rate limiter.
        Limiter = "limiter",
        /// The mailer.
        Mailer = "mailer",
        /// The sender of text messages.
        Sms = "sms",
        /// The letters.
        Templates = "templates",
        /// The password hasher.
        Hasher = "hasher",
        /// The check for breached passwords.
        Breach = "breach",
        /// The history of passwords.
        History = "history",
        /// The recovery policy.
        Recovery = "recovery",
        /// The check of second factors.
        SecondFactor = "second_factor",
        /// What tells humans from programs.
        Human = "human",
        /// The source of randomness.
        Random = "random",
    }
}

impl Backend {
    /// The same as [`as_str`](Self::as_str).
    pub const fn name(self) -> &'static str {
        self.as_str()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A plugged-in part failed. Prints its own layer only; the part's own words are in `source()`.
#[derive(thiserror::Error)]
#[error("the {backend} backend failed")]
pub struct BackendError {
    backend: Backend,
    source: BoxError,
}

impl BackendError {
    pub(crate) fn new(backend: Backend, source: impl Into<BoxError>) -> Self {
        Self {
            backend,
            source: source.into(),
        }
    }

    /// Which part failed.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether the same call may succeed later. Backends answer plain errors, so this is `true`
    /// unless the part said otherwise.
    pub fn is_transient(&self) -> bool {
        !matches!(self.backend, Backend::Templates)
    }
}

impl fmt::Debug for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The source is not shown: it is a foreign type, and its derived Debug may hold a message.
        f.debug_struct("BackendError")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// A mail or a text message was not sent. Prints its own layer only; the carrier's words are in
/// `source()`.
///
/// ```
/// use password_reset::error::SendError;
///
/// let error = SendError::transient("450 4.2.1 mailbox busy");
/// assert!(error.is_transient());
/// assert_eq!(error.to_string(), "the message was not taken this time");
/// ```
#[derive(thiserror::Error)]
#[error("{}", if *.transient {
    "the message was not taken this time"
} else {
    "the message was refused for good"
})]
pub struct SendError {
    transient: bool,
    may_have_arrived: bool,
    source: BoxError,
}

impl SendError {
    /// A later try may succeed.
    pub fn transient(source: impl Into<BoxError>) -> Self {
        Self {
            transient: true,
            may_have_arrived: false,
            source: source.into(),
        }
    }

    /// The connection was lost, or time ran out, after the message was handed over and before the
    /// server took it or refused it: it may have arrived. It is tried again, and the link or code
    /// in it stays good.
    pub fn uncertain(source: impl Into<BoxError>) -> Self {
        Self {
            transient: true,
            may_have_arrived: true,
            source: source.into(),
        }
    }

    /// No later try will succeed; the worker gives the message up.
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

    /// Whether the message may have arrived all the same.
    pub fn may_have_arrived(&self) -> bool {
        self.may_have_arrived
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The source is not shown: a server's answer often quotes the address.
        f.debug_struct("SendError")
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
    fn a_send_error_prints_its_own_layer_and_keeps_its_source() {
        for (error, transient) in [
            (SendError::transient("550 ada@example.com unknown"), true),
            (SendError::permanent("550 ada@example.com unknown"), false),
        ] {
            assert_eq!(error.is_transient(), transient);
            assert!(!format!("{error} {error:?}").contains("ada@"));
            assert!(error.source().unwrap().to_string().contains("ada@"));
        }
    }
}
