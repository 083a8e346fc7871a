#![doc = include_str!("../README.md")]
//!
//! # How it writes
//!
//! Every call is one Lua script, or one plain command, sent as one message: the server runs it as
//! a whole, so a future that is dropped half-way, a connection that breaks, and 64 callers at once
//! find all of it done or nothing. The scripts follow the core's pure functions
//! ([`State`](password_reset::token::state::State), [`gcra`](password_reset::limit::gcra)) line by
//! line; tests compare them.
//!
//! The server's clock decides nothing. Moments come from the caller and are kept as 20 digits that
//! sort like the moments themselves, because a number of a script, and the score of a sorted set,
//! is exact only up to 2^53. What has an order is therefore a sorted set whose scores are all 0 and
//! whose members begin with a moment.
//!
//! # Keys
//!
//! With the prefix `password-reset`; `..` are the raw bytes of a selector, a job's id or a limiter's
//! key.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{password-reset}:t:..` | hash | a token's record |
//! | `{password-reset}:u:<user id>` | sorted set | the user's open records, by expiry |
//! | `{password-reset}:purge` | sorted set | the records that nobody holds or watches, by expiry |
//! | `{password-reset}:sweep` | sorted set | the records that are held or watched, by the end of it |
//! | `{password-reset}:j:..` | hash | a job, or a dead letter |
//! | `{password-reset}:jobs` | sorted set | jobs, by the moment at which they may be leased |
//! | `{password-reset}:dead` | sorted set | dead letters, by the moment at which they were given up |
//! | `password-reset:l:..` | string | what a limiter keeps of a key |
//!
//! The braces put all tokens and jobs of one backend into one hash slot. Scripts name the keys they
//! know; those that follow from what they read (the records of one user, what is due) they derive
//! from a prefix in the same slot. Limits are independent of each other and spread over all slots.
//!
//! # What is forgotten, and when
//!
//! - A **limit** lives until the moment from which on it decides nothing, and a minute longer: the
//!   clocks of several machines never agree.
//! - A **token** goes when it is purged. Beside that it has a time to live, 60 days longer than the
//!   token itself, for applications that stop purging. A token that is claimed or watched has none:
//!   whoever forgets it forgets a changed password that nobody settled. The same holds for the set
//!   of its user.
//! - **Jobs** and dead letters stay until they are acknowledged or purged.

mod connect;
mod durability;
mod error;
mod fields;
mod jobs;
mod keys;
mod limits;
mod link;
mod reply;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use connect::RedisOptions;
pub use durability::Durability;
pub use error::{ConnectError, Error};
/// The version of the client whose connections [`RedisBackend::with_connection`] takes.
pub use redis;
use redis::aio::ConnectionManager;

use crate::keys::Keys;
use crate::link::Link;

/// Tokens, jobs and limits in one Redis or Valkey database.
///
/// Cheap to clone; clones share their connection. Implements [`TokenStore`], [`JobQueue`] and
/// [`RateLimiter`].
///
/// [`TokenStore`]: password_reset::store::TokenStore
/// [`JobQueue`]: password_reset::queue::JobQueue
/// [`RateLimiter`]: password_reset::limit::RateLimiter
#[derive(Clone)]
pub struct RedisBackend {
    link: Link,
    keys: Arc<Keys>,
}

impl RedisBackend {
    /// Connects to the server at `url`.
    ///
    /// The same as [`RedisOptions::new`]`(url).`[`connect`](RedisOptions::connect)`()`.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        RedisOptions::new(url).connect().await
    }

    /// A backend on the application's own connection, with the prefix of its keys.
    ///
    /// A call that gets no answer within 5 s fails as [`Error::Busy`]. Unlike a connection of
    /// [`connect`](Self::connect), one that has gone silent is not replaced: set the manager's
    /// timeouts, and TCP keepalive, accordingly.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Prefix`] when the prefix is not one, see [`RedisOptions::prefix`].
    pub fn with_connection(
        connection: ConnectionManager,
        prefix: &str,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            keys: Arc::new(Keys::new(prefix)?),
            link: Link::fixed(connection, WAIT),
        })
    }
}

/// How long a call waits unless told otherwise.
const WAIT: Duration = Duration::from_secs(5);

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The connection is not shown: it knows the server's address and its password.
        f.debug_struct("RedisBackend").finish_non_exhaustive()
    }
}
