//! A SQLite file: one to keep, or a fresh one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use password_reset::error::BoxError;
use password_reset_sqlx::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};

use super::{Database, Pools, WAIT};

/// Where the database of a plain `cargo demo` is made.
const FRESH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/demo");

/// Opens the database at `url`, or makes a fresh one.
pub(super) async fn open(
    url: Option<&str>,
    key_file: Option<PathBuf>,
) -> Result<Database, BoxError> {
    let in_memory = url.is_some_and(in_memory);
    let (options, beside, lock) = match url {
        Some(url) => {
            let options = SqliteConnectOptions::from_str(url)?;
            let beside = options.get_filename().with_added_extension("key");
            (options, (!in_memory).then_some(beside), None)
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
    let reader = if in_memory {
        // A second connection would see another database.
        writer.clone()
    } else {
        pool(4).connect_lazy_with(options.read_only(true))
    };
    Ok(Database {
        pools: Pools::Sqlite { writer, reader },
        key_file: key_file.or(beside),
        _lock: lock,
    })
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
