//! PostgreSQL: the server that the torture stops and starts, past the proxy that it cuts.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use password_reset::error::BoxError;
use password_reset_sqlx::sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use password_reset_sqlx::sqlx::{self, AssertSqlSafe, Row};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::{Dialect, Texts};
use crate::cluster::{Cluster, Stop, url};
use crate::proxy::Proxy;

const WAIT: Duration = Duration::from_secs(30);

pub(super) const DIALECT: Dialect = Dialect {
    hex: |column| format!("encode({column}, 'hex')"),
    micros: |column| format!("CAST({column} AS TEXT)"),
};

/// Each trigger writes in the transaction that fired it.
const LEDGER: &str = "
CREATE TABLE torture_ledger (
    seq     BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at      BIGINT NOT NULL DEFAULT floor(extract(epoch FROM clock_timestamp()) * 1000000),
    what    TEXT   NOT NULL,
    id      TEXT,
    user_id TEXT,
    note    TEXT
);
CREATE FUNCTION torture_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO torture_ledger (what, id, note)
    VALUES ('job', encode(new.id, 'hex'), encode(new.task, 'hex'));
    RETURN NULL;
END $$;
CREATE FUNCTION torture_job_gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO torture_ledger (what, id) VALUES ('job-gone', encode(old.id, 'hex'));
    RETURN NULL;
END $$;
CREATE FUNCTION torture_password() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO torture_ledger (what, user_id, note)
    VALUES ('password', new.id, new.password_hash);
    RETURN NULL;
END $$;
CREATE FUNCTION torture_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO torture_ledger (what, id, user_id)
    VALUES ('session', encode(new.id, 'hex'), new.user_id);
    RETURN NULL;
END $$;
CREATE FUNCTION torture_session_gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO torture_ledger (what, id, user_id)
    VALUES ('session-gone', encode(old.id, 'hex'), old.user_id);
    RETURN NULL;
END $$;
CREATE TRIGGER torture_job AFTER INSERT ON password_reset_jobs
    FOR EACH ROW EXECUTE FUNCTION torture_job();
CREATE TRIGGER torture_job_gone AFTER DELETE ON password_reset_jobs
    FOR EACH ROW EXECUTE FUNCTION torture_job_gone();
CREATE TRIGGER torture_password AFTER UPDATE OF password_hash ON users
    FOR EACH ROW EXECUTE FUNCTION torture_password();
CREATE TRIGGER torture_session AFTER INSERT ON sessions
    FOR EACH ROW EXECUTE FUNCTION torture_session();
CREATE TRIGGER torture_session_gone AFTER DELETE ON sessions
    FOR EACH ROW EXECUTE FUNCTION torture_session_gone();";

/// Every index is compared with its table.
const CHECK_INDEXES: &str = "
SELECT bt_index_check(index => indexrelid, heapallindexed => true)::text
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
WHERE amname = 'btree' AND relpersistence = 'p' AND indisvalid";

pub(crate) struct Postgres {
    pool: PgPool,
    cluster: Mutex<Cluster>,
    pub(crate) proxy: Proxy,
}

impl Postgres {
    pub(crate) async fn start(folder: &Path) -> Result<Self, BoxError> {
        let cluster = Cluster::create(folder).await?;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(WAIT)
            .connect_lazy(&url(cluster.port()))?;
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], cluster.port()))).await?;
        Ok(Self {
            pool,
            cluster: Mutex::new(cluster),
            proxy,
        })
    }

    /// Where the demo finds it.
    pub(crate) fn url(&self) -> String {
        url(self.proxy.address.port())
    }

    pub(crate) async fn stop_and_start(&self, how: Stop, down: Duration) -> Result<(), BoxError> {
        let mut cluster = self.cluster.lock().await;
        cluster.stop(how).await?;
        sleep(down).await;
        cluster.start().await
    }

    pub(super) async fn close(&self) -> Result<(), BoxError> {
        self.pool.close().await;
        self.cluster.lock().await.stop(Stop::Fast).await
    }

    pub(super) async fn keep_ledger(&self) -> Result<(), BoxError> {
        sqlx::raw_sql(LEDGER).execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn damage(&self) -> Result<Vec<String>, BoxError> {
        let check = "CREATE EXTENSION IF NOT EXISTS amcheck";
        sqlx::raw_sql(check).execute(&self.pool).await?;
        match sqlx::query(CHECK_INDEXES).fetch_all(&self.pool).await {
            Ok(_) => Ok(Vec::new()),
            Err(sqlx::Error::Database(damage)) => Ok(vec![damage.message().to_owned()]),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn rows(&self, select: String) -> Result<Vec<Texts>, BoxError> {
        let rows = sqlx::query(AssertSqlSafe(select)).fetch_all(&self.pool);
        let texts = |row: &PgRow| {
            let columns = 0..row.len();
            columns
                .map(|column| row.try_get_unchecked(column))
                .collect()
        };
        let rows: Result<Vec<Texts>, sqlx::Error> = rows.await?.iter().map(texts).collect();
        Ok(rows?)
    }
}
