//! Backends in this process: [`MemoryTokens`], [`MemoryQueue`], [`MemoryLimiter`], [`MemoryLog`].
//!
//! For applications of one process, and for tests. They keep every promise of their contracts but
//! one: a restart forgets everything. A forgotten token is only a dead link, and a forgotten limit
//! a fresh one; a forgotten *job* is a mail that was promised and never sent, and a forgotten
//! *claim* a change that nobody finishes. Use a database where that matters.
//!
//! Each is bounded, and a full one answers an error: it never drops what it promised to keep and
//! never lets anyone through. (Only the log, which is for looking at, lets its oldest events go.) No operation looks at more than it needs, so a million live tokens
//! cost no more time than a thousand.
//!
//! ```
//! use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
//!
//! let tokens = MemoryTokens::default(); // 100,000 records
//! let queue = MemoryQueue::with_capacity(500);
//! let limiter = MemoryLimiter::default(); // 100,000 keys
//! # let _ = (tokens, queue, limiter);
//! ```

mod limiter;
mod log;
mod queue;
mod tokens;

pub use limiter::MemoryLimiter;
pub use log::MemoryLog;
pub use queue::MemoryQueue;
pub use tokens::MemoryTokens;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A bounded backend has no room left.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no room for another {what}")]
pub struct NoRoom {
    what: &'static str,
}

/// A thread that panicked inside the lock left nothing half done: every change below is made of
/// steps that do not panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
