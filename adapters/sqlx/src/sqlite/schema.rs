//! The tables and their versions.

use sqlx::Row;

use super::SqliteBackend;
use super::writer::{Writer, execute, rows};
use crate::error::{Error, MigrateError};

/// One step each; the version of the tables is the number of steps taken. Never edit a step that
/// was released: append one.
const STEPS: &[&str] = &[include_str!("../../migrations/sqlite/1.sql")];

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS password_reset_schema (
    version INTEGER NOT NULL PRIMARY KEY
) STRICT";
const VERSION: &str = "SELECT coalesce(max(version), 0) AS version FROM password_reset_schema";
const STEPPED: &str = "INSERT INTO password_reset_schema (version) VALUES (?1)";

pub(super) async fn migrate(backend: &SqliteBackend) -> Result<(), MigrateError> {
    let mut writer = Writer::acquire(&backend.writer).await?;
    // The lock is taken before the version is read, so two processes never take the same step.
    let mut transaction = writer.begin().await?;
    execute(&mut transaction, sqlx::query(VERSIONS)).await?;
    let mut found: i64 = 0;
    for row in rows(&mut transaction, sqlx::query(VERSION)).await? {
        found = row.try_get("version").map_err(Error::from)?;
    }
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    for (version, step) in (1_i64..).zip(STEPS) {
        if version > found {
            sqlx::raw_sql(*step)
                .execute(&mut *transaction)
                .await
                .map_err(Error::from)?;
            execute(&mut transaction, sqlx::query(STEPPED).bind(version)).await?;
        }
    }
    transaction.commit().await.map_err(Error::from)?;
    Ok(())
}
