//! "This wasn't me" on two backends that share their tables.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/support/cancel.rs"]
mod cancel;
mod common;
#[path = "common/pairs.rs"]
mod pairs;
#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod servers;

use cancel::cancels;

cancels! { sqlite, crate::pairs::sqlite().await }
cancels! { postgres, crate::pairs::postgres(crate::servers::Isolation::ReadCommitted).await }
cancels! { postgres_repeatable_read, crate::pairs::postgres(crate::servers::Isolation::RepeatableRead).await }
cancels! { postgres_serializable, crate::pairs::postgres(crate::servers::Isolation::Serializable).await }
cancels! { mysql, crate::pairs::mysql().await }
