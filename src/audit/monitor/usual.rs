//! The usual rate: how much of something there is in one window, by the mean of the last week.

use std::time::Duration;

use crate::Timestamp;
use crate::clock::micros;

const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Windows that must have been seen before there is a usual rate.
const LEAST: u32 = 12;

/// Learns the usual rate of one signal.
#[derive(Debug)]
pub(super) struct Usual {
    window: i64,
    factor: f64,
    floor: u64,
    /// How many windows a week has.
    week: u32,
    /// The window that is being counted, and what it has so far.
    present: Option<(i64, u64)>,
    /// How many windows were seen, at most a week.
    seen: u32,
    mean: f64,
}

impl Usual {
    pub(super) fn new(window: Duration, factor: u32, floor: u32) -> Self {
        let window = micros(window).max(1);
        Self {
            window,
            factor: factor.into(),
            floor: floor.into(),
            week: u32::try_from(micros(WEEK) / window)
                .unwrap_or(u32::MAX)
                .max(1),
            present: None,
            seen: 0,
            mean: 0.0,
        }
    }

    /// Counts one event; answers how many in a window are too many, once that is known.
    pub(super) fn count(&mut self, at: Timestamp) -> Option<u64> {
        let number = at.unix_micros().div_euclid(self.window);
        match &mut self.present {
            Some((present, count)) if *present == number => *count += 1,
            Some(_) => {
                self.close(number);
                self.present = Some((number, 1));
            }
            None => self.present = Some((number, 1)),
        }
        self.threshold()
    }

    /// Learns the window that is over, and the empty ones behind it.
    fn close(&mut self, next: i64) {
        let Some((number, count)) = self.present.take() else {
            return;
        };
        // What is over the threshold is no example of what is usual.
        let most = self.threshold().unwrap_or(u64::MAX);
        self.learn(count.min(most));
        let empty = next.saturating_sub(number).saturating_sub(1);
        if empty >= i64::from(self.week) {
            // A week of silence: nothing is left of what was usual before.
            (self.seen, self.mean) = (self.week, 0.0);
            return;
        }
        for _ in 0..empty {
            self.learn(0);
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn learn(&mut self, count: u64) {
        self.seen = self.seen.saturating_add(1).min(self.week);
        self.mean += (count as f64 - self.mean) / f64::from(self.seen);
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and a cast saturates"
    )]
    fn threshold(&self) -> Option<u64> {
        if self.seen < LEAST {
            return None;
        }
        let missing = f64::from(self.week) / f64::from(self.seen);
        let most = self.factor * self.mean * missing.sqrt();
        Some((most.ceil() as u64).max(self.floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    /// `count` events in each of these windows.
    fn steady(usual: &mut Usual, windows: std::ops::Range<i64>, count: u32) -> Option<u64> {
        let mut last = None;
        for window in windows {
            for _ in 0..count {
                last = usual.count(at(window * 300));
            }
        }
        last
    }

    #[test]
    fn nothing_is_too_much_before_anything_is_known() {
        let mut usual = Usual::new(WINDOW, 10, 100);
        assert_eq!(steady(&mut usual, 0..12, 50), None);
        // Known of an hour: 42 times what is usual, for want of the rest of the week.
        let most = f64::from(50 * 10) * (2_016.0_f64 / 12.0).sqrt();
        assert_eq!(usual.count(at(12 * 300)), Some(most.ceil() as u64));
    }

    #[test]
    fn after_a_week_it_is_the_factor_and_never_below_the_floor() {
        let mut usual = Usual::new(WINDOW, 10, 100);
        assert_eq!(steady(&mut usual, 0..2_017, 50), Some(500));
        let mut quiet = Usual::new(WINDOW, 10, 100);
        assert_eq!(steady(&mut quiet, 0..2_017, 1), Some(100));
    }

    #[test]
    fn a_flood_of_hours_does_not_become_usual() {
        let mut usual = Usual::new(WINDOW, 10, 100);
        steady(&mut usual, 0..2_017, 10);
        // Six hours of a thousand times as much.
        let most = steady(&mut usual, 2_017..2_089, 10_000).unwrap_or(0);
        assert!(most < 600, "{most}");
    }

    #[test]
    fn silence_is_learnt_too_and_a_jump_of_the_clock_ends() {
        let mut usual = Usual::new(WINDOW, 10, 1);
        steady(&mut usual, 0..100, 10);
        assert_eq!(usual.count(at(300 * 100_000_000)), Some(1));
        assert_eq!(usual.seen, 2_016);
    }
}
