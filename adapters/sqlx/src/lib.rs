#![doc = include_str!("../README.md")]

// The tests share modules that name this crate as its users do.
#[cfg(test)]
extern crate self as password_reset_sqlx;

mod audit;
mod backend;
mod columns;
#[cfg_attr(
    not(all(feature = "mysql", feature = "postgres", feature = "sqlite")),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "each database needs a part"
    )
)]
mod driver;
mod error;
mod jobs;
mod limits;
#[cfg_attr(
    not(all(feature = "mysql", feature = "postgres", feature = "sqlite")),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "each database needs a part"
    )
)]
mod names;
#[cfg(test)]
mod plans;
mod schema;
mod server;
mod session;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statement;
mod tokens;
mod users;

pub use audit::{AuditError, SqlAudit};
pub use backend::SqlBackend;
pub use driver::Driver;
pub use error::{ConnectError, Error, MigrateError};
pub use names::InvalidName;
#[cfg(feature = "mysql")]
pub use server::{MySqlAudit, MySqlBackend, MySqlOptions};
#[cfg(feature = "postgres")]
pub use server::{PostgresAudit, PostgresBackend, PostgresOptions};
pub use server::{Server, ServerOptions};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteAudit, SqliteBackend, SqliteOptions};
pub use users::{EndSessions, Flag, IdType, SqlUserStore, UserTable};

/// The version of sqlx whose pools the backends take.
pub use sqlx;
