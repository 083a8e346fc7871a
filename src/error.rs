//! Errors that belong to no single operation.

use std::fmt;

/// What a backend answers when it fails: any error of its own.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Which plugged-in part failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Backend {
    /// The application's users.
    Users,
    /// The token store.
    Tokens,
    /// The job queue.
    Queue,
    /// The rate limiter.
    Limiter,
    /// The mailer.
    Mailer,
    /// The letters.
    Templates,
    /// The password hasher.
    Hasher,
    /// The recovery policy.
    Recovery,
    /// The source of randomness.
    Random,
}

impl Backend {
    /// One word, stable, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Tokens => "tokens",
            Self::Queue => "queue",
            Self::Limiter => "limiter",
            Self::Mailer => "mailer",
            Self::Templates => "templates",
            Self::Hasher => "hasher",
            Self::Recovery => "recovery",
            Self::Random => "random",
        }
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
