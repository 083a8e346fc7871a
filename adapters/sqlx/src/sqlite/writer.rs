//! The one connection that writes, held for one call: [`Writer`].

use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::error::Error;

/// How often a compare-and-swap is tried. While a call holds the writer nobody in this process
/// gets in between, and each failure means that another process got its own change through.
pub(super) const TRIES: usize = 64;

pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// The right to write. Callers of one process queue for it in order.
pub(super) struct Writer(PoolConnection<Sqlite>);

impl Writer {
    pub(super) async fn acquire(pool: &SqlitePool) -> Result<Self, Error> {
        let mut connection = pool.acquire().await?;
        // SQLite ends a transaction by itself when the disk fails or is full. sqlx then finds
        // nothing to roll back and believes for ever that the connection is inside one: the only
        // writer would refuse every later transaction. Replace such a connection.
        if connection.is_in_transaction() {
            // It is given up, however its end goes.
            let _ = connection.close().await;
            connection = pool.acquire().await?;
        }
        Ok(Self(connection))
    }

    /// Runs a statement that answers nothing; answers how many rows it changed.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, Error> {
        execute(&mut self.0, statement).await
    }

    /// Runs a statement and reads its rows, see [`rows`].
    pub(super) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<SqliteRow>, Error> {
        rows(&mut self.0, statement).await
    }

    /// Begins a transaction that has the write lock from the start, so that nothing in it can fail
    /// for having read too early. Rolled back unless committed.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, Error> {
        Ok(self.0.begin_with("BEGIN IMMEDIATE").await?)
    }
}

pub(super) async fn execute(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
) -> Result<u64, Error> {
    Ok(statement.execute(connection).await?.rows_affected())
}

/// Runs a statement to its very end. sqlx's `fetch_optional` and `fetch_one` stop at the first row
/// and drop the error of the commit that follows: with `RETURNING`, a change that never reached the
/// disk would be answered as done.
pub(super) async fn rows(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
) -> Result<Vec<SqliteRow>, Error> {
    Ok(statement.fetch_all(connection).await?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::SqliteBackend;

    #[tokio::test]
    async fn a_failed_commit_is_never_answered_as_done() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let mut writer = Writer::acquire(&backend.writer).await.unwrap();
        // A deferred foreign key is looked at by the commit, after the row was answered.
        for table in [
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        ] {
            writer.execute(sqlx::query(table)).await.unwrap();
        }
        let orphan = || sqlx::query("INSERT INTO child VALUES (1) RETURNING id");
        assert!(writer.rows(orphan()).await.is_err());
        let kept = writer.rows(sqlx::query("SELECT id FROM child")).await;
        assert!(kept.unwrap().is_empty());
    }
}
