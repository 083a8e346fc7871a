//! Two backends that share their tables, on each kind of database; `None` where there is no server.
//! What comes with them lives as long as they do.

use std::sync::atomic::{AtomicU32, Ordering};

use password_reset_sqlx::{MySqlBackend, PostgresBackend, SqliteBackend};

use crate::common::Scratch;
use crate::servers::{self, Isolation};

/// On one file.
pub(crate) async fn sqlite() -> Option<(Scratch, [SqliteBackend; 2])> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let scratch = Scratch::new(&format!("pair-{number}"));
    let backends = [scratch.backend().await, scratch.backend().await];
    Some((scratch, backends))
}

pub(crate) async fn postgres(isolation: Isolation) -> Option<((), [PostgresBackend; 2])> {
    Some(((), servers::postgres_processes(isolation).await?))
}

pub(crate) async fn mysql() -> Option<((), [MySqlBackend; 2])> {
    Some(((), servers::mysql_processes().await?))
}
