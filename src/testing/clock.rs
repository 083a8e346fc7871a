//! Time that moves by hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::testing::lock;

/// A clock that stands still until a test moves it. Clones share the same time.
///
/// ```
/// use std::time::Duration;
/// use password_reset::clock::Clock;
/// use password_reset::testing::ManualClock;
///
/// let clock = ManualClock::default();
/// let shared = clock.clone();
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(shared.now().to_string(), "2026-01-01T00:00:01Z");
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    /// A clock that stands at this moment.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Moves on.
    pub fn advance(&self, span: Duration) {
        let mut now = lock(&self.0);
        *now = *now + span;
    }

    /// Jumps to this moment, which may lie in the past.
    pub fn set(&self, now: Timestamp) {
        *lock(&self.0) = now;
    }
}

/// 2026-01-01, 00:00 UTC.
impl Default for ManualClock {
    fn default() -> Self {
        Self::at(Timestamp::from_unix_micros(1_767_225_600_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_also_back() {
        let clock = ManualClock::default();
        let start = clock.now();
        assert_eq!(start.to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(clock.now(), start);
        clock.clone().advance(Duration::from_secs(60));
        assert_eq!(clock.now().since(start), Duration::from_secs(60));
        clock.set(start - Duration::from_secs(1));
        assert!(clock.now() < start);
    }
}
