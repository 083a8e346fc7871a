//! SQLite: the file that the demo's processes share.

use std::path::Path;
use std::time::Duration;

use password_reset::error::BoxError;
use password_reset_sqlx::sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use password_reset_sqlx::sqlx::{self, AssertSqlSafe, Row};
use tokio::time::sleep;

use super::{Dialect, Texts};

const WAIT: Duration = Duration::from_secs(30);

pub(super) const DIALECT: Dialect = Dialect {
    hex: |column| format!("lower(hex({column}))"),
    micros: |column| format!("CAST({column} AS TEXT)"),
};

/// Each trigger writes in the transaction that fired it.
const LEDGER: &str = "
CREATE TABLE torture_ledger (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    what    TEXT    NOT NULL,
    id      TEXT,
    user_id TEXT,
    note    TEXT
) STRICT;
CREATE TRIGGER torture_job AFTER INSERT ON password_reset_jobs BEGIN
    INSERT INTO torture_ledger (what, id, note) VALUES ('job', lower(hex(new.id)), hex(new.task));
END;
CREATE TRIGGER torture_job_gone AFTER DELETE ON password_reset_jobs BEGIN
    INSERT INTO torture_ledger (what, id) VALUES ('job-gone', lower(hex(old.id)));
END;
CREATE TRIGGER torture_password AFTER UPDATE OF password_hash ON users BEGIN
    INSERT INTO torture_ledger (what, user_id, note) VALUES ('password', new.id, new.password_hash);
END;
CREATE TRIGGER torture_session AFTER INSERT ON sessions BEGIN
    INSERT INTO torture_ledger (what, id, user_id) VALUES ('session', lower(hex(new.id)), new.user_id);
END;
CREATE TRIGGER torture_session_gone AFTER DELETE ON sessions BEGIN
    INSERT INTO torture_ledger (what, id, user_id) VALUES ('session-gone', lower(hex(old.id)), old.user_id);
END;";

pub(crate) struct Sqlite {
    pool: SqlitePool,
}

impl Sqlite {
    pub(crate) fn new(file: &Path) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            .acquire_timeout(WAIT)
            .connect_lazy_with(options(file));
        Self { pool }
    }

    pub(super) async fn keep_ledger(&self) -> Result<(), BoxError> {
        sqlx::raw_sql(LEDGER).execute(&self.pool).await?;
        Ok(())
    }

    /// Keeps everybody from writing, as a backup or a stranger's tool does.
    pub(crate) async fn hold_the_write_lock(&self, lasting: Duration) -> Result<(), BoxError> {
        let held = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sleep(lasting).await;
        held.rollback().await?;
        Ok(())
    }

    pub(super) async fn damage(&self) -> Result<Vec<String>, BoxError> {
        let mut damage = Vec::new();
        for row in self.rows("PRAGMA integrity_check".into()).await? {
            damage.extend(row.into_iter().flatten().filter(|line| line != "ok"));
        }
        for row in self.rows("PRAGMA foreign_key_check".into()).await? {
            let table = row.into_iter().next().flatten();
            damage.push(format!(
                "a foreign key of {} leads nowhere",
                table.unwrap_or_default()
            ));
        }
        Ok(damage)
    }

    pub(super) async fn rows(&self, select: String) -> Result<Vec<Texts>, BoxError> {
        let rows = sqlx::query(AssertSqlSafe(select)).fetch_all(&self.pool);
        let texts = |row: &sqlx::sqlite::SqliteRow| {
            let columns = 0..row.len();
            columns
                .map(|column| row.try_get_unchecked(column))
                .collect()
        };
        let rows: Result<Vec<Texts>, sqlx::Error> = rows.await?.iter().map(texts).collect();
        Ok(rows?)
    }
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(WAIT)
}
