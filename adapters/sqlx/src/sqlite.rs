//! SQLite: [`SqliteBackend`] and [`SqliteAudit`].
//!
//! SQLite lets one connection write at a time, and whoever waits for it by polling may wait long.
//! So a backend has exactly one writing connection, and callers queue for it fairly; reads go
//! through connections of their own and never wait for a writer. Several processes may share the
//! file: they take turns through SQLite's own lock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use crate::audit::SqlAudit;
use crate::backend::{SqlBackend, WAIT};
use crate::error::ConnectError;
use crate::names::{InvalidName, Names};

const READERS: u32 = 4;

/// Tokens, jobs and limits in one SQLite database.
pub type SqliteBackend = SqlBackend<Sqlite>;

/// An audit trail in SQLite.
pub type SqliteAudit = SqlAudit<Sqlite>;

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
        Self::on(writer, reader)
    }
}

/// How a [`SqliteBackend`] opens its database.
///
/// ```
/// # use password_reset_sqlx::SqliteOptions;
/// # async fn example() -> Result<(), password_reset_sqlx::ConnectError> {
/// let backend = SqliteOptions::new("sqlite:///var/lib/app/resets.db")
///     .readers(8)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteOptions {
    url: String,
    synchronous: SqliteSynchronous,
    wait: Duration,
    readers: u32,
    names: Names,
}

impl SqliteOptions {
    /// Options for the database at `url`, such as `sqlite:///var/lib/app/resets.db`, or
    /// `sqlite::memory:`.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            synchronous: SqliteSynchronous::Full,
            wait: WAIT,
            readers: READERS,
            names: Names::default(),
        }
    }

    /// Waits for the disk at checkpoints only, not at each change: a change then takes between a
    /// third and a fiftieth of the time, depending on the disk.
    ///
    /// The price: a power cut or a crash of the operating system can take back the last moments.
    /// An accepted request may then mail nothing, and a token whose change of the password stands
    /// may look unclaimed, until the account's own state refuses it. A crash of the program alone
    /// loses nothing.
    pub fn synchronous_normal(mut self) -> Self {
        self.synchronous = SqliteSynchronous::Normal;
        self
    }

    /// How long a call waits for its turn before it fails as [`Error::Busy`](crate::Error::Busy):
    /// once for the connection, once for other processes. 5 s unless told otherwise.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How many connections read, at most; 4 unless told otherwise, at least 1.
    pub fn readers(mut self, readers: u32) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// What the names of all tables begin with, see [`SqlBackend::prefix`].
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for a text over 32 bytes or with a control character.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, InvalidName> {
        self.names.set_prefix(prefix)?;
        Ok(self)
    }

    /// Opens the database, creates it where there is none, and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// - [`ConnectError::Url`] when the URL cannot be read.
    /// - [`ConnectError::Open`] when the file cannot be opened or created.
    /// - [`ConnectError::Migrate`] when the tables cannot be brought up to date.
    pub async fn connect(self) -> Result<SqliteBackend, ConnectError> {
        let shared = SqliteConnectOptions::from_str(&self.url)
            .map_err(ConnectError::Url)?
            .busy_timeout(self.wait)
            .foreign_keys(true);
        let writing = shared
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(self.synchronous)
            // Jobs name people: overwrite what is deleted wherever that costs no further writes.
            .pragma("secure_delete", "FAST");

        let writer = self
            .pool(1)
            .connect_with(writing)
            .await
            .map_err(|error| ConnectError::Open(error.into()))?;
        let reader = if self.is_in_memory() {
            // There is one connection and nothing else: a second one would see another database,
            // or, with a shared cache, fail on the first one's locks.
            writer.clone()
        } else {
            self.pool(self.readers)
                .connect_lazy_with(shared.read_only(true))
        };

        let backend = SqliteBackend::with_pools(writer, reader).named(self.names);
        backend.migrate().await?;
        Ok(backend)
    }

    fn pool(&self, connections: u32) -> SqlitePoolOptions {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(self.wait)
            // A file does not hang up: connections stay open and are not tried before use. The
            // pool looks at each one when it comes back.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    }

    fn is_in_memory(&self) -> bool {
        self.url.contains(":memory:") || self.url.contains("mode=memory")
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is not shown: it says where the file is.
        f.debug_struct("SqliteOptions")
            .field("synchronous", &self.synchronous)
            .field("wait", &self.wait)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use sqlx::SqlitePool;

    use super::*;

    async fn pragma(pool: &SqlitePool, pragma: &'static str) -> String {
        let mut rows = sqlx::query_scalar::<_, i64>(pragma).fetch_all(pool).await;
        match &mut rows {
            Ok(rows) => rows.pop().unwrap().to_string(),
            Err(_) => sqlx::query_scalar(pragma).fetch_one(pool).await.unwrap(),
        }
    }

    #[tokio::test]
    async fn connections_are_set_up_as_documented() {
        let file = std::env::temp_dir().join(format!("pr-sqlx-{}.db", std::process::id()));
        let options = SqliteOptions::new(&format!("sqlite://{}", file.display()));
        for (options, synchronous) in [(options.clone(), "2"), (options.synchronous_normal(), "1")]
        {
            let backend = options.connect().await.unwrap();
            let (writer, reader) = (&backend.writer, &backend.reader);
            assert_eq!(pragma(writer, "PRAGMA journal_mode").await, "wal");
            assert_eq!(pragma(writer, "PRAGMA synchronous").await, synchronous);
            assert_eq!(pragma(writer, "PRAGMA foreign_keys").await, "1");
            assert_eq!(pragma(writer, "PRAGMA secure_delete").await, "2");
            assert_eq!(pragma(writer, "PRAGMA busy_timeout").await, "5000");
            assert_eq!(writer.options().get_max_connections(), 1);
            let written = sqlx::query("DELETE FROM password_reset_jobs");
            assert!(
                written.execute(reader).await.is_err(),
                "readers never write"
            );
            backend.close().await;
        }
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
        }
    }
}
