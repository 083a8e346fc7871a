#![doc = include_str!("../README.md")]

#[cfg(feature = "sqlite")]
mod columns;
mod error;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use error::{ConnectError, Error, MigrateError};
#[cfg(feature = "sqlite")]
pub use sqlite::{AuditError, SqliteAudit, SqliteBackend, SqliteOptions};

/// The version of sqlx whose pools [`SqliteBackend::with_pools`](sqlite::SqliteBackend::with_pools)
/// takes.
pub use sqlx;
