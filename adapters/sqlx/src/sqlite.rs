//! SQLite: [`SqliteBackend`] keeps tokens, jobs and limits, [`SqliteAudit`] the audit trail.
//!
//! # How it writes
//!
//! SQLite lets one connection write at a time, and whoever waits for it by polling may wait long.
//! So a backend has exactly one writing connection, and callers queue for it fairly; reads go
//! through connections of their own and never wait for a writer. Several processes may share the
//! file: they take turns through SQLite's own lock.
//!
//! Every change is one statement. A transition of a token's [`State`] is decided by the core's pure
//! function and written by a compare-and-swap on the very columns it was decided on; the limiter
//! does the same with the core's [`gcra`]. A future that is dropped half-way therefore leaves
//! either everything or nothing. Where two statements belong together they are one immediate
//! transaction, which is rolled back when its future is dropped.
//!
//! [`State`]: password_reset::token::state::State
//! [`gcra`]: password_reset::limit::gcra

mod audit;
mod connect;
mod jobs;
mod limits;
#[cfg(test)]
mod plans;
mod schema;
mod tokens;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use sqlx::SqlitePool;
use sqlx::error::DatabaseError;

pub use audit::{AuditError, SqliteAudit};
pub use connect::SqliteOptions;

use crate::error::{ConnectError, MigrateError};

/// Tokens, jobs and limits in one SQLite database.
///
/// Cheap to clone; clones share their connections. Implements [`TokenStore`], [`JobQueue`] and
/// [`RateLimiter`].
///
/// [`TokenStore`]: password_reset::store::TokenStore
/// [`JobQueue`]: password_reset::queue::JobQueue
/// [`RateLimiter`]: password_reset::limit::RateLimiter
#[derive(Clone)]
pub struct SqliteBackend {
    writer: SqlitePool,
    reader: SqlitePool,
    /// How many uses were charged by this process; every so often one of them sweeps.
    charges: Arc<AtomicU32>,
}

impl SqliteBackend {
    /// Opens the database, creates it where there is none, and brings its tables up to date.
    ///
    /// The same as [`SqliteOptions::new`]`(url).`[`connect`](SqliteOptions::connect)`()`.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        SqliteOptions::new(url).connect().await
    }

    /// A database that lives in memory and dies with the backend. For tests and demonstrations: a
    /// restart forgets every token and every job.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn in_memory() -> Result<Self, ConnectError> {
        Self::connect("sqlite::memory:").await
    }

    /// A backend on the application's own pools; call [`migrate`](Self::migrate) once before use.
    ///
    /// Everything stays correct with any pools on the same database, the same pool twice included.
    /// To be quick, `writer` should have one connection only, and the database should be in WAL
    /// mode. What survives a power cut is decided by the pool's `synchronous` setting.
    pub fn with_pools(writer: SqlitePool, reader: SqlitePool) -> Self {
        Self {
            writer,
            reader,
            charges: Arc::default(),
        }
    }

    /// Creates the tables, or brings them up to date. Safe to call at every start and by several
    /// processes at once. All names begin with `password_reset_`.
    ///
    /// # Errors
    ///
    /// - [`MigrateError::Newer`] when a newer version of this crate has been here.
    /// - [`MigrateError::Database`] when the database fails.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        schema::migrate(self).await
    }

    /// Waits for what is running, then closes every connection, those of the application's own
    /// pools included. Calls after this fail.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

impl fmt::Debug for SqliteBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pools are not shown: they know where the file is.
        f.debug_struct("SqliteBackend").finish_non_exhaustive()
    }
}

/// `SQLITE_BUSY` and `SQLITE_LOCKED`, whatever the extended code says besides.
pub(crate) fn is_busy(said: &dyn DatabaseError) -> bool {
    said.try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .and_then(|said| said.code()?.parse::<i32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 5 | 6))
}
