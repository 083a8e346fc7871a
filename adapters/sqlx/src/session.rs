//! A connection, held for one call: [`Session`] and [`Transaction`].

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Arguments, Connection, Pool, SqlStr};
use tokio::time::{sleep, timeout};

use crate::driver::{Done, Driver};
use crate::error::Error;
use crate::statement::{Statement, Value};

/// How often a call is made that the database rolled back in favour of others. Each time one of
/// those others got through.
const TRIES: u32 = 128;

/// A connection. Callers of one process queue for the pool's in order.
pub(crate) struct Session<D: Driver> {
    connection: PoolConnection<D>,
    limit: Option<Duration>,
    /// A call was begun and not answered yet.
    open: bool,
}

impl<D: Driver> Session<D> {
    pub(crate) async fn acquire(pool: &Pool<D>, limit: Duration) -> Result<Self, Error> {
        let mut connection = logged(pool.acquire().await.map_err(Error::from))?;
        // SQLite ends a transaction by itself when the disk fails or is full. sqlx then finds
        // nothing to roll back and believes for ever that the connection is inside one: the only
        // writer would refuse every later transaction. Replace such a connection.
        if connection.is_in_transaction() {
            // It is given up, however its end goes.
            let _ = connection.close().await;
            connection = pool.acquire().await?;
        }
        Ok(Self {
            connection,
            // A database file does not hang up; waiting for its lock has a limit of its own.
            limit: D::CLOSED_WHEN_CUT.then_some(limit),
            open: false,
        })
    }

    /// For work that may take long.
    pub(crate) fn take_your_time(&mut self) {
        self.limit = None;
    }

    /// Runs a statement that answers no rows.
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Done, Error> {
        let mut again = Again::default();
        loop {
            self.open = true;
            let done = execute::<D>(&mut self.connection, self.limit, statement, &values).await;
            let done = self.closed(done);
            if !again.is_worth_it(&done).await {
                return done;
            }
        }
    }

    /// Runs a statement and reads its rows.
    pub(crate) async fn rows(
        &mut self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Vec<D::Row>, Error> {
        let mut again = Again::default();
        loop {
            self.open = true;
            let rows = rows::<D>(&mut self.connection, self.limit, statement, &values).await;
            let rows = self.closed(rows);
            if !again.is_worth_it(&rows).await {
                return rows;
            }
        }
    }

    /// Asks something whose failure is an answer too, and is told to nobody.
    pub(crate) async fn probe(&mut self, statement: &Statement) -> Option<Vec<D::Row>> {
        self.open = true;
        let rows = rows::<D>(&mut self.connection, self.limit, statement, &[]).await;
        self.open = matches!(rows, Err(Error::Unreachable(_)));
        rows.ok()
    }

    /// Looks whether the database understands a statement, without running it.
    pub(crate) async fn prepare(&mut self, statement: &Statement) -> Result<(), Error> {
        self.open = true;
        let prepared = D::prepare(&mut self.connection, statement.sql());
        let prepared = within(self.limit, prepared).await;
        self.closed(prepared)
    }

    /// Begins a transaction. Rolled back unless committed.
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_, D>, Error> {
        self.open = true;
        let begin = self
            .connection
            .begin_with(SqlStr::from_static(D::SYNTAX.begin));
        Ok(Transaction {
            inner: within(self.limit, begin).await?,
            limit: self.limit,
            open: &mut self.open,
        })
    }

    /// After an answer in time, a bad one included, the connection is good for the next call.
    fn closed<A>(&mut self, answer: Result<A, Error>) -> Result<A, Error> {
        self.open = matches!(answer, Err(Error::Unreachable(_)));
        logged(answer)
    }
}

impl<D: Driver> Drop for Session<D> {
    fn drop(&mut self) {
        if self.open && D::CLOSED_WHEN_CUT {
            self.connection.close_on_drop();
        }
    }
}

/// Statements that happen together or not at all.
pub(crate) struct Transaction<'s, D: Driver> {
    inner: sqlx::Transaction<'s, D>,
    limit: Option<Duration>,
    open: &'s mut bool,
}

impl<D: Driver> Transaction<'_, D> {
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Done, Error> {
        execute::<D>(&mut self.inner, self.limit, statement, &values).await
    }

    pub(crate) async fn rows(
        &mut self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Vec<D::Row>, Error> {
        rows::<D>(&mut self.inner, self.limit, statement, &values).await
    }

    /// Runs several statements that take no values.
    pub(crate) async fn script(&mut self, script: &Statement) -> Result<(), Error> {
        Ok(D::script(&mut self.inner, script.sql()).await?)
    }

    /// Commits what went well, undoes what did not.
    pub(crate) async fn end<A>(self, result: Result<A, Error>) -> Result<A, Error> {
        let ended = match result {
            Ok(_) => within(self.limit, self.inner.commit()).await,
            Err(_) => within(self.limit, self.inner.rollback()).await,
        };
        *self.open = ended.is_err();
        match result {
            Ok(answer) => logged(ended.map(|()| answer)),
            // Whether or not it could be undone in order: what was not committed is not there.
            Err(error) => logged(Err(error)),
        }
    }
}

/// Whether to make a call once more that the database rolled back in favour of others.
#[derive(Default)]
pub(crate) struct Again(u32);

impl Again {
    pub(crate) async fn is_worth_it<A>(&mut self, answer: &Result<A, Error>) -> bool {
        if !matches!(answer, Err(Error::Contended(_))) || self.0 >= TRIES {
            return false;
        }
        // At once, then ever later: those that keep meeting spread out.
        sleep(Duration::from_millis(u64::from(self.0 / 4).min(20))).await;
        self.0 += 1;
        true
    }
}

/// Says what failed: the flow names the part that did, and nobody else hears the cause. `Debug` of
/// the error quotes no row.
fn logged<A>(answer: Result<A, Error>) -> Result<A, Error> {
    match &answer {
        // Others were quicker, or the caller asks whether the key is free.
        Ok(_) | Err(Error::Contended(_) | Error::Taken(_)) => {}
        Err(error) => tracing::warn!(?error, "a call of the database failed"),
    }
    answer
}

async fn execute<D: Driver>(
    connection: &mut D::Connection,
    limit: Option<Duration>,
    statement: &Statement,
    values: &[Value],
) -> Result<Done, Error> {
    let arguments = arguments::<D>(statement, values)?;
    let done = D::execute(connection, statement.sql(), arguments, statement.persistent);
    within(limit, done).await
}

async fn rows<D: Driver>(
    connection: &mut D::Connection,
    limit: Option<Duration>,
    statement: &Statement,
    values: &[Value],
) -> Result<Vec<D::Row>, Error> {
    let arguments = arguments::<D>(statement, values)?;
    let rows = D::rows(connection, statement.sql(), arguments, statement.persistent);
    within(limit, rows).await
}

fn arguments<D: Driver>(statement: &Statement, values: &[Value]) -> Result<D::Arguments, Error> {
    let mut arguments = D::Arguments::default();
    arguments.reserve(values.len(), 0);
    for value in statement.arrange(values) {
        D::bind(&mut arguments, value).map_err(|e| Error::Database(sqlx::Error::Encode(e)))?;
    }
    Ok(arguments)
}

/// A server that does not answer is as good as gone.
async fn within<A>(
    limit: Option<Duration>,
    call: impl Future<Output = Result<A, sqlx::Error>>,
) -> Result<A, Error> {
    match limit {
        None => Ok(call.await?),
        Some(limit) => match timeout(limit, call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::too_slow()),
        },
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use crate::SqliteBackend;
    use crate::statement::values;

    #[tokio::test]
    async fn a_failed_commit_is_never_answered_as_done() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let mut session = backend.writer().await.unwrap();
        // A deferred foreign key is looked at by the commit, after the row was answered.
        for table in [
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        ] {
            let table = backend.statement(table);
            session.execute(&table, values![]).await.unwrap();
        }
        let orphan = backend.statement("INSERT INTO child VALUES (?1) RETURNING id");
        assert!(session.rows(&orphan, values![1_i64]).await.is_err());
        let kept = backend.statement("SELECT id FROM child");
        assert!(session.rows(&kept, values![]).await.unwrap().is_empty());
    }
}
