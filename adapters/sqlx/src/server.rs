//! Databases that are reached over a network: [`ServerOptions`].

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::{Connection, Pool, SqlStr};

use crate::backend::{SqlBackend, WAIT};
use crate::driver::Driver;
use crate::error::{ConnectError, Error};
use crate::names::{InvalidName, Names};

const CONNECTIONS: u32 = 10;
/// A connection that was idle for longer is tried before it is used.
const FRESH: Duration = Duration::from_secs(1);

/// A [`Driver`] that talks to a server: sqlx's `Postgres` or `MySql`.
pub trait Server: Driver {
    /// What each new connection of our own is told.
    #[doc(hidden)]
    const SESSION: &'static str;
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::postgres::Postgres;

    /// Tokens, jobs and limits in one PostgreSQL database, version 12 or later.
    pub type PostgresBackend = crate::SqlBackend<Postgres>;
    /// An audit trail in PostgreSQL.
    pub type PostgresAudit = crate::SqlAudit<Postgres>;
    /// How a [`PostgresBackend`] connects to its database.
    pub type PostgresOptions = super::ServerOptions<Postgres>;

    impl super::Server for Postgres {
        // One setting for every statement that stands alone.
        const SESSION: &'static str =
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED";
    }
}
#[cfg(feature = "postgres")]
pub use postgres::{PostgresAudit, PostgresBackend, PostgresOptions};

#[cfg(feature = "mysql")]
mod mysql {
    use sqlx::mysql::MySql;

    /// Tokens, jobs and limits in one MySQL database, version 8.0.29 or later, or in MariaDB,
    /// version 10.6 or later.
    pub type MySqlBackend = crate::SqlBackend<MySql>;
    /// An audit trail in MySQL or MariaDB.
    pub type MySqlAudit = crate::SqlAudit<MySql>;
    /// How a [`MySqlBackend`] connects to its database.
    pub type MySqlOptions = super::ServerOptions<MySql>;

    impl super::Server for MySql {
        // Without READ COMMITTED InnoDB locks the gaps between rows too, and neighbours deadlock.
        // What is answered must be committed. The limiter reads what it has just assigned.
        const SESSION: &'static str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
            SET SESSION autocommit = 1;
            SET SESSION sql_mode = REPLACE(@@sql_mode, 'SIMULTANEOUS_ASSIGNMENT', '')";
    }
}
#[cfg(feature = "mysql")]
pub use mysql::{MySqlAudit, MySqlBackend, MySqlOptions};

impl<D: Server> SqlBackend<D> {
    /// Connects to the database and brings the tables up to date.
    ///
    /// The same as [`ServerOptions::new`]`(url).`[`connect`](ServerOptions::connect)`()`.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        ServerOptions::new(url).connect().await
    }

    /// A backend on the application's own pool; call [`migrate`](Self::migrate) once before use.
    ///
    /// Every promise holds at every isolation level. READ COMMITTED, PostgreSQL's default, is the
    /// quickest: at stricter levels the database rolls back more often, and the call is made again.
    pub fn with_pool(pool: Pool<D>) -> Self {
        Self::on(pool.clone(), pool)
    }

    /// The schema of the tables (in MySQL and MariaDB: the database), which must exist. Without
    /// one, they are where the connection's own search leads. The name is quoted wherever it is
    /// written.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for an empty text, one over 63 bytes, or one with a control character.
    pub fn schema(mut self, schema: &str) -> Result<Self, InvalidName> {
        self.names.set_schema(schema)?;
        let names = self.names.clone();
        Ok(self.named(names))
    }
}

/// How a backend connects to its server: `PostgresOptions` or `MySqlOptions`.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let backend = password_reset_sqlx::PostgresOptions::new("postgres://app@db.example.com/app")
///     .schema("auth")?
///     .connections(20)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
pub struct ServerOptions<D: Server> {
    url: String,
    wait: Duration,
    connections: u32,
    names: Names,
    database: PhantomData<fn() -> D>,
}

impl<D: Server> ServerOptions<D> {
    /// Options for the database at `url`, such as `postgres://app@db.example.com/app`.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            wait: WAIT,
            connections: CONNECTIONS,
            names: Names::default(),
            database: PhantomData,
        }
    }

    /// How long a call waits before it fails: once for a connection, once for the answer to each
    /// statement. 5 s unless told otherwise.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How many connections there are, at most; 10 unless told otherwise, at least 1.
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(1);
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

    /// The schema of the tables, see [`SqlBackend::schema`].
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for an empty text, one over 63 bytes, or one with a control character.
    pub fn schema(mut self, schema: &str) -> Result<Self, InvalidName> {
        self.names.set_schema(schema)?;
        Ok(self)
    }

    /// Connects and brings the tables up to date.
    ///
    /// # Errors
    ///
    /// - [`ConnectError::Url`] when the URL cannot be read.
    /// - [`ConnectError::Open`] when the server cannot be reached, or lets nobody in, within
    ///   [`wait`](Self::wait).
    /// - [`ConnectError::Migrate`] when the tables cannot be brought up to date.
    pub async fn connect(self) -> Result<SqlBackend<D>, ConnectError> {
        // sqlx itself takes a URL of any scheme.
        let scheme = self.url.split_once("://").map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| D::URL_SCHEMES.contains(&scheme)) {
            let why = format!("not one of {:?}", D::URL_SCHEMES);
            return Err(ConnectError::Url(sqlx::Error::Configuration(why.into())));
        }
        let server = <D::Connection as Connection>::Options::from_str(&self.url);
        let server = server.map_err(ConnectError::Url)?;
        let pool = PoolOptions::<D>::new()
            .max_connections(self.connections)
            .acquire_timeout(self.wait)
            // A connection that just worked is used as it is: no round trip to ask it.
            .test_before_acquire(false)
            .before_acquire(|connection, used| {
                Box::pin(async move {
                    if used.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                let told = SqlStr::from_static(D::SESSION);
                Box::pin(async move { D::script(connection, told).await })
            })
            .connect_with(server)
            .await
            .map_err(|error| match error {
                // The pool was empty: nobody else kept the connections.
                sqlx::Error::PoolTimedOut => ConnectError::Open(Error::Unreachable(error)),
                error => ConnectError::Open(error.into()),
            })?;
        let backend = SqlBackend::with_pool(pool)
            .named(self.names)
            .wait(self.wait);
        backend.migrate().await?;
        Ok(backend)
    }
}

impl<D: Server> Clone for ServerOptions<D> {
    fn clone(&self) -> Self {
        Self {
            url: self.url.clone(),
            wait: self.wait,
            connections: self.connections,
            names: self.names.clone(),
            database: PhantomData,
        }
    }
}

impl<D: Server> fmt::Debug for ServerOptions<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is not shown: it may hold a password.
        f.debug_struct("ServerOptions")
            .field("wait", &self.wait)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
