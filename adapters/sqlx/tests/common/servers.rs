//! PostgreSQL and MariaDB for the tests: a schema of one's own on a server that may not be there.

#[path = "../../../../tests/support/server.rs"]
mod server;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use password_reset_sqlx::{MySqlBackend, PostgresBackend};
pub(crate) use server::{PATIENCE, Server, is_orphan, own_name};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row};
use tokio::sync::OnceCell;

/// How strict the transactions of a PostgreSQL test are by default.
#[derive(Clone, Copy)]
pub(crate) enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    const fn name(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }
}

fn next_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // A name that has to be quoted, in every test.
    format!("n'{} \"`?1", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The schema of this process, made once for each kind of server; `None` when there is none.
macro_rules! own_schema {
    ($name:ident: $server:expr, $connection:ty, $names:literal, $drop:literal, $create:literal) => {
        async fn $name() -> Option<&'static str> {
            static SCHEMA: OnceCell<Option<String>> = OnceCell::const_new();
            let make = || async {
                let url = $server.url();
                let connecting = tokio::time::timeout(PATIENCE, <$connection>::connect(&url)).await;
                let connecting = connecting
                    .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
                let mut connection = match connecting {
                    Ok(connection) => connection,
                    Err(error) => {
                        $server.missing(&error);
                        return None;
                    }
                };
                let names = sqlx::query_scalar($names).fetch_all(&mut connection).await;
                let names: Vec<String> = names.unwrap();
                for orphan in names.iter().filter(|name| is_orphan(name)) {
                    let drop = AssertSqlSafe(format!($drop, orphan));
                    // Somebody else may drop it at this moment.
                    let _ = sqlx::raw_sql(drop).execute(&mut connection).await;
                }
                let schema = own_name();
                let create = AssertSqlSafe(format!($create, schema));
                sqlx::raw_sql(create)
                    .execute(&mut connection)
                    .await
                    .unwrap();
                Some(schema)
            };
            SCHEMA.get_or_init(make).await.as_deref()
        }
    };
}
own_schema!(
    postgres_schema: Server::Postgres, PgConnection, "SELECT nspname::text FROM pg_namespace",
    "DROP SCHEMA IF EXISTS {} CASCADE", "CREATE SCHEMA IF NOT EXISTS {}"
);
own_schema!(
    mysql_schema: Server::MySql, MySqlConnection,
    "SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata",
    "DROP DATABASE IF EXISTS {}", "CREATE DATABASE IF NOT EXISTS {}"
);

/// A pool on the schema of this process.
pub(crate) async fn postgres_pool(isolation: Isolation) -> Option<PgPool> {
    let schema = postgres_schema().await?;
    let options: PgConnectOptions = Server::Postgres.url().parse().unwrap();
    let options = options.options([
        ("default_transaction_isolation", isolation.name()),
        ("search_path", schema),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(60));
    Some(pool.connect_with(options).await.unwrap())
}

/// The same, with the server's own settings.
pub(crate) async fn mysql_pool() -> Option<MySqlPool> {
    let schema = mysql_schema().await?;
    let options: MySqlConnectOptions = Server::MySql.url().parse().unwrap();
    let pool = MySqlPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(60));
    Some(pool.connect_with(options.database(schema)).await.unwrap())
}

/// The same, with connections that are told something first. There must be a server.
pub(crate) async fn mysql_options(told: &'static str) -> MySqlPool {
    let schema = mysql_schema().await.unwrap();
    let options: MySqlConnectOptions = Server::MySql.url().parse().unwrap();
    let pool = MySqlPoolOptions::new().after_connect(move |connection, _| {
        Box::pin(async move {
            sqlx::raw_sql(told).execute(connection).await?;
            Ok(())
        })
    });
    pool.connect_with(options.database(schema)).await.unwrap()
}

/// Tables of one's own in PostgreSQL.
pub(crate) async fn postgres(isolation: Isolation) -> Option<PostgresBackend> {
    let [backend] = postgres_processes(isolation).await?;
    Some(backend)
}

/// Several backends on the same tables, each with connections of its own: several processes, as far
/// as the database can tell.
pub(crate) async fn postgres_processes<const N: usize>(
    isolation: Isolation,
) -> Option<[PostgresBackend; N]> {
    let prefix = next_prefix();
    let mut backends = Vec::new();
    for _ in 0..N {
        let backend = PostgresBackend::with_pool(postgres_pool(isolation).await?);
        let backend = backend.schema(postgres_schema().await?).unwrap();
        let backend = backend.prefix(&prefix).unwrap();
        backend.migrate().await.unwrap();
        backends.push(backend);
    }
    backends.try_into().ok()
}

/// Tables of one's own in MariaDB.
pub(crate) async fn mysql() -> Option<MySqlBackend> {
    let [backend] = mysql_processes().await?;
    Some(backend)
}

/// Several backends on the same tables.
pub(crate) async fn mysql_processes<const N: usize>() -> Option<[MySqlBackend; N]> {
    let prefix = next_prefix();
    let mut backends = Vec::new();
    for _ in 0..N {
        let backend = MySqlBackend::with_pool(mysql_pool().await?);
        let backend = backend.schema(mysql_schema().await?).unwrap();
        let backend = backend.prefix(&prefix).unwrap();
        backend.migrate().await.unwrap();
        backends.push(backend);
    }
    backends.try_into().ok()
}

/// Runs a statement in the schema of this process, on the server of that kind.
pub(crate) async fn run_in_schema(url: &str, sql: &str) {
    run(url, sql).await.unwrap();
}

/// Whether the server refuses a statement.
pub(crate) async fn fails(url: &str, sql: &str) -> bool {
    run(url, sql).await.is_err()
}

async fn run(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("postgres") {
        let pool = postgres_pool(Isolation::ReadCommitted).await.unwrap();
        sqlx::raw_sql(sql).execute(&pool).await.map(drop)
    } else {
        let pool = mysql_pool().await.unwrap();
        sqlx::raw_sql(sql).execute(&pool).await.map(drop)
    }
}

/// The first column of every row.
pub(crate) async fn texts(url: &str, sql: &str) -> Vec<String> {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("postgres") {
        let pool = postgres_pool(Isolation::ReadCommitted).await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&pool).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    } else {
        let pool = mysql_pool().await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&pool).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}
