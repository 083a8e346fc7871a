//! PostgreSQL, MariaDB and Redis for the tests: a database of one's own on a server that may not be
//! there.

#![allow(dead_code, reason = "no test uses all of this")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

#[path = "server.rs"]
mod server;

use std::future::Future;
use std::thread;

use password_reset_redis::redis::{Client, RedisResult, cmd};
use password_reset_sqlx::sqlx::{self, AssertSqlSafe, Connection, MySqlConnection, PgConnection};
use server::{OURS, PATIENCE, Server, is_orphan, next_name};

/// A database that goes when the test is over.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    server: Server,
    name: String,
}

/// A database in PostgreSQL; `None` when there is no server.
pub(crate) fn postgres() -> Option<TestDatabase> {
    TestDatabase::make(Server::Postgres)
}

/// A database in MariaDB or MySQL; `None` when there is no server.
pub(crate) fn mysql() -> Option<TestDatabase> {
    TestDatabase::make(Server::MySql)
}

impl TestDatabase {
    fn make(server: Server) -> Option<Self> {
        let name = next_name();
        let create = name.clone();
        let created = blocking(async move {
            for orphan in server.names().await?.iter().filter(|name| is_orphan(name)) {
                // Somebody else may drop it at this moment.
                let _ = server.drop_database(orphan).await;
            }
            server.run(format!("CREATE DATABASE {create}")).await
        });
        if let Err(error) = created {
            server.missing(&error);
            return None;
        }
        let url = at(&server.url(), &name);
        Some(Self { url, server, name })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server, self.name.clone());
        let _ = blocking(async move { server.drop_database(&name).await });
    }
}

impl Server {
    async fn names(self) -> Result<Vec<String>, sqlx::Error> {
        match self {
            Self::Postgres => {
                let mut connection = PgConnection::connect(&self.url()).await?;
                let names = sqlx::query_scalar("SELECT datname::text FROM pg_database");
                names.fetch_all(&mut connection).await
            }
            Self::MySql => {
                let mut connection = MySqlConnection::connect(&self.url()).await?;
                let names = "SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata";
                sqlx::query_scalar(names).fetch_all(&mut connection).await
            }
            Self::Redis => Ok(Vec::new()),
        }
    }

    async fn drop_database(self, name: &str) -> Result<(), sqlx::Error> {
        self.run(match self {
            // Whoever is still connected is thrown out.
            Self::Postgres => format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            Self::MySql | Self::Redis => format!("DROP DATABASE IF EXISTS {name}"),
        })
        .await
    }

    async fn run(self, sql: String) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Postgres => {
                let mut connection = PgConnection::connect(&self.url()).await?;
                sql.execute(&mut connection).await?;
            }
            Self::MySql => {
                let mut connection = MySqlConnection::connect(&self.url()).await?;
                sql.execute(&mut connection).await?;
            }
            Self::Redis => {}
        }
        Ok(())
    }
}

/// A prefix of Redis keys, and its keys go when the test is over.
pub(crate) struct TestRedis {
    pub(crate) url: String,
    pub(crate) prefix: String,
}

/// Keys of one's own in Redis; `None` when there is no server.
pub(crate) fn redis() -> Option<TestRedis> {
    let redis = TestRedis {
        url: Server::Redis.url(),
        prefix: next_name(),
    };
    match redis.forget(is_orphan) {
        Ok(()) => Some(redis),
        Err(error) => {
            Server::Redis.missing(&error);
            None
        }
    }
}

impl TestRedis {
    /// What tells a demo to use it.
    pub(crate) fn flags(&self) -> [&str; 4] {
        ["--redis", &self.url, "--redis-prefix", &self.prefix]
    }

    /// Deletes the keys with these prefixes.
    fn forget(&self, which: impl Fn(&str) -> bool) -> RedisResult<()> {
        let client = Client::open(self.url.as_str())?;
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        let keys: Vec<Vec<u8>> = cmd("KEYS")
            .arg(format!("*{OURS}*"))
            .query(&mut connection)?;
        for key in keys {
            let text = String::from_utf8_lossy(&key);
            let prefix = text.trim_start_matches('{').split(['}', ':']).next();
            if prefix.is_some_and(&which) {
                () = cmd("DEL").arg(&key).query(&mut connection)?;
            }
        }
        Ok(())
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        let _ = self.forget(|prefix| prefix == self.prefix);
    }
}

/// The same server, another database.
fn at(url: &str, name: &str) -> String {
    let (place, options) = match url.split_once('?') {
        Some((place, options)) => (place, format!("?{options}")),
        None => (url, String::new()),
    };
    let (server, _) = place.rsplit_once('/').unwrap();
    format!("{server}/{name}{options}")
}

/// Runs it to its end on a thread of its own, whatever this one is doing.
fn blocking<T: Send + 'static>(
    call: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, sqlx::Error> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE * 4, call).await });
        answer.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    };
    thread::spawn(run).join().unwrap()
}
