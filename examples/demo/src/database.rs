//! One SQLite file for the demo's own tables and the library's.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use password_reset::error::BoxError;
use password_reset_sqlx::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use password_reset_sqlx::sqlx::{self, Sqlite, Transaction};

/// Where the database of a plain `cargo demo` is made.
const FRESH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/demo");
const WAIT: Duration = Duration::from_secs(5);

/// SQLite lets one connection write at a time. So there is exactly one, for the demo and the
/// library together, and everybody queues for it fairly; readers never wait.
pub(crate) struct Database {
    pub(crate) writer: SqlitePool,
    pub(crate) reader: SqlitePool,
    /// Where the keys of a database that is kept are kept.
    pub(crate) key_file: Option<PathBuf>,
    /// Held as long as the program runs.
    _lock: Option<File>,
}

impl Database {
    /// Opens the database at `url`, or makes a fresh one, and creates the demo's tables.
    pub(crate) async fn open(url: Option<&str>) -> Result<Self, BoxError> {
        let (options, key_file, lock) = match url {
            Some(url) => {
                let options = SqliteConnectOptions::from_str(url)?;
                let key_file = options.get_filename().with_added_extension("key");
                (options, (!in_memory(url)).then_some(key_file), None)
            }
            None => {
                let (file, lock) = fresh(Path::new(FRESH))?;
                let options = SqliteConnectOptions::new().filename(file);
                (options, None, Some(lock))
            }
        };
        let options = options.busy_timeout(WAIT).foreign_keys(true);
        let writing = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What people typed does not stay readable in pages that are free again.
            .pragma("secure_delete", "FAST");
        let writer = pool(1).connect_with(writing).await?;
        let reader = match url {
            // A second connection would see another database.
            Some(url) if in_memory(url) => writer.clone(),
            _ => pool(4).connect_lazy_with(options.read_only(true)),
        };

        sqlx::raw_sql(include_str!("schema.sql"))
            .execute(&writer)
            .await?;
        Ok(Self {
            writer,
            reader,
            key_file,
            _lock: lock,
        })
    }
}

/// A transaction that has the write lock from the start.
pub(crate) async fn begin(
    writer: &SqlitePool,
) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    writer.begin_with("BEGIN IMMEDIATE").await
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
}

fn in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Removes the last demo's database, unless that demo still runs.
fn fresh(folder: &Path) -> Result<(PathBuf, File), BoxError> {
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join("demo.lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(
                "another demo uses target/demo/demo.db: stop it, or give --database".into(),
            );
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    for name in ["demo.db", "demo.db-wal", "demo.db-shm"] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok((folder.join("demo.db"), lock))
}
