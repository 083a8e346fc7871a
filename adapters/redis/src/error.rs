//! What can go wrong between a backend and its server.

use redis::{ErrorKind, RedisError, RetryMethod};

/// The server did not do what a backend asked of it.
///
/// Prints its own layer only; what the server said is in `source()`. No variant carries a value of
/// a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer came in time. The call may have happened all the same.
    #[error("the server did not answer in time")]
    Busy,
    /// A record, or a job, of this name stands there already; it was not replaced.
    #[error("the key is taken")]
    Taken,
    /// A field holds what this version of the crate cannot read: it was written by a newer
    /// version, or by somebody else.
    #[error("the field {field} cannot be read")]
    Unreadable {
        /// Which field.
        field: &'static str,
    },
    /// Anything else.
    #[error("the server failed")]
    Database(#[source] RedisError),
}

/// Server errors that pass by themselves and that the client has no word for.
const PASSING: [&str; 2] = ["BUSY", "NOREPLICAS"];

impl Error {
    /// Whether the same call may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::Database(source) if source.kind() == ErrorKind::AuthenticationFailed => false,
            Self::Database(source) => {
                source.is_io_error()
                    || matches!(
                        source.retry_method(),
                        RetryMethod::Reconnect
                            | RetryMethod::WaitAndRetry
                            | RetryMethod::RefreshSlotsAndRetry
                    )
                    || source.code().is_some_and(|code| PASSING.contains(&code))
            }
            Self::Taken | Self::Unreadable { .. } => false,
        }
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            Self::Busy
        } else {
            Self::Database(error)
        }
    }
}

/// Why there is no backend to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not the URL of a Redis server, or needs the feature `tls`.
    #[error("not the url of a redis server")]
    Url(#[source] RedisError),
    /// The prefix is empty, longer than 64 bytes, or has a brace, a space or a control character.
    #[error("not a prefix for keys")]
    Prefix,
    /// The server cannot be reached, or turned the connection away.
    #[error("the server could not be reached")]
    Open(#[source] Error),
}

#[cfg(test)]
mod tests {
    use redis::{ServerErrorKind, make_extension_error};

    use super::*;

    #[test]
    fn what_passes_by_itself_is_transient() {
        for kind in [
            ServerErrorKind::BusyLoading,
            ServerErrorKind::ReadOnly,
            ServerErrorKind::ClusterDown,
            ServerErrorKind::MasterDown,
            ServerErrorKind::TryAgain,
        ] {
            let error = RedisError::from((kind.into(), "test"));
            assert!(Error::from(error).is_transient(), "{kind:?}");
        }
        for code in PASSING {
            let error = make_extension_error(code.to_owned(), None);
            assert!(Error::from(error).is_transient(), "{code}");
        }
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(Error::from(RedisError::from(io)).is_transient());
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        assert!(matches!(Error::from(RedisError::from(late)), Error::Busy));
    }

    #[test]
    fn what_stays_is_not_transient() {
        for kind in [
            ErrorKind::AuthenticationFailed,
            ServerErrorKind::NoPerm.into(),
            ServerErrorKind::ResponseError.into(),
        ] {
            let error = RedisError::from((kind, "test"));
            assert!(!Error::from(error).is_transient(), "{kind:?}");
        }
        let full = make_extension_error("OOM".to_owned(), None);
        assert!(!Error::from(full).is_transient());
        assert!(!Error::Taken.is_transient());
        assert!(!Error::Unreadable { field: "epoch" }.is_transient());
    }
}
