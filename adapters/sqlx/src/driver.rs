//! What differs between the databases, and nothing else: [`Driver`] and [`Syntax`].

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::future::Future;

use sqlx::SqlStr;
use sqlx::error::{BoxDynError, DatabaseError};

use crate::error::Error;
use crate::statement::Value;

/// The words in which the databases differ.
pub struct Syntax {
    /// Around names.
    pub(crate) quote: char,
    pub(crate) placeholder: Placeholder,
    /// The larger, and the smaller, of several numbers.
    pub(crate) greatest: &'static str,
    pub(crate) least: &'static str,
    /// Where a `SELECT` without a table may have a `WHERE`.
    pub(crate) dual: &'static str,
    /// Begins a transaction that may write.
    pub(crate) begin: &'static str,
    /// After a `SELECT` inside a transaction: locks what it answers, leaves out what others locked.
    pub(crate) skip_locked: &'static str,
    pub(crate) writers: Writers,
    pub(crate) flavour: Flavour,
}

/// How placeholders are written.
pub(crate) enum Placeholder {
    /// By number, behind this sign.
    Numbered(char),
    /// As they come.
    Counted,
}

/// How many write at once.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Writers {
    /// One: what a statement counts, it can rely on.
    One,
    /// Many: who counts locks first.
    Many,
}

/// Whether a statement that changes rows can answer them.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Flavour {
    /// `RETURNING`, rows picked by `IN (SELECT ..)`.
    Sqlite,
    /// `RETURNING`, rows picked once by `= ANY (ARRAY(SELECT ..))`: the planner may run an `IN`
    /// more than once, and lock other rows each time.
    Postgres,
    /// `LIMIT` on the change itself, and one number through `LAST_INSERT_ID(..)`.
    MySql,
}

/// What a change answers.
pub struct Done {
    /// How many rows it met.
    pub(crate) rows: u64,
    /// MySQL's `LAST_INSERT_ID(..)`, elsewhere 0.
    pub(crate) number: u64,
}

/// What a database meant by an error.
pub(crate) enum Verdict {
    /// Rolled back in favour of somebody else; the same call may be made again at once.
    Contended,
    /// No lock, no connection, no time.
    Busy,
    /// Going down, coming up, or gone.
    Unreachable,
}

/// A database: sqlx's `Sqlite`, `Postgres` or `MySql`, as far as they are switched on.
pub trait Driver: sqlx::Database {
    #[doc(hidden)]
    const SYNTAX: Syntax;
    /// The steps of the tables' versions. Never edit one that was released: append one.
    #[doc(hidden)]
    const STEPS: &'static [&'static str];
    /// A query for what is wrong with the server's settings, as the text `setting`; no rows when
    /// nothing is.
    #[doc(hidden)]
    const UNSUITABLE: Option<&'static str> = None;
    /// Run first by a transaction that changes the tables: keeps others from doing so too.
    #[doc(hidden)]
    const ALONE: &'static str;
    /// Whether a connection whose call was dropped half-way is closed. sqlx forgets a transaction
    /// whose `BEGIN` was dropped before it was answered, so that what comes after is never
    /// committed.
    #[doc(hidden)]
    const CLOSED_WHEN_CUT: bool;

    #[doc(hidden)]
    fn bind(arguments: &mut Self::Arguments, value: Value) -> Result<(), BoxDynError>;

    #[doc(hidden)]
    fn execute(
        connection: &mut Self::Connection,
        sql: SqlStr,
        arguments: Self::Arguments,
        persistent: bool,
    ) -> impl Future<Output = Result<Done, sqlx::Error>> + Send;

    /// Runs a statement to its very end. sqlx's `fetch_optional` and `fetch_one` stop at the first
    /// row and drop the error of the commit that follows: with `RETURNING`, a change that never
    /// reached the disk would be answered as done.
    #[doc(hidden)]
    fn rows(
        connection: &mut Self::Connection,
        sql: SqlStr,
        arguments: Self::Arguments,
        persistent: bool,
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send;

    /// Runs several statements that take no values.
    #[doc(hidden)]
    fn script(
        connection: &mut Self::Connection,
        sql: SqlStr,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Whether the database understands a statement, which is not run.
    #[doc(hidden)]
    fn prepare(
        connection: &mut Self::Connection,
        sql: SqlStr,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    #[doc(hidden)]
    fn int(row: &Self::Row, column: &str) -> Result<Option<i64>, sqlx::Error>;

    #[doc(hidden)]
    fn bytes(row: &Self::Row, column: &str) -> Result<Option<Vec<u8>>, sqlx::Error>;

    #[doc(hidden)]
    fn text(row: &Self::Row, column: &str) -> Result<Option<String>, sqlx::Error>;
}

/// The part of a [`Driver`] that reads the same for every database, but that no generic function
/// can say: `$text` is what a text is read as, `$number` what a change answers beside its rows.
macro_rules! driver_io {
    ($text:ty, $number:expr) => {
        fn bind(
            arguments: &mut Self::Arguments,
            value: $crate::statement::Value,
        ) -> Result<(), sqlx::error::BoxDynError> {
            use sqlx::Arguments;
            match value {
                $crate::statement::Value::Int(value) => arguments.add(value),
                $crate::statement::Value::Bytes(value) => arguments.add(value),
                $crate::statement::Value::Text(value) => arguments.add(value),
            }
        }

        async fn execute(
            connection: &mut Self::Connection,
            sql: sqlx::SqlStr,
            arguments: Self::Arguments,
            persistent: bool,
        ) -> Result<$crate::driver::Done, sqlx::Error> {
            let query = sqlx::query_with(sql, arguments).persistent(persistent);
            let done: <Self as sqlx::Database>::QueryResult = query.execute(connection).await?;
            Ok($crate::driver::Done {
                rows: done.rows_affected(),
                number: $number(done),
            })
        }

        async fn rows(
            connection: &mut Self::Connection,
            sql: sqlx::SqlStr,
            arguments: Self::Arguments,
            persistent: bool,
        ) -> Result<Vec<Self::Row>, sqlx::Error> {
            let query = sqlx::query_with(sql, arguments).persistent(persistent);
            query.fetch_all(connection).await
        }

        async fn script(
            connection: &mut Self::Connection,
            sql: sqlx::SqlStr,
        ) -> Result<(), sqlx::Error> {
            sqlx::raw_sql(sql).execute(connection).await?;
            Ok(())
        }

        async fn prepare(
            connection: &mut Self::Connection,
            sql: sqlx::SqlStr,
        ) -> Result<(), sqlx::Error> {
            sqlx::Executor::prepare(&mut *connection, sql).await?;
            // Prepared without its values: PostgreSQL took their types from the columns, and would
            // refuse, under the same text, a number that is wider than a key.
            sqlx::Connection::clear_cached_statements(connection).await
        }

        fn int(row: &Self::Row, column: &str) -> Result<Option<i64>, sqlx::Error> {
            sqlx::Row::try_get(row, column)
        }

        fn bytes(row: &Self::Row, column: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
            sqlx::Row::try_get(row, column)
        }

        fn text(row: &Self::Row, column: &str) -> Result<Option<String>, sqlx::Error> {
            let text: Option<$text> = sqlx::Row::try_get(row, column)?;
            let text = text.map(|text| String::from_utf8(text.into()));
            text.transpose().map_err(|e| sqlx::Error::Decode(e.into()))
        }
    };
}
use driver_io;

/// What the database meant; `None` when it means nothing in particular.
pub(crate) fn verdict(said: &dyn DatabaseError) -> Option<Verdict> {
    #[cfg(feature = "sqlite")]
    if let Some(said) = said.try_downcast_ref() {
        return sqlite::verdict(said);
    }
    #[cfg(feature = "postgres")]
    if let Some(said) = said.try_downcast_ref() {
        return postgres::verdict(said);
    }
    #[cfg(feature = "mysql")]
    if let Some(said) = said.try_downcast_ref() {
        return mysql::verdict(said);
    }
    let _ = said;
    None
}

/// Whether a text could not be compared because the database's character set does not have it.
pub(crate) fn is_foreign_text(error: &Error) -> bool {
    let Error::Database(sqlx::Error::Database(said)) = error else {
        return false;
    };
    #[cfg(feature = "mysql")]
    if let Some(said) = said.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // "Illegal mix of collations", "conversion is impossible", "cannot convert".
        return matches!(said.number(), 1267 | 1270 | 1271 | 3854 | 3988 | 1977);
    }
    // PostgreSQL: untranslatable character, character not in repertoire.
    matches!(said.code().as_deref(), Some("22P05" | "22021"))
}

impl Syntax {
    /// What most of them say.
    pub(crate) const PLAIN: Self = Self {
        quote: '"',
        placeholder: Placeholder::Numbered('?'),
        greatest: "greatest",
        least: "least",
        dual: "",
        begin: "BEGIN",
        skip_locked: "FOR UPDATE SKIP LOCKED",
        writers: Writers::Many,
        flavour: Flavour::Postgres,
    };

    /// Deletes the first `?2` rows of a table that meet a condition, in an order. Rows that others
    /// are at are left to the next batch.
    pub(crate) fn delete_first(
        &self,
        table: &str,
        key: &str,
        condition: &str,
        order: &str,
    ) -> String {
        let first = format!("WHERE {condition} ORDER BY {order} LIMIT ?2");
        match self.flavour {
            Flavour::MySql => format!("DELETE FROM {table} {first}"),
            Flavour::Postgres | Flavour::Sqlite => {
                let which = self.among(&format!("SELECT {key} FROM {table} {first}"));
                format!("DELETE FROM {table} WHERE {key} {which}")
            }
        }
    }

    /// The rows that a subquery picks and, where many write, locks.
    pub(crate) fn among(&self, subquery: &str) -> String {
        match self.flavour {
            Flavour::Sqlite | Flavour::MySql => format!("IN ({subquery})"),
            Flavour::Postgres => format!("= ANY (ARRAY({subquery} {}))", self.skip_locked),
        }
    }
}
