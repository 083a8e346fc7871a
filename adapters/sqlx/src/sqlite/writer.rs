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
            connection.close().await?;
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
