//! The core's conformance kit, every check on a database file of its own.
//!
//! `PASSWORD_RESET_KIT_ROUNDS=1000 cargo test --release -p password-reset-sqlx --test conformance`
//! races each of them a thousand times.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use password_reset_sqlx::{SqliteBackend, SqliteOptions};

/// A new file; those of earlier runs go. Power cuts are not part of the kit, so the disk is not
/// waited for.
async fn fresh() -> SqliteBackend {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    static CLEAN: Once = Once::new();
    CLEAN.call_once(|| {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
    });
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let file = folder.join(format!("{number}.db"));
    SqliteOptions::new(&format!("sqlite://{}", file.display()))
        .synchronous_normal()
        .connect()
        .await
        .unwrap()
}

mod tokens {
    password_reset::conformance_tokens! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> password_reset_sqlx::SqliteBackend { super::fresh().await }
    }
}

mod queue {
    password_reset::conformance_queue! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> password_reset_sqlx::SqliteBackend { super::fresh().await }
    }
}

mod limiter {
    password_reset::conformance_limiter! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> password_reset_sqlx::SqliteBackend { super::fresh().await }
    }
}
