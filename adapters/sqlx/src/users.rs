//! A ready [`UserStore`] over the application's own table of users: [`SqlUserStore`].

mod sql;
mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use password_reset::account::{
    Account, Credential, Identifier, SessionScope, Swap, UserId, UserStore,
};
use password_reset::error::BoxError;
use password_reset::password::PasswordHash;
use sqlx::Pool;

use self::sql::{Ended, Row, UserSql, meant};
use self::table::Spelling;
pub use self::table::{EndSessions, Flag, IdType, UserTable};
use crate::backend::WAIT;
use crate::driver::{self, Driver};
use crate::error::Error;
use crate::session::{Again, Session, Transaction};
use crate::statement::{Statement, Value, values};

/// Rows that one identifier may mean before it means nobody.
const MATCHES: u32 = 4;

/// What [`SqlUserStore::check`] looks at.
const TABLE: &str = "the users' table as configured";
const CHANGE: &str = "the change of a password in the users' table as configured";
const ENDING: &str = "the statement that ends sessions";

/// The application's users, in a table of its own: a [`UserStore`] that needs no code.
///
/// Reads columns, compares and swaps one of them, and ends sessions as it was told; it changes
/// nothing else. Addresses that are none are passed over. The comparison of hashes is made byte by
/// byte, whatever the column's collation.
///
/// ```
/// use password_reset_sqlx::{EndSessions, Flag, SqlUserStore, UserTable};
///
/// # #[cfg(feature = "sqlite")]
/// # fn example(pool: sqlx::SqlitePool) {
/// let users = SqlUserStore::new(
///     pool,
///     UserTable::new("users", Flag::NotNull("email_verified_at")),
///     EndSessions::statement("DELETE FROM sessions WHERE user_id = ?1"),
/// );
/// # let _ = users;
/// # }
/// ```
///
/// [`check`](Self::check) it at start.
///
/// A session must not begin behind the end of all others: let a login start its session only while
/// the hash that it checked is still the row's, in one transaction that locks the row.
pub struct SqlUserStore<D: Driver> {
    writer: Pool<D>,
    reader: Pool<D>,
    wait: Duration,
    sql: Arc<UserSql>,
}

impl<D: Driver> SqlUserStore<D> {
    /// The users of `table` in the database of `pool`, whose sessions end as `end_sessions` says.
    ///
    /// One connection of the pool is used for a call. The table must be the primary's: a replica
    /// that lags shows a password as unchanged that was changed.
    pub fn new(pool: Pool<D>, table: UserTable, end_sessions: EndSessions) -> Self {
        Self {
            writer: pool.clone(),
            reader: pool,
            wait: WAIT,
            sql: Arc::new(UserSql::new(&D::SYNTAX, &table, end_sessions)),
        }
    }

    /// A pool of its own for reading: for SQLite, where one connection writes and others read. It
    /// must see every change as soon as it is made.
    pub fn reader(mut self, pool: Pool<D>) -> Self {
        self.reader = pool;
        self
    }

    /// How long a call waits for the server's answer to one statement; 5 s unless told otherwise.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Asks the database whether it understands everything that will be asked of it: tables,
    /// columns, and the statements that end sessions. Changes nothing. Call it at start: later a
    /// wrong name is found when somebody has forgotten a password.
    ///
    /// # Errors
    ///
    /// - [`Error::Configuration`] for a wrong name or statement, with what the database says of it.
    /// - [`Error::Id`] when the key is not of the [`IdType`].
    /// - [`Error::Unreadable`] when another column holds what it should not.
    /// - [`Error::EndsEverybodys`] for a statement without `?1`.
    /// - Others, when the database fails.
    pub async fn check(&self) -> Result<(), Error> {
        let sql = &self.sql;
        let nobody = "nobody@example.com";
        let rows = async |statement, values| {
            let rows = self.rows(statement, values).await;
            rows.map_err(|error| error.about(TABLE))
        };
        // First, because it says best what is wrong with a key.
        for row in rows(&sql.any, values![]).await? {
            row.account(sql)?;
        }
        rows(&sql.by_email, values![nobody, MATCHES, nobody]).await?;
        if let Some(statement) = &sql.by_email_in_tenant {
            rows(statement, values![nobody, MATCHES, nobody, "none"]).await?;
        }
        rows(&sql.by_id, vec![sql.some_key()]).await?;
        let mut session = self.writer().await?;
        for change in [&sql.swap, &sql.first] {
            let prepared = session.prepare(change).await;
            prepared.map_err(|error| error.about(CHANGE))?;
        }
        if let Ended::Statements(statements) = &sql.end_sessions {
            for statement in statements {
                let statement = statement.as_ref().ok_or(Error::EndsEverybodys)?;
                let prepared = session.prepare(statement).await;
                prepared.map_err(|error| error.about(ENDING))?;
            }
        }
        Ok(())
    }

    async fn writer(&self) -> Result<Session<D>, Error> {
        Session::acquire(&self.writer, self.wait).await
    }

    async fn rows(&self, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        let mut session = Session::acquire(&self.reader, self.wait).await?;
        let rows = session.rows(statement, values).await?;
        rows.iter().map(|row| Row::read::<D>(row)).collect()
    }
}

#[async_trait]
impl<D: Driver> UserStore for SqlUserStore<D> {
    async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError> {
        let typed = identifier.as_str();
        let email = match self.sql.spelling {
            Spelling::Lower | Spelling::Mixed => typed.to_ascii_lowercase(),
            Spelling::Exact => typed.to_owned(),
        };
        let (statement, tenant) = match (&self.sql.by_email_in_tenant, identifier.tenant()) {
            (Some(statement), Some(tenant)) => (statement, Some(tenant.as_str())),
            _ => (&self.sql.by_email, None),
        };
        let mut values = values![email, MATCHES, typed];
        values.extend(tenant.map(Value::from));
        let rows = match self.rows(statement, values).await {
            // What the table cannot hold is not in it.
            Err(error) if driver::is_foreign_text(&error) => Vec::new(),
            rows => rows?,
        };
        let meant = meant(rows, typed, tenant, self.sql.spelling);
        Ok(meant.map(|row| row.account(&self.sql)).transpose()?)
    }

    async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError> {
        let Some(id) = self.sql.key(user) else {
            return Ok(None);
        };
        let rows = self.rows(&self.sql.by_id, vec![id]).await?;
        // MySQL finds a text that begins with a number by that number.
        let own = rows.into_iter().find(|row| row.id == user.as_str());
        Ok(own.map(|row| row.account(&self.sql)).transpose()?)
    }

    async fn set_password(
        &self,
        user: &UserId,
        expected: &Credential,
        new: &PasswordHash,
    ) -> Result<Swap, BoxError> {
        let Some(id) = self.sql.key(user) else {
            return Ok(Swap::Stale);
        };
        let mut values = vec![id];
        values.extend(values![new.expose()]);
        let swap = match expected {
            Credential::Password(expected) => {
                values.extend(values![expected.expose()]);
                &self.sql.swap
            }
            Credential::External => &self.sql.first,
            Credential::Stamp(_) => return Ok(Swap::Stale),
        };
        let mut session = self.writer().await?;
        let Some(kept) = &self.sql.kept else {
            let swapped = session.execute(swap, values).await?;
            return Ok(answer(swapped.rows));
        };
        let mut again = Again::default();
        loop {
            let mut transaction = session.begin().await?;
            let swapped = swap_whole(&mut transaction, swap, kept, values.clone());
            let swapped = swapped.await;
            let swapped = transaction.end(swapped).await;
            if !again.is_worth_it(&swapped).await {
                return Ok(answer(swapped?));
            }
        }
    }

    async fn end_sessions(&self, user: &UserId, _: SessionScope) -> Result<(), BoxError> {
        match &self.sql.end_sessions {
            Ended::Closure(end) => end(user.clone()).await,
            Ended::Statements(statements) => Ok(self.end_by(statements, user).await?),
        }
    }
}

fn answer(swapped: u64) -> Swap {
    match swapped {
        0 => Swap::Stale,
        _ => Swap::Done,
    }
}

/// Swaps, and undoes it when not all of the new hash was kept: MySQL cuts a text off that is too
/// long for its column, unless it is told to be strict. Nobody could log in with what is left.
async fn swap_whole<D: Driver>(
    transaction: &mut Transaction<'_, D>,
    swap: &Statement,
    kept: &Statement,
    values: Vec<Value>,
) -> Result<u64, Error> {
    let own: Vec<_> = values.iter().take(2).cloned().collect();
    let swapped = transaction.execute(swap, values).await?.rows;
    if swapped > 0 && transaction.rows(kept, own).await?.is_empty() {
        return Err(Error::TooNarrow {
            column: "password_hash",
        });
    }
    Ok(swapped)
}

impl<D: Driver> SqlUserStore<D> {
    async fn end_by(&self, statements: &[Option<Statement>], user: &UserId) -> Result<(), Error> {
        let Some(id) = self.sql.key(user) else {
            return Ok(());
        };
        let mut session = self.writer().await?;
        let mut again = Again::default();
        loop {
            let mut transaction = session.begin().await?;
            let mut result = Ok(());
            for statement in statements {
                let ended = match statement {
                    Some(statement) => transaction.execute(statement, vec![id.clone()]).await,
                    None => Err(Error::EndsEverybodys),
                };
                result = result.and(ended.map(|_| ()));
                if result.is_err() {
                    break;
                }
            }
            let ended = transaction.end(result).await;
            if !again.is_worth_it(&ended).await {
                return ended;
            }
        }
    }
}

impl<D: Driver> Clone for SqlUserStore<D> {
    fn clone(&self) -> Self {
        Self {
            writer: self.writer.clone(),
            reader: self.reader.clone(),
            wait: self.wait,
            sql: Arc::clone(&self.sql),
        }
    }
}

impl<D: Driver> fmt::Debug for SqlUserStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pools are not shown: they know where the database is, and its password.
        f.debug_struct("SqlUserStore")
            .field("database", &D::NAME)
            .finish_non_exhaustive()
    }
}
