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
    /// `?1` is the first value, and so on to `?4`: each once, in this order. `{lock}` is
    /// [`Pools::lock`].
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

    /// Runs a query for one text at most.
    pub(crate) async fn text<const N: usize>(
        &self,
        sql: &'static str,
        values: [Value; N],
    ) -> Result<Option<String>, sqlx::Error> {
        let sql = self.translate(sql);
        match self {
            Self::Sqlite { reader, .. } => query!(sql, values, fetch_optional(reader))?
                .map(|row| row.try_get(0))
                .transpose(),
            Self::Postgres(pool) => query!(sql, values, fetch_optional(pool))?
                .map(|row| row.try_get(0))
                .transpose(),
            Self::MySql(pool) => query!(sql, values, fetch_optional(pool))?
                .map(|row| row.try_get(0))
                .transpose(),
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

    /// After a query: keeps others from changing the rows that it finds. In SQLite nobody else
    /// writes meanwhile.
    pub(crate) fn lock(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "",
            Self::Postgres(_) | Self::MySql(_) => "FOR UPDATE",
        }
    }

    /// PostgreSQL writes `$1` for `?1`; MySQL writes `?` for all of them and takes the values as
    /// they come.
    fn translate(&self, sql: &str) -> AssertSqlSafe<String> {
        let sql = sql.replace("{lock}", self.lock());
        // Safe: statements are constants of this program.
        AssertSqlSafe(match self {
            Self::Sqlite { .. } => sql,
            Self::Postgres(_) => sql.replace('?', "$"),
            Self::MySql(_) => {
                let numbers = ["?1", "?2", "?3", "?4"];
                numbers.iter().fold(sql, |sql, n| sql.replace(n, "?"))
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

#[cfg(test)]
#[path = "../../../tests/support/databases.rs"]
mod servers;

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::servers::{self, TestDatabase};
    use super::*;

    /// A database of one's own.
    pub(crate) struct Scratch {
        pub(crate) pools: Pools,
        _folder: tempfile::TempDir,
        _database: Option<TestDatabase>,
    }

    impl Scratch {
        pub(crate) async fn sqlite() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", folder.path().join("demo.db").display());
            Self::open(&url, folder, None).await
        }

        pub(crate) async fn postgres() -> Option<Self> {
            Self::on(servers::postgres()?).await
        }

        pub(crate) async fn mysql() -> Option<Self> {
            Self::on(servers::mysql()?).await
        }

        async fn on(database: TestDatabase) -> Option<Self> {
            let url = database.url.clone();
            Some(Self::open(&url, tempfile::tempdir().unwrap(), Some(database)).await)
        }

        async fn open(
            url: &str,
            folder: tempfile::TempDir,
            database: Option<TestDatabase>,
        ) -> Self {
            let key_file = Some(folder.path().join("demo.key"));
            Self {
                pools: Database::open(Some(url), key_file).await.unwrap().pools,
                _folder: folder,
                _database: database,
            }
        }
    }
}
