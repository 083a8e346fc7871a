//! A database file of one's own, and records to put into it.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::queue::{Job, JobId, Task};
use password_reset::token::{Epoch, KeyId, Purpose, Selector, TokenDigest, TokenRecord};
use password_reset_sqlx::SqliteBackend;

/// A directory that goes when the test is over.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("resets.db")
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.file().display())
    }

    /// Another process, as far as the database can tell.
    pub(crate) async fn backend(&self) -> SqliteBackend {
        SqliteBackend::connect(&self.url()).await.unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(micros)
}

/// 16 bytes that no other call in this process gets.
pub(crate) fn fresh() -> [u8; 16] {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    // Spread like random names, so that keys do not arrive in order.
    number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        .to_be_bytes()
}

/// A token of `user`, made at 1,000 and good until 2,000.
pub(crate) fn token(user: &str) -> TokenRecord {
    token_between(user, at(1_000), at(2_000))
}

pub(crate) fn token_between(user: &str, issued: Timestamp, expires: Timestamp) -> TokenRecord {
    TokenRecord::new(
        Selector::from_bytes(fresh()),
        Purpose::Reset,
        None,
        UserId::parse(user).unwrap(),
        Epoch::from_bytes([1; 32]),
        KeyId(1),
        TokenDigest::from_bytes([2; 32]),
        issued,
        expires,
    )
}

pub(crate) fn job(due: i64) -> Job {
    Job {
        id: JobId::from_bytes(fresh()),
        due: at(due),
        task: Task::Unreadable(vec![0, 1, 2]),
    }
}
