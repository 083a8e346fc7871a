//! Connecting to a server: [`RedisOptions`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::Client;

use crate::error::ConnectError;
use crate::keys::Keys;
use crate::link::Link;
use crate::{RedisBackend, WAIT};

/// How a [`RedisBackend`] connects to its server.
///
/// ```no_run
/// # use password_reset_redis::RedisOptions;
/// # async fn example() -> Result<(), password_reset_redis::ConnectError> {
/// let backend = RedisOptions::new("redis://127.0.0.1/")
///     .prefix("app:resets")
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    url: String,
    prefix: String,
    wait: Duration,
}

impl RedisOptions {
    /// Options for the server at `url`, such as `redis://user:password@host:6379/0`, or
    /// `rediss://` for TLS (feature `tls`). The rustls provider is the one that the application
    /// installed, or else ring.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: "password-reset".to_owned(),
            wait: WAIT,
        }
    }

    /// What the keys begin with; `password-reset` unless told otherwise. Two applications that
    /// share a database need two prefixes.
    ///
    /// 1 to 64 bytes, without braces, spaces and control characters.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// How long a call waits for the server, connecting included, before it fails as
    /// [`Error::Busy`](crate::Error::Busy). 5 s unless told otherwise.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Connects to the server.
    ///
    /// # Errors
    ///
    /// - [`ConnectError::Prefix`] when the prefix is not one.
    /// - [`ConnectError::Url`] when the URL cannot be read.
    /// - [`ConnectError::Open`] when the server cannot be reached in time, or turns the connection
    ///   away.
    pub async fn connect(self) -> Result<RedisBackend, ConnectError> {
        let keys = Arc::new(Keys::new(&self.prefix)?);
        #[cfg(feature = "tls")]
        choose_cryptography();
        let client = Client::open(self.url).map_err(ConnectError::Url)?;
        let link = Link::open(client, self.wait)
            .await
            .map_err(ConnectError::Open)?;
        Ok(RedisBackend { link, keys })
    }
}

/// Without a choice rustls panics as soon as two of its providers are built in.
#[cfg(feature = "tls")]
fn choose_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may be quicker; theirs is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is not shown: it may hold a password.
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
