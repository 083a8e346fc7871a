//! 64 tasks on two backends that share their tables.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/pairs.rs"]
mod pairs;
#[path = "../../../tests/support/races.rs"]
mod races;
#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod servers;

use races::races;

races! { sqlite, crate::pairs::sqlite().await }
races! { postgres, crate::pairs::postgres(crate::servers::Isolation::ReadCommitted).await }
races! { postgres_repeatable_read, crate::pairs::postgres(crate::servers::Isolation::RepeatableRead).await }
races! { postgres_serializable, crate::pairs::postgres(crate::servers::Isolation::Serializable).await }
races! { mysql, crate::pairs::mysql().await }
