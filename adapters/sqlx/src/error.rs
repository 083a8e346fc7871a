//! What can go wrong between a backend and its database.

use std::{fmt, io};

use crate::driver::{self, Verdict};

/// A database did not do what a backend asked of it.
///
/// Prints its own layer only, in `Debug` too. What the database said is in `source()`, which may
/// quote a row when somebody prints its `Debug`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection, or no lock on the database, became free in time.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// The database let others go first, again and again. Nothing was changed by this call.
    #[error("too many others are changing the same rows")]
    Contended(#[source] sqlx::Error),
    /// The database went away, or did not answer in time. Whether the call was carried out is not
    /// known.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// A record, or a job, of this name stands there already; it was not replaced.
    #[error("the key is taken")]
    Taken(#[source] sqlx::Error),
    /// A column holds what this version of the crate cannot read: the row was written by a newer
    /// version, or by somebody else.
    #[error("the column {column} cannot be read")]
    Unreadable {
        /// Which column.
        column: &'static str,
    },
    /// A column is too narrow for what was to be written. Nothing was changed.
    #[error("the column {column} is too narrow")]
    TooNarrow {
        /// Which column.
        column: &'static str,
    },
    /// The users' table or a statement, as configured, is not what the database knows. From
    /// [`SqlUserStore::check`](crate::SqlUserStore::check) only, and with the database's own words
    /// where they are about the statement and not about a row.
    #[error("{what}: {}", words(said))]
    Configuration {
        /// What does not fit.
        what: &'static str,
        /// What the database said.
        #[source]
        said: sqlx::Error,
    },
    /// An account's key is not of the [`IdType`](crate::IdType).
    #[error("the id is not {expected}; say what it is with `UserTable::id`")]
    Id {
        /// What it should be.
        expected: &'static str,
    },
    /// A statement that ends sessions is not about one account.
    #[error("the statement that ends sessions has no `?1`; it would end everybody's")]
    EndsEverybodys,
    /// The core asks for something that this version of the crate does not know.
    #[error("this version does not know the {what}")]
    Unsupported {
        /// What it is.
        what: &'static str,
    },
    /// Anything else.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Contended(_) | Self::Unreachable(_) => true,
            Self::Taken(_)
            | Self::Unreadable { .. }
            | Self::TooNarrow { .. }
            | Self::Configuration { .. }
            | Self::Id { .. }
            | Self::EndsEverybodys
            | Self::Unsupported { .. }
            | Self::Database(_) => false,
        }
    }

    /// The same about something that was configured, unless it has nothing to do with that.
    pub(crate) fn about(self, what: &'static str) -> Self {
        match self {
            Self::Database(said) => Self::Configuration { what, said },
            other => other,
        }
    }

    pub(crate) fn too_slow() -> Self {
        Self::Unreachable(sqlx::Error::Io(io::ErrorKind::TimedOut.into()))
    }
}

/// The database's own words about a statement; its code alone where they may quote a row.
fn words(said: &sqlx::Error) -> String {
    let Some(said) = said.as_database_error() else {
        return "the statement and its values do not go together".to_owned();
    };
    match said.code() {
        // Class 42 is about names, syntax and rights; 1 is what SQLite says of the same.
        Some(code) if code.starts_with("42") || code == "1" => said.message().to_owned(),
        Some(code) => format!("the database answers {code}"),
        None => "the database failed".to_owned(),
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self {
            Self::Busy(said)
            | Self::Contended(said)
            | Self::Unreachable(said)
            | Self::Taken(said)
            | Self::Database(said) => said,
            Self::Unreadable { .. }
            | Self::TooNarrow { .. }
            | Self::Configuration { .. }
            | Self::Id { .. }
            | Self::EndsEverybodys
            | Self::Unsupported { .. } => {
                return write!(f, "Error({self})");
            }
        };
        // Its own Debug may quote the row that it refused.
        match said.as_database_error().and_then(|said| said.code()) {
            Some(code) => write!(f, "Error({self}: {code})"),
            None => write!(f, "Error({self})"),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::Busy(error),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
                Self::Unreachable(error)
            }
            sqlx::Error::Database(said) if said.is_unique_violation() => Self::Taken(error),
            sqlx::Error::Database(said) => match driver::verdict(said.as_ref()) {
                Some(Verdict::Contended) => Self::Contended(error),
                Some(Verdict::Busy) => Self::Busy(error),
                Some(Verdict::Unreachable) => Self::Unreachable(error),
                None => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

/// Why there is no backend to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not the URL of a database of this kind.
    #[error("not the url of a database of this kind")]
    Url(#[source] sqlx::Error),
    /// The database could not be opened, created or reached.
    #[error("the database could not be opened")]
    Open(#[source] Error),
    /// The tables could not be brought up to date.
    #[error("the tables could not be brought up to date")]
    Migrate(#[from] MigrateError),
}

/// Why the tables could not be brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// A newer version of this crate has been here. Going on could misread what it wrote. Nothing
    /// was changed.
    #[error("the tables have version {found}, this program knows {known}")]
    Newer {
        /// The version of the tables.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The server is set up so that what is answered may not be what is kept. Nothing was changed.
    #[error("the server has {setting}")]
    Unsuitable {
        /// Which of its settings, and how it is set.
        setting: &'static str,
    },
    /// The database failed. SQLite and PostgreSQL have changed nothing; MySQL and MariaDB may have
    /// stopped between two statements, and go on there the next time.
    #[error("the database failed while the tables were brought up to date")]
    Database(#[from] Error),
}
