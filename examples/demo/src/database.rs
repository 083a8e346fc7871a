//! One database for the demo's own tables and the library's.

mod sqlite;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use password_reset::error::BoxError;
use password_reset_sqlx::sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use password_reset_sqlx::sqlx::postgres::{PgPool, PgPoolOptions};
use password_reset_sqlx::sqlx::sqlite::SqlitePool;
use password_reset_sqlx::sqlx::{self, AssertSqlSafe, Executor, Row};

/// How long anybody waits for a connection, or for SQLite's lock.
const WAIT: Duration = Duration::from_secs(5);
/// Neighbours deadlock at MySQL's default level, which locks the gaps between rows too.
const MYSQL_SESSION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// An opened database.
pub(crate) struct Database {
    pub(crate) pools: Pools,
    /// Where its keys are kept; `None` when they end with the program, as the database does.
    pub(crate) key_file: Option<PathBuf>,
    /// Held as long as the program runs.
    _lock: Option<File>,
}

/// The connections. An application has one of these and needs nothing else of this file.
#[derive(Clone)]
pub(crate) enum Pools {
    /// SQLite lets one connection write at a time. So there is exactly one, for the demo and the
    /// library together, and everybody queues for it fairly; readers never wait.
    Sqlite {
        writer: SqlitePool,
        reader: SqlitePool,
    },
    Postgres(PgPool),
    /// MySQL or MariaDB.
    MySql(MySqlPool),
}

/// What a statement is given.
pub(crate) enum Value {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Database {
    /// Opens the database at `url`, or makes a fresh one, and creates the demo's tables.
    pub(crate) async fn open(
        url: Option<&str>,
        key_file: Option<PathBuf>,
    ) -> Result<Self, BoxError> {
        let database = match url {
            Some(url) if !url.starts_with("sqlite:") => {
                let Some(key_file) = key_file else {
                    return Err(
                        "a database server needs --key-file PATH, the same for all who use \
                        the database: without it nobody else could read the links that are mailed, \
                        nor could this program after its next start"
                            .into(),
                    );
                };
                Self {
                    pools: server(url).await?,
                    key_file: Some(key_file),
                    _lock: None,
                }
            }
            _ => sqlite::open(url, key_file).await?,
        };
        database.pools.create_tables().await?;
        Ok(database)
    }
}

async fn server(url: &str) -> Result<Pools, sqlx::Error> {
    // READ COMMITTED, PostgreSQL's default, is what the library asks for.
    if url.starts_with("postgres") {
        let pool = PgPoolOptions::new().acquire_timeout(WAIT);
        return Ok(Pools::Postgres(pool.connect(url).await?));
    }
    let pool = MySqlPoolOptions::new()
        .acquire_timeout(WAIT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(MYSQL_SESSION).await?;
                Ok(())
            })
        });
    Ok(Pools::MySql(pool.connect(url).await?))
}

/// Runs a method of `sqlx::query`. No generic function can say this for every database.
macro_rules! query {
    ($sql:expr, $values:expr, $method:ident($pool:expr)) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query.$method($pool).await
    }};
}

impl Pools {
    /// Runs a statement; answers how many rows it changed.
    ///
    /// `?1` is the first value, `?2` the second, and so on: each once, in this order.
    pub(crate) async fn execute<const N: usize>(
        &self,
        sql: &'static str,
        values: [Value; N],
    ) -> Result<u64, sqlx::Error> {
        self.run(sql, values).await
    }

    /// Runs an `INSERT` that leaves rows as they are where they exist; answers how many are new.
    pub(crate) async fn insert_missing<const N: usize>(
        &self,
        into: &'static str,
        values: [Value; N],
    ) -> Result<u64, sqlx::Error> {
        let sql = match self {
            Self::Sqlite { .. } | Self::Postgres(_) => {
                format!("INSERT {into} ON CONFLICT DO NOTHING")
            }
            Self::MySql(_) => format!("INSERT IGNORE {into}"),
        };
        self.run(&sql, values).await
    }

    /// Runs a query for one row of texts at most.
    pub(crate) async fn texts<const N: usize>(
        &self,
        sql: &'static str,
        values: [Value; N],
    ) -> Result<Option<Vec<Option<String>>>, sqlx::Error> {
        macro_rules! texts {
            ($row:expr) => {
                match $row? {
                    Some(row) => (0..row.len())
                        .map(|n| row.try_get(n))
                        .collect::<Result<_, _>>()
                        .map(Some),
                    None => Ok(None),
                }
            };
        }
        let sql = self.translate(sql);
        match self {
            Self::Sqlite { reader, .. } => texts!(query!(sql, values, fetch_optional(reader))),
            Self::Postgres(pool) => texts!(query!(sql, values, fetch_optional(pool))),
            Self::MySql(pool) => texts!(query!(sql, values, fetch_optional(pool))),
        }
    }

    async fn run<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<u64, sqlx::Error> {
        let sql = self.translate(sql);
        Ok(match self {
            Self::Sqlite { writer, .. } => query!(sql, values, execute(writer))?.rows_affected(),
            Self::Postgres(pool) => query!(sql, values, execute(pool))?.rows_affected(),
            Self::MySql(pool) => query!(sql, values, execute(pool))?.rows_affected(),
        })
    }

    /// PostgreSQL writes `$1` for `?1`; MySQL writes `?` for all of them and takes the values as
    /// they come. `{lock}` keeps others from changing the rows that a query finds.
    fn translate(&self, sql: &str) -> AssertSqlSafe<String> {
        // Safe: statements are constants of this program.
        AssertSqlSafe(match self {
            // Nobody else writes meanwhile.
            Self::Sqlite { .. } => sql.replace("{lock}", ""),
            Self::Postgres(_) => sql.replace('?', "$").replace("{lock}", "FOR UPDATE"),
            Self::MySql(_) => {
                let numbers = ["?1", "?2", "?3", "?4"];
                let sql = sql.replace("{lock}", "FOR UPDATE");
                numbers
                    .iter()
                    .fold(sql, |sql, number| sql.replace(number, "?"))
            }
        })
    }

    /// Safe for several programs at once.
    async fn create_tables(&self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite { writer, .. } => {
                writer
                    .execute(sqlx::raw_sql(include_str!("schema/sqlite.sql")))
                    .await?;
            }
            Self::Postgres(pool) => {
                pool.execute(sqlx::raw_sql(include_str!("schema/postgres.sql")))
                    .await?;
            }
            Self::MySql(pool) => {
                pool.execute(sqlx::raw_sql(include_str!("schema/mysql.sql")))
                    .await?;
            }
        }
        Ok(())
    }
}
