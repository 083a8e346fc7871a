//! A database file of one's own, and records to put into it.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../../tests/support/records.rs"]
mod records;

use std::fs;
use std::path::PathBuf;

use password_reset_sqlx::SqliteBackend;
pub(crate) use records::{Random, at, fresh, job, token, token_between};

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
