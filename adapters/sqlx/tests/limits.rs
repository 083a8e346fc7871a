//! Limits over two backends that share their tables.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../../tests/support/limits.rs"]
mod limits;
#[path = "common/pairs.rs"]
mod pairs;
#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod servers;

use limits::limits;

limits! { sqlite, crate::pairs::sqlite().await }
limits! { postgres, crate::pairs::postgres(crate::servers::Isolation::ReadCommitted).await }
limits! { postgres_repeatable_read, crate::pairs::postgres(crate::servers::Isolation::RepeatableRead).await }
limits! { postgres_serializable, crate::pairs::postgres(crate::servers::Isolation::Serializable).await }
limits! { mysql, crate::pairs::mysql().await }
