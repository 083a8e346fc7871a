//! One backend for three databases: [`SqlBackend`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use sqlx::Pool;

use crate::driver::Driver;
use crate::error::{Error, MigrateError};
use crate::jobs::JobSql;
use crate::limits::LimitSql;
use crate::names::{InvalidName, Names};
use crate::schema;
use crate::session::Session;
use crate::statement::Statement;
use crate::tokens::TokenSql;

/// How long a call waits, unless told otherwise.
pub(crate) const WAIT: Duration = Duration::from_secs(5);

/// Tokens, jobs and limits in one SQL database: `SqliteBackend`, `PostgresBackend` or
/// `MySqlBackend`.
///
/// Cheap to clone; clones share their connections. Implements [`TokenStore`], [`JobQueue`] and
/// [`RateLimiter`].
///
/// [`TokenStore`]: password_reset::store::TokenStore
/// [`JobQueue`]: password_reset::queue::JobQueue
/// [`RateLimiter`]: password_reset::limit::RateLimiter
pub struct SqlBackend<D: Driver> {
    pub(crate) writer: Pool<D>,
    pub(crate) reader: Pool<D>,
    pub(crate) wait: Duration,
    pub(crate) names: Names,
    pub(crate) sql: Arc<Sql>,
    /// How many uses were charged by this process; every so often one of them sweeps.
    pub(crate) charges: Arc<AtomicU32>,
}

/// Every statement, in the words of one database.
pub(crate) struct Sql {
    pub(crate) tokens: TokenSql,
    pub(crate) jobs: JobSql,
    pub(crate) limits: LimitSql,
}

impl Sql {
    fn new<D: Driver>(names: &Names) -> Self {
        let syntax = &D::SYNTAX;
        let write = |template: &str| {
            Statement::new(template, syntax, |name| names.written(name, syntax.quote))
        };
        Self {
            tokens: TokenSql::new(syntax, write),
            jobs: JobSql::new(syntax, write),
            limits: LimitSql::new(syntax, write),
        }
    }
}

impl<D: Driver> SqlBackend<D> {
    pub(crate) fn on(writer: Pool<D>, reader: Pool<D>) -> Self {
        let names = Names::default();
        Self {
            writer,
            reader,
            wait: WAIT,
            sql: Arc::new(Sql::new::<D>(&names)),
            names,
            charges: Arc::default(),
        }
    }

    pub(crate) fn named(mut self, names: Names) -> Self {
        self.sql = Arc::new(Sql::new::<D>(&names));
        self.names = names;
        self
    }

    /// What the names of all tables begin with, instead of `password_reset_`: any text of at most
    /// 32 bytes without control characters. It is quoted wherever it is written.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for any other text.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, InvalidName> {
        self.names.set_prefix(prefix)?;
        let names = self.names.clone();
        Ok(self.named(names))
    }

    /// How long a call waits for the server's answer to one statement, 5 s unless told otherwise.
    /// How long it waits for a connection is a setting of the pool. SQLite has no server: there it
    /// is the `busy_timeout` of the connections.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Creates the tables, or brings them up to date. Safe to call at every start and by several
    /// processes at once.
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

    pub(crate) async fn writer(&self) -> Result<Session<D>, Error> {
        Session::acquire(&self.writer, self.wait).await
    }

    pub(crate) async fn reader(&self) -> Result<Session<D>, Error> {
        Session::acquire(&self.reader, self.wait).await
    }

    pub(crate) fn statement(&self, template: &str) -> Statement {
        let quote = D::SYNTAX.quote;
        Statement::new(template, &D::SYNTAX, |name| self.names.written(name, quote))
    }
}

impl<D: Driver> Clone for SqlBackend<D> {
    fn clone(&self) -> Self {
        Self {
            writer: self.writer.clone(),
            reader: self.reader.clone(),
            wait: self.wait,
            names: self.names.clone(),
            sql: Arc::clone(&self.sql),
            charges: Arc::clone(&self.charges),
        }
    }
}

impl<D: Driver> fmt::Debug for SqlBackend<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pools are not shown: they know where the database is, and its password.
        f.debug_struct("SqlBackend")
            .field("database", &D::NAME)
            .finish_non_exhaustive()
    }
}
