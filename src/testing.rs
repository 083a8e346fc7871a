//! For tests, behind feature `testing`: a clock that moves by hand, seeded randomness, a mailbox,
//! users in memory, faults on demand, and the [conformance kit](kit) for backends.
//!
//! Nothing here belongs into a production binary.
//!
//! ```
//! use password_reset::clock::Clock;
//! use password_reset::testing::{ManualClock, block_on};
//!
//! let clock = ManualClock::default();
//! clock.advance(std::time::Duration::from_secs(60));
//! // Futures of this crate need no runtime.
//! let now = block_on(async { clock.now() });
//! assert_eq!(now.to_string(), "2026-01-01T00:01:00Z");
//! ```

pub mod kit;

mod clock;
mod executor;
mod faults;
mod hasher;
mod issue;
mod outbox;
mod random;
mod recorder;
mod users;

pub use clock::ManualClock;
pub use executor::{block_on, cut_after, poll_once};
pub use faults::{Faults, Faulty, InjectedFault};
pub use hasher::InsecureHasher;
pub use issue::issue;
pub use outbox::{Behaviour, Outbox, Sent};
pub use random::{FailingRandom, SeededRandom};
pub use recorder::Recorder;
pub use users::{Calls, MemoryUsers};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A test that panicked elsewhere must not hide its reason behind a poisoned lock here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
