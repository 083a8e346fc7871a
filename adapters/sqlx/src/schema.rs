//! The tables and their versions.

use crate::backend::SqlBackend;
use crate::driver::{Driver, Flavour};
use crate::error::{Error, MigrateError};
use crate::session::Transaction;
use crate::statement::values;
use crate::tokens::int;

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS {schema} (version BIGINT NOT NULL PRIMARY KEY)";
const VERSION: &str = "SELECT coalesce(max(version), 0) AS version FROM {schema}";

/// Takes the steps that are missing. Where the database can, in one transaction and while nobody
/// else does; MySQL ends a transaction at each `CREATE`, so there every statement of a step can be
/// run again, and by several processes at once.
pub(crate) async fn migrate<D: Driver>(backend: &SqlBackend<D>) -> Result<(), MigrateError> {
    let known = i64::try_from(D::STEPS.len()).unwrap_or(i64::MAX);
    let mut session = backend.writer().await?;
    session.take_your_time();
    if let Some(unsuitable) = D::UNSUITABLE {
        let rows = session
            .rows(&backend.statement(unsuitable), values![])
            .await?;
        if let Some(row) = rows.first() {
            let simultaneous = "sql_mode SIMULTANEOUS_ASSIGNMENT";
            let setting = match D::text(row, "setting").map_err(Error::from)?.as_deref() {
                Some(setting) if setting == simultaneous => simultaneous,
                _ => "autocommit = 0",
            };
            return Err(MigrateError::Unsuitable { setting });
        }
    }
    // Most starts find everything as it should be, and may be nobody who makes tables. The first
    // finds nothing to read.
    let version = backend.statement(VERSION);
    if let Some(rows) = session.probe(&version).await
        && rows
            .first()
            .map(|row| int::<D>(row, "version"))
            .transpose()?
            == Some(known)
    {
        return Ok(());
    }
    let mut transaction = session.begin().await?;
    let result = step(&mut transaction, backend).await;
    let found = transaction.end(result).await?;
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    Ok(())
}

/// Answers the version that was found.
async fn step<D: Driver>(
    transaction: &mut Transaction<'_, D>,
    backend: &SqlBackend<D>,
) -> Result<i64, Error> {
    transaction.script(&backend.statement(D::ALONE)).await?;
    transaction.script(&backend.statement(VERSIONS)).await?;
    let version = backend.statement(VERSION);
    let rows = transaction.rows(&version, values![]).await?;
    let found = rows.first().map(|row| int::<D>(row, "version"));
    let found = found.transpose()?.unwrap_or(0);
    let stepped = backend.statement(match D::SYNTAX.flavour {
        Flavour::MySql => "INSERT IGNORE INTO {schema} (version) VALUES (?1)",
        Flavour::Postgres | Flavour::Sqlite => "INSERT INTO {schema} (version) VALUES (?1)",
    });
    for (version, step) in (1_i64..).zip(D::STEPS) {
        if version > found {
            transaction.script(&backend.statement(step)).await?;
            transaction.execute(&stepped, values![version]).await?;
        }
    }
    Ok(found)
}
