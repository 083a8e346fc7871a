//! "This wasn't me" on two backends that share their tables.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/support/cancel.rs"]
mod cancel;
mod common;
#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod servers;

use std::sync::atomic::{AtomicU32, Ordering};

use cancel::cancels;
use common::Scratch;
use password_reset_sqlx::{PostgresBackend, SqliteBackend};

cancels! { sqlite, crate::files().await }
cancels! { postgres, crate::postgres(crate::servers::Isolation::ReadCommitted).await }
cancels! { postgres_repeatable_read, crate::postgres(crate::servers::Isolation::RepeatableRead).await }
cancels! { postgres_serializable, crate::postgres(crate::servers::Isolation::Serializable).await }
cancels! { mysql, crate::servers::mysql_processes().await.map(|backends| ((), backends)) }

/// Two backends on one file.
async fn files() -> Option<(Scratch, [SqliteBackend; 2])> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let scratch = Scratch::new(&format!("cancel-{number}"));
    let backends = [scratch.backend().await, scratch.backend().await];
    Some((scratch, backends))
}

async fn postgres(isolation: servers::Isolation) -> Option<((), [PostgresBackend; 2])> {
    let backends = servers::postgres_processes(isolation).await?;
    Some(((), backends))
}
